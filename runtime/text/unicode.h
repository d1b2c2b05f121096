// UTF-8 and the character classes that tokenizers are defined by.
//
// The bottom of runtime/text: everything above works on text that
// SanitizeUtf8 has made valid, so that decoding below never checks twice.
// Stateless, thread safe.
#ifndef STELE_RUNTIME_TEXT_UNICODE_H_
#define STELE_RUNTIME_TEXT_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace stele::text {

// U+FFFD in UTF-8: what stands for bytes that are no character.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// A code point and the number of bytes that spell it.
struct CodePoint {
  char32_t value;
  uint32_t size;
};

// The first code point of `text`, which is valid UTF-8 and not empty.
inline CodePoint FirstCodePoint(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  if (p[0] < 0x80) return {p[0], 1};
  if (p[0] < 0xE0) {
    return {static_cast<char32_t>((p[0] & 0x1F) << 6 | (p[1] & 0x3F)), 2};
  }
  if (p[0] < 0xF0) {
    return {static_cast<char32_t>((p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 |
                                  (p[2] & 0x3F)),
            3};
  }
  return {static_cast<char32_t>((p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 |
                                (p[2] & 0x3F) << 6 | (p[3] & 0x3F)),
          4};
}

// The last code point of `text`, which is valid UTF-8 and not empty.
CodePoint LastCodePoint(std::string_view text);

void AppendUtf8(char32_t code_point, std::string& out);

// How the bytes at the start of `text` (not empty) go on.
enum class Utf8Unit {
  kCharacter,   // `size` bytes are one character
  kInvalid,     // `size` bytes are a maximal subpart: one U+FFFD
  kIncomplete,  // all `size` bytes of `text` may begin a character
};
struct Utf8Step {
  Utf8Unit unit;
  uint32_t size;
};
Utf8Step NextUtf8(std::string_view text);

bool IsValidUtf8(std::string_view text);

// `text` with every maximal subpart of invalid bytes replaced by U+FFFD, as
// Python's errors='replace' does. `positions` are ascending byte offsets into
// `text` and become offsets into the result.
std::string SanitizeUtf8(std::string_view text,
                         std::vector<size_t>* positions = nullptr);

// General categories L and N, and the property White_Space.
enum class CharClass : uint8_t { kOther = 0, kLetter, kNumber, kSpace };
CharClass ClassOf(char32_t code_point);

inline bool IsSpace(char32_t c) { return ClassOf(c) == CharClass::kSpace; }
inline bool IsNumber(char32_t c) { return ClassOf(c) == CharClass::kNumber; }

// \w of Unicode regular expressions (UTS #18): letters, marks, decimal digits,
// connectors and joiners.
bool IsWordCharacter(char32_t code_point);

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_UNICODE_H_
