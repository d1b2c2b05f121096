// Writes this step's keys and values into their pages; keys are normalised and
// rotated on the way when the variant says so. With a key index, whoever writes
// the last token of a page that is full then enters the mean of its keys.
#include "codes.h"
#include "key_index.h"
#include "page.h"
#include "rope.h"

STELE_INT(kv_heads)
STELE_INT(head_dim)
STELE_INT(block)
STELE_INT(key_offset)  // first column of the keys in a row of `key`
STELE_INT(key_stride)  // columns of `key`
STELE_INT(value_offset)
STELE_INT(value_stride)
STELE_INT(rotary)  // 0: keys come rotated
STELE_INT(rotary_dims)
STELE_INT(parts)  // rotations in a row of the table; keys have the first
STELE_INT(norm)
STELE_INT(key_index)  // keys of full pages are indexed
STELE_FLOAT(eps)

using namespace stele;

namespace {

// For int8: writes the scale of a key's or value's codes, and returns what an
// element is multiplied by.
STELE_INLINE float WriteScale(const float* x, char* scales, int64_t row) {
  if (Stored() != KvElement::kInt8) return 1.0f;
  return Quantise(x, stele_head_dim, reinterpret_cast<float*>(scales) + row);
}

// What is stored for x: itself, or its code.
STELE_INLINE float ToStored(float x, float inverse) {
  return Stored() == KvElement::kInt8 ? ToCode(x, inverse) : x;
}

// Tokens of a page that were written in this launch, kept with the first of
// them: a page that the step fills may be written by several workers.
struct Page {
  int64_t first, tokens;  // of the step
};

// The page that token t of sequence s is in, if the step fills it.
STELE_INLINE bool FillsPage(const SteleBatch* batch, int64_t s, int64_t t,
                            Page* page) {
  const int64_t row = batch->positions[t] % stele_block;
  const int64_t end = t - row + stele_block;
  page->first = Max(batch->q_offsets[s], t - row);
  page->tokens = end - page->first;
  return end <= batch->q_offsets[s + 1];
}

// Counts a token that was written; true for the last one of the page.
STELE_INLINE bool IsLastWritten(const Page& page, int64_t head,
                                uint32_t* written) {
  uint32_t* count = written + page.first * stele_kv_heads + head;
  if (__atomic_add_fetch(count, 1u, __ATOMIC_ACQ_REL) !=
      static_cast<uint32_t>(page.tokens))
    return false;
  *count = 0;
  return true;
}

}  // namespace

STELE_SHARED {
  return stele_key_index ? RoundUp(stele_kv_heads * sizeof(uint32_t), 64) : 0;
}
STELE_SCRATCH { return RoundUp(stele_head_dim * sizeof(float), 64); }

STELE_ENTRY {
  Bindings bindings(args);
  const float* keys = bindings.Next<const float>();    // [T, key_stride]
  const float* values = bindings.Next<const float>();  // [T, value_stride]
  const float* rotary =
      bindings.NextIf<const float>(stele_rotary);  // [T, parts, dims]
  const float* norm_weight =
      bindings.NextIf<const float>(stele_norm);  // [head_dim]
  char* cache = bindings.Next<char>();
  const SteleBatch* batch = args->batch;
  const int64_t layer = args->immediates[0];
  const PageShape shape(stele_block, stele_head_dim);
  const KeyIndex index(stele_head_dim);
  float* key = static_cast<float*>(args->scratch);  // [head_dim]
  const Range range = Share(args, int64_t{batch->tokens} * stele_kv_heads, 1);
  for (int64_t item = range.begin; item < range.end; ++item) {
    const int64_t t = item / stele_kv_heads, head = item % stele_kv_heads;
    const int64_t s = batch->sequence[t], position = batch->positions[t];
    char* page = PageOf(cache, shape, batch, s, layer, stele_kv_heads, head,
                        position / stele_block);
    const int64_t row = position % stele_block;
    PrepareHead(
        keys + t * stele_key_stride + stele_key_offset + head * stele_head_dim,
        norm_weight, stele_eps,
        stele_rotary ? rotary + t * stele_parts * stele_rotary_dims : nullptr,
        stele_rotary_dims, stele_head_dim, key);
    const float key_inverse = WriteScale(key, page + shape.KeyScales(), row);
    for (int64_t i = 0; i < stele_head_dim; ++i)
      StoreElement(page, shape.KeyElement(row, i),
                   ToStored(key[i], key_inverse));
    const float* value = values + t * stele_value_stride + stele_value_offset +
                         head * stele_head_dim;
    const float value_inverse =
        WriteScale(value, page + shape.ValueScales(), row);
    for (int64_t i = 0; i < stele_head_dim; ++i)
      StoreElement(page, shape.ValueElement(row, i),
                   ToStored(value[i], value_inverse));
    // The other half of the last unit; page.h says why.
    const bool last = t + 1 == batch->q_offsets[s + 1];
    if (kDepth == 2 && last && row % 2 == 0)
      for (int64_t i = 0; i < stele_head_dim; ++i)
        StoreElement(page, shape.ValueElement(row + 1, i), 0.0f);
    Page filled;
    if (stele_key_index && FillsPage(batch, s, t, &filled) &&
        IsLastWritten(filled, head, static_cast<uint32_t*>(args->shared))) {
      MeanKey(page, shape, stele_block, key);
      index.Write(index.Row(batch, s, layer * stele_kv_heads + head),
                  position / stele_block, key);
    }
  }
}
