// The selection that block selection writes and block-sparse attention reads:
// runtime/schema/block_selection.h says which bit is where.
#ifndef STELE_KERNELS_HOST_SELECTION_H_
#define STELE_KERNELS_HOST_SELECTION_H_

#include "query.h"
#include "stele/schema/block_selection.h"

STELE_INT(blocks)    // key blocks of the longest context
STELE_INT(select)    // how blocks are chosen: a BlockSelect of LmEnums.td
STELE_INT(local)     // key blocks that every query block keeps: its own and the
STELE_INT(adjacent)  // ones before it,
STELE_INT(sink)      // and the first ones
STELE_INT(dense)     // the first query blocks, which keep everything

namespace stele {

STELE_INLINE int64_t SelectionWords() {
  return static_cast<int64_t>(schema::SelectionWords(stele_blocks));
}

// The words of a query block, whose first token in the step is `token`.
STELE_INLINE uint32_t* SelectionOf(uint32_t* selection, int64_t token,
                                   int64_t head) {
  return selection +
         schema::SelectionRow(token, stele_kv_heads, head, SelectionWords());
}

STELE_INLINE bool KeepsAlways(int64_t query_block, int64_t key_block) {
  return query_block < stele_dense || key_block < stele_sink ||
         key_block > query_block - stele_local - stele_adjacent;
}

// The key blocks that a query block keeps.
class KeptBlocks {
 public:
  // `words` is null where none are chosen.
  KeptBlocks(const uint32_t* words, int64_t query_block)
      : words_(words), query_block_(query_block) {}
  // All blocks.
  KeptBlocks() = default;

  // The first one from `from` on. The query block keeps itself.
  int64_t Next(int64_t from) const {
    if (from >= query_block_) return from;
    if (!words_)
      return KeepsAlways(query_block_, from)
                 ? from
                 : query_block_ - stele_local - stele_adjacent + 1;
    int64_t word = from / 32;
    uint32_t bits = words_[word] & (~0u << from % 32);
    while (bits == 0) bits = words_[++word];
    return word * 32 + __builtin_ctz(bits);
  }

 private:
  const uint32_t* words_ = nullptr;
  int64_t query_block_ = 0;
};

// A sequence's tokens of the step, cut where their positions are multiples of
// `unit`.
class TokenGrid {
 public:
  TokenGrid(const SteleBatch* batch, int64_t s, int64_t unit)
      : begin_(batch->q_offsets[s]),
        end_(batch->q_offsets[s + 1]),
        unit_(unit) {
    origin_ = begin_ < end_ ? begin_ - batch->positions[begin_] % unit : end_;
  }
  int64_t count() const { return (end_ - origin_ + unit_ - 1) / unit_; }
  Range at(int64_t i) const {
    return {Max(begin_, origin_ + i * unit_),
            Min(end_, origin_ + (i + 1) * unit_)};
  }

 private:
  int64_t begin_, end_, unit_, origin_;
};

}  // namespace stele

#endif  // STELE_KERNELS_HOST_SELECTION_H_
