// KV cache pages and the tables that say which sequence holds which.
//
// Place on the road: runtime/engine plans one pool per cache, reserves blocks
// when it admits a session, and lets a session's table grow as its tokens
// come; kernels find a token's K and V through the table (host_abi.h).
//
// A page holds one layer and one KV head of `block_tokens` tokens. A sequence
// takes pages for all layers and heads together: a block. Not thread safe.
#ifndef STELE_RUNTIME_CONTEXT_PAGE_POOL_H_
#define STELE_RUNTIME_CONTEXT_PAGE_POOL_H_

#include <cstdint>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/schema/plan_generated.h"

namespace stele {

// The geometry of a cache, from a verified plan.
struct CacheShape {
  uint32_t layers = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t block_tokens = 1;
  uint64_t page_bytes = 0;
  bool transient = false;    // no step reads what one before it wrote
  bool key_index = false;    // full pages have an entry in it
  bool value_index = false;  // with their mean values

  static CacheShape Of(const plan::KvCache& cache);
  uint64_t pages_per_block() const { return uint64_t{layers} * kv_heads; }
  uint64_t block_bytes() const { return pages_per_block() * page_bytes; }
  // Pieces of a page's entry in the key index (key_index.h), bytes of its mean
  // value, of the whole entry, and of page and entry as a store has them.
  uint64_t key_pieces() const;
  uint64_t value_bytes() const;
  uint64_t key_entry_bytes() const;
  uint64_t stored_bytes() const { return page_bytes + key_entry_bytes(); }
  // Bytes of a row of the index of a sequence that may have `blocks` blocks,
  // and of all.
  uint64_t KeyIndexRowBytes(uint64_t blocks) const;
  uint64_t KeyIndexBytes(uint64_t blocks) const;
  uint64_t BlocksFor(uint64_t tokens) const;
  // The most that a sequence of `tokens` tokens holds at a time, taken in steps
  // of at most `chunk`.
  uint64_t BlocksHeld(uint64_t tokens, uint64_t chunk) const;
};

// Hands out page numbers [0, blocks * pages_per_block). Reservations keep a
// promise: a session that was admitted never fails to grow later.
class PagePool {
 public:
  // Fails when there are more pages than an int32 can number.
  static Result<PagePool> Create(const CacheShape& shape, uint64_t blocks);

  const CacheShape& shape() const { return shape_; }
  uint64_t blocks() const { return blocks_; }
  uint64_t free_blocks() const { return blocks_ - reserved_; }

  // Sets aside `blocks`; false when fewer are free.
  bool Reserve(uint64_t blocks);
  void Unreserve(uint64_t blocks) { reserved_ -= blocks; }

  // One page out of, or back into, what is reserved.
  int32_t Take();
  void Return(int32_t page) { free_.push_back(page); }

 private:
  PagePool(const CacheShape& shape, uint64_t blocks);

  CacheShape shape_;
  uint64_t blocks_;
  uint64_t reserved_ = 0;
  std::vector<int32_t> free_;  // lowest page last
};

// The pages of one sequence: int32 [layers, kv_heads, max_blocks]. Reserves
// blocks for its longest length while it lives; the pool must outlive it.
class PageTable {
 public:
  // `max_blocks` is the length of a row, the same for all sequences of a
  // batch; `reserve_blocks` of them may be used. The pool must have them free.
  PageTable(PagePool* pool, uint64_t max_blocks, uint64_t reserve_blocks);
  ~PageTable();
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  // Makes room for `tokens` tokens, at most what was reserved.
  void Grow(uint64_t tokens);
  // Gives back the blocks behind the first `tokens` tokens.
  void Truncate(uint64_t tokens);
  // Gives back, or never takes, the whole blocks of the first `tokens` tokens,
  // which nothing reads again.
  void Forget(uint64_t tokens);
  // Blocks [begin, end), or from where this ended before, are somebody else's
  // from now on, who has taken their pages, if they were there, and sets what
  // is in place of them.
  void GiveAway(uint64_t begin, uint64_t end);
  void Set(uint64_t row, uint64_t block, int32_t page) {
    pages_[row * max_blocks_ + block] = page;
  }

  const int32_t* data() const { return pages_.data(); }
  // Behind the last block that is there.
  uint64_t blocks() const { return used_; }
  // Page `row` of a block that is there; a row is a layer and KV head.
  int32_t page(uint64_t row, uint64_t block) const {
    return pages_[row * max_blocks_ + block];
  }

 private:
  void Return(uint64_t block);

  PagePool* pool_;
  uint64_t max_blocks_;
  uint64_t reserved_;
  // Blocks [0, gap_begin_) and [gap_end_, used_) are there.
  uint64_t gap_begin_ = 0;
  uint64_t gap_end_ = 0;
  uint64_t used_ = 0;
  std::vector<int32_t> pages_;
};

}  // namespace stele

#endif  // STELE_RUNTIME_CONTEXT_PAGE_POOL_H_
