// Tokenizer: special tokens and chat content, fallbacks, decoding and
// streaming, and segments that lie. Equality with Hugging Face's tokenizers on
// real vocabularies is test/e2e/tokenizer_diff.py's.
#include "stele/runtime/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "tokenizer_builder.h"

namespace stele::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Ids = std::vector<int32_t>;

std::unique_ptr<Tokenizer> Load(const TokenizerBuilder &builder) {
  auto tokenizer = builder.Load();
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return *std::move(tokenizer);
}

Ids Encode(const Tokenizer &tokenizer, std::string_view text,
           const EncodeOptions &options = {}) {
  auto ids = tokenizer.Encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  return *ids;
}

// Tokens as texts, which reads better than ids.
std::vector<std::string> Tokens(const Tokenizer &tokenizer,
                                std::string_view text,
                                const EncodeOptions &options = {}) {
  std::vector<std::string> tokens;
  for (const int32_t id : Encode(tokenizer, text, options)) {
    tokens.emplace_back(tokenizer.TokenText(id));
  }
  return tokens;
}

// Byte-level with "he", "ll", "hell", "hello" and two control tokens.
TokenizerBuilder Hello() {
  TokenizerBuilder builder = TokenizerBuilder::ByteLevel();
  builder.Merge("h", "e");
  builder.Merge("l", "l");
  builder.Merge("he", "ll");
  builder.Merge("hell", "o");
  builder.Added("<|end|>", true);
  builder.Added("<|end|>>", true);
  builder.PreTokenizer(schema::PreTokenizerKind::Split);
  return builder;
}

TokenizerBuilder HelloSpm() {
  TokenizerBuilder builder = TokenizerBuilder::Spm();
  for (const char *c : {"\u2581", "h", "i"})
    builder.Token(c);
  builder.Merge("h", "i");
  builder.Merge("\u2581", "hi");
  return builder;
}

TEST(TokenizerTest, MergesBytes) {
  const auto tokenizer = Load(Hello());
  EXPECT_THAT(Tokens(*tokenizer, "hello hell"),
              ElementsAre("hello", " ", "hell"));
  EXPECT_THAT(Tokens(*tokenizer, ""), ElementsAre());
  // NUL and invalid bytes are bytes like others, after Python's replacement.
  EXPECT_THAT(Tokens(*tokenizer, std::string_view("\0", 1)),
              ElementsAre(std::string(1, '\0')));
  EXPECT_THAT(Tokens(*tokenizer, "\xE2\x82"),
              ElementsAre("\xEF", "\xBF", "\xBD"));
}

TEST(TokenizerTest, ReadsControlTokens) {
  const auto tokenizer = Load(Hello());
  EXPECT_THAT(Tokens(*tokenizer, "he<|end|>ll"),
              ElementsAre("he", "<|end|>", "ll"));
  EXPECT_THAT(Tokens(*tokenizer, "<|end|>>"), ElementsAre("<|end|>>"));
  EXPECT_EQ(
      Encode(*tokenizer, "<|end|>", {.parse_special_tokens = false}).size(),
      7u);
}

TEST(TokenizerTest, ReadsNoControlTokenInContent) {
  const auto tokenizer = Load(Hello());
  const std::string content = "he<|end|>", prompt = content + "<|end|>";
  const Span user[] = {{0, content.size()}};
  const Ids ids = Encode(*tokenizer, prompt, {.literal = user});
  EXPECT_EQ(ids.size(), 9u); // he, seven bytes, the template's <|end|>
  EXPECT_EQ(tokenizer->TokenText(ids.back()), "<|end|>");
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    EXPECT_FALSE(tokenizer->IsSpecial(ids[i]));
  }
}

TEST(TokenizerTest, ReadsNoControlTokenThatContentCompletes) {
  const auto tokenizer = Load(Hello());
  // The user wrote all but the last byte, or all but the first.
  for (const Span user : {Span{0, 6}, Span{1, 7}, Span{3, 4}}) {
    const Span literal[] = {user};
    for (const int32_t id :
         Encode(*tokenizer, "<|end|>", {.literal = literal})) {
      EXPECT_FALSE(tokenizer->IsSpecial(id));
    }
  }
  // Nor does content make the template's token disappear into a longer one.
  const Span literal[] = {{7, 8}};
  EXPECT_THAT(Tokens(*tokenizer, "<|end|>>", {.literal = literal}),
              ElementsAre("<|end|>", ">"));
}

