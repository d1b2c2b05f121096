// Python's str operations. See strings.h.
#include "stele/runtime/text/jinja/strings.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "stele/runtime/text/jinja/unicode.h"

namespace stele::text::jinja {
namespace {

Text Charged(Text text, Meter& meter) {
  meter.Memory(text.size());
  return text;
}

// Builds a text from what `map` makes of each code point.
Text MapCodePoints(
    const Text& text, Meter& meter,
    const std::function<std::string(char32_t, size_t begin, size_t end)>& map) {
  meter.Step(text.size() / 16 + 1);
  Text out;
  for (size_t at = 0; at < text.size();) {
    size_t begin = at;
    char32_t code = NextCodePoint(text.bytes, at);
    out.Append(map(code, begin, at), text.IsUser(begin, at));
  }
  return Charged(std::move(out), meter);
}

// Greek sigma is ς at the end of a word and σ elsewhere; `from` is where the
// text that is lowered begins.
bool IsFinalSigma(const Text& text, size_t from, size_t begin, size_t end) {
  if (begin <= from) return false;
  size_t before = PreviousOffset(text.bytes, begin);
  if (!IsCased(NextCodePoint(text.bytes, before))) return false;
  return end >= text.size() || !IsCased(NextCodePoint(text.bytes, end));
}

std::string LowerAt(const Text& text, char32_t code, size_t begin, size_t end,
                    size_t from = 0) {
  if (code == 0x3A3 && IsFinalSigma(text, from, begin, end)) return "\u03C2";
  return LowerCase(code);
}

bool StripsAt(const Text& text, const Text* chars, size_t begin, size_t end) {
  if (chars) {
    return chars->bytes.find(text.bytes.substr(begin, end - begin)) !=
           std::string::npos;
  }
  size_t at = begin;
  return IsSpace(NextCodePoint(text.bytes, at));
}

std::vector<Text> SplitAtSpace(const Text& text, int64_t most, Meter& meter) {
  std::vector<Text> parts;
  Text rest = Strip(text, nullptr, Side::kLeft, meter);
  size_t at = 0;
  while (at < rest.size()) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.push_back(rest.Slice(at, rest.size()));
      return parts;
    }
    size_t end = at, next = at;
    while (next < rest.size() && !IsSpace(NextCodePoint(rest.bytes, next))) {
      end = next;
    }
    meter.Memory(sizeof(Text));
    parts.push_back(rest.Slice(at, end));
    for (at = end; at < rest.size(); at = next) {
      next = at;
      if (!IsSpace(NextCodePoint(rest.bytes, next))) break;
    }
  }
  return parts;
}

std::vector<Text> SplitAtSpaceFromRight(const Text& text, int64_t most,
                                        Meter& meter) {
  std::vector<Text> parts;
  Text rest = Strip(text, nullptr, Side::kRight, meter);
  size_t end = rest.size();
  auto space_before = [&](size_t offset) {
    size_t at = PreviousOffset(rest.bytes, offset);
    return IsSpace(NextCodePoint(rest.bytes, at));
  };
  while (end > 0) {
    size_t begin = end;
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      begin = 0;
    } else {
      while (begin > 0 && !space_before(begin)) {
        begin = PreviousOffset(rest.bytes, begin);
      }
    }
    meter.Memory(sizeof(Text));
    parts.push_back(rest.Slice(begin, end));
    end = begin;
    while (end > 0 && space_before(end)) end = PreviousOffset(rest.bytes, end);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> SplitAt(const Text& text, const std::string& separator,
                          int64_t most, Meter& meter) {
  std::vector<Text> parts;
  size_t at = 0;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    size_t found = text.bytes.find(separator, at);
    if (found == std::string::npos) break;
    meter.Memory(sizeof(Text));
    parts.push_back(text.Slice(at, found));
    at = found + separator.size();
  }
  parts.push_back(text.Slice(at, text.size()));
  return parts;
}

