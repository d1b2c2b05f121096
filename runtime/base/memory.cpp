// Available memory as Linux counts it; see memory.h.
#include "stele/runtime/base/memory.h"

#include <cstdlib>
#include <string>
#include <string_view>

#include "stele/runtime/base/file.h"

namespace stele {

uint64_t AvailableMemory() {
  constexpr std::string_view kKey = "MemAvailable:";
  const Result<std::string> text = ReadFile("/proc/meminfo", 1 << 20);
  if (!text.ok()) return 0;
  const size_t at = text->find(kKey);
  if (at == std::string::npos) return 0;
  return std::strtoull(text->c_str() + at + kKey.size(), nullptr, 10) * 1024;
}

}  // namespace stele