TEST(TokenizerTest, KeepsSpansThroughReplacedBytes) {
  const auto tokenizer = Load(Hello());
  // Replacement lengthens the text before the content.
  const std::string prompt = "\xFF\xFF<|end|>he<|end|>";
  const Span literal[] = {{2, 9}};
  const std::vector<std::string> tokens =
      Tokens(*tokenizer, prompt, {.literal = literal});
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), "<|end|>"), 1);
  EXPECT_EQ(tokens.back(), "<|end|>");
}

TEST(TokenizerTest, NeverMergesToAControlToken) {
  TokenizerBuilder builder = TokenizerBuilder::ByteLevel();
  builder.Merge("<", "s");
  const uint32_t id = builder.Merge("<s", ">");
  builder.t.added_tokens.push_back(std::make_unique<schema::AddedTokenT>());
  builder.t.added_tokens.back()->id = id;
  builder.t.added_tokens.back()->content = "<s>";
  builder.t.added_tokens.back()->special = true;
  builder.t.ignore_merges = true;
  const auto tokenizer = Load(builder);
  EXPECT_THAT(Tokens(*tokenizer, "<s>"), ElementsAre("<s>"));
  EXPECT_THAT(Tokens(*tokenizer, "<s>", {.parse_special_tokens = false}),
              ElementsAre("<s", ">"));
}

TEST(TokenizerTest, StripsAroundAddedTokens) {
  TokenizerBuilder builder = TokenizerBuilder::ByteLevel();
  builder.Added("<l>", false).lstrip = true;
  builder.Added("<r>", false).rstrip = true;
  builder.Added("w", false).single_word = true;
  const auto word = static_cast<int32_t>(builder.texts.size() - 1);
  const auto tokenizer = Load(builder);
  EXPECT_THAT(Tokens(*tokenizer, "a \n<l> b"),
              ElementsAre("a", "<l>", " ", "b"));
  EXPECT_THAT(Tokens(*tokenizer, "a <r> \u00A0b"),
              ElementsAre("a", " ", "<r>", "b"));
  EXPECT_THAT(Tokens(*tokenizer, "<r>  <l>"), ElementsAre("<r>", "<l>"));
  // White space that spells a token, but that another one has taken.
  schema::AddedTokenT &newline = builder.Added("\n", false);
  newline.rstrip = true;
  EXPECT_THAT(Tokens(*Load(builder), "<r>\n\na"),
              ElementsAre("<r>", "\n", "\n", "a"));
  newline.lstrip = true;
  EXPECT_THAT(Tokens(*Load(builder), "<r>\n\na"), ElementsAre("<r>", "a"));
  EXPECT_EQ(Encode(*tokenizer, "w w,"), (Ids{word, ' ', word, ','}));
  EXPECT_EQ(Encode(*tokenizer, "aw w_"), (Ids{'a', 'w', ' ', 'w', '_'}));
}

TEST(TokenizerTest, FindsNormalizedAddedTokensInNormalizedText) {
  TokenizerBuilder builder = TokenizerBuilder::ByteLevel();
  builder.Normalizer(schema::NormalizerKind::Nfc);
  schema::AddedTokenT &cafe = builder.Added("caf\u00E9", true);
  cafe.normalized = true;
  const auto tokenizer = Load(builder);
  EXPECT_THAT(Tokens(*tokenizer, "acafe\u0301"), ElementsAre("a", "caf\u00E9"));
  // And not in content: neither whole nor completed by it.
  for (const Span user : {Span{1, 7}, Span{3, 5}, Span{5, 7}}) {
    const Span literal[] = {user};
    for (const int32_t id :
         Encode(*tokenizer, "acafe\u0301", {.literal = literal})) {
      EXPECT_FALSE(tokenizer->IsSpecial(id));
    }
  }
  // It decodes to what was found.
  TokenizerBuilder spm = HelloSpm();
  spm.Added("<t>", false).normalized = true;
  const auto other = Load(spm);
  EXPECT_THAT(Tokens(*other, "hi <t>hi"), ElementsAre("\u2581hi", "<t>", "hi"));
  EXPECT_EQ(other->Decode(Encode(*other, "hi <t>hi")), "hi <t>hi");
  const Span before[] = {{0, 1}};
  EXPECT_THAT(Tokens(*tokenizer, "acafe\u0301", {.literal = before}),
              ElementsAre("a", "caf\u00E9"));
}

TEST(TokenizerTest, SurroundsATextOnRequest) {
  TokenizerBuilder builder = Hello();
  builder.t.prefix_ids = {1, 2};
  builder.t.suffix_ids = {3};
  const auto tokenizer = Load(builder);
  EXPECT_EQ(Encode(*tokenizer, "a"), (Ids{1, 2, 'a', 3}));
  EXPECT_EQ(Encode(*tokenizer, "a", {.add_special_tokens = false}), Ids{'a'});
}

