// Cosines and sines of this step's positions, for all layers of one `rope`.
//
// The angle is a product of f32 numbers, as reference implementations compute
// it; `factor` is YaRN's attention factor.
#include "math.h"

STELE_INT(rotary_dims)
STELE_FLOAT(factor)

using namespace stele;

STELE_ENTRY {
  Bindings bindings(args);
  const float* frequencies = bindings.Next<const float>();  // [dims / 2]
  float* out = bindings.Next<float>();  // [T, dims]: cosines, then sines
  const int64_t half = stele_rotary_dims / 2;
  const Range range = Share(args, args->batch->tokens, 1);
  for (int64_t t = range.begin; t < range.end; ++t) {
    const float position = static_cast<float>(args->batch->positions[t]);
    float* row = out + t * stele_rotary_dims;
    for (int64_t i = 0; i < half; ++i) {
      const SinCos value = SinCosOf(position * frequencies[i]);
      row[i] = value.cos * stele_factor;
      row[half + i] = value.sin * stele_factor;
    }
  }
}
