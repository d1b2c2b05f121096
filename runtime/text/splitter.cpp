// The hand-written splitters; see splitter.h. Each function follows the
// alternatives of its regular expression in their order.
#include "stele/runtime/text/splitter.h"

#include "stele/runtime/text/unicode.h"

namespace stele::text {
namespace {

// Bytes of the longest prefix of `text` from `at` on whose characters are all
// of `wanted`; at most `limit` characters.
size_t EndOfRun(std::string_view text, size_t at, CharClass wanted,
                size_t limit = SIZE_MAX) {
  while (at < text.size() && limit-- > 0) {
    const CodePoint c = FirstCodePoint(text.substr(at));
    if (ClassOf(c.value) != wanted) break;
    at += c.size;
  }
  return at;
}

bool ClassAt(std::string_view text, size_t at, CharClass wanted) {
  return at < text.size() &&
         ClassOf(FirstCodePoint(text.substr(at)).value) == wanted;
}

// 's|'t|'re|'ve|'m|'ll|'d; bytes matched, 0 for none.
size_t MatchContraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  switch (text[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return text.size() > 2 && text[2] == 'e' ? 3 : 0;
    case 'l':
      return text.size() > 2 && text[2] == 'l' ? 3 : 0;
    default:
      return 0;
  }
}

// The same under (?i:), where the long s (U+017F) is an s too.
size_t MatchContractionIgnoringCase(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (text.substr(1).starts_with("\xC5\xBF")) return 3;
  char lower[3] = {'\'', 0, 0};
  const size_t size = text.size() < 3 ? 2 : 3;
  for (size_t i = 1; i < size; ++i) {
    const char c = text[i];
    lower[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return MatchContraction(std::string_view(lower, size));
}

// \s+(?!\S)|\s+ where `end` is the end of the run of white space at the start
// of `text`: the last one is left for the word that follows it.
size_t MatchSpaces(std::string_view text, size_t end) {
  if (end == text.size()) return end;
  const size_t last = LastCodePoint(text.substr(0, end)).size;
  return end > last ? end - last : end;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t MatchGpt2(std::string_view text) {
  if (const size_t size = MatchContraction(text)) return size;
  const size_t at = text[0] == ' ' ? 1 : 0;
  if (at < text.size()) {
    const CharClass run = ClassOf(FirstCodePoint(text.substr(at)).value);
    if (run != CharClass::kSpace) return EndOfRun(text, at, run);
  }
  return MatchSpaces(text, EndOfRun(text, 0, CharClass::kSpace));
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|
//  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
size_t MatchLlama3(std::string_view text, size_t digits) {
  if (const size_t size = MatchContractionIgnoringCase(text)) return size;
  const CodePoint first = FirstCodePoint(text);
  const CharClass kind = ClassOf(first.value);
  if (kind == CharClass::kLetter) return EndOfRun(text, 0, kind);
  if (kind == CharClass::kNumber) return EndOfRun(text, 0, kind, digits);
  if (first.value != '\r' && first.value != '\n' &&
      ClassAt(text, first.size, CharClass::kLetter)) {
    return EndOfRun(text, first.size, CharClass::kLetter);
  }
  const size_t symbols = first.value == ' ' ? 1 : 0;
  if (ClassAt(text, symbols, CharClass::kOther)) {
    size_t end = EndOfRun(text, symbols, CharClass::kOther);
    while (end < text.size() && (text[end] == '\r' || text[end] == '\n')) ++end;
    return end;
  }
  const size_t end = EndOfRun(text, 0, CharClass::kSpace);
  const size_t newline = text.substr(0, end).find_last_of("\r\n");
  if (newline != std::string_view::npos) return newline + 1;
  return MatchSpaces(text, end);
}

}  // namespace

size_t MatchSplitter(NamedSplitter splitter, std::string_view text) {
  switch (splitter) {
    case NamedSplitter::kGpt2:
      return MatchGpt2(text);
    case NamedSplitter::kLlama3:
      return MatchLlama3(text, 3);
    case NamedSplitter::kQwen2:
      return MatchLlama3(text, 1);
  }
  __builtin_unreachable();
}

}  // namespace stele::text