std::vector<Text> SplitAtFromRight(const Text& text,
                                   const std::string& separator, int64_t most,
                                   Meter& meter) {
  std::vector<Text> parts;
  size_t end = text.size();
  while (static_cast<int64_t>(parts.size()) < most && end >= separator.size()) {
    size_t found = text.bytes.rfind(separator, end - separator.size());
    if (found == std::string::npos) break;
    meter.Memory(sizeof(Text));
    parts.push_back(text.Slice(found + separator.size(), end));
    end = found;
  }
  parts.push_back(text.Slice(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

size_t OffsetOf(std::string_view text, int64_t index) {
  size_t at = 0;
  while (index-- > 0 && at < text.size()) NextCodePoint(text, at);
  return at;
}

// str.replace of the empty string: `to` goes around every code point.
Text Interleave(const Text& text, const Text& to, int64_t most, Meter& meter) {
  meter.Memory(to.size() * (CountCodePoints(text.bytes) + 1));
  Text out;
  int64_t done = 0;
  for (size_t at = 0; at < text.size();) {
    if (most < 0 || done++ < most) out.Append(to);
    size_t begin = at;
    NextCodePoint(text.bytes, at);
    out.Append(text, begin, at);
  }
  if (most < 0 || done < most) out.Append(to);
  return out;
}

std::string WithoutUnderscores(const std::string& digits, bool& valid) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (digits[i] != '_') {
      out += digits[i];
      continue;
    }
    bool between = i > 0 && i + 1 < digits.size() &&
                   std::isalnum(static_cast<unsigned char>(digits[i - 1])) &&
                   std::isalnum(static_cast<unsigned char>(digits[i + 1]));
    if (!between) valid = false;
  }
  return out;
}

char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; }

std::string Trimmed(const Text& text) {
  Meter meter{Limits{}};
  return Strip(text, nullptr, Side::kBoth, meter).bytes;
}

}  // namespace

Text Strip(const Text& text, const Text* chars, Side side, Meter& meter) {
  size_t begin = 0, end = text.size();
  meter.Step(text.size() / 64 + 1);
  while (side != Side::kRight && begin < end) {
    size_t next = begin;
    NextCodePoint(text.bytes, next);
    if (!StripsAt(text, chars, begin, next)) break;
    begin = next;
  }
  while (side != Side::kLeft && begin < end) {
    size_t before = PreviousOffset(text.bytes, end);
    if (!StripsAt(text, chars, before, end)) break;
    end = before;
  }
  return Charged(text.Slice(begin, end), meter);
}

std::vector<Text> Split(const Text& text, const Text* separator, int64_t most,
                        bool from_right, Meter& meter) {
  meter.Step(text.size() / 16 + 1);
  meter.Memory(text.size());
  if (!separator) {
    return from_right ? SplitAtSpaceFromRight(text, most, meter)
                      : SplitAtSpace(text, most, meter);
  }
  if (separator->empty()) Fail("empty separator");
  return from_right && most >= 0
             ? SplitAtFromRight(text, separator->bytes, most, meter)
             : SplitAt(text, separator->bytes, most, meter);
}

std::vector<Text> SplitLines(const Text& text, bool keep_ends, Meter& meter) {
  meter.Step(text.size() / 16 + 1);
  meter.Memory(text.size());
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    char32_t code = NextCodePoint(text.bytes, at);
    if (!IsLineBreak(code)) continue;
    if (code == '\r' && at < text.size() && text.bytes[at] == '\n') ++at;
    meter.Memory(sizeof(Text));
    lines.push_back(text.Slice(begin, keep_ends ? at : end));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.Slice(begin, text.size()));
  return lines;
}

Text Replace(const Text& text, const Text& from, const Text& to, int64_t most,
             Meter& meter) {
  meter.Step(text.size() / 64 + 1);
  if (from.empty()) return Interleave(text, to, most, meter);
  meter.Memory(text.size());
  Text out;
  size_t at = 0;
  for (int64_t done = 0; most < 0 || done < most; ++done) {
    size_t found = text.bytes.find(from.bytes, at);
    if (found == std::string::npos) break;
    meter.Memory(to.size());
    out.Append(text, at, found);
    out.Append(to);
    at = found + from.size();
  }
  out.Append(text, at, text.size());
  return out;
}

Text Join(const Text& separator, const std::vector<Text>& parts, Meter& meter) {
  Text out;
  for (size_t i = 0; i < parts.size(); ++i) {
    meter.Memory(parts[i].size() + separator.size());
    if (i) out.Append(separator);
    out.Append(parts[i]);
  }
  return out;
}

Text Repeat(const Text& text, int64_t times, Meter& meter) {
  Text out;
  if (times <= 0 || text.empty()) return out;
  meter.Step(static_cast<uint64_t>(times) / 16 + 1);
  for (int64_t i = 0; i < times; ++i) {
    meter.Memory(text.size());
    out.Append(text);
  }
  return out;
}

