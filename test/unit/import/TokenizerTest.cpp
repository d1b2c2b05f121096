// Tokenizer import: robustness cases 38-40 each with its exact error, every
// kind of step that is understood, and the ones that are refused by name.
#include "stele/compiler/Import/Tokenizer.h"
#include "TestFiles.h"
#include "stele/compiler/Import/Gguf.h"
#include "stele/compiler/Import/TokenizerModel.h"
#include "gmock/gmock.h"

using namespace stele::checkpoint;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

// A byte-level tokenizer.json of seven tokens; tests replace members.
const char *const sound = R"({
  "added_tokens": [
    {"id": 5, "content": "<|end|>", "special": true, "lstrip": false,
     "rstrip": true, "single_word": false, "normalized": false}],
  "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Digits", "individual_digits": true},
    {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
     "use_regex": true}]},
  "post_processor": {"type": "ByteLevel", "trim_offsets": false},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "dropout": null, "unk_token": null,
    "fuse_unk": false, "byte_fallback": false,
    "vocab": {"a": 0, "b": 1, "\u0120": 2, "ab": 3, "\u0120ab": 4},
    "merges": [["a", "b"], "\u0120 ab"]}
})";

class HfTokenizer : public testing::Test {
protected:
  // Replaces parts of the sound file and imports; "none" or the error with the
  // folder's name cut out.
  std::string
  import(std::initializer_list<std::pair<const char *, const char *>> changes =
             {}) {
    std::string json = sound;
    for (auto [from, to] : changes) {
      size_t at = json.find(from);
      EXPECT_NE(at, std::string::npos) << from;
      json.replace(at, std::strlen(from), to);
    }
    folder.write("tokenizer.json", json);
    return importFolder();
  }
  std::string importFolder() {
    auto segment = importHfTokenizer(folder.path(), 6);
    if (!segment) {
      std::string error = llvm::toString(segment.takeError());
      EXPECT_EQ(error.find(folder.path()), 0u) << error;
      return error.substr(folder.path().size());
    }
    bytes = *segment;
    flatbuffers::Verifier verifier(bytes.data(), bytes.size());
    EXPECT_TRUE(tokens::VerifyTokenizerBuffer(verifier));
    result = tokens::UnPackTokenizer(bytes.data());
    return "none";
  }
  std::string text(uint32_t id) const {
    return {result->bytes.begin() + result->offsets[id],
            result->bytes.begin() + result->offsets[id + 1]};
  }

  TempFolder folder;
  std::vector<uint8_t> bytes;
  std::unique_ptr<tokens::TokenizerT> result;
};

} // namespace

TEST_F(HfTokenizer, ReadsAByteLevelVocabulary) {
  ASSERT_EQ(import(), "none");
  EXPECT_TRUE(result->byte_level);
  ASSERT_EQ(result->types.size(), 6u);
  EXPECT_EQ(text(4), " ab");
  EXPECT_EQ(text(5), "<|end|>");
  EXPECT_EQ(result->types[4], tokens::TokenType::Normal);
  EXPECT_EQ(result->types[5], tokens::TokenType::Literal);
  EXPECT_THAT(result->merges, ElementsAre(0, 1, 3, 2, 3, 4));
  EXPECT_TRUE(result->ranks.empty());
  ASSERT_EQ(result->added_tokens.size(), 1u);
  EXPECT_TRUE(result->added_tokens[0]->special);
  EXPECT_TRUE(result->added_tokens[0]->rstrip);
  EXPECT_FALSE(result->added_tokens[0]->lstrip);
  ASSERT_EQ(result->normalizers.size(), 1u);
  EXPECT_EQ(result->normalizers[0]->kind, tokens::NormalizerKind::Nfc);
  ASSERT_EQ(result->pre_tokenizers.size(), 2u);
  EXPECT_EQ(result->pre_tokenizers[0]->kind, tokens::PreTokenizerKind::Digits);
  EXPECT_TRUE(result->pre_tokenizers[0]->individual);
  EXPECT_EQ(result->pre_tokenizers[1]->splitter, tokens::Splitter::Gpt2);
  EXPECT_EQ(result->decoder->kind, tokens::DecoderKind::ByteLevel);
}

