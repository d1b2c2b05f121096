// UTF-8 and character classes; see unicode.h. General categories come from
// utf8proc, the few properties that it lacks are spelled out here.
#include "stele/runtime/text/unicode.h"

#include <utf8proc.h>

#include <array>
#include <cstring>

namespace stele::text {
namespace {

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// Number of bytes at the start of `text` that are ASCII; may stop early.
size_t AsciiPrefix(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

// White_Space; the property has no character above U+3000.
bool IsWhiteSpace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

CharClass ComputeClass(char32_t c) {
  if (IsWhiteSpace(c)) return CharClass::kSpace;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    default:
      return CharClass::kOther;
  }
}

// ASCII is most of most texts.
constexpr std::array<CharClass, 128> kAsciiClasses = [] {
  std::array<CharClass, 128> classes{};
  for (int c = 0; c < 128; ++c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      classes[c] = CharClass::kLetter;
    } else if (c >= '0' && c <= '9') {
      classes[c] = CharClass::kNumber;
    } else if (c == ' ' || (c >= 9 && c <= 13)) {
      classes[c] = CharClass::kSpace;
    }
  }
  return classes;
}();

}  // namespace

CodePoint LastCodePoint(std::string_view text) {
  size_t begin = text.size() - 1;
  while (IsContinuation(static_cast<unsigned char>(text[begin]))) --begin;
  return FirstCodePoint(text.substr(begin));
}

void AppendUtf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

Utf8Step NextUtf8(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {Utf8Unit::kCharacter, 1};
  // The second byte's range excludes overlong forms, surrogates and code
  // points above U+10FFFF (table 3-7 of the Unicode standard).
  unsigned char low = 0x80, high = 0xBF;
  uint32_t size;
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {Utf8Unit::kInvalid, 1};
  }
  for (uint32_t i = 1; i < size; ++i) {
    if (i == text.size()) return {Utf8Unit::kIncomplete, i};
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < low || byte > high) return {Utf8Unit::kInvalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8Unit::kCharacter, size};
}

bool IsValidUtf8(std::string_view text) {
  while (true) {
    text.remove_prefix(AsciiPrefix(text));
    if (text.empty()) return true;
    const Utf8Step step = NextUtf8(text);
    if (step.unit != Utf8Unit::kCharacter) return false;
    text.remove_prefix(step.size);
  }
}

std::string SanitizeUtf8(std::string_view text,
                         std::vector<size_t>* positions) {
  std::string out;
  out.reserve(text.size());
  size_t next_position = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = NextUtf8(text.substr(at));
    // A position inside replaced bytes moves before them.
    while (positions && next_position < positions->size() &&
           (*positions)[next_position] < at + step.size) {
      const size_t inside = (*positions)[next_position] - at;
      (*positions)[next_position++] =
          out.size() + (step.unit == Utf8Unit::kCharacter ? inside : 0);
    }
    if (step.unit == Utf8Unit::kCharacter) {
      out.append(text, at, step.size);
    } else {
      out += kReplacementCharacter;
    }
    at += step.size;
  }
  while (positions && next_position < positions->size()) {
    (*positions)[next_position++] = out.size();
  }
  return out;
}

CharClass ClassOf(char32_t c) {
  return c < 128 ? kAsciiClasses[c] : ComputeClass(c);
}

bool IsWordCharacter(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    case UTF8PROC_CATEGORY_SO:
      // Other_Alphabetic: circled and squared Latin letters.
      return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
             (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
    default:
      return c == 0x200C || c == 0x200D;  // Join_Control
  }
}

}  // namespace stele::text
