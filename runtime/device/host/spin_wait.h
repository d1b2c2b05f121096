// How host threads wait for each other: they spin, since most waits are short,
// and then sleep.
#ifndef STELE_RUNTIME_DEVICE_HOST_SPIN_WAIT_H_
#define STELE_RUNTIME_DEVICE_HOST_SPIN_WAIT_H_

#include <immintrin.h>

#include <atomic>
#include <cstdint>

namespace stele {

// About 50 us on current cores: longer than the imbalance of most launches,
// short enough not to steal time from others when a machine is shared.
inline constexpr int kSpins = 1500;

// Returns when `value` is no longer `old`. What the thread that changed it
// wrote before is then visible.
inline void WaitWhile(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    _mm_pause();
  }
  while (value.load(std::memory_order_acquire) == old)
    value.wait(old, std::memory_order_acquire);
}

// Sets a value that others may wait for.
inline void Publish(std::atomic<uint32_t>* value, uint32_t now) {
  value->store(now, std::memory_order_release);
  value->notify_all();
}

}  // namespace stele

#endif  // STELE_RUNTIME_DEVICE_HOST_SPIN_WAIT_H_
