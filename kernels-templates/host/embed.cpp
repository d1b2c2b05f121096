// Rows of the embedding table, stored as rows or as the packed matrix that the
// logits read too (tied embeddings are stored once).
#include "vec.h"

STELE_INT(hidden)
STELE_INT(packed)  // 1: panels (weight_layout.h), 0: rows
STELE_INT(bf16)    // element type of the table

using namespace stele;

namespace {

STELE_INLINE float Widen(uint16_t x) { return FromBf16(x); }
STELE_INLINE float Widen(float x) { return x; }

// The table is [vocab, hidden], or [ceil(vocab / 16), steps, 16, depth].
template <typename Element, int64_t depth>
STELE_INLINE void CopyRow(const Element* table, int64_t id, float* out) {
  if (!stele_packed) {
    for (int64_t i = 0; i < stele_hidden; ++i)
      out[i] = Widen(table[id * stele_hidden + i]);
    return;
  }
  const int64_t steps = (stele_hidden + depth - 1) / depth;
  const Element* row =
      table + (id / kLanes * steps * kLanes + id % kLanes) * depth;
  for (int64_t i = 0; i < stele_hidden; ++i)
    out[i] = Widen(row[i / depth * kLanes * depth + i % depth]);
}

}  // namespace

STELE_ENTRY {
  Bindings bindings(args);
  const void* table = bindings.Next<const void>();
  float* out = bindings.Next<float>();  // [T, hidden]
  const Range range = Share(args, args->batch->tokens, 1);
  for (int64_t t = range.begin; t < range.end; ++t) {
    const int64_t id = args->batch->token_ids[t];
    float* row = out + t * stele_hidden;
    if (stele_bf16)
      CopyRow<uint16_t, 2>(static_cast<const uint16_t*>(table), id, row);
    else
      CopyRow<float, 1>(static_cast<const float*>(table), id, row);
  }
}
