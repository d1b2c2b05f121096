// The merge loops; see bpe.h.
#include "stele/runtime/text/bpe.h"

#include <algorithm>
#include <bit>
#include <queue>

namespace stele::text {
namespace {

// Up to here scanning all pairs beats a heap.
constexpr size_t kShortPiece = 48;

}  // namespace

MergeTable::MergeTable(size_t merges) {
  const size_t slots = std::bit_ceil(std::max<size_t>(16, merges * 3 / 2));
  slots_.resize(slots);
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
}

void MergeTable::Add(uint32_t left, uint32_t right, Merge merge) {
  for (size_t i = Hash(left, right);; ++i) {
    Slot& slot = slots_[i & mask_];
    const bool same = slot.left == left && slot.right == right;
    if (!same && slot.left != kEmpty) continue;
    slot = {left, right, merge};
    return;
  }
}

void MergeTable::Apply(std::vector<uint32_t>& symbols) const {
  if (symbols.size() <= kShortPiece) {
    ApplyShort(symbols);
  } else {
    ApplyLong(symbols);
  }
}

void MergeTable::ApplyShort(std::vector<uint32_t>& symbols) const {
  const Merge* merges[kShortPiece];  // of symbol i with symbol i + 1
  size_t size = symbols.size();
  for (size_t i = 0; i + 1 < size; ++i) {
    merges[i] = Find(symbols[i], symbols[i + 1]);
  }
  while (size > 1) {
    size_t best = size;
    uint32_t rank = UINT32_MAX;
    for (size_t i = 0; i + 1 < size; ++i) {
      if (merges[i] && merges[i]->rank < rank) {
        rank = merges[i]->rank;
        best = i;
      }
    }
    if (best == size) break;
    symbols[best] = merges[best]->result;
    for (size_t i = best + 1; i + 1 < size; ++i) {
      symbols[i] = symbols[i + 1];
      merges[i - 1] = merges[i];
    }
    --size;
    if (best > 0) merges[best - 1] = Find(symbols[best - 1], symbols[best]);
    if (best + 1 < size) merges[best] = Find(symbols[best], symbols[best + 1]);
  }
  symbols.resize(size);
}

void MergeTable::ApplyLong(std::vector<uint32_t>& symbols) const {
  // Symbols form a list; a merge keeps the left one and drops the right one.
  constexpr uint32_t kNone = UINT32_MAX;
  const auto count = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> next(count), previous(count);
  std::vector<bool> dropped(count, false);
  struct Candidate {
    uint32_t rank;
    uint32_t position;
    uint32_t result;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  std::vector<Candidate> heap;
  const auto offer = [&](uint32_t left, uint32_t right) {
    const Merge* merge = Find(symbols[left], symbols[right]);
    if (!merge) return false;
    heap.push_back({merge->rank, left, merge->result});
    return true;
  };
  for (uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1 < count ? i + 1 : kNone;
    previous[i] = i > 0 ? i - 1 : kNone;
    if (i + 1 < count) offer(i, i + 1);
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    const Candidate best = heap.front();
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    const uint32_t left = best.position;
    if (dropped[left] || next[left] == kNone) continue;
    const uint32_t right = next[left];
    // One of the two may have merged with another since.
    const Merge* merge = Find(symbols[left], symbols[right]);
    if (!merge || merge->result != best.result) continue;
    symbols[left] = merge->result;
    dropped[right] = true;
    next[left] = next[right];
    if (next[left] != kNone) previous[next[left]] = left;
    const auto push = [&](uint32_t a, uint32_t b) {
      if (offer(a, b))
        std::push_heap(heap.begin(), heap.end(), std::greater<>());
    };
    if (previous[left] != kNone) push(previous[left], left);
    if (next[left] != kNone) push(left, next[left]);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i != kNone; i = next[i]) symbols[kept++] = symbols[i];
  symbols.resize(kept);
}

}  // namespace stele::text
