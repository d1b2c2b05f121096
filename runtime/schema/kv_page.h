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

// Bytes of `block` tokens of one layer and KV head: K and V, for int8 the f32
// scale of each key and value, and padding to a cache line. `block` and
// `head_dim` are at most 2^16.
constexpr uint64_t KvPageBytes(KvElement element, uint64_t block,
                               uint64_t head_dim) {
  const uint64_t scales =
      element == KvElement::kInt8 ? 2 * block * sizeof(float) : 0;
  const uint64_t bytes =
      2 * block * head_dim * KvElementBytes(element) + scales;
  return (bytes + 63) / 64 * 64;
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_KV_PAGE_H_
