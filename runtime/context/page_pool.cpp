// Pages, reservations and page tables; see page_pool.h.
#include "stele/runtime/context/page_pool.h"

#include <algorithm>
#include <limits>

#include "stele/runtime/base/checked.h"
#include "stele/schema/key_index.h"

namespace stele {

CacheShape CacheShape::Of(const plan::KvCache& cache) {
  return {cache.layers(),       cache.kv_heads(),   cache.head_dim(),
          cache.block_tokens(), cache.page_bytes(), cache.transient(),
          cache.key_index(),    cache.value_index()};
}

uint64_t CacheShape::key_pieces() const {
  return key_index ? schema::KeyIndexPieces(head_dim) : 0;
}

uint64_t CacheShape::value_bytes() const {
  return value_index ? schema::KeyIndexValueBytes(head_dim) : 0;
}

uint64_t CacheShape::key_entry_bytes() const {
  return key_pieces() * schema::kKeyIndexDepth + value_bytes();
}

uint64_t CacheShape::KeyIndexRowBytes(uint64_t blocks) const {
  if (!key_index) return 0;
  return schema::KeyIndexRowBytes(blocks, head_dim, value_index);
}

uint64_t CacheShape::KeyIndexBytes(uint64_t blocks) const {
  return pages_per_block() * KeyIndexRowBytes(blocks);
}

uint64_t CacheShape::BlocksFor(uint64_t tokens) const {
  return tokens / block_tokens + (tokens % block_tokens != 0);
}

uint64_t CacheShape::BlocksHeld(uint64_t tokens, uint64_t chunk) const {
  if (!transient) return BlocksFor(tokens);
  // A step may begin inside a block.
  return std::min(BlocksFor(tokens), BlocksFor(chunk) + 1);
}

Result<PagePool> PagePool::Create(const CacheShape& shape, uint64_t blocks) {
  const auto pages = CheckedMul(blocks, shape.pages_per_block());
  if (!pages || *pages > std::numeric_limits<int32_t>::max())
    return ResourceExhausted(
        "a cache of " + std::to_string(blocks) +
        " blocks has more pages than can be numbered; plan fewer tokens");
  return PagePool(shape, blocks);
}

PagePool::PagePool(const CacheShape& shape, uint64_t blocks)
    : shape_(shape), blocks_(blocks) {
  const auto pages = static_cast<int32_t>(blocks * shape.pages_per_block());
  free_.reserve(static_cast<size_t>(pages));
  for (int32_t page = pages; page-- > 0;) free_.push_back(page);
}

bool PagePool::Reserve(uint64_t blocks) {
  if (blocks > free_blocks()) return false;
  reserved_ += blocks;
  return true;
}

int32_t PagePool::Take() {
  const int32_t page = free_.back();
  free_.pop_back();
  return page;
}

PageTable::PageTable(PagePool* pool, uint64_t max_blocks,
                     uint64_t reserve_blocks)
    : pool_(pool),
      max_blocks_(max_blocks),
      reserved_(reserve_blocks),
      pages_(pool->shape().pages_per_block() * max_blocks, 0) {
  pool_->Reserve(reserve_blocks);
}

PageTable::~PageTable() {
  Truncate(0);
  pool_->Unreserve(reserved_);
}

void PageTable::Grow(uint64_t tokens) {
  const uint64_t blocks = pool_->shape().BlocksFor(tokens);
  for (; used_ < blocks; ++used_) {
    if (used_ >= gap_begin_ && used_ < gap_end_) continue;
    for (uint64_t row = 0; row < pool_->shape().pages_per_block(); ++row)
      pages_[row * max_blocks_ + used_] = pool_->Take();
  }
}

void PageTable::Truncate(uint64_t tokens) {
  const uint64_t blocks = pool_->shape().BlocksFor(tokens);
  // Backwards, so that the next taker gets them in the order they had.
  while (used_ > blocks)
    if (--used_ < gap_begin_ || used_ >= gap_end_) Return(used_);
  gap_end_ = std::min(gap_end_, used_);
  gap_begin_ = std::min(gap_begin_, gap_end_);
}

void PageTable::Forget(uint64_t tokens) {
  const uint64_t whole = tokens / pool_->shape().block_tokens;
  while (gap_end_ < std::min(whole, used_)) Return(gap_end_++);
  gap_end_ = std::max(gap_end_, whole);
  used_ = std::max(used_, gap_end_);
}

void PageTable::GiveAway(uint64_t begin, uint64_t end) {
  if (gap_begin_ == gap_end_) gap_begin_ = begin;
  gap_end_ = end;
}

void PageTable::Return(uint64_t block) {
  for (uint64_t row = pool_->shape().pages_per_block(); row-- > 0;)
    pool_->Return(page(row, block));
}

}  // namespace stele
