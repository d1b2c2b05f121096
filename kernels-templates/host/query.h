// The queries of attention and of block selection: which columns they are, how
// they are normalised, rotated and scaled, and in which part of dual chunk
// attention they meet a key.
#ifndef STELE_KERNELS_HOST_QUERY_H_
#define STELE_KERNELS_HOST_QUERY_H_

#include "math.h"
#include "rope.h"

STELE_INT(heads)
STELE_INT(kv_heads)
STELE_INT(head_dim)
STELE_INT(q_offset)
STELE_INT(q_stride)
STELE_INT(rotary)  // 0: q comes rotated
STELE_INT(rotary_dims)
STELE_INT(parts)       // queries of a row: 1, or 3 with dual chunk attention
STELE_INT(chunk_keys)  // keys of a chunk, if 3
STELE_INT(norm)
STELE_FLOAT(scale)
STELE_FLOAT(eps)
STELE_FLOAT(original)  // with chunks: beyond it, queries are scaled; 0: never

namespace stele {

constexpr float kLog2E = 1.44269504f;

// Query heads that read one KV head.
STELE_INLINE int64_t Group() { return stele_heads / stele_kv_heads; }
STELE_INLINE int64_t PaddedDim() { return RoundUp(stele_head_dim, kLanes); }

struct Queries {
  const float* q;       // [T, q_stride]
  const float* rotary;  // [T, parts, rotary_dims]
  const float* norm;    // [head_dim]
  const SteleBatch* batch;
};

STELE_INLINE Queries TakeQueries(const SteleHostArgs* args,
                                 Bindings* bindings) {
  Queries queries;
  queries.q = bindings->Next<const float>();
  queries.rotary = bindings->NextIf<const float>(stele_rotary);
  queries.norm = bindings->NextIf<const float>(stele_norm);
  queries.batch = args->batch;
  return queries;
}

// The part of a query's keys that `key` is in, both on the same grid of
// positions: its own chunk's, those of the chunk before, or all others.
STELE_INLINE int64_t PartOf(int64_t position, int64_t key) {
  if (stele_parts == 1) return 0;
  const int64_t chunks = position / stele_chunk_keys - key / stele_chunk_keys;
  return Min(Max(chunks, 0), 2);
}

// What makes up for the many keys of a query far behind the trained length. By
// its own position, so that no key or value depends on what comes after it.
STELE_INLINE float Temperature(int64_t position) {
  if (stele_parts == 1 || stele_original == 0) return 1.0f;
  const float m =
      0.1f * Log(static_cast<float>(position + 1) / stele_original) + 1.0f;
  return m > 1.0f ? m * m : 1.0f;
}

// Normalises and rotates one query for a part of its keys.
STELE_INLINE void PrepareQuery(const Queries& queries, int64_t t, int64_t head,
                               int64_t part, float* to) {
  PrepareHead(
      queries.q + t * stele_q_stride + stele_q_offset + head * stele_head_dim,
      queries.norm, stele_eps,
      stele_rotary
          ? queries.rotary + (t * stele_parts + part) * stele_rotary_dims
          : nullptr,
      stele_rotary_dims, stele_head_dim, to);
}

// What a prepared query is multiplied by, for scores in units of log2.
STELE_INLINE float QueryScale(const Queries& queries, int64_t t) {
  return stele_scale * kLog2E * Temperature(queries.batch->positions[t]);
}

}  // namespace stele

#endif  // STELE_KERNELS_HOST_QUERY_H_
