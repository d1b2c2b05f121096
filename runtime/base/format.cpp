// Sizes, counts and times as text; see format.h.
#include "stele/runtime/base/format.h"

#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <utility>

#include "stele/runtime/base/checked.h"

namespace stele {
namespace {

struct Unit {
  std::string_view suffix;
  uint64_t factor;
};

std::optional<uint64_t> ParseWithUnit(std::string_view text,
                                      std::initializer_list<Unit> units) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view suffix(rest, static_cast<size_t>(end - rest));
  for (const Unit& unit : units)
    if (unit.suffix == suffix) return CheckedMul(number, unit.factor);
  return std::nullopt;
}

}  // namespace

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

std::optional<uint64_t> ParseBytes(std::string_view text) {
  return ParseWithUnit(text, {{"", 1},
                              {"B", 1},
                              {"KiB", 1ull << 10},
                              {"MiB", 1ull << 20},
                              {"GiB", 1ull << 30},
                              {"TiB", 1ull << 40}});
}

std::optional<uint64_t> ParseCount(std::string_view text) {
  return ParseWithUnit(text, {{"", 1}, {"K", 1024}, {"M", 1024 * 1024}});
}

}  // namespace stele
