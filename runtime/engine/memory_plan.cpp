// Sums and text of a memory plan; see memory_plan.h.
#include "stele/runtime/engine/memory_plan.h"

#include "stele/runtime/base/format.h"

namespace stele {

uint64_t MemoryPlan::Sum(bool mapped) const {
  uint64_t sum = 0;
  for (const MemoryItem& item : items)
    if (item.mapped == mapped) sum += item.bytes;
  return sum;
}

uint64_t MemoryPlan::on_device() const {
  uint64_t sum = 0;
  for (const MemoryItem& item : items)
    if (item.on_device) sum += item.bytes;
  return sum;
}

std::string MemoryPlan::DeviceSum() const {
  std::string text;
  for (const MemoryItem& item : items)
    if (item.on_device)
      text += (text.empty() ? "" : " + ") + item.name + " " +
              FormatBytes(item.bytes);
  return text;
}

std::string MemoryPlan::ToString() const {
  std::string text = "memory plan\n";
  for (const MemoryItem& item : items)
    text +=
        Format("  %-28s %12s%s\n", item.name.c_str(),
               FormatBytes(item.bytes).c_str(), item.mapped ? "  mapped" : "");
  text +=
      Format("  %-28s %12s, and %s mapped\n", "allocated",
             FormatBytes(allocated()).c_str(), FormatBytes(mapped()).c_str());
  return text;
}

}  // namespace stele
