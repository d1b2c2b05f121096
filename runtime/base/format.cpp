// Sizes, counts and times as text; see format.h.
#include "stele/runtime/base/format.h"

#include <cstdarg>
#include <cstdio>

namespace stele {

std::string Format(const char* format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, arguments);
  va_end(arguments);
  std::string text(length > 0 ? static_cast<size_t>(length) : 0, '\0');
  std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  return text;
}

std::string FormatBytes(uint64_t bytes) {
  if (bytes < 1024)
    return Format("%llu B", static_cast<unsigned long long>(bytes));
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  int unit = 0;
  while (value >= 1024 && unit < 5) {
    value /= 1024;
    ++unit;
  }
  return Format("%.1f %s", value, kUnits[unit]);
}

std::string FormatSeconds(double seconds) {
  if (seconds < 1e-3) return Format("%.0f us", seconds * 1e6);
  if (seconds < 1) return Format("%.1f ms", seconds * 1e3);
  if (seconds < 60) return Format("%.2f s", seconds);
  const auto whole = static_cast<uint64_t>(seconds);
  return Format("%llu min %llu s", static_cast<unsigned long long>(whole / 60),
                static_cast<unsigned long long>(whole % 60));
}

std::string Printable(std::string_view text) {
  constexpr size_t kLongest = 100;
  std::string out;
  for (unsigned char c : text.substr(0, kLongest))
    out += c >= 0x20 && c < 0x7f ? std::string(1, static_cast<char>(c))
                                 : Format("\\x%02x", c);
  return text.size() > kLongest ? out + "..." : out;
}

}  // namespace stele