TEST(TokenizerTest, TakesWholeTokensWhereMergesAreIgnored) {
  TokenizerBuilder builder = TokenizerBuilder::ByteLevel();
  builder.Token("xyz");
  builder.PreTokenizer(schema::PreTokenizerKind::Split);
  EXPECT_THAT(Tokens(*Load(builder), "xyz"), ElementsAre("x", "y", "z"));
  builder.t.ignore_merges = true;
  EXPECT_THAT(Tokens(*Load(builder), "xyz xyzz"),
              ElementsAre("xyz", " ", "x", "y", "z", "z"));
}

TEST(TokenizerTest, FallsBackToBytes) {
  const auto tokenizer = Load(HelloSpm());
  EXPECT_THAT(Tokens(*tokenizer, "hi hi"), ElementsAre("\u2581hi", "\u2581hi"));
  EXPECT_THAT(Tokens(*tokenizer, "\u00E9h"),
              ElementsAre("\u2581", "<0xC3>", "<0xA9>", "h"));
  EXPECT_THAT(Tokens(*tokenizer, "<0xC3>"),
              ElementsAre("\u2581", "<0x3C>", "<0x30>", "<0x78>", "<0x43>",
                          "<0x33>", "<0x3E>"));
}

TEST(TokenizerTest, FusesUnknownCharacters) {
  TokenizerBuilder builder = HelloSpm();
  builder.t.byte_fallback = false;
  EXPECT_EQ(Encode(*Load(builder), "hxyzh").size(), 4u);
  builder.t.fuse_unk = false;
  EXPECT_EQ(Encode(*Load(builder), "hxyzh").size(), 6u);
  builder.t.unk_id = -1;
  EXPECT_THAT(Tokens(*Load(builder), "hxyzh"), ElementsAre("\u2581", "h", "h"));
}

TEST(TokenizerTest, PrefersTheLeftmostOfEqualRanks) {
  TokenizerBuilder builder = HelloSpm();
  builder.Token("a");
  builder.Merge("a", "a");
  builder.t.ranks.assign(builder.t.merges.size() / 3, 5);
  EXPECT_THAT(Tokens(*Load(builder), "haaa"),
              ElementsAre("\u2581", "h", "aa", "a"));
}

TEST(TokenizerTest, DecodesBytes) {
  const auto tokenizer = Load(Hello());
  const Ids ids = Encode(*tokenizer, "hello \u20AC<|end|>");
  EXPECT_EQ(tokenizer->Decode(ids), "hello \u20AC");
  EXPECT_EQ(tokenizer->Decode(ids, /*skip_special_tokens=*/false),
            "hello \u20AC<|end|>");
  EXPECT_EQ(tokenizer->Decode(Ids{0xE2, 0x82}), "\uFFFD");
  EXPECT_EQ(tokenizer->Decode(Ids{-1, 'a', 1 << 30}), "a");
}

TEST(TokenizerTest, DecodesSentencePieces) {
  const auto tokenizer = Load(HelloSpm());
  EXPECT_EQ(tokenizer->Decode(Encode(*tokenizer, "hi  hi")), "hi  hi");
  EXPECT_EQ(tokenizer->Decode(Encode(*tokenizer, "\u00E9")), "\u00E9");
  // <0xC3> <0x41>: as the reference, one U+FFFD for each byte of the run.
  EXPECT_EQ(tokenizer->Decode(Ids{1 + 0xC3, 1 + 0x41}), "\uFFFD\uFFFD");
}

TEST(TokenizerTest, DecodesMetaspaceAndWords) {
  TokenizerBuilder builder;
  builder.Token("_a");
  builder.Token("_");
  builder.t.decoder->kind = schema::DecoderKind::Metaspace;
  builder.t.decoder->replacement = "_";
  builder.t.decoder->strip_start = 1;
  EXPECT_EQ(Load(builder)->Decode(Ids{0, 1, 0}), "a  a");
  builder.t.decoder->strip_start = 0;
  EXPECT_EQ(Load(builder)->Decode(Ids{0, 0}), " a a");
  builder.t.decoder->kind = schema::DecoderKind::Words;
  EXPECT_EQ(Load(builder)->Decode(Ids{0, 1}), "_a _");
}

std::string Stream(const Tokenizer &tokenizer, const Ids &ids,
                   std::vector<std::string> *pieces = nullptr) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = decoder.Push(id);
    if (pieces)
      pieces->push_back(piece);
    text += piece;
  }
  return text + decoder.Finish();
}

