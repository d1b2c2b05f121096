// Pre-tokenisation: the hand-written splitters against the regular expressions
// that they stand for, the regex engine's limits, and every kind of step.
#include "stele/runtime/text/splitter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "stele/runtime/text/pre_tokenizer.h"
#include "stele/runtime/text/regex.h"
#include "stele/runtime/text/unicode.h"
#include "tokenizer_builder.h"

namespace stele::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Pieces = std::vector<std::string>;

Pieces SplitNamed(NamedSplitter splitter, std::string_view text) {
  Pieces pieces;
  while (!text.empty()) {
    const size_t size = MatchSplitter(splitter, text);
    pieces.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return pieces;
}

Pieces SplitRegex(const Regex &regex, std::string_view text) {
  Pieces pieces;
  const Status status = regex.FindAll(text, [&](size_t begin, size_t end) {
    pieces.emplace_back(text.substr(begin, end - begin));
  });
  EXPECT_TRUE(status.ok()) << status.message();
  return pieces;
}

Pieces SplitSteps(const TokenizerBuilder &builder, std::string_view text,
                  bool at_start = true) {
  const std::vector<uint8_t> segment = builder.Segment();
  auto steps = PreTokenizer::Load(*schema::GetTokenizer(segment.data()));
  EXPECT_TRUE(steps.ok()) << steps.status().message();
  Pieces pieces;
  const Status status =
      steps->Split(text, at_start,
                   [&](std::string_view piece) { pieces.emplace_back(piece); });
  EXPECT_TRUE(status.ok()) << status.message();
  return pieces;
}

std::string RandomText(std::mt19937 &random, size_t characters) {
  static const std::u32string kAlphabet =
      U"aZ'sStTrReEvVmMlLdD 19\n\r\t\u00A0\u3000\u0085\u180E!.-_\u00E9\u4E2D"
      U"\u0301\u017F\u00B2\u2167\U0001F600";
  std::string text;
  for (size_t i = 0; i < characters; ++i) {
    AppendUtf8(kAlphabet[random() % kAlphabet.size()], text);
  }
  return text;
}

struct NamedPattern {
  NamedSplitter splitter;
  const char *pattern;
};
constexpr NamedPattern kNamedPatterns[] = {
    {NamedSplitter::kGpt2,
     R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"},
    {NamedSplitter::kLlama3,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {NamedSplitter::kQwen2,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
};

TEST(SplitterTest, EqualsItsRegularExpression) {
  std::mt19937 random(1);
  for (const NamedPattern &named : kNamedPatterns) {
    auto regex = Regex::Compile(named.pattern);
    ASSERT_TRUE(regex.ok()) << regex.status().message();
    for (int i = 0; i < 5000; ++i) {
      const std::string text = RandomText(random, 1 + i % 24);
      ASSERT_EQ(SplitNamed(named.splitter, text), SplitRegex(*regex, text))
          << text;
    }
  }
}

TEST(SplitterTest, SplitsAsGpt2Does) {
  EXPECT_THAT(SplitNamed(NamedSplitter::kGpt2, "I'll go  to 42nd St.\n\n ok"),
              ElementsAre("I", "'ll", " go", " ", " to", " 42", "nd", " St",
                          ".", "\n\n", " ok"));
}

TEST(RegexTest, ReadsSpacesAsWhiteSpace) {
  auto regex = Regex::Compile(R"(\s+|[\s,]+|[^\S]+|\S+)");
  ASSERT_TRUE(regex.ok());
  EXPECT_THAT(SplitRegex(*regex, "a\u180Eb\u0085,\u3000c"),
              ElementsAre("a\u180Eb", "\u0085", ",\u3000", "c"));
}

// What tokenizers.pre_tokenizers.Split(Regex(...), "removed", invert=True)
// gives.
TEST(RegexTest, ReadsWordsAndLinesAsTheReference) {
  const auto split = [](const char *pattern, std::string_view text) {
    auto regex = Regex::Compile(pattern);
    EXPECT_TRUE(regex.ok()) << regex.status().message();
    return SplitRegex(*regex, text);
  };
  EXPECT_THAT(
      split(R"(\w+)", "\u0938\u094B\u092E x\u0301 a\u00B2 \u24B6 \u2460"),
      ElementsAre("\u0938\u094B\u092E", "x\u0301", "a\u00B2", "\u24B6"));
  EXPECT_THAT(split(R"([\w-]+|\W)", "a-b c"), ElementsAre("a-b", " ", "c"));
  EXPECT_THAT(split("^.+$", "ab\ncd\r\nef\n"), ElementsAre("ab", "cd\r", "ef"));
}

TEST(RegexTest, ReportsEmptyMatchesOnce) {
  auto regex = Regex::Compile("x*");
  ASSERT_TRUE(regex.ok());
  std::vector<std::pair<size_t, size_t>> matches;
  ASSERT_TRUE(regex
                  ->FindAll("axb",
                            [&](size_t begin, size_t end) {
                              matches.emplace_back(begin, end);
                            })
                  .ok());
  using Match = std::pair<size_t, size_t>;
  EXPECT_THAT(matches, ElementsAre(Match(0, 0), Match(1, 2), Match(3, 3)));
}

TEST(RegexTest, Case41_GivesUpOnCatastrophes) {
  auto regex = Regex::Compile("(a+)+$");
  ASSERT_TRUE(regex.ok());
  const Status status =
      regex->FindAll(std::string(64, 'a') + "b", [](size_t, size_t) {});
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            "pattern `(a+)+$` gave up at byte 0 of 65: match limit exceeded; "
            "shorten the text or use another tokenizer");
}

// Places that are each just cheap enough: 23 bytes take millions of steps.
TEST(RegexTest, Case41_GivesUpOnManySmallCatastrophes) {
  auto regex = Regex::Compile("(a+)+$");
  ASSERT_TRUE(regex.ok());
  std::string text;
  for (int i = 0; i < 50'000; ++i)
    text += std::string(22, 'a') + "b";
  const auto begin = std::chrono::steady_clock::now();
  const Status status = regex->FindAll(text, [](size_t, size_t) {});
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("pattern `(a+)+$` gave up at byte "));
  EXPECT_THAT(status.message(), HasSubstr(" of 1150000: match limit exceeded"));
  // Some seconds on a machine that does nothing else.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(2));
}

// Steps are counted per character here, and a long word has many of them.
TEST(RegexTest, FindsLongMatchesOfManySteps) {
  auto regex = Regex::Compile("(?:a|b)+c?");
  ASSERT_TRUE(regex.ok());
  const std::string word(300'000, 'a');
  std::string text = word + "c " + word + "\u20AC" + word;
  for (int i = 0; i < 500; ++i)
    text += "\u20AC" + std::string(3000, 'b');
  size_t count = 0, bytes = 0;
  const Status status = regex->FindAll(text, [&](size_t begin, size_t end) {
    ++count;
    bytes += end - begin;
  });
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(count, 503u);
  EXPECT_EQ(bytes, 3 * word.size() + 1 + 500 * 3000);
}

TEST(RegexTest, RefusesWhatItCannotRead) {
  const auto error = [](std::string_view pattern) {
    return Regex::Compile(pattern).status().message();
  };
  EXPECT_THAT(error("(a"), HasSubstr("pattern `(a` does not compile"));
  EXPECT_THAT(error("[\\p{L}&&[^a]]"), HasSubstr("intersection of classes"));
  EXPECT_THAT(error("[a[bc]]"), HasSubstr("a [ inside a class is not"));
  EXPECT_THAT(error("a\\b"), HasSubstr("pattern `a\\b`: \\b is not supported"));
  EXPECT_THAT(error("[\\W]"), HasSubstr("\\W inside a class"));
  EXPECT_THAT(error("\\x41"), HasSubstr("\\x is not supported"));
  EXPECT_THAT(error("a\\"), HasSubstr("a \\ at the end"));
  EXPECT_THAT(error(std::string(70000, 'a')), HasSubstr("70000 bytes"));
  EXPECT_EQ(error("[]a][^]a]\\[[a\\]]\\x{41}"), "");
}

TEST(PreTokenizerTest, HasNoStepsForAWholePiece) {
  EXPECT_THAT(SplitSteps(TokenizerBuilder(), "a b"), ElementsAre("a b"));
  EXPECT_THAT(SplitSteps(TokenizerBuilder(), ""), ElementsAre());
}

Pieces SplitAtCommas(schema::SplitBehavior behavior, bool invert,
                     std::string_view text) {
  TokenizerBuilder builder;
  schema::PreTokenizerT &split =
      builder.PreTokenizer(schema::PreTokenizerKind::Split);
  split.splitter = schema::Splitter::Text;
  split.pattern = ",";
  split.behavior = behavior;
  split.invert = invert;
  return SplitSteps(builder, text);
}

// What tokenizers.pre_tokenizers.Split(",", ...) gives.
TEST(PreTokenizerTest, KnowsEveryBehavior) {
  using schema::SplitBehavior;
  const std::string_view text = "a,b,,c,";
  EXPECT_THAT(SplitAtCommas(SplitBehavior::Isolated, false, text),
              ElementsAre("a", ",", "b", ",", ",", "c", ","));
  EXPECT_THAT(SplitAtCommas(SplitBehavior::Removed, false, text),
              ElementsAre("a", "b", "c"));
  EXPECT_THAT(SplitAtCommas(SplitBehavior::MergedWithPrevious, false, text),
              ElementsAre("a,", "b,", ",", "c,"));
  EXPECT_THAT(SplitAtCommas(SplitBehavior::MergedWithNext, false, text),
              ElementsAre("a", ",b", ",", ",c", ","));
  EXPECT_THAT(SplitAtCommas(SplitBehavior::Contiguous, false, text),
              ElementsAre("a", ",", "b", ",,", "c", ","));
  EXPECT_THAT(SplitAtCommas(SplitBehavior::Removed, true, text),
              ElementsAre(",", ",", ",", ","));
}

TEST(PreTokenizerTest, CutsDigits) {
  TokenizerBuilder builder;
  schema::PreTokenizerT &digits =
      builder.PreTokenizer(schema::PreTokenizerKind::Digits);
  EXPECT_THAT(SplitSteps(builder, "a12\u00B2b3"),
              ElementsAre("a", "12\u00B2", "b", "3"));
  digits.individual = true;
  EXPECT_THAT(SplitSteps(builder, "a12\u00B2b"),
              ElementsAre("a", "1", "2", "\u00B2", "b"));
}

TEST(PreTokenizerTest, PrefixesEveryPiece) {
  TokenizerBuilder builder;
  builder.PreTokenizer(schema::PreTokenizerKind::Digits);
  builder.PreTokenizer(schema::PreTokenizerKind::PrefixSpace);
  EXPECT_THAT(SplitSteps(builder, "a1 b"), ElementsAre(" a", " 1", " b"));
}

TEST(PreTokenizerTest, KnowsEveryMetaspaceScheme) {
  TokenizerBuilder builder;
  schema::PreTokenizerT &step =
      builder.PreTokenizer(schema::PreTokenizerKind::Metaspace);
  step.replacement = "_";
  step.split = true;
  EXPECT_THAT(SplitSteps(builder, "a  b "), ElementsAre("_a", "_", "_b", "_"));
  EXPECT_THAT(SplitSteps(builder, " a"), ElementsAre("_a"));
  EXPECT_THAT(SplitSteps(builder, "a", /*at_start=*/false), ElementsAre("_a"));
  step.prepend_scheme = schema::PrependScheme::First;
  EXPECT_THAT(SplitSteps(builder, "a b"), ElementsAre("_a", "_b"));
  EXPECT_THAT(SplitSteps(builder, "a", /*at_start=*/false), ElementsAre("a"));
  step.prepend_scheme = schema::PrependScheme::Never;
  EXPECT_THAT(SplitSteps(builder, "a b"), ElementsAre("a", "_b"));
  step.split = false;
  EXPECT_THAT(SplitSteps(builder, "a b"), ElementsAre("a_b"));
}

} // namespace
} // namespace stele::text
