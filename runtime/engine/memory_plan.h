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
  bool mapped;             // file pages that the system can drop and read again
  bool on_device = false;  // counts against --device-memory
};

struct MemoryPlan {
  std::vector<MemoryItem> items;

  uint64_t allocated() const { return Sum(false); }
  uint64_t mapped() const { return Sum(true); }
  uint64_t on_device() const;
  // What is on the device, as a sum: "weights 2.0 MiB + activations 1.0 MiB".
  std::string DeviceSum() const;
  // One line an item, and the sums.
  std::string ToString() const;

 private:
  uint64_t Sum(bool mapped) const;
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_MEMORY_PLAN_H_
