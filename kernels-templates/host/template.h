// What every host kernel template starts from: the ABI, the constants that
// compiler/Codegen/Host fills in, and the division of work among workers.
//
// A template defines STELE_ENTRY and, when it needs scratch or memory that its
// workers share, STELE_SCRATCH and STELE_SHARED. No C library is there: nothing
// may be called that is not inlined.
#ifndef STELE_KERNELS_HOST_TEMPLATE_H_
#define STELE_KERNELS_HOST_TEMPLATE_H_

#include <stddef.h>
#include <stdint.h>

#include "stele/schema/host_abi.h"

// A constant of the template; an instance gives it its value.
#define STELE_INT(name) extern "C" const int32_t stele_##name;
#define STELE_FLOAT(name) extern "C" const float stele_##name;

// The kernel, run once by each worker.
#define STELE_ENTRY extern "C" void stele_kernel(const SteleHostArgs* args)
// Bytes of scratch per worker, from constants alone.
#define STELE_SCRATCH extern "C" uint64_t stele_scratch_bytes()
// Bytes per token of the batch that the workers share, likewise.
#define STELE_SHARED extern "C" uint64_t stele_shared_bytes_per_token()

#define STELE_INLINE static inline __attribute__((always_inline))
#define STELE_NOINLINE static __attribute__((noinline))
#define STELE_MEMBER inline __attribute__((always_inline))

namespace stele {

struct Range {
  int64_t begin, end;
};

// Part `i` of `parts` of [0, count), whole units of `unit` but for the last.
STELE_INLINE Range Part(int64_t count, int64_t unit, int64_t i, int64_t parts) {
  const int64_t units = (count + unit - 1) / unit;
  const int64_t begin = units * i / parts * unit;
  const int64_t end = units * (i + 1) / parts * unit;
  return {begin < count ? begin : count, end < count ? end : count};
}

// The worker's share of [0, count), likewise.
STELE_INLINE Range Share(const SteleHostArgs* args, int64_t count,
                         int64_t unit) {
  return Part(count, unit, args->worker, args->workers);
}

STELE_INLINE int64_t NextItem(const SteleHostArgs* args) {
  return __atomic_fetch_add(args->next_item, 1u, __ATOMIC_RELAXED);
}

STELE_INLINE int64_t RoundUp(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Carves a worker's scratch; with a null base this only measures it.
class Arena {
 public:
  STELE_MEMBER explicit Arena(void* base) : base_(static_cast<char*>(base)) {}
  template <typename T>
  STELE_MEMBER T* Take(int64_t count) {
    T* at = reinterpret_cast<T*>(base_ + used_);
    used_ += RoundUp(count * static_cast<int64_t>(sizeof(T)), 64);
    return at;
  }
  STELE_MEMBER int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

STELE_INLINE int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
STELE_INLINE int64_t Max(int64_t a, int64_t b) { return a > b ? a : b; }

// Returns once another worker has stored `value`.
STELE_INLINE void WaitUntil(const SteleHostArgs* args, const uint32_t* at,
                            uint32_t value) {
  constexpr int kSpins = 1000;  // tens of microseconds
  for (int i = 0; __atomic_load_n(at, __ATOMIC_ACQUIRE) != value; ++i) {
    if (i < kSpins)
      __builtin_ia32_pause();
    else
      args->yield();
  }
}

// Hands out a launch's bindings in the order of the plan.
class Bindings {
 public:
  explicit Bindings(const SteleHostArgs* args) : at_(args->bindings) {}
  template <typename T>
  T* Next() {
    return static_cast<T*>(*at_++);
  }
  // The next one if the variant has it.
  template <typename T>
  T* NextIf(bool present) {
    return present ? Next<T>() : nullptr;
  }

 private:
  void* const* at_;
};

}  // namespace stele

#endif  // STELE_KERNELS_HOST_TEMPLATE_H_
