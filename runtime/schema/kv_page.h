// How large a page of the KV cache is: the one rule for the compiler that plans
// it, the runtime that checks and allocates it, and the kernels that fill it.
//
// Place on the road: the page shape of the plan dialect, the verifier of
// runtime/plan and page.h of the host templates, which says what lies where.
#ifndef STELE_SCHEMA_KV_PAGE_H_
#define STELE_SCHEMA_KV_PAGE_H_

#include <stdint.h>

namespace stele::schema {

// What a page stores for an element of K or V. Numbered as DType of plan.fbs.
enum class KvElement { kF32 = 0, kF16 = 1, kBf16 = 2, kInt8 = 4 };

constexpr uint64_t KvElementBytes(KvElement element) {
  if (element == KvElement::kInt8) return 1;
  return element == KvElement::kF32 ? 4 : 2;
}

constexpr uint64_t KvPadded(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

// Bytes from a page's start to the mean of its keys, f32 [head_dim]: behind K
// and V of `block` tokens of one layer and KV head, for int8 the f32 scale of
// each key and value, and padding to a cache line. `block` and `head_dim` are
// at most 2^16.
constexpr uint64_t KvMeanKey(KvElement element, uint64_t block,
                             uint64_t head_dim) {
  const uint64_t scales =
      element == KvElement::kInt8 ? 2 * block * sizeof(float) : 0;
  return KvPadded(2 * block * head_dim * KvElementBytes(element) + scales);
}

// Bytes of a page. With `mean_keys` it ends in the mean of its keys, by which
// block selection finds it; there once the page is full.
constexpr uint64_t KvPageBytes(KvElement element, uint64_t block,
                               uint64_t head_dim, bool mean_keys = false) {
  return KvMeanKey(element, block, head_dim) +
         (mean_keys ? KvPadded(head_dim * sizeof(float)) : 0);
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_KV_PAGE_H_