TEST_F(HfTokenizer, KeepsHoles) {
  ASSERT_EQ(import({{"\"\\u0120ab\": 4", "\"\\u0120ab\": 4"}}), "none");
  ASSERT_EQ(import({{"\"id\": 5", "\"id\": 5"},
                    {"\"\\u0120ab\": 4}", "\"x\": 4}"},
                    {", \"\\u0120 ab\"", ""},
                    {"\"\\u0120\": 2, ", ""}}),
            "none");
  EXPECT_EQ(result->types[2], tokens::TokenType::Hole);
}

TEST_F(HfTokenizer, RefusesBadIds) {
  EXPECT_EQ(import({{"\"b\": 1", "\"b\": 0"}}),
            "/tokenizer.json: tokens `a` and `b` both have id 0; an id names "
            "one token");
  EXPECT_EQ(import({{"\"b\": 1", "\"b\": -1"}}),
            "/tokenizer.json: token `b` has id -1, but the model has "
            "embeddings for ids 0 to 5; take the tokenizer that belongs to "
            "this checkpoint");
  EXPECT_THAT(import({{"\"b\": 1", "\"b\": 6"}}),
              HasSubstr("token `b` has id 6, but the model has embeddings for "
                        "ids 0 to 5"));
  EXPECT_THAT(import({{"\"b\": 1", "\"b\": 18446744073709551615"}}),
              HasSubstr("model.vocab[\"b\"] is 18446744073709551615, expected "
                        "an id"));
  EXPECT_THAT(import({{"\"b\": 1", "\"b\": 1.5"}}),
              HasSubstr("model.vocab[\"b\"] is 1.5, expected an id"));
  EXPECT_THAT(import({{"\"b\": 1", "\"a\": 1"}}),
              HasSubstr("duplicate key 'a'"));
  EXPECT_THAT(import({{"\"id\": 5", "\"id\": 4"}}),
              HasSubstr("added token `<|end|>` has id 4, which is"));
  EXPECT_THAT(import({{"\"id\": 5", "\"id\": -5"}}),
              HasSubstr("token `<|end|>` has id -5"));
  EXPECT_THAT(import({{"\"id\": 5", "\"id\": 6000000000"}}),
              HasSubstr("token `<|end|>` has id 6000000000"));
  EXPECT_THAT(import({{"\"id\": 5", "\"id\": \"5\""}}),
              HasSubstr("added_tokens[0].id is \"5\", expected an id"));
  EXPECT_EQ(import({{"<|end|>", "ab"}}),
            "/tokenizer.json: added token `ab` has id 5, the vocabulary gives "
            "it id 3; make them equal");
}

TEST_F(HfTokenizer, RefusesBadMerges) {
  EXPECT_EQ(import({{"[\"a\", \"b\"]", "[\"a\", \"c\"]"}}),
            "/tokenizer.json: merge 0 (`a` `c`) needs token `c`, which is not "
            "in the vocabulary; vocabulary and merges are not of the same "
            "tokenizer");
  EXPECT_THAT(import({{"[\"a\", \"b\"]", "[\"b\", \"a\"]"}}),
              HasSubstr("merge 0 (`b` `a`) needs token `ba`"));
  // The only cycle that texts allow: a merge that makes its own part again.
  EXPECT_THAT(import({{"[\"a\", \"b\"]", "[\"\", \"ab\"]"}}),
              HasSubstr("merge 0 (`` `ab`) needs token ``"));
  EXPECT_EQ(import({{"[\"a\", \"b\"]", "[\"a\"]"}}),
            "/tokenizer.json: model.merges[0] is [\"a\"], expected a pair of "
            "tokens");
  EXPECT_THAT(import({{"\"\\u0120 ab\"", "\"a b c\""}}),
              HasSubstr("model.merges[1] is \"a b c\", expected two tokens "
                        "with one space between"));
  EXPECT_THAT(import({{"\"merges\"", "\"mergers\""}}),
              HasSubstr("model.merges is nothing, expected a list of pairs"));
}

