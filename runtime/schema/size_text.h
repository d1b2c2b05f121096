// Sizes of memory and counts of tokens as users write them: K, M, G and T are
// powers of 1024, in either case; behind them a size may have "B" or "iB".
//
// Place on the road: flags of the compiler and of the runtime's programs.
#ifndef STELE_SCHEMA_SIZE_TEXT_H_
#define STELE_SCHEMA_SIZE_TEXT_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace stele::schema {

constexpr char LowerCase(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

constexpr std::optional<uint64_t> CheckedScale(uint64_t number,
                                               uint64_t factor) {
  if (number > std::numeric_limits<uint64_t>::max() / factor)
    return std::nullopt;
  return number * factor;
}

// Takes the digits in front of `text`; nothing if there are none, or too many.
constexpr std::optional<uint64_t> TakeNumber(std::string_view* text) {
  std::optional<uint64_t> number;
  while (!text->empty() && text->front() >= '0' && text->front() <= '9') {
    const auto tens = CheckedScale(number.value_or(0), 10);
    const auto digit = static_cast<uint64_t>(text->front() - '0');
    if (!tens || *tens > std::numeric_limits<uint64_t>::max() - digit)
      return std::nullopt;
    number = *tens + digit;
    text->remove_prefix(1);
  }
  return number;
}

// Takes the letter of a power of 1024 in front of `text`, if there is one.
constexpr uint64_t TakeFactor(std::string_view letters,
                              std::string_view* text) {
  if (text->empty()) return 1;
  const size_t power = letters.find(LowerCase(text->front()));
  if (power == std::string_view::npos) return 1;
  text->remove_prefix(1);
  return uint64_t{1} << 10 * (power + 1);
}

// "4096", "64KiB", "700m", "8GB".
constexpr std::optional<uint64_t> ParseSize(std::string_view text) {
  const auto number = TakeNumber(&text);
  if (!number) return std::nullopt;
  const uint64_t factor = TakeFactor("kmgt", &text);
  if (factor > 1 && text.size() == 2 && LowerCase(text.front()) == 'i')
    text.remove_prefix(1);
  const bool ends =
      text.empty() || (text.size() == 1 && LowerCase(text.front()) == 'b');
  return ends ? CheckedScale(*number, factor) : std::nullopt;
}

// "8192", "32K", "1m".
constexpr std::optional<uint64_t> ParseCount(std::string_view text) {
  const auto number = TakeNumber(&text);
  if (!number) return std::nullopt;
  const uint64_t factor = TakeFactor("km", &text);
  return text.empty() ? CheckedScale(*number, factor) : std::nullopt;
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_SIZE_TEXT_H_
