// Rotation of one head: the first `dims` elements, halves paired.
#ifndef STELE_KERNELS_HOST_ROPE_H_
#define STELE_KERNELS_HOST_ROPE_H_

#include "vec.h"

namespace stele {

// x [head_dim], rotary: dims/2 cosines, then dims/2 sines.
STELE_INLINE void Rotate(const float* x, const float* rotary, int64_t dims,
                         int64_t head_dim, float* out) {
  const int64_t half = dims / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[half + i];
    const float cos = rotary[i], sin = rotary[half + i];
    out[i] = a * cos - b * sin;
    out[half + i] = b * cos + a * sin;
  }
  for (int64_t i = dims; i < head_dim; ++i) out[i] = x[i];
}

// A head as attention and cache want it: normalised if `norm_weight` is there,
// rotated if `rotary` is.
STELE_INLINE void PrepareHead(const float* x, const float* norm_weight,
                              float eps, const float* rotary, int64_t dims,
                              int64_t head_dim, float* out) {
  if (norm_weight) {
    const float inverse = InverseRms(x, head_dim, eps);
    for (int64_t i = 0; i < head_dim; ++i)
      out[i] = x[i] * inverse * norm_weight[i];
    x = out;
  }
  if (rotary)
    Rotate(x, rotary, dims, head_dim, out);
  else if (x != out)
    for (int64_t i = 0; i < head_dim; ++i) out[i] = x[i];
}

}  // namespace stele

#endif  // STELE_KERNELS_HOST_ROPE_H_