SliceRange ResolveSlice(int64_t length, std::optional<int64_t> begin,
                        std::optional<int64_t> end, int64_t step) {
  if (step == 0) Fail("slice step cannot be zero");
  if (step == INT64_MIN) ++step;
  int64_t low = step > 0 ? 0 : -1, high = step > 0 ? length : length - 1;
  auto resolve = [&](std::optional<int64_t> at, int64_t otherwise) {
    if (!at) return otherwise;
    int64_t index = *at < 0 ? *at + length : *at;
    return std::clamp(index, low, high);
  };
  int64_t first = resolve(begin, step > 0 ? low : high);
  int64_t last = resolve(end, step > 0 ? high : low);
  int64_t span = step > 0 ? last - first : first - last;
  int64_t stride = step > 0 ? step : -step;
  return {first, step, span <= 0 ? 0 : (span - 1) / stride + 1};
}

Text SliceText(const Text& text, std::optional<int64_t> begin,
               std::optional<int64_t> end, int64_t step, Meter& meter) {
  meter.Step(text.size() / 64 + 1);
  std::vector<size_t> offsets;
  SliceRange range = ResolveSlice(
      static_cast<int64_t>(CountCodePoints(text.bytes)), begin, end, step);
  meter.Memory(text.size());
  if (range.count == 0) return {};
  if (step == 1) {
    size_t from = OffsetOf(text.bytes, range.begin);
    size_t length =
        OffsetOf(std::string_view(text.bytes).substr(from), range.count);
    return text.Slice(from, from + length);
  }
  meter.Memory(text.size() * sizeof(size_t));
  for (size_t at = 0; at < text.size(); NextCodePoint(text.bytes, at)) {
    offsets.push_back(at);
  }
  offsets.push_back(text.size());
  Text out;
  for (int64_t i = 0, at = range.begin; i < range.count; ++i, at += step) {
    out.Append(text, offsets[at], offsets[at + 1]);
  }
  return out;
}

std::optional<Text> CharAt(const Text& text, int64_t index) {
  auto length = static_cast<int64_t>(CountCodePoints(text.bytes));
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  size_t begin = OffsetOf(text.bytes, index), end = begin;
  NextCodePoint(text.bytes, end);
  return text.Slice(begin, end);
}

std::vector<Text> Characters(const Text& text, Meter& meter) {
  size_t count = CountCodePoints(text.bytes);
  meter.Step(count);
  meter.Memory(2 * count * sizeof(Text));
  std::vector<Text> out;
  for (size_t at = 0; at < text.size();) {
    size_t begin = at;
    NextCodePoint(text.bytes, at);
    out.push_back(text.Slice(begin, at));
  }
  return out;
}

Text Upper(const Text& text, Meter& meter) {
  return MapCodePoints(text, meter, [](char32_t code, size_t, size_t) {
    return UpperCase(code);
  });
}

Text Lower(const Text& text, Meter& meter) {
  return MapCodePoints(text, meter,
                       [&](char32_t code, size_t begin, size_t end) {
                         return LowerAt(text, code, begin, end);
                       });
}

Text SwapCase(const Text& text, Meter& meter) {
  return MapCodePoints(text, meter,
                       [&](char32_t code, size_t begin, size_t end) {
                         return IsUpper(code) ? LowerAt(text, code, begin, end)
                                              : UpperCase(code);
                       });
}

Text Capitalize(const Text& text, Meter& meter) {
  return MapCodePoints(
      text, meter, [&](char32_t code, size_t begin, size_t end) {
        return begin == 0 ? TitleCase(code) : LowerAt(text, code, begin, end);
      });
}

Text Title(const Text& text, Meter& meter) {
  bool in_word = false;
  return MapCodePoints(
      text, meter, [&](char32_t code, size_t begin, size_t end) {
        bool first = !in_word;
        in_word = IsCased(code);
        return first ? TitleCase(code) : LowerAt(text, code, begin, end);
      });
}

Text TitleWords(const Text& text, Meter& meter) {
  bool in_word = false;
  size_t rest = 0;  // of the word, after its capital
  return MapCodePoints(
      text, meter, [&](char32_t code, size_t begin, size_t end) {
        bool separates = IsSpace(code) || code == '-' || code == '(' ||
                         code == '{' || code == '[' || code == '<';
        bool first = !in_word;
        in_word = !separates;
        if (first) rest = end;
        return first ? UpperCase(code) : LowerAt(text, code, begin, end, rest);
      });
}

