// Numbers as signed codes of 8 bits that share a scale: what int8 pages, the
// key index and its queries are made of.
#ifndef STELE_KERNELS_HOST_CODES_H_
#define STELE_KERNELS_HOST_CODES_H_

#include "vec.h"

namespace stele {

// Below this a row is taken for zeros: 127 / largest would overflow.
constexpr float kLeast = 1e-35f;

// Writes the scale of the codes of x [n], and returns what an element is
// multiplied by to become one. The scale of a row with NaN or infinity is NaN,
// so that they show in whatever reads the row.
STELE_INLINE float Quantise(const float* x, int64_t n, float* scale) {
  V16 sizes{}, poison{};
  for (int64_t i = 0; i < n; i += kLanes) {
    const V16 v = LoadUpTo(x + i, Min(kLanes, n - i));
    sizes = Max(__builtin_elementwise_abs(v), sizes);
    poison += v * Splat(0.0f);
  }
  const float largest = MaxLane(sizes), nan = Sum(poison);
  *scale = largest / 127.0f + nan;
  const bool has_codes = nan == 0.0f && largest >= kLeast;
  return has_codes ? 127.0f / largest : 0.0f;
}

// The code of x, nearest even.
STELE_INLINE float ToCode(float x, float inverse) {
  return inverse == 0.0f ? 0.0f : __builtin_elementwise_roundeven(x * inverse);
}

}  // namespace stele

#endif  // STELE_KERNELS_HOST_CODES_H_
