// The machine's steady clock, for measuring.
#ifndef STELE_RUNTIME_BASE_CLOCK_H_
#define STELE_RUNTIME_BASE_CLOCK_H_

#include <chrono>
#include <cstdint>

namespace stele {

inline uint64_t NowNs() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(
          std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

}  // namespace stele

#endif  // STELE_RUNTIME_BASE_CLOCK_H_
