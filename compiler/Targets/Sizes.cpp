// Sizes as text, both ways (Sizes.h).

#include "stele/compiler/Targets/Sizes.h"
#include "llvm/Support/FormatVariadic.h"

using namespace stele;

static constexpr uint64_t maxBytes = uint64_t(1) << 50;

std::string compiler::showBytes(uint64_t bytes) {
  static constexpr const char *units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = bytes;
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit)
    value /= 1024;
  return llvm::formatv(unit == 0 ? "{0:f0} {1}" : "{0:f1} {1}", value,
                       units[unit]);
}

std::string compiler::showCount(int64_t count) {
  return llvm::formatv("{0:N}", count);
}

std::optional<int64_t> compiler::parseBytes(llvm::StringRef text) {
  uint64_t scale = text.consume_back("KiB")   ? uint64_t(1) << 10
                   : text.consume_back("MiB") ? uint64_t(1) << 20
                   : text.consume_back("GiB") ? uint64_t(1) << 30
                   : text.consume_back("TiB") ? uint64_t(1) << 40
                                              : 1;
  uint64_t value;
  if (text.getAsInteger(10, value) || value == 0 || value > maxBytes / scale)
    return std::nullopt;
  return value * scale;
}
