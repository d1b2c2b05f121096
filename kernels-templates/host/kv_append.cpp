// Writes this step's keys and values into their pages; keys are normalised and
// rotated on the way when the variant says so. With a key index, whoever writes
// the last token of a page that is full then enters the mean of its keys: the
// plain one, or the one that a reference query sees
// (docs/hybrid-attention.md), which is exact for queries like it; and, where
// the index has them, the mean of its values by the same weights.
#include "codes.h"
#include "key_index.h"
#include "math.h"
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
STELE_INT(reference)  // by the mean that a reference query sees
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

// Where the keys of token t of the step are rotated to; null: nowhere.
STELE_INLINE const float* RotaryOf(const float* table, int64_t t) {
  return stele_rotary ? table + t * stele_parts * stele_rotary_dims : nullptr;
}

// A KV head's reference, if there are any.
STELE_INLINE const float* ReferenceOf(const float* references, int64_t head) {
  return stele_reference ? references + head * stele_head_dim : nullptr;
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

struct Scratch {
  float* key;      // [head_dim], also a mean
  float* query;    // [head_dim], the reference of a head
  float* weights;  // [block + 16], of a page's keys
  float* value;    // [2 head_dim], a mean
  int64_t bytes;
};

STELE_INLINE Scratch Carve(void* base) {
  Arena arena(base);
  Scratch s{};
  s.key = arena.Take<float>(stele_head_dim);
  if (stele_reference) s.query = arena.Take<float>(stele_head_dim);
  if (stele_reference || stele_value_index)
    s.weights = arena.Take<float>(stele_block + kLanes);
  if (stele_value_index) s.value = arena.Take<float>(2 * stele_head_dim);
  s.bytes = arena.used();
  return s;
}

// A page that is full, and what it is entered by.
struct FullPage {
  const char* page;
  char* row;    // of the index
  char* value;  // where its mean value goes
  int64_t index;
  const float* reference;  // [head_dim], not rotated yet
  const float* rotary;     // where its last key was rotated to
};

// Enters the mean value by these weights, whose sum is `total`.
STELE_INLINE void EnterValue(const FullPage& full, const PageShape& shape,
                             const KeyIndex& index, float total,
                             const Scratch& s) {
  SumValues(full.page, shape, stele_block, stele_head_dim, s.weights,
            1.0f / total, s.value);
  index.WriteValue(full.value, s.value);
}

// Enters the plain means.
STELE_INLINE void EnterMean(const FullPage& full, const PageShape& shape,
                            const KeyIndex& index, const Scratch& s) {
  MeanKey(full.page, shape, stele_block, s.key);
  index.WriteMean(full.row, full.index, s.key);
  index.WriteOffset(full.row, full.index, Log(static_cast<float>(stele_block)));
  if (!stele_value_index) return;
  for (int64_t key = 0; key < stele_block; ++key) s.weights[key] = 1.0f;
  EnterValue(full, shape, index, static_cast<float>(stele_block), s);
}

// Weighs the page's keys as a softmax for the query does, up to their total,
// which it returns; the largest score is in `top`.
STELE_INLINE float WeighKeys(const char* page, const PageShape& shape,
                             const float* query, float* weights, float* top) {
  V16 largest = Splat(-__builtin_inff()), total{};
  for (int64_t key = 0; key < stele_block; key += kLanes) {
    const V16 scores = ScoreKeys(page, shape, query, key, stele_block);
    Store(weights + key, scores);
    largest = Max(scores, largest);
  }
  *top = MaxLane(largest);
  for (int64_t key = 0; key < stele_block; key += kLanes) {
    const V16 weight = Exp(Load(weights + key) - Splat(*top));
    Store(weights + key, weight);
    total += weight;
  }
  return Sum(total);
}

// Enters the mean that the reference sees, and the offset with which the
// entry, as it is rounded, gives the reference's own mass exactly.
STELE_INLINE void EnterAboutReference(const FullPage& full,
                                      const PageShape& shape,
                                      const KeyIndex& index, const Scratch& s) {
  PrepareHead(full.reference, /*norm_weight=*/nullptr, /*eps=*/0, full.rotary,
              stele_rotary_dims, stele_head_dim, s.query);
  float top;
  const float total = WeighKeys(full.page, shape, s.query, s.weights, &top);
  SumKeys(full.page, shape, stele_block, s.weights, 1.0f / total, s.key);
  index.WriteMean(full.row, full.index, s.key);
  float score = 0;
  for (int64_t i = 0; i < stele_head_dim; ++i) score += s.query[i] * s.key[i];
  index.WriteOffset(full.row, full.index, top + Log(total) - score);
  if (stele_value_index) EnterValue(full, shape, index, total, s);
}

}  // namespace

STELE_SHARED {
  return stele_key_index ? RoundUp(stele_kv_heads * sizeof(uint32_t), 64) : 0;
}
STELE_SCRATCH { return Carve(nullptr).bytes; }

STELE_ENTRY {
  Bindings bindings(args);
  const float* keys = bindings.Next<const float>();    // [T, key_stride]
  const float* values = bindings.Next<const float>();  // [T, value_stride]
  const float* rotary =
      bindings.NextIf<const float>(stele_rotary);  // [T, parts, dims]
  const float* norm_weight =
      bindings.NextIf<const float>(stele_norm);  // [head_dim]
  const float* references =
      bindings.NextIf<const float>(stele_reference);  // [kv_heads, head_dim]
  char* cache = bindings.Next<char>();
  const SteleBatch* batch = args->batch;
  const int64_t layer = args->immediates[0];
  const PageShape shape(stele_block, stele_head_dim);
  const KeyIndex index(stele_head_dim);
  const Scratch scratch = Carve(args->scratch);
  float* key = scratch.key;
  const Range range = Share(args, int64_t{batch->tokens} * stele_kv_heads, 1);
  for (int64_t item = range.begin; item < range.end; ++item) {
    const int64_t t = item / stele_kv_heads, head = item % stele_kv_heads;
    const int64_t s = batch->sequence[t], position = batch->positions[t];
    char* page = PageOf(cache, shape, batch, s, layer, stele_kv_heads, head,
                        position / stele_block);
    const int64_t row = position % stele_block;
    PrepareHead(
        keys + t * stele_key_stride + stele_key_offset + head * stele_head_dim,
        norm_weight, stele_eps, RotaryOf(rotary, t), stele_rotary_dims,
        stele_head_dim, key);
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
    if (!stele_key_index || !FillsPage(batch, s, t, &filled) ||
        !IsLastWritten(filled, head, static_cast<uint32_t*>(args->shared)))
      continue;
    char* index_row = index.Row(batch, s, layer * stele_kv_heads + head);
    const int64_t b = position / stele_block;
    const FullPage full{page,
                        index_row,
                        index_row + index.Value(batch, b),
                        b,
                        ReferenceOf(references, head),
                        RotaryOf(rotary, filled.first + filled.tokens - 1)};
    if (stele_reference)
      EnterAboutReference(full, shape, index, scratch);
    else
      EnterMean(full, shape, index, scratch);
  }
}