TEST_F(HfTokenizer, RefusesBadByteTokens) {
  auto withByte = [&](const char *token) {
    std::string entry = std::string("\"b\": 1, \"") + token + "\": 5";
    return import({{"\"byte_fallback\": false", "\"byte_fallback\": true"},
                   {"\"id\": 5", "\"id\": 3"},
                   {"<|end|>", "ab"},
                   {"\"b\": 1", entry.c_str()}});
  };
  EXPECT_EQ(withByte("<0x-1>"),
            "/tokenizer.json: token 5 `<0x-1>` does not name a byte; byte "
            "tokens are <0x00> to <0xFF>");
  EXPECT_THAT(withByte("<0xGG>"),
              HasSubstr("token 5 `<0xGG>` does not name a byte"));
  EXPECT_EQ(withByte("<0x0A>"), "none");
  EXPECT_EQ(result->types[5], tokens::TokenType::Byte);
}

TEST_F(HfTokenizer, RefusesUnknownKindsByName) {
  EXPECT_EQ(import({{"\"type\": \"BPE\"", "\"type\": \"Unigram\""}}),
            "/tokenizer.json: model is of type `Unigram`, which stele does not "
            "implement; known are BPE");
  EXPECT_THAT(
      import({{"{\"type\": \"NFC\"}", "{\"type\": \"BertNormalizer\"}"}}),
      HasSubstr("normalizer is of type `BertNormalizer`, which stele "
                "does not implement; known are NFC"));
  EXPECT_THAT(import({{"\"type\": \"Digits\"", "\"type\": \"Punctuation\""}}),
              HasSubstr("pre_tokenizer is of type `Punctuation`"));
  EXPECT_THAT(import({{"\"decoder\": {\"type\": \"ByteLevel\"}",
                       "\"decoder\": {\"type\": \"CTC\"}"}}),
              HasSubstr("decoder is of type `CTC`"));
  EXPECT_THAT(import({{"\"post_processor\": {\"type\": \"ByteLevel\"",
                       "\"post_processor\": {\"type\": \"BertProcessing\""}}),
              HasSubstr("post_processor is of type `BertProcessing`"));
  EXPECT_THAT(import({{"\"dropout\": null", "\"dropout\": 0.1"}}),
              HasSubstr("model.dropout is 0.1, expected null"));
  EXPECT_THAT(
      import({{"\"unk_token\": null", "\"end_of_word_suffix\": \"</w>\""}}),
      HasSubstr("model.end_of_word_suffix is \"</w>\""));
  EXPECT_THAT(import({{"\"unk_token\": null", "\"unk_token\": \"<u>\""}}),
              HasSubstr("model.unk_token is \"<u>\", which is not in the "
                        "vocabulary"));
  EXPECT_THAT(
      import({{"\"decoder\": {\"type\": \"ByteLevel\"}", "\"decoder\": null"}}),
      HasSubstr("must both be ByteLevel or neither; only the "
                "pre_tokenizer is"));
}

TEST_F(HfTokenizer, RefusesOtherFormatsByName) {
  EXPECT_THAT(importFolder(), HasSubstr("no tokenizer.json"));
  folder.write("vocab.json", "{}");
  EXPECT_THAT(importFolder(), HasSubstr("only vocab.json is here; stele reads "
                                        "tokenizer.json"));
  folder.write("tekken.json", "{}");
  EXPECT_THAT(importFolder(), HasSubstr("only tekken.json is here; stele reads "
                                        "tokenizer.json"));
  folder.write("tokenizer.model", "");
  EXPECT_THAT(importFolder(), HasSubstr("only tokenizer.model is here"));
  folder.write("tokenizer.json", "[]");
  EXPECT_EQ(importFolder(), "/tokenizer.json: not a JSON object");
}