TEST(StreamDecoderTest, NeverGivesHalfACharacter) {
  const auto tokenizer = Load(Hello());
  std::vector<std::string> pieces;
  const Ids ids = {'a', 0xF0, 0x9F, 0x98, 0x80, 0xE2, 0x82, 'b', 0xC3};
  EXPECT_EQ(Stream(*tokenizer, ids, &pieces), "a\U0001F600\uFFFDb\uFFFD");
  EXPECT_THAT(pieces, ElementsAre("a", "", "", "", "\U0001F600", "", "",
                                  "\uFFFDb", ""));
  EXPECT_EQ(Stream(*tokenizer, ids), tokenizer->Decode(ids));
}

TEST(StreamDecoderTest, DecodesSentencePieces) {
  const auto tokenizer = Load(HelloSpm());
  const Ids ids = Encode(*tokenizer, "hi \u20AChi");
  EXPECT_EQ(Stream(*tokenizer, ids), "hi \u20AChi");
  std::vector<std::string> pieces;
  Stream(*tokenizer, {1 + 0xE2, 1 + 0x82, 1 + 0xAC}, &pieces);
  EXPECT_THAT(pieces, ElementsAre("", "", "\u20AC"));
  // A leading space is stripped once, however it is spelled.
  const int32_t space = static_cast<int32_t>(HelloSpm().Id("\u2581"));
  EXPECT_EQ(Stream(*tokenizer, {space, space}), " ");
  EXPECT_EQ(Stream(*tokenizer, {1 + ' ', space}), " ");
}

TEST(TokenizerTest, EncodesAWordOfAMillionCharacters) {
  TokenizerBuilder builder = Hello();
  builder.Merge("a", "a");
  builder.Merge("aa", "aa");
  builder.Merge("aaaa", "aaaa");
  const auto tokenizer = Load(builder);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Encode(*tokenizer, std::string(1 << 20, 'a')).size(), 1u << 17);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

// Robustness case 41, through pre-tokenizer and normalizer. The next text is
// none the worse for it.
TEST(TokenizerTest, Case41_CatastrophicPatterns) {
  const auto check = [](const TokenizerBuilder &builder) {
    const auto tokenizer = Load(builder);
    const auto ids = tokenizer->Encode(std::string(64, 'a') + "b");
    EXPECT_EQ(ids.status().code(), StatusCode::kResourceExhausted);
    EXPECT_THAT(ids.status().message(),
                testing::HasSubstr("pattern `(a+)+$` gave up at byte 0 of 65: "
                                   "match limit exceeded"));
    EXPECT_EQ(Encode(*tokenizer, "b").size(), 1u);
  };
  TokenizerBuilder split = TokenizerBuilder::ByteLevel();
  schema::PreTokenizerT &step =
      split.PreTokenizer(schema::PreTokenizerKind::Split);
  step.splitter = schema::Splitter::Regex;
  step.pattern = "(a+)+$";
  check(split);
  TokenizerBuilder replace = TokenizerBuilder::ByteLevel();
  schema::NormalizerT &normalizer =
      replace.Normalizer(schema::NormalizerKind::Replace);
  normalizer.regex = true;
  normalizer.pattern = "(a+)+$";
  check(replace);
}

TEST(TokenizerTest, ServesManyThreads) {
  const auto tokenizer = Load(Hello());
  std::string text;
  for (int i = 0; i < 2000; ++i)
    text += "hello <|end|>\u20AC ";
  const Ids expected = Encode(*tokenizer, text);
  std::vector<std::thread> threads;
  std::vector<Ids> results(4);
  for (Ids &result : results) {
    threads.emplace_back([&] { result = Encode(*tokenizer, text); });
  }
  for (std::thread &thread : threads)
    thread.join();
  for (const Ids &result : results)
    EXPECT_EQ(result, expected);
}

// Each case breaks one thing of a sound segment.
struct Lie {
  const char *message;
  std::function<void(TokenizerBuilder &)> tell;
};

