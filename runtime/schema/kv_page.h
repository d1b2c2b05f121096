// How large a page of the KV cache is: the one rule for the compiler that plans
// it, the runtime that checks and allocates it, and the kernels that fill it.
//
// Place on the road: the page shape of the plan dialect, the verifier of
// runtime/plan and page.h of the host templates, which says what lies where; of
// the records that pages are packed into when they leave device memory,
// page_codec.cpp there says it.
#ifndef STELE_SCHEMA_KV_PAGE_H_
#define STELE_SCHEMA_KV_PAGE_H_

#include <stdint.h>

namespace stele::schema {

// What a page or record stores for an element of K or V. Numbered as DType of
// plan.fbs. kInt4 is for records only.
enum class KvElement { kF32 = 0, kF16 = 1, kBf16 = 2, kInt8 = 4, kInt4 = 7 };

constexpr uint64_t KvElementBytes(KvElement element) {
  if (element == KvElement::kInt8) return 1;
  return element == KvElement::kF32 ? 4 : 2;
}

constexpr uint64_t KvPadded(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

// Bytes of a page: K and V of `block` tokens of one layer and KV head, for int8
// the f32 scale of each key and value, and padding to a cache line. `block` and
// `head_dim` are at most 2^16.
constexpr uint64_t KvPageBytes(KvElement element, uint64_t block,
                               uint64_t head_dim) {
  const uint64_t scales =
      element == KvElement::kInt8 ? 2 * block * sizeof(float) : 0;
  return KvPadded(2 * block * head_dim * KvElementBytes(element) + scales);
}

// Whether pages of `hot` can be packed into records of `warm`: as they are, or
// rounded to codes.
constexpr bool KvCanPack(KvElement hot, KvElement warm) {
  if (warm == hot) return true;
  return (warm == KvElement::kInt8 || warm == KvElement::kInt4) &&
         (hot == KvElement::kF32 || hot == KvElement::kBf16);
}

// Bytes from a record's start to its scales, behind the codes of K and V.
// Columns of K, and tokens of V, share a byte of int4 two by two.
constexpr uint64_t KvRecordScales(KvElement warm, uint64_t block,
                                  uint64_t head_dim) {
  if (warm == KvElement::kInt8) return 2 * block * head_dim;
  return block * ((head_dim + 1) / 2) + block / 2 * head_dim;
}

// Bytes of the record that a page of `block` tokens is packed into, a multiple
// of 64: a copy has all of the page; codes have an f32 scale (int8), or a scale
// and an offset of f16 (int4), for each key and each value.
constexpr uint64_t KvRecordBytes(KvElement hot, KvElement warm, uint64_t block,
                                 uint64_t head_dim) {
  if (warm == hot) return KvPageBytes(hot, block, head_dim);
  return KvPadded(KvRecordScales(warm, block, head_dim) + 8 * block);
}

// Context paging. A step lies in one cell [k * grid, (k + 1) * grid) of its
// sequence's positions; there the blocks that end behind k * grid - window are
// in device memory, and `sinks` first ones. So which form of a page a query
// sees follows from its position alone. `grid` and `window` are multiples of
// the block. This many blocks from the first on have fallen out, but for sinks.
constexpr uint64_t KvFallen(uint64_t position, uint64_t window, uint64_t grid,
                            uint64_t sinks, uint64_t block) {
  const uint64_t cell = position / grid * grid;
  const uint64_t fallen = cell > window ? (cell - window) / block : 0;
  return fallen > sinks ? fallen : sinks;
}

// Blocks of a sequence of `blocks` blocks that device memory holds at most: the
// cell that falls out waits there until its layer was packed.
constexpr uint64_t KvHotBlocks(uint64_t blocks, uint64_t window, uint64_t grid,
                               uint64_t sinks, uint64_t block) {
  const uint64_t most = sinks + (window + 2 * grid) / block;
  return blocks < most ? blocks : most;
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_KV_PAGE_H_