TEST_F(HfTokenizer, RefusesTextThatIsNone) {
  EXPECT_THAT(import({{"\"b\": 1", "\"\\ud800\": 1"}}),
              HasSubstr("/tokenizer.json:14:"));
  EXPECT_THAT(import({{"\"b\": 1", "\"\xFF\": 1"}}),
              HasSubstr("/tokenizer.json:14:"));
  EXPECT_EQ(import({{"<|end|>", ""}}),
            "/tokenizer.json: the added token of id 5 is empty; remove it");
  // NUL is a character.
  EXPECT_EQ(import({{"<|end|>", "a\\u0000b"}}), "none");
  EXPECT_EQ(text(5), std::string("a\0b", 3));
}

TEST_F(HfTokenizer, TakesAddedTokensOfTheConfig) {
  folder.write("tokenizer_config.json",
               R"({"added_tokens_decoder": {
                    "4": {"content": "<|end|>", "special": true},
                    "0": {"content": "a", "special": true}}})");
  // <|end|> is known, under its id of tokenizer.json.
  ASSERT_EQ(import(), "none");
  ASSERT_EQ(result->added_tokens.size(), 2u);
  EXPECT_EQ(result->added_tokens[1]->id, 0u);
  folder.write("tokenizer_config.json",
               R"({"added_tokens_decoder": {"x": {"content": "b"}}})");
  EXPECT_EQ(import(), "/tokenizer_config.json: added_tokens_decoder[\"x\"] is "
                      "not named by an id");
}

TEST_F(HfTokenizer, MayBeMissingFromACheckpoint) {
  const char *const config =
      R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
          "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
          "num_attention_heads": 1, "vocab_size": 6, "hidden_act": "silu",
          "rms_norm_eps": 1e-5, "max_position_embeddings": 64})";
  std::string path = folder.write("config.json", config);
  auto checkpoint = Checkpoint::open(path);
  ASSERT_TRUE(bool(checkpoint)) << llvm::toString(checkpoint.takeError());
  auto segment = importTokenizer(**checkpoint);
  ASSERT_TRUE(bool(segment)) << llvm::toString(segment.takeError());
  EXPECT_TRUE(segment->empty());
}

TEST_F(HfTokenizer, KnowsItsSplitters) {
  const std::pair<const char *, tokens::Splitter> patterns[] = {
      {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)",
       tokens::Splitter::Llama3},
      {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)",
       tokens::Splitter::Qwen2},
      {"[a-z]+", tokens::Splitter::Regex}};
  for (auto [pattern, splitter] : patterns) {
    std::string step =
        std::string(R"({"type": "Split", "pattern": {"Regex": ")") + pattern +
        R"("}, "behavior": "Removed", "invert": true})";
    ASSERT_EQ(import({{"{\"type\": \"Digits\", \"individual_digits\": true}",
                       step.c_str()}}),
              "none");
    EXPECT_EQ(result->pre_tokenizers[0]->splitter, splitter);
    EXPECT_EQ(result->pre_tokenizers[0]->behavior,
              tokens::SplitBehavior::Removed);
    EXPECT_TRUE(result->pre_tokenizers[0]->invert);
  }
  EXPECT_EQ(result->pre_tokenizers[0]->pattern, "[a-z]+");
}

