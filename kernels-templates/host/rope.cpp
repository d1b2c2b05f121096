// Rotates every head of every row by the step's rotary table.
#include "rope.h"

STELE_INT(heads)
STELE_INT(head_dim)
STELE_INT(rotary_dims)
STELE_INT(parts)  // rotations in a row of the table; keys have the first

using namespace stele;

STELE_ENTRY {
  Bindings bindings(args);
  const float* x = bindings.Next<const float>();       // [T, heads, head_dim]
  const float* rotary = bindings.Next<const float>();  // [T, parts, dims]
  float* out = bindings.Next<float>();                 // [T, heads, head_dim]
  const Range range =
      Share(args, int64_t{args->batch->tokens} * stele_heads, 1);
  for (int64_t row = range.begin; row < range.end; ++row)
    Rotate(x + row * stele_head_dim,
           rotary + row / stele_heads * stele_parts * stele_rotary_dims,
           stele_rotary_dims, stele_head_dim, out + row * stele_head_dim);
}
