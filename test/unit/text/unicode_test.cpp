// UTF-8, character classes and normalisation, the ground that tokenisation
// stands on. Expected values are Python's (bytes.decode, unicodedata).
#include "stele/runtime/text/unicode.h"

#include <gtest/gtest.h>

#include "stele/runtime/text/normalizer.h"

namespace stele::text {
namespace {

TEST(UnicodeTest, ReplacesMaximalSubparts) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(SanitizeUtf8("a\xFFz"), "a" + r + "z");
  // The truncated beginning of a character is one subpart, not one per byte.
  EXPECT_EQ(SanitizeUtf8("\xE2\x82z"), r + "z");
  EXPECT_EQ(SanitizeUtf8("\xF0\x9F\x98"), r);
  EXPECT_EQ(SanitizeUtf8("\xF0\x9F\x98\xF0\x9F\x98\x80"), r + "\U0001F600");
  // Overlong forms, surrogates and values above U+10FFFF end at once.
  EXPECT_EQ(SanitizeUtf8("\xC0\xAF"), r + r);
  EXPECT_EQ(SanitizeUtf8("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(SanitizeUtf8("\xF4\x90\x80\x80"), r + r + r + r);
  EXPECT_EQ(SanitizeUtf8("\x80"), r);
  EXPECT_EQ(SanitizeUtf8(std::string_view("a\0b", 3)),
            std::string_view("a\0b", 3));
}

TEST(UnicodeTest, MovesPositionsWithTheText) {
  //             a  \xFF  é(2)   z
  std::vector<size_t> positions = {0, 1, 2, 3, 4, 5};
  EXPECT_EQ(SanitizeUtf8("a\xFF\xC3\xA9z", &positions), "a\uFFFD\u00E9z");
  EXPECT_EQ(positions, (std::vector<size_t>{0, 1, 4, 5, 6, 7}));
}

TEST(UnicodeTest, KnowsValidText) {
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_TRUE(IsValidUtf8("abcdefghij\u00E9\u20AC\U0001F600"));
  EXPECT_FALSE(IsValidUtf8("abcdefgh\x80"));
  EXPECT_FALSE(IsValidUtf8("abcdefghij\xE2\x82"));
}

TEST(UnicodeTest, EncodesWhatItDecodes) {
  for (char32_t c = 0; c <= 0x10FFFF; c += c < 0x3000 ? 1 : 97) {
    if (c >= 0xD800 && c < 0xE000)
      continue;
    std::string text = "x";
    AppendUtf8(c, text);
    ASSERT_TRUE(IsValidUtf8(text));
    EXPECT_EQ(FirstCodePoint(std::string_view(text).substr(1)).value, c);
    EXPECT_EQ(LastCodePoint(text).value, c);
    EXPECT_EQ(LastCodePoint(text).size, text.size() - 1);
  }
}

TEST(UnicodeTest, ClassifiesCharacters) {
  for (const char32_t c : {U'a', U'Z', U'\u00E9', U'\u4E2D', U'\u02B0'}) {
    EXPECT_EQ(ClassOf(c), CharClass::kLetter) << std::hex << uint32_t(c);
  }
  for (const char32_t c : {U'7', U'\u00B2', U'\u2167', U'\u0663'}) {
    EXPECT_EQ(ClassOf(c), CharClass::kNumber) << std::hex << uint32_t(c);
  }
  for (const char32_t c : {U' ', U'\v', U'\u0085', U'\u00A0', U'\u3000'}) {
    EXPECT_EQ(ClassOf(c), CharClass::kSpace) << std::hex << uint32_t(c);
  }
  // Not white space: since Unicode 6.3, never, and a control character.
  for (const char32_t c : {U'\u180E', U'\u200B', U'\x1C', U'\u0301', U'_'}) {
    EXPECT_EQ(ClassOf(c), CharClass::kOther) << std::hex << uint32_t(c);
  }
}

TEST(UnicodeTest, KnowsWordCharacters) {
  for (const char32_t c : {U'a', U'5', U'_', U'\u0301', U'\u200D', U'\u24B6'}) {
    EXPECT_TRUE(IsWordCharacter(c)) << std::hex << uint32_t(c);
  }
  for (const char32_t c : {U'-', U' ', U'\u00B2', U'\u2580'}) {
    EXPECT_FALSE(IsWordCharacter(c)) << std::hex << uint32_t(c);
  }
}

TEST(NormalizerTest, Composes) {
  const auto nfc = [](std::string_view text) {
    return NormalizeUnicode(text, NormalForm::kNfc);
  };
  EXPECT_EQ(nfc("plain"), "plain");
  EXPECT_EQ(nfc("cafe\u0301!"), "caf\u00E9!");
  EXPECT_EQ(nfc("e\u0301e\u0301 xe\u0301"), "\u00E9\u00E9 x\u00E9");
  EXPECT_EQ(nfc("\u1100\u1161\u11A8"), "\uAC01");
  EXPECT_EQ(nfc("a\u0315\u0300"), "\u00E0\u0315"); // reordered
  EXPECT_EQ(nfc("\u212B"), "\u00C5");
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093C"); // excluded from composition
  EXPECT_EQ(nfc(""), "");
}

TEST(NormalizerTest, KnowsTheOtherForms) {
  EXPECT_EQ(NormalizeUnicode("caf\u00E9", NormalForm::kNfd), "cafe\u0301");
  EXPECT_EQ(NormalizeUnicode("\uFB01\u00B2", NormalForm::kNfkc), "fi2");
  EXPECT_EQ(NormalizeUnicode("\uFB01\u00E9", NormalForm::kNfkd), "fie\u0301");
  // The longest decomposition of all.
  EXPECT_EQ(NormalizeUnicode("\uFDFA", NormalForm::kNfkd).size(), 33u);
}

// Hugging Face's tables are those of Unicode 9 (see normalizer.cpp).
TEST(NormalizerTest, LeavesLaterCharactersAlone) {
  const std::string vowel = "\U00011935\U00011930"; // U+11938 in Unicode 13
  EXPECT_EQ(NormalizeUnicode(vowel, NormalForm::kNfc), vowel);
  const std::string marks = "\U00010F49\U00010F46"; // classes 230, 220
  EXPECT_EQ(NormalizeUnicode(marks, NormalForm::kNfc), marks);
  EXPECT_EQ(NormalizeUnicode("a\U00010F46\u0301", NormalForm::kNfc),
            "a\U00010F46\u0301");
}

TEST(NormalizerTest, SortsAMillionMarks) {
  std::string marks;
  for (int i = 0; i < 500000; ++i)
    marks += "\u0301\u0316"; // 230, 220
  const std::string sorted = NormalizeUnicode("x" + marks, NormalForm::kNfc);
  EXPECT_EQ(sorted.size(), marks.size() + 1);
  EXPECT_EQ(sorted.substr(1, 4), "\u0316\u0316");
  EXPECT_EQ(sorted.substr(sorted.size() - 4), "\u0301\u0301");
}

} // namespace
} // namespace stele::text
