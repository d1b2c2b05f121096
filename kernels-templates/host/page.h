// One page of the KV cache, as the host kernels lay it out: `block` tokens of
// one layer and KV head, K [block, head_dim] and then V [block, head_dim],
// both in units of 4 bytes (an f32 or a pair of bf16).
//
//   K  [block / 16][head_dim / kDepth][16]  one unit: kDepth elements of one
//   key
//      then, for bf16 and odd head_dim, the last elements [block / 16][16]
//   V  [block / kDepth][head_dim]           one unit: one column of kDepth keys
//
// so that scores of 16 keys, and 16 columns of the output, are a vector each.
// The odd half of V's last unit is 0 while its key is not there: attention
// multiplies it by a probability of 0, and must not meet a NaN.
#ifndef STELE_KERNELS_HOST_PAGE_H_
#define STELE_KERNELS_HOST_PAGE_H_

#include "arithmetic.h"

namespace stele {

class PageShape {
 public:
  constexpr PageShape(int64_t block, int64_t head_dim)
      : block_(block), head_dim_(head_dim) {}

  int64_t KeySteps() const { return head_dim_ / kDepth; }
  bool HasOddColumn() const { return head_dim_ % kDepth != 0; }
  int64_t Elements() const { return 2 * block_ * head_dim_; }

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

 private:
  int64_t block_, head_dim_;
};

// Page of the cache that holds token `position` of sequence `s`.
STELE_INLINE Element* PageOf(Element* cache, const PageShape& shape,
                             const SteleBatch* batch, int64_t s, int64_t layer,
                             int64_t kv_heads, int64_t head,
                             int64_t block_index) {
  const int64_t row = layer * kv_heads + head;
  const int64_t page =
      batch->page_tables[s][row * batch->page_table_blocks + block_index];
  return cache + page * shape.Elements();
}

}  // namespace stele

#endif  // STELE_KERNELS_HOST_PAGE_H_