TEST_F(HfTokenizer, ReadsASentencePieceChain) {
  ASSERT_EQ(
      import({{"{\"type\": \"NFC\"}",
               R"({"type": "Prepend", "prepend": "_"},
                  {"type": "Replace", "pattern": {"String": " "}, "content": "_"})"},
              {"\"type\": \"Digits\", \"individual_digits\": true",
               R"("type": "Metaspace", "replacement": "_", "split": false,
                  "prepend_scheme": "first")"},
              {",\n    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
               "\"trim_offsets\": true,\n     \"use_regex\": true}",
               ""},
              {"\"decoder\": {\"type\": \"ByteLevel\"}",
               R"("decoder": {"type": "Sequence", "decoders": [
                  {"type": "Replace", "pattern": {"String": "_"}, "content": " "},
                  {"type": "ByteFallback"}, {"type": "Fuse"},
                  {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})"}}),
      "none");
  EXPECT_FALSE(result->byte_level);
  ASSERT_EQ(result->normalizers.size(), 2u);
  EXPECT_EQ(result->normalizers[1]->pattern, " ");
  EXPECT_EQ(result->normalizers[1]->content, "_");
  EXPECT_EQ(result->pre_tokenizers[0]->prepend_scheme,
            tokens::PrependScheme::First);
  EXPECT_EQ(result->decoder->kind, tokens::DecoderKind::Spm);
  EXPECT_EQ(result->decoder->strip_start, 1u);
  EXPECT_TRUE(result->decoder->byte_fallback);
}

TEST_F(HfTokenizer, ReadsTemplatesOfIds) {
  const char *const post = R"("post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}},
                 {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "b", "type_id": 0}}],
      "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [5]},
                         "b": {"id": "b", "ids": [1, 0]}})";
  const char *const old = "\"post_processor\": {\"type\": \"ByteLevel\", "
                          "\"trim_offsets\": false";
  ASSERT_EQ(import({{old, post}}), "none");
  EXPECT_THAT(result->prefix_ids, ElementsAre(5));
  EXPECT_THAT(result->suffix_ids, ElementsAre(1, 0));
  // The config's own word counts.
  folder.write("tokenizer_config.json",
               R"({"add_bos_token": false, "add_eos_token": true,
                   "bos_token": "a", "eos_token": {"content": "<|end|>"}})");
  ASSERT_EQ(import({{old, post}}), "none");
  EXPECT_THAT(result->prefix_ids, ElementsAre());
  EXPECT_THAT(result->suffix_ids, ElementsAre(5));
  EXPECT_EQ(result->bos_id, 0);
  EXPECT_EQ(result->eos_id, 5);
}

TEST_F(HfTokenizer, CollectsNamesAndTemplates) {
  folder.write("special_tokens_map.json",
               R"({"pad_token": "a", "eos_token": "b"})");
  folder.write("tokenizer_config.json",
               R"({"eos_token": "<|end|>", "chat_template": [
                    {"name": "default", "template": "old"},
                    {"name": "tool_use", "template": "tools"}]})");
  ASSERT_EQ(import(), "none");
  ASSERT_EQ(result->named_tokens.size(), 2u);
  EXPECT_EQ(result->named_tokens[0]->content, "<|end|>");
  EXPECT_EQ(result->pad_id, 0);
  ASSERT_EQ(result->chat_templates.size(), 2u);
  EXPECT_EQ(result->chat_templates[0]->text, "old");
  EXPECT_EQ(result->chat_templates[1]->name, "tool_use");
  folder.write("chat_template.jinja", "new");
  ASSERT_EQ(import(), "none");
  EXPECT_EQ(result->chat_templates[0]->text, "new");
  folder.write("chat_template.jinja", "\xFF");
  EXPECT_EQ(importFolder(), "/tokenizer.json: the chat template 'default' is "
                            "not UTF-8; save it as UTF-8");
  folder.write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THAT(import(),
              HasSubstr("/tokenizer_config.json: chat_template is 5"));
}

//===----------------------------------------------------------------------===//
// GGUF
//===----------------------------------------------------------------------===//

