// One page of the KV cache, as the host kernels lay it out: `block` tokens of
// one layer and KV head, K [block, head_dim] and then V [block, head_dim], both
// in units of kDepth elements, as the arithmetic multiplies them:
//
//   K  [block / 16][head_dim / kDepth][16]  one unit: kDepth elements of one
//   key
//      then, for bf16 and odd head_dim, the last elements [block / 16][16]
//   V  [block / kDepth][head_dim]           one unit: one column of kDepth keys
//
// so that scores of 16 keys, and 16 columns of the output, are a vector each.
// An element is stored as `kv` says, and converted without loss on its way to a
// product. For int8 the scales of K [block] and of V [block] follow, in f32: an
// element is its code times the scale of its key.
//
// The odd half of V's last unit is 0 while its key is not there: attention
// multiplies it by a probability of 0, and must not meet a NaN.
#ifndef STELE_KERNELS_HOST_PAGE_H_
#define STELE_KERNELS_HOST_PAGE_H_

#include "arithmetic.h"
#include "stele/schema/kv_page.h"

STELE_INT(kv)  // how pages store an element: a schema::KvElement

namespace stele {

using schema::KvElement;

STELE_INLINE KvElement Stored() { return static_cast<KvElement>(stele_kv); }

// Whether a unit of a page is what products read, as it is.
STELE_INLINE bool IsStoredAsUnits() {
  return Stored() == (kDepth == 2 ? KvElement::kBf16 : KvElement::kF32);
}
STELE_INLINE int64_t ElementBytes() {
  return static_cast<int64_t>(schema::KvElementBytes(Stored()));
}

class PageShape {
 public:
  constexpr PageShape(int64_t block, int64_t head_dim)
      : block_(block), head_dim_(head_dim) {}

  int64_t KeySteps() const { return head_dim_ / kDepth; }
  bool HasOddColumn() const { return head_dim_ % kDepth != 0; }
  int64_t Bytes() const {
    return static_cast<int64_t>(
        schema::KvPageBytes(Stored(), static_cast<uint64_t>(block_),
                            static_cast<uint64_t>(head_dim_)));
  }

  // Element of K: row `key` of the page, column `i`.
  int64_t KeyElement(int64_t key, int64_t i) const {
    if (i >= KeySteps() * kDepth) return OddColumn(key);
    const int64_t unit =
        (key / kLanes * KeySteps() + i / kDepth) * kLanes + key % kLanes;
    return unit * kDepth + i % kDepth;
  }
  int64_t OddColumn(int64_t key) const {
    return block_ * (head_dim_ - 1) + key;
  }
  int64_t ValueElement(int64_t key, int64_t i) const {
    return block_ * head_dim_ + (key / kDepth * head_dim_ + i) * kDepth +
           key % kDepth;
  }
  // Bytes from the page's start to the scales of its keys; of values.
  int64_t KeyScales() const { return 2 * block_ * head_dim_; }
  int64_t ValueScales() const {
    return KeyScales() + block_ * static_cast<int64_t>(sizeof(float));
  }

