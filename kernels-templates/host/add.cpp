// out = a + b, element by element.
#include "vec.h"

STELE_INT(width)

using namespace stele;

STELE_ENTRY {
  Bindings bindings(args);
  const float* a = bindings.Next<const float>();  // [T, width]
  const float* b = bindings.Next<const float>();  // [T, width]
  float* out = bindings.Next<float>();            // [T, width]
  const Range range =
      Share(args, int64_t{args->batch->tokens} * stele_width, kLanes);
  for (int64_t i = range.begin; i < range.end; i += kLanes) {
    const int64_t n = Min(kLanes, range.end - i);
    StoreFirst(out + i, LoadUpTo(a + i, n) + LoadUpTo(b + i, n), n);
  }
}