namespace {

class GgufTokenizer : public testing::Test {
protected:
  static std::string string(const std::string &value) {
    return raw<uint64_t>(value.size()) + value;
  }
  void add(const std::string &key, uint32_t type, const std::string &value) {
    pairs[key] = string(key) + raw(type) + value;
  }
  void addText(const std::string &key, const std::string &value) {
    add(key, 8, string(value));
  }
  void addTexts(const std::string &key, std::vector<std::string> values) {
    std::string bytes = raw<uint32_t>(8) + raw<uint64_t>(values.size());
    for (const std::string &value : values)
      bytes += string(value);
    add(key, 9, bytes);
  }
  template <typename T>
  void addNumbers(const std::string &key, uint32_t type,
                  std::vector<T> values) {
    std::string bytes = raw(type) + raw<uint64_t>(values.size());
    for (T value : values)
      bytes += raw(value);
    add(key, 9, bytes);
  }
  void byteLevel() {
    addText("tokenizer.ggml.model", "gpt2");
    addText("tokenizer.ggml.pre", "smollm");
    addTexts("tokenizer.ggml.tokens", {"<|end|>", "a", "b", "ab", "\u0120"});
    addNumbers<int32_t>("tokenizer.ggml.token_type", 5, {3, 1, 1, 1, 1});
    addTexts("tokenizer.ggml.merges", {"a b"});
  }
  void sentencePiece() {
    addText("tokenizer.ggml.model", "llama");
    addTexts("tokenizer.ggml.tokens",
             {"<unk>", "<s>", "<0x0A>", "a", "b", "ab", "aba", "ba"});
    addNumbers<int32_t>("tokenizer.ggml.token_type", 5,
                        {2, 3, 6, 1, 1, 1, 1, 1});
    addNumbers<float>("tokenizer.ggml.scores", 6,
                      {0, 0, 0, -9, -9, -2, -3, -2});
    add("tokenizer.ggml.bos_token_id", 4, raw<uint32_t>(1));
    add("tokenizer.ggml.unknown_token_id", 4, raw<uint32_t>(0));
  }
  std::string import() {
    std::string bytes = "GGUF" + raw<uint32_t>(3) + raw<uint64_t>(0) +
                        raw<uint64_t>(pairs.size());
    for (const auto &[key, pair] : pairs)
      bytes += pair;
    auto file = llvm::cantFail(InputFile::open(folder.write("m.gguf", bytes)));
    auto gguf = GgufFile::read(*file);
    if (!gguf)
      return llvm::toString(gguf.takeError());
    auto segment = importGgufTokenizer(**gguf, 8);
    if (!segment)
      return llvm::toString(segment.takeError()).substr(folder.path().size());
    if (segment->empty())
      return "no tokenizer";
    result = tokens::UnPackTokenizer(segment->data());
    return "none";
  }

  TempFolder folder;
  std::map<std::string, std::string> pairs;
  std::unique_ptr<tokens::TokenizerT> result;
};

} // namespace

TEST_F(GgufTokenizer, ReadsAByteLevelVocabulary) {
  byteLevel();
  addText("tokenizer.chat_template", "chat");
  addText("tokenizer.chat_template.tool_use", "tools");
  add("tokenizer.ggml.eos_token_id", 4, raw<uint32_t>(0));
  ASSERT_EQ(import(), "none");
  EXPECT_TRUE(result->byte_level);
  EXPECT_THAT(result->merges, ElementsAre(1, 2, 3));
  ASSERT_EQ(result->pre_tokenizers.size(), 2u);
  EXPECT_EQ(result->pre_tokenizers[0]->kind, tokens::PreTokenizerKind::Digits);
  ASSERT_EQ(result->added_tokens.size(), 1u);
  EXPECT_TRUE(result->added_tokens[0]->special);
  EXPECT_EQ(result->eos_id, 0);
  EXPECT_TRUE(result->prefix_ids.empty());
  ASSERT_EQ(result->chat_templates.size(), 2u);
  EXPECT_EQ(result->chat_templates[1]->name, "tool_use");
}

TEST_F(GgufTokenizer, MergesByScore) {
  sentencePiece();
  ASSERT_EQ(import(), "none");
  EXPECT_TRUE(result->byte_fallback);
  EXPECT_EQ(result->unk_id, 0);
  EXPECT_THAT(result->prefix_ids, ElementsAre(1)); // BOS unless told otherwise
  // ab, ba (score -2) and both ways to cut aba (score -3).
  EXPECT_THAT(result->merges, ElementsAre(3, 4, 5, 4, 3, 7, 3, 7, 6, 5, 3, 6));
  EXPECT_THAT(result->ranks, ElementsAre(0, 0, 1, 1));
  ASSERT_EQ(result->normalizers.size(), 2u);
  add("tokenizer.ggml.add_space_prefix", 7, raw<uint8_t>(0));
  add("tokenizer.ggml.add_bos_token", 7, raw<uint8_t>(0));
  ASSERT_EQ(import(), "none");
  EXPECT_EQ(result->normalizers.size(), 1u);
  EXPECT_EQ(result->decoder->strip_start, 0u);
  EXPECT_TRUE(result->prefix_ids.empty());
}