TEST(TokenizerLoadTest, RefusesSegmentsThatLie) {
  const Lie lies[] = {
      {"0 tokens", [](auto &b) { b.t.types.clear(); }},
      {"expected one more", [](auto &b) { b.t.types.pop_back(); }},
      {"offsets do not cover", [](auto &b) { b.t.offsets.back()++; }},
      {"offsets do not cover", [](auto &b) { b.t.offsets[0] = 1; }},
      {"offsets of tokens descend", [](auto &b) { b.t.offsets[5] = 9; }},
      {"token 3 has the unknown type 9",
       [](auto &b) { b.t.types[3] = static_cast<schema::TokenType>(9); }},
      {"token 3 stands for a byte",
       [](auto &b) { b.t.types[3] = schema::TokenType::Byte; }},
      {"merges are not triples", [](auto &b) { b.t.merges.pop_back(); }},
      {"merges are not triples", [](auto &b) { b.t.ranks = {1}; }},
      {"merge 1 (108, 999) names token 999",
       [](auto &b) { b.t.merges[4] = 999; }},
      {"whose text is not theirs joined", [](auto &b) { b.t.merges[3] = 'x'; }},
      {"which merges cannot form",
       [](auto &b) { b.t.merges[3] = b.Id("<|end|>"); }},
      {"added token `<|end|>` has id 5000",
       [](auto &b) { b.t.added_tokens[0]->id = 5000; }},
      {"is empty or not UTF-8",
       [](auto &b) { b.t.added_tokens[0]->content = ""; }},
      {"is empty or not UTF-8",
       [](auto &b) { b.t.added_tokens[0]->content = "\xFF"; }},
      {"unk_id is 5000", [](auto &b) { b.t.unk_id = 5000; }},
      {"bos_id is -2", [](auto &b) { b.t.bos_id = -2; }},
      {"eos_id is 2147483647", [](auto &b) { b.t.eos_id = INT32_MAX; }},
      {"an id around every text is 5000",
       [](auto &b) { b.t.prefix_ids = {5000}; }},
      {"an id around every text is 4294967295",
       [](auto &b) { b.t.suffix_ids = {UINT32_MAX}; }},
      {"the decoder does not suit",
       [](auto &b) { b.t.decoder->kind = schema::DecoderKind::Spm; }},
      {"a decoder of a kind",
       [](auto &b) {
         b.t.decoder->kind = static_cast<schema::DecoderKind>(99);
       }},
      {"a normalizer of a kind",
       [](auto &b) { b.Normalizer(static_cast<schema::NormalizerKind>(99)); }},
      {"a pre-tokenizer of a kind",
       [](auto &b) {
         b.PreTokenizer(static_cast<schema::PreTokenizerKind>(99));
       }},
      {"does not compile",
       [](auto &b) {
         auto &split = b.PreTokenizer(schema::PreTokenizerKind::Split);
         split.splitter = schema::Splitter::Regex;
         split.pattern = "(";
       }},
      {"without a replacement",
       [](auto &b) { b.PreTokenizer(schema::PreTokenizerKind::Metaspace); }},
      {"a normalizer inserts is not UTF-8",
       [](auto &b) {
         b.Normalizer(schema::NormalizerKind::Prepend).content = "\xFF";
       }},
      {"chat template is not UTF-8",
       [](auto &b) {
         b.t.chat_templates.push_back(
             std::make_unique<schema::ChatTemplateT>());
         b.t.chat_templates.back()->text = "\xFF";
       }},
  };
  for (const Lie &lie : lies) {
    TokenizerBuilder builder = Hello();
    lie.tell(builder);
    const auto tokenizer = builder.Load();
    EXPECT_FALSE(tokenizer.ok()) << lie.message;
    EXPECT_THAT(tokenizer.status().message(), HasSubstr(lie.message));
    EXPECT_THAT(tokenizer.status().message(), HasSubstr("; ")); // a remedy
  }
}

TEST(TokenizerLoadTest, RefusesTokensThatAreNotText) {
  TokenizerBuilder builder = HelloSpm();
  builder.Token("\xC3");
  EXPECT_THAT(builder.Load().status().message(), HasSubstr("is not UTF-8"));
}

void UseAsFarAsItLoads(const std::vector<uint8_t> &segment) {
  const auto tokenizer = Tokenizer::Load(segment);
  if (!tokenizer.ok())
    return;
  const auto ids = (*tokenizer)->Encode("hello <|end|> hi\u00E9 1");
  if (!ids.ok())
    return;
  (*tokenizer)->Decode(*ids);
  Stream(**tokenizer, *ids);
}

TEST(TokenizerLoadTest, SurvivesTruncationAndFlippedBits) {
  TokenizerBuilder small = HelloSpm();
  small.PreTokenizer(schema::PreTokenizerKind::Split);
  for (const TokenizerBuilder &builder : {Hello(), small}) {
    std::vector<uint8_t> segment = builder.Segment();
    for (size_t size = 0; size < segment.size(); size += 7) {
      UseAsFarAsItLoads({segment.begin(), segment.begin() + size});
    }
    for (size_t bit = 0; bit < segment.size() * 8; bit += 3) {
      segment[bit / 8] ^= 1 << bit % 8;
      UseAsFarAsItLoads(segment);
      segment[bit / 8] ^= 1 << bit % 8;
    }
  }
}

} // namespace
} // namespace stele::text
