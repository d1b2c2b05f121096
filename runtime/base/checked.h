// Checked arithmetic and range checks for sizes that come from a file.
//
// The one place where "does this range lie inside that file" is decided: the
// naive `off + len > size` wraps.
#ifndef STELE_RUNTIME_BASE_CHECKED_H_
#define STELE_RUNTIME_BASE_CHECKED_H_

#include <cstdint>
#include <optional>

namespace stele {

inline bool RangeFits(uint64_t offset, uint64_t length, uint64_t size) {
  return length <= size && offset <= size - length;
}

inline std::optional<uint64_t> CheckedAdd(uint64_t a, uint64_t b) {
  uint64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<uint64_t> CheckedMul(uint64_t a, uint64_t b) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// The least multiple of `unit` that is at least n; both far below 2^64.
inline uint64_t RoundUp(uint64_t n, uint64_t unit) {
  return (n + unit - 1) / unit * unit;
}

}  // namespace stele

#endif  // STELE_RUNTIME_BASE_CHECKED_H_
