// Code points by utf8proc's tables. See unicode.h.
#include "stele/runtime/text/jinja/unicode.h"

#include <utf8proc.h>

namespace stele::text::jinja {
namespace {

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

utf8proc_category_t Category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

std::string Encode(char32_t code) {
  std::string out;
  AppendCodePoint(out, code);
  return out;
}

// Upper-case forms of more than one letter (SpecialCasing of Latin script);
// utf8proc maps one code point to one.
const char* LongUpper(char32_t code) {
  switch (code) {
    case 0xDF:
      return "SS";
    case 0x149:
      return "\u02BCN";
    case 0x1F0:
      return "J\u030C";
    case 0x587:
      return "\u0535\u0552";
    case 0x1E96:
      return "H\u0331";
    case 0x1E97:
      return "T\u0308";
    case 0x1E98:
      return "W\u030A";
    case 0x1E99:
      return "Y\u030A";
    case 0x1E9A:
      return "A\u02BE";
    case 0xFB00:
      return "FF";
    case 0xFB01:
      return "FI";
    case 0xFB02:
      return "FL";
    case 0xFB03:
      return "FFI";
    case 0xFB04:
      return "FFL";
    case 0xFB05:
      return "ST";
    case 0xFB06:
      return "ST";
    default:
      return nullptr;
  }
}

}  // namespace

char32_t NextCodePoint(std::string_view text, size_t& offset) {
  utf8proc_int32_t code;
  auto length = utf8proc_iterate(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + offset,
      static_cast<utf8proc_ssize_t>(text.size() - offset), &code);
  if (length <= 0) return static_cast<uint8_t>(text[offset++]);
  offset += static_cast<size_t>(length);
  return static_cast<char32_t>(code);
}

size_t PreviousOffset(std::string_view text, size_t offset) {
  do {
    --offset;
  } while (offset > 0 && IsContinuation(text[offset]));
  return offset;
}

void AppendCodePoint(std::string& out, char32_t code) {
  utf8proc_uint8_t buffer[4];
  auto length =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), buffer);
  out.append(reinterpret_cast<char*>(buffer), static_cast<size_t>(length));
}

size_t CountCodePoints(std::string_view text) {
  size_t count = 0;
  for (char c : text) count += !IsContinuation(c);
  return count;
}

bool IsSpace(char32_t code) {
  if (code < 0x80) {
    return code == ' ' || (code >= 9 && code <= 13) ||
           (code >= 0x1C && code <= 0x1F);
  }
  return code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool IsLineBreak(char32_t code) {
  return (code >= 10 && code <= 13) || (code >= 0x1C && code <= 0x1E) ||
         code == 0x85 || code == 0x2028 || code == 0x2029;
}

bool IsAlpha(char32_t code) {
  switch (Category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return false;
  }
}

bool IsDecimal(char32_t code) { return Category(code) == UTF8PROC_CATEGORY_ND; }

bool IsNumeric(char32_t code) {
  auto category = Category(code);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool IsUpper(char32_t code) { return Category(code) == UTF8PROC_CATEGORY_LU; }
bool IsLower(char32_t code) { return Category(code) == UTF8PROC_CATEGORY_LL; }
bool IsTitle(char32_t code) { return Category(code) == UTF8PROC_CATEGORY_LT; }

bool IsPrintable(char32_t code) {
  switch (Category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return code == ' ';
    default:
      return true;
  }
}

std::string UpperCase(char32_t code) {
  if (const char* text = LongUpper(code)) return text;
  return Encode(static_cast<char32_t>(
      utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
}

std::string LowerCase(char32_t code) {
  if (code == 0x130) return "i\u0307";
  return Encode(static_cast<char32_t>(
      utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
}

std::string TitleCase(char32_t code) {
  if (code == 0xDF) return "Ss";
  if (code >= 0xFB00 && code <= 0xFB06) {
    std::string upper = LongUpper(code);
    for (size_t i = 1; i < upper.size(); ++i) upper[i] += 'a' - 'A';
    return upper;
  }
  if (const char* text = LongUpper(code)) return text;
  return Encode(static_cast<char32_t>(
      utf8proc_totitle(static_cast<utf8proc_int32_t>(code))));
}

}  // namespace stele::text::jinja
