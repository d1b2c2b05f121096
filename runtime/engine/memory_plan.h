// What an engine will use, decided and printed before the first token.
#ifndef STELE_RUNTIME_ENGINE_MEMORY_PLAN_H_
#define STELE_RUNTIME_ENGINE_MEMORY_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

namespace stele {

struct MemoryItem {
  std::string name;  // "KV pages"
  uint64_t bytes;
  bool mapped;  // file pages that the system can drop and read again
};

struct MemoryPlan {
  std::vector<MemoryItem> items;

  uint64_t allocated() const { return Sum(false); }
  uint64_t mapped() const { return Sum(true); }
  // One line an item, and the sums.
  std::string ToString() const;

 private:
  uint64_t Sum(bool mapped) const;
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_MEMORY_PLAN_H_
