// Byte pair encoding of one piece of text.
//
// The inner loop of tokenisation: symbols merge pairwise, the pair of the
// lowest rank first and of equal ranks the leftmost, until no pair is in the
// table. Short pieces scan for the best pair; long ones keep a heap, so that a
// word of a million characters costs n log n. Immutable, thread safe.
#ifndef STELE_RUNTIME_TEXT_BPE_H_
#define STELE_RUNTIME_TEXT_BPE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stele::text {

class MergeTable {
 public:
  struct Merge {
    uint32_t rank;
    uint32_t result;
  };

  explicit MergeTable(size_t merges);
  // Of two merges of the same pair the later one counts.
  void Add(uint32_t left, uint32_t right, Merge merge);
  // The merge of a pair, or null.
  const Merge* Find(uint32_t left, uint32_t right) const {
    for (size_t i = Hash(left, right);; ++i) {
      const Slot& slot = slots_[i & mask_];
      if (slot.left == left && slot.right == right) return &slot.merge;
      if (slot.left == kEmpty) return nullptr;
    }
  }

  // Merges `symbols` in place until nothing is left to merge.
  void Apply(std::vector<uint32_t>& symbols) const;

 private:
  static constexpr uint32_t kEmpty = UINT32_MAX;
  struct Slot {
    uint32_t left = kEmpty;
    uint32_t right = 0;
    Merge merge{};
  };

  size_t Hash(uint32_t left, uint32_t right) const {
    const uint64_t key = uint64_t{left} << 32 | right;
    return static_cast<size_t>((key * 0x9E3779B97F4A7C15u) >> shift_);
  }
  void ApplyShort(std::vector<uint32_t>& symbols) const;
  void ApplyLong(std::vector<uint32_t>& symbols) const;

  std::vector<Slot> slots_;
  size_t mask_;
  int shift_;
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_BPE_H_