TEST_F(GgufTokenizer, MayBeAbsent) {
  addText("tokenizer.ggml.model", "no_vocab");
  EXPECT_EQ(import(), "no tokenizer");
}

TEST_F(GgufTokenizer, RefusesUnknownKindsByName) {
  EXPECT_THAT(import(), HasSubstr("tokenizer.ggml.tokens is missing"));
  byteLevel();
  addText("tokenizer.ggml.pre", "bloom");
  EXPECT_THAT(import(),
              HasSubstr("tokenizer.ggml.pre is `bloom`, expected one that "
                        "stele implements: default, gpt-2"));
  addText("tokenizer.ggml.model", "bert");
  EXPECT_EQ(import(), "/m.gguf: tokenizer.ggml.model is `bert`, expected gpt2 "
                      "or llama, the kinds that stele implements");
  sentencePiece();
  addText("tokenizer.ggml.precompiled_charsmap", "x");
  EXPECT_THAT(import(), HasSubstr("precompiled_charsmap asks for"));
}

TEST_F(GgufTokenizer, RefusesBadTables) {
  byteLevel();
  addTexts("tokenizer.ggml.merges", {"a b", "ab"});
  EXPECT_EQ(import(), "/m.gguf: tokenizer.ggml.merges[1] is `ab`, expected two "
                      "tokens with one space between");
  addTexts("tokenizer.ggml.merges", {"a z"});
  EXPECT_THAT(import(), HasSubstr("merge 0 (`a` `z`) needs token `z`"));
  pairs.erase("tokenizer.ggml.merges");
  EXPECT_THAT(import(), HasSubstr("tokenizer.ggml.merges is missing"));
  byteLevel();
  addNumbers<int32_t>("tokenizer.ggml.token_type", 5, {3, 1, 1, 1});
  EXPECT_THAT(import(), HasSubstr("token_type is a list of 4, expected 5"));
  addNumbers<int32_t>("tokenizer.ggml.token_type", 5, {3, 1, 1, 1, 9});
  EXPECT_THAT(import(), HasSubstr("token_type[4] is 9, expected 1 to 6"));
  byteLevel();
  addTexts("tokenizer.ggml.tokens", {"a", "b", "a", "ab", "c"});
  EXPECT_THAT(import(), HasSubstr("token `a` appears twice, as ids"));
  byteLevel();
  add("tokenizer.ggml.eos_token_id", 4, raw<uint32_t>(5));
  EXPECT_THAT(import(), HasSubstr("eos_token_id is 5, expected an id below 5"));
  add("tokenizer.ggml.eos_token_id", 5, raw<int32_t>(-1));
  EXPECT_THAT(import(), HasSubstr("eos_token_id is -1"));
}

TEST_F(GgufTokenizer, RefusesBadBytesAndScores) {
  sentencePiece();
  addTexts("tokenizer.ggml.tokens",
           {"<unk>", "<s>", "<0xGG>", "a", "b", "ab", "aba", "ba"});
  EXPECT_EQ(import(), "/m.gguf: token 2 `<0xGG>` does not name a byte; byte "
                      "tokens are <0x00> to <0xFF>");
  addTexts("tokenizer.ggml.tokens",
           {"<unk>", "<s>", "newline", "a", "b", "ab", "aba", "ba"});
  EXPECT_THAT(import(), HasSubstr("token 2 `newline` is of type byte"));
  sentencePiece();
  addNumbers<float>("tokenizer.ggml.scores", 6, {0, 0});
  EXPECT_THAT(import(), HasSubstr("scores is a list of 2, expected 8"));
  addNumbers<float>("tokenizer.ggml.scores", 6, {0, 0, 0, NAN, -9, -2, -3, -2});
  EXPECT_THAT(import(), HasSubstr("scores[3] is no number"));
}