Text EscapeHtml(const Text& text, Meter& meter) {
  return MapCodePoints(text, meter,
                       [](char32_t code, size_t, size_t) -> std::string {
                         switch (code) {
                           case '&':
                             return "&amp;";
                           case '<':
                             return "&lt;";
                           case '>':
                             return "&gt;";
                           case '"':
                             return "&#34;";
                           case '\'':
                             return "&#39;";
                           default:
                             break;
                         }
                         std::string out;
                         AppendCodePoint(out, code);
                         return out;
                       });
}

bool IsInCase(const Text& text, bool upper) {
  bool found = false;
  for (size_t at = 0; at < text.size();) {
    char32_t code = NextCodePoint(text.bytes, at);
    bool is_upper = IsUpper(code), is_lower = IsLower(code);
    if (upper ? is_lower : is_upper) return false;
    if (IsTitle(code)) return false;
    found |= is_upper || is_lower;
  }
  return found;
}

Text Pad(const Text& text, int64_t width, const Text& fill, Side side,
         Meter& meter) {
  auto length = static_cast<int64_t>(CountCodePoints(text.bytes));
  if (width <= length) return Charged(text, meter);
  int64_t missing = width - length;
  // Python's center puts the odd space on the left for odd widths.
  int64_t left = side == Side::kLeft    ? 0
                 : side == Side::kRight ? missing
                                        : missing / 2 + (missing & width & 1);
  Text out = Repeat(fill, left, meter);
  out.Append(Charged(text, meter));
  out.Append(Repeat(fill, missing - left, meter));
  return out;
}

int64_t Find(const Text& text, const Text& needle, std::optional<int64_t> begin,
             std::optional<int64_t> end, bool from_right) {
  auto length = static_cast<int64_t>(CountCodePoints(text.bytes));
  if (begin && *begin > length) return -1;
  SliceRange range = ResolveSlice(length, begin, end, 1);
  size_t low = OffsetOf(text.bytes, range.begin);
  size_t high =
      low + OffsetOf(std::string_view(text.bytes).substr(low), range.count);
  std::string_view part = std::string_view(text.bytes).substr(low, high - low);
  size_t found =
      from_right ? part.rfind(needle.bytes) : part.find(needle.bytes);
  if (found == std::string_view::npos) return -1;
  return range.begin +
         static_cast<int64_t>(CountCodePoints(part.substr(0, found)));
}

std::optional<int64_t> ParseInt(const Text& text, int64_t base) {
  std::string digits = Trimmed(text);
  bool negative = digits.starts_with('-'), valid = true;
  if (negative || digits.starts_with('+')) digits.erase(0, 1);
  char marker =
      digits.size() > 2 && digits[0] == '0' ? LowerAscii(digits[1]) : '\0';
  int64_t marked = marker == 'x'   ? 16
                   : marker == 'o' ? 8
                   : marker == 'b' ? 2
                                   : 0;
  if (marked && (base == marked || base == 0)) {
    digits.erase(0, 2);
    base = marked;
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36) Fail("int base must be 0 or 2 to 36");
  digits = WithoutUnderscores(digits, valid);
  if (!valid || digits.empty() || digits[0] == '-') return std::nullopt;
  if (negative) digits.insert(0, "-");
  int64_t number = 0;
  auto [stop, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number,
                      static_cast<int>(base));
  if (stop != digits.data() + digits.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    Fail("the integer '" + digits + "' does not fit in 64 bits");
  }
  if (error != std::errc()) return std::nullopt;
  return number;
}

std::optional<double> ParseFloat(const Text& text) {
  bool valid = true;
  std::string digits = WithoutUnderscores(Trimmed(text), valid);
  // strtod also reads hexadecimal and nan(...), which Python refuses.
  bool odd = digits.find_first_of("xX(") != std::string::npos;
  if (!valid || digits.empty() || odd ||
      digits.find('\0') != std::string::npos ||
      IsSpace(static_cast<unsigned char>(digits[0]))) {
    return std::nullopt;
  }
  char* end = nullptr;
  double number = std::strtod(digits.c_str(), &end);
  if (end != digits.c_str() + digits.size()) return std::nullopt;
  return number;
}

}  // namespace stele::text::jinja
