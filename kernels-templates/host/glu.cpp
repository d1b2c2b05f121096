// out = act(gate) * up, element by element.
#include "math.h"

STELE_INT(width)
STELE_INT(glu)  // Activation

using namespace stele;

STELE_ENTRY {
  Bindings bindings(args);
  const float* gate = bindings.Next<const float>();  // [T, width]
  const float* up = bindings.Next<const float>();    // [T, width]
  float* out = bindings.Next<float>();               // [T, width]
  const Range range =
      Share(args, int64_t{args->batch->tokens} * stele_width, kLanes);
  for (int64_t i = range.begin; i < range.end; i += kLanes) {
    const int64_t n = Min(kLanes, range.end - i);
    const V16 y = Activate(stele_glu, LoadUpTo(gate + i, n));
    StoreFirst(out + i, y * LoadUpTo(up + i, n), n);
  }
}
