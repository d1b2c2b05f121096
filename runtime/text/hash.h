// A fast hash of short strings for the tokeniser's tables. Not for anything
// that is stored or compared between machines.
#ifndef STELE_RUNTIME_TEXT_HASH_H_
#define STELE_RUNTIME_TEXT_HASH_H_

#include <cstdint>
#include <cstring>
#include <string_view>

namespace stele::text {

inline uint64_t HashBytes(std::string_view bytes) {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15u;
  uint64_t hash = bytes.size() * kMultiplier;
  const char* p = bytes.data();
  size_t left = bytes.size();
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  };
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    mix(word);
  }
  if (left > 0) {
    uint64_t word = 0;
    std::memcpy(&word, p, left);
    mix(word);
  }
  return hash;
}

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_HASH_H_
