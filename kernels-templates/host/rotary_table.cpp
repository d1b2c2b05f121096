// Cosines and sines of this step's positions, for all layers of one `rope`.
//
// The angle is a product of f32 numbers, as reference implementations compute
// it; `factor` is YaRN's attention factor. With dual chunk attention a row
// holds three of them, for its queries in each part; the first one is its
// key's, too.
#include "math.h"

STELE_INT(rotary_dims)
STELE_INT(chunk)       // dual chunk attention: the longest distance; 0: without
STELE_INT(chunk_keys)  // and the positions that keys have
STELE_INT(estimate)  // of block selection: positions beyond `chunk` as they are
STELE_FLOAT(factor)

using namespace stele;

namespace {

enum Part { kIntra, kSuccessive, kInter, kParts };

// Where a token at `position` is rotated to, as a query of `part`.
STELE_INLINE int64_t RotatedTo(int64_t part, int64_t position) {
  if (!stele_chunk) return position;
  const int64_t within = position % stele_chunk_keys;
  if (part == kIntra) return within;
  if (stele_estimate)
    return within + (part == kSuccessive ? stele_chunk_keys : stele_chunk);
  if (part == kSuccessive) return Min(within + stele_chunk_keys, stele_chunk);
  return Min(int64_t{2} * stele_chunk_keys - 1, stele_chunk);
}

STELE_INLINE void WriteRotation(const float* frequencies, int64_t position,
                                float* row) {
  const int64_t half = stele_rotary_dims / 2;
  const float at = static_cast<float>(position);
  for (int64_t i = 0; i < half; ++i) {
    const SinCos value = SinCosOf(at * frequencies[i]);
    row[i] = value.cos * stele_factor;
    row[half + i] = value.sin * stele_factor;
  }
}

}  // namespace

STELE_ENTRY {
  Bindings bindings(args);
  const float* frequencies = bindings.Next<const float>();  // [dims / 2]
  // [T, parts, dims]: cosines, then sines
  float* out = bindings.Next<float>();
  const int64_t parts = stele_chunk ? kParts : 1;
  const Range range = Share(args, args->batch->tokens, 1);
  for (int64_t t = range.begin; t < range.end; ++t)
    for (int64_t part = 0; part < parts; ++part)
      WriteRotation(frequencies, RotatedTo(part, args->batch->positions[t]),
                    out + (t * parts + part) * stele_rotary_dims);
}
