// Code points: the few Unicode questions that Python's str answers.
#ifndef STELE_RUNTIME_TEXT_JINJA_UNICODE_H_
#define STELE_RUNTIME_TEXT_JINJA_UNICODE_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace stele::text::jinja {

// The code point at `offset`, which is moved past it. Malformed bytes come
// back one by one as themselves.
char32_t NextCodePoint(std::string_view text, size_t& offset);
// The offset of the code point that ends before `offset`.
size_t PreviousOffset(std::string_view text, size_t offset);
void AppendCodePoint(std::string& out, char32_t code);
size_t CountCodePoints(std::string_view text);

bool IsSpace(char32_t code);      // str.isspace
bool IsLineBreak(char32_t code);  // str.splitlines
bool IsAlpha(char32_t code);      // str.isalpha
bool IsDecimal(char32_t code);    // str.isdecimal
bool IsNumeric(char32_t code);    // decimal digits and other numbers
bool IsUpper(char32_t code);
bool IsLower(char32_t code);
bool IsTitle(char32_t code);
bool IsPrintable(char32_t code);  // kept as it is by repr()
inline bool IsCased(char32_t c) {
  return IsUpper(c) || IsLower(c) || IsTitle(c);
}

// Full upper-case mapping, which may be longer than one code point.
std::string UpperCase(char32_t code);
std::string LowerCase(char32_t code);
std::string TitleCase(char32_t code);

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_UNICODE_H_