 private:
  int64_t block_, head_dim_;
};

// Page of the cache that holds token `position` of sequence `s`.
STELE_INLINE char* PageOf(char* cache, const PageShape& shape,
                          const SteleBatch* batch, int64_t s, int64_t layer,
                          int64_t kv_heads, int64_t head, int64_t block_index) {
  const int64_t row = layer * kv_heads + head;
  const int64_t page =
      batch->page_tables[s][row * batch->page_table_blocks + block_index];
  return cache + page * shape.Bytes();
}

// Stores an element; for int8, its code.
STELE_INLINE void StoreElement(char* page, int64_t element, float value) {
  char* at = page + element * ElementBytes();
  if (Stored() == KvElement::kF32)
    *reinterpret_cast<float*>(at) = value;
  else if (Stored() == KvElement::kBf16)
    *reinterpret_cast<uint16_t*>(at) = ToBf16(value);
  else if (Stored() == KvElement::kInt8)
    *reinterpret_cast<int8_t*>(at) = static_cast<int8_t>(value);
  else
    *reinterpret_cast<uint16_t*>(at) = ToF16(value);
}

STELE_INLINE float LoadElement(const char* page, int64_t element) {
  const char* at = page + element * ElementBytes();
  if (Stored() == KvElement::kF32) return *reinterpret_cast<const float*>(at);
  if (Stored() == KvElement::kBf16)
    return FromBf16(*reinterpret_cast<const uint16_t*>(at));
  if (Stored() == KvElement::kInt8) return *reinterpret_cast<const int8_t*>(at);
  return FromF16(*reinterpret_cast<const uint16_t*>(at));
}

// 16 neighbouring elements as floats.
STELE_INLINE V16 LoadElements(const char* at) {
  typedef uint16_t Halves __attribute__((vector_size(32), aligned(1)));
  typedef int8_t Codes __attribute__((vector_size(16), aligned(1)));
  if (Stored() == KvElement::kF32)
    return Load(reinterpret_cast<const float*>(at));
  if (Stored() == KvElement::kInt8)
    return __builtin_convertvector(*reinterpret_cast<const Codes*>(at), V16);
  if (Stored() == KvElement::kF16) return LoadHalves(at);
  const Halves halves = *reinterpret_cast<const Halves*>(at);
  return reinterpret_cast<V16>(__builtin_convertvector(halves, U16) << 16);
}

// 16 units that are stored from `unit` of `from` on.
STELE_INLINE U16 LoadStored(const char* from, int64_t unit) {
  const char* at = from + unit * kDepth * ElementBytes();
  if (IsStoredAsUnits())
    return LoadUnits(reinterpret_cast<const uint32_t*>(at));
  return ToUnits([&](int64_t i) {
    return LoadElements(at + i * kLanes * ElementBytes());
  });
}

// The first n (1..15) of them, zero elsewhere; reads nothing beyond.
STELE_INLINE U16 LoadFirstStored(const char* from, int64_t unit, int64_t n) {
  const char* at = from + unit * kDepth * ElementBytes();
  if (IsStoredAsUnits())
    return LoadFirstUnits(reinterpret_cast<const uint32_t*>(at), n);
  char copy[kLanes * sizeof(uint32_t)] = {};
#pragma clang loop unroll(disable) vectorize(disable)
  for (int64_t i = 0; i < n * kDepth * ElementBytes(); ++i) copy[i] = at[i];
  return LoadStored(copy, 0);
}

// What each key has, from x on, for every one of its `Depth` elements in a
// vector.
template <int64_t Depth>
STELE_INLINE V16 LoadForKeys(const float* x) {
  const V16 v = Load(x);
  if (Depth == 1) return v;
  return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6,
                                 7, 7);
}

// 16 neighbouring elements of K from `element` on, `Depth` of each key from
// `key` on, as numbers; 0 for keys from `count` on, which may not be there.
template <int64_t Depth>
STELE_INLINE V16 LoadKeys(const char* page, const PageShape& shape,
                          int64_t element, int64_t key, int64_t count) {
  V16 value = LoadElements(page + element * ElementBytes());
  if (Stored() == KvElement::kInt8)
    value *= LoadForKeys<Depth>(
        reinterpret_cast<const float*>(page + shape.KeyScales()) + key);
  const I16 index =
      kIota / static_cast<int32_t>(Depth) + static_cast<int32_t>(key);
  return index < static_cast<int32_t>(count) ? value : V16{};
}

