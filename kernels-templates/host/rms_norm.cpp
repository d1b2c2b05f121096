// Root mean square normalisation: each row is `groups` vectors of `width`,
// normalised each by itself with one weight.
#include "vec.h"

STELE_INT(width)
STELE_INT(groups)
STELE_FLOAT(eps)

using namespace stele;

STELE_ENTRY {
  Bindings bindings(args);
  const float* x = bindings.Next<const float>();       // [T, groups, width]
  const float* weight = bindings.Next<const float>();  // [width]
  float* out = bindings.Next<float>();                 // [T, groups, width]
  const int64_t width = stele_width;
  const Range range =
      Share(args, int64_t{args->batch->tokens} * stele_groups, 1);
  for (int64_t row = range.begin; row < range.end; ++row) {
    const float* from = x + row * width;
    const V16 inverse = Splat(InverseRms(from, width, stele_eps));
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t n = Min(kLanes, width - i);
      StoreFirst(out + row * width + i,
                 LoadUpTo(from + i, n) * inverse * LoadUpTo(weight + i, n), n);
    }
  }
}
