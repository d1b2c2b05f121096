// The one random number generator: small, fast, the same on every machine.
// Not for secrets.
#ifndef STELE_RUNTIME_ENGINE_RANDOM_H_
#define STELE_RUNTIME_ENGINE_RANDOM_H_

#include <cstdint>

namespace stele {

// SplitMix64 (Steele, Lea, Flood 2014): any seed is good, 0 included.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }

  // A seed that goes on with the next number.
  uint64_t state() const { return state_; }

  // Uniform in [0, 1), 53 bits.
  double NextUnit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_RANDOM_H_