// The sum of a page's first `count` keys, times `share`, from what the page
// stores alone. With `weights` each key times its own, of which 16 more than
// keys may be read.
STELE_INLINE void SumKeys(const char* page, const PageShape& shape,
                          int64_t count, const float* weights, float share,
                          float* to) {
  for (int64_t step = 0; step < shape.KeySteps(); ++step) {
    float lanes[kLanes];
    V16 sum{};
    for (int64_t key = 0; key < count; key += kLanes)
      for (int64_t i = 0; i < kDepth; ++i) {
        const int64_t first = key + i * kLanes / kDepth;
        V16 keys = LoadKeys<kDepth>(
            page, shape, shape.KeyElement(key, step * kDepth) + i * kLanes,
            first, count);
        if (weights) keys *= LoadForKeys<kDepth>(weights + first);
        sum += keys;
      }
    Store(lanes, sum);
    for (int width = kLanes / 2; width >= kDepth; width /= 2)
      for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    for (int64_t i = 0; i < kDepth; ++i)
      to[step * kDepth + i] = lanes[i] * share;
  }
  if (!shape.HasOddColumn()) return;
  V16 sum{};
  for (int64_t key = 0; key < count; key += kLanes) {
    V16 keys = LoadKeys<1>(page, shape, shape.OddColumn(key), key, count);
    if (weights) keys *= Load(weights + key);
    sum += keys;
  }
  to[shape.KeySteps() * kDepth] = Sum(sum) * share;
}

// The sum of a page's values, each times its weight and `share`; `to` has room
// for a unit of V.
STELE_INLINE void SumValues(const char* page, const PageShape& shape,
                            int64_t block, int64_t head_dim,
                            const float* weights, float share, float* to) {
  const int64_t width = head_dim * kDepth;
  for (int64_t i = 0; i < width; ++i) to[i] = 0.0f;
  const auto* scales =
      reinterpret_cast<const float*>(page + shape.ValueScales());
  for (int64_t unit = 0; unit < block / kDepth; ++unit) {
    float weight[kDepth];
    for (int64_t i = 0; i < kDepth; ++i) {
      const int64_t key = unit * kDepth + i;
      weight[i] = weights[key] * share;
      if (Stored() == KvElement::kInt8) weight[i] *= scales[key];
    }
    V16 lanes;
    for (int i = 0; i < kLanes; ++i) lanes[i] = weight[i % kDepth];
    const int64_t element = shape.ValueElement(unit * kDepth, 0);
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes)
      Store(to + i, Fma(LoadElements(page + (element + i) * ElementBytes()),
                        lanes, Load(to + i)));
    for (; i < width; ++i)
      to[i] += LoadElement(page, element + i) * weight[i % kDepth];
  }
  for (int64_t i = 0; i < head_dim; ++i) {
    float sum = 0.0f;
    for (int64_t j = 0; j < kDepth; ++j) sum += to[i * kDepth + j];
    to[i] = sum;
  }
}

// The mean of a page's first `count` keys.
STELE_INLINE void MeanKey(const char* page, const PageShape& shape,
                          int64_t count, float* mean) {
  SumKeys(page, shape, count, /*weights=*/nullptr,
          1.0f / static_cast<float>(count), mean);
}

// The products of x with 16 keys of a page of `count`, from `key` on.
STELE_INLINE V16 ScoreKeys(const char* page, const PageShape& shape,
                           const float* x, int64_t key, int64_t count) {
  float lanes[kDepth * kLanes];
  V16 sum[kDepth] = {};
  for (int64_t step = 0; step < shape.KeySteps(); ++step) {
    V16 elements;
    for (int i = 0; i < kLanes; ++i)
      elements[i] = x[step * kDepth + i % kDepth];
    for (int64_t i = 0; i < kDepth; ++i)
      sum[i] = Fma(
          LoadKeys<kDepth>(page, shape,
                           shape.KeyElement(key, step * kDepth) + i * kLanes,
                           key + i * kLanes / kDepth, count),
          elements, sum[i]);
  }
  for (int64_t i = 0; i < kDepth; ++i) Store(lanes + i * kLanes, sum[i]);
  V16 scores{};
  for (int i = 0; i < kLanes; ++i)
    for (int64_t j = 0; j < kDepth; ++j) scores[i] += lanes[i * kDepth + j];
  if (!shape.HasOddColumn()) return scores;
  return Fma(LoadKeys<1>(page, shape, shape.OddColumn(key), key, count),
             Splat(x[shape.KeySteps() * kDepth]), scores);
}

}  // namespace stele

#endif  // STELE_KERNELS_HOST_PAGE_H_
