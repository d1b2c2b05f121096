// Sizes as text, both ways (Sizes.h).

#include "stele/compiler/Targets/Sizes.h"
#include "stele/schema/size_text.h"
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
  std::optional<uint64_t> bytes = schema::ParseSize(text);
  if (!bytes || *bytes == 0 || *bytes > maxBytes)
    return std::nullopt;
  return *bytes;
}
