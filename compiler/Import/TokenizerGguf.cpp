//===- TokenizerGguf.cpp - the tokenizer in a GGUF file's metadata
//---------===//
//
// A GGUF file names its pre-tokeniser instead of describing it; the names that
// the supported families use are spelled out here the way the original
// tokenizer.json files have them. Vocabularies of the kind `llama` carry scores
// instead of merges: a pair merges if its text is a token, the best score
// first.
//
//===----------------------------------------------------------------------===//
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/Gguf.h"
#include "stele/compiler/Import/Tokenizer.h"
#include "stele/compiler/Import/TokenizerModel.h"

#include <cmath>
#include <map>

namespace stele::checkpoint {
namespace {

constexpr llvm::StringLiteral tekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr llvm::StringLiteral spaceSymbol = "\xE2\x96\x81"; // U+2581

// tokenizer.ggml.pre of byte-level vocabularies.
struct PreTokenizerName {
  llvm::StringRef name;
  tokens::Splitter splitter;
  bool digits = false;       // every digit is a piece
  bool nfc = false;          // text is normalised first
  bool ignoreMerges = false; // a piece that is a token is not merged
  bool addBos = false;       // unless the file says otherwise
};
const PreTokenizerName preTokenizers[] = {
    {"default", tokens::Splitter::Gpt2},
    {"gpt-2", tokens::Splitter::Gpt2},
    {"phi-2", tokens::Splitter::Gpt2},
    {"smollm", tokens::Splitter::Gpt2, /*digits=*/true},
    {"starcoder", tokens::Splitter::Gpt2, /*digits=*/true},
    {"refact", tokens::Splitter::Gpt2, /*digits=*/true},
    {"llama3", tokens::Splitter::Llama3, false, false, true, true},
    {"llama-v3", tokens::Splitter::Llama3, false, false, true, true},
    {"llama-bpe", tokens::Splitter::Llama3, false, false, true, true},
    {"qwen2", tokens::Splitter::Qwen2, false, /*nfc=*/true},
    {"deepseek-r1-qwen", tokens::Splitter::Qwen2},
    {"tekken", tokens::Splitter::Regex, false, false, true, true},
};

// tokenizer.ggml.token_type.
enum GgufTokenType : int64_t {
  Normal = 1,
  Unknown,
  Control,
  UserDefined,
  Unused,
  Byte
};

std::optional<int64_t> asInteger(const GgufScalar &value) {
  if (const auto *number = std::get_if<int64_t>(&value))
    return *number;
  if (const auto *number = std::get_if<uint64_t>(&value))
    if (*number <= INT64_MAX)
      return static_cast<int64_t>(*number);
  return std::nullopt;
}

class GgufImporter {
public:
  GgufImporter(const GgufFile &gguf, int64_t vocab)
      : gguf(gguf), model(gguf.path(), vocab) {}

  llvm::Expected<std::vector<uint8_t>> run();

private:
  llvm::Error wrong(llvm::StringRef key, const llvm::Twine &value,
                    llvm::StringRef expected) const {
    return makeError("{0}: {1} is {2}, expected {3}", gguf.path(), key,
                     value.str(), expected);
  }
  llvm::Expected<const GgufArray *> array(llvm::StringRef key) const;
  llvm::Error readTokens();
  llvm::Error addToken(llvm::StringRef text, int64_t id, int64_t type);
  llvm::Error setUpByteLevel();
  llvm::Error readMerges();
  llvm::Error setUpSpm();
  llvm::Error readScores();
  llvm::Error readIds(bool addBosByDefault);
  llvm::Error readTemplates();
  llvm::Expected<bool> flag(llvm::StringRef key, bool fallback) const;

  const GgufFile &gguf;
  TokenizerModel model;
  bool addBos = false; // where the file does not say
};

llvm::Expected<const GgufArray *>
GgufImporter::array(llvm::StringRef key) const {
  llvm::Expected<const GgufArray *> value = gguf.array(key);
  if (value && !*value)
    return makeError("{0}: {1} is missing; convert the model again with its "
                     "tokenizer",
                     gguf.path(), key);
  return value;
}

llvm::Expected<bool> GgufImporter::flag(llvm::StringRef key,
                                        bool fallback) const {
  llvm::Expected<std::optional<bool>> value = gguf.boolean(key);
  if (!value)
    return value.takeError();
  return value->value_or(fallback);
}

llvm::Expected<std::vector<uint8_t>> GgufImporter::run() {
  llvm::Expected<std::optional<std::string>> kind =
      gguf.string("tokenizer.ggml.model");
  if (!kind)
    return kind.takeError();
  if (*kind == "no_vocab") // how such files say that they have none
    return std::vector<uint8_t>();
  if (auto error = readTokens())
    return std::move(error);
  if (*kind == "gpt2") {
    if (auto error = setUpByteLevel())
      return std::move(error);
  } else if (*kind == "llama") {
    if (auto error = setUpSpm())
      return std::move(error);
  } else {
    return wrong("tokenizer.ggml.model", *kind ? "`" + **kind + "`" : "nothing",
                 "gpt2 or llama, the kinds that stele implements");
  }
  if (auto error = readIds(addBos))
    return std::move(error);
  if (auto error = readTemplates())
    return std::move(error);
  return model.serialise();
}

llvm::Error GgufImporter::readTokens() {
  llvm::Expected<const GgufArray *> texts = array("tokenizer.ggml.tokens");
  if (!texts)
    return texts.takeError();
  llvm::Expected<const GgufArray *> types =
      gguf.array("tokenizer.ggml.token_type");
  if (!types)
    return types.takeError();
  if (*types && (*types)->size() != (*texts)->size())
    return wrong("tokenizer.ggml.token_type",
                 "a list of " + llvm::Twine((*types)->size()),
                 llvm::formatv("{0}, one per token", (*texts)->size()).str());
  for (size_t id = 0; id < (*texts)->size(); ++id) {
    const auto *text = std::get_if<std::string>(&(**texts)[id]);
    if (!text)
      return wrong("tokenizer.ggml.tokens[" + std::to_string(id) + "]",
                   "a number", "a text");
    std::optional<int64_t> type =
        *types ? asInteger((**types)[id]) : std::optional<int64_t>(Normal);
    if (!type || *type < Normal || *type > Byte)
      return wrong("tokenizer.ggml.token_type[" + std::to_string(id) + "]",
                   type ? llvm::Twine(*type) : llvm::Twine("no integer"),
                   "1 to 6");
    if (auto error = addToken(*text, static_cast<int64_t>(id), *type))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error GgufImporter::addToken(llvm::StringRef text, int64_t id,
                                   int64_t type) {
  if (type == Normal)
    return model.addToken(text, id);
  if (type == Byte)
    return model.addToken(text, id, tokens::TokenType::Byte);
  if (type == Unused)
    return model.addToken(text, id, tokens::TokenType::Literal);
  tokens::AddedTokenT added;
  added.content = text.str();
  added.special = type != UserDefined;
  return model.addAddedToken(std::move(added), id);
}

//===----------------------------------------------------------------------===//
// Byte-level vocabularies
//===----------------------------------------------------------------------===//

llvm::Error GgufImporter::setUpByteLevel() {
  llvm::Expected<std::optional<std::string>> name =
      gguf.string("tokenizer.ggml.pre");
  if (!name)
    return name.takeError();
  llvm::StringRef wanted = *name ? llvm::StringRef(**name) : "default";
  const PreTokenizerName *known =
      llvm::find_if(preTokenizers, [&](const PreTokenizerName &candidate) {
        return candidate.name == wanted;
      });
  if (known == std::end(preTokenizers)) {
    std::string names;
    for (const PreTokenizerName &candidate : preTokenizers)
      names += (names.empty() ? "" : ", ") + candidate.name.str();
    return wrong("tokenizer.ggml.pre", "`" + wanted + "`",
                 "one that stele implements: " + names);
  }
  auto step = [&](tokens::PreTokenizerKind kind) -> tokens::PreTokenizerT & {
    auto &list = model.rest.pre_tokenizers;
    list.push_back(std::make_unique<tokens::PreTokenizerT>());
    list.back()->kind = kind;
    return *list.back();
  };
  if (known->digits)
    step(tokens::PreTokenizerKind::Digits).individual = true;
  tokens::PreTokenizerT &split = step(tokens::PreTokenizerKind::Split);
  split.splitter = known->splitter;
  if (known->splitter == tokens::Splitter::Regex)
    split.pattern = tekkenPattern.str();
  if (known->nfc)
    model.rest.normalizers.push_back(
        std::make_unique<tokens::NormalizerT>()); // its default kind is NFC
  model.rest.byte_level = true;
  model.rest.ignore_merges = known->ignoreMerges;
  model.rest.decoder = std::make_unique<tokens::DecoderT>();
  model.rest.decoder->kind = tokens::DecoderKind::ByteLevel;
  addBos = known->addBos;
  return readMerges();
}

llvm::Error GgufImporter::readMerges() {
  constexpr llvm::StringLiteral key = "tokenizer.ggml.merges";
  llvm::Expected<const GgufArray *> merges = array(key);
  if (!merges)
    return merges.takeError();
  for (const GgufScalar &merge : **merges) {
    const auto *text = std::get_if<std::string>(&merge);
    llvm::StringRef pair = text ? llvm::StringRef(*text) : "";
    auto [left, right] = pair.split(' ');
    if (left.empty() || right.empty() || right.contains(' '))
      return wrong((key + "[" + llvm::Twine(model.merges.size()) + "]").str(),
                   text ? "`" + *text + "`" : "a number",
                   "two tokens with one space between");
    if (auto error = model.addMerge(left, right))
      return error;
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// SentencePiece vocabularies
//===----------------------------------------------------------------------===//

llvm::Error GgufImporter::setUpSpm() {
  if (gguf.find("tokenizer.ggml.precompiled_charsmap"))
    return makeError("{0}: tokenizer.ggml.precompiled_charsmap asks for a "
                     "normalisation that stele does not implement",
                     gguf.path());
  if (auto error = model.markByteTokens())
    return error;
  for (auto [id, token] : llvm::enumerate(model.list))
    if (token.type == tokens::TokenType::Byte && !isByteTokenName(token.text))
      return makeError(
          "{0}: token {1} `{2}` is of type byte, but does not name "
          "one; byte tokens are <0x00> to <0xFF>",
          gguf.path(), id, token.text);
  auto normalizer = [&](tokens::NormalizerKind kind, llvm::StringRef pattern) {
    auto step = std::make_unique<tokens::NormalizerT>();
    step->kind = kind;
    step->pattern = pattern.str();
    step->content = spaceSymbol.str();
    model.rest.normalizers.push_back(std::move(step));
  };
  llvm::Expected<bool> prefix = flag("tokenizer.ggml.add_space_prefix", true);
  if (!prefix)
    return prefix.takeError();
  if (*prefix)
    normalizer(tokens::NormalizerKind::Prepend, "");
  normalizer(tokens::NormalizerKind::Replace, " ");
  model.rest.byte_fallback = true;
  model.rest.fuse_unk = true;
  model.rest.decoder = std::make_unique<tokens::DecoderT>();
  model.rest.decoder->kind = tokens::DecoderKind::Spm;
  model.rest.decoder->replacement = spaceSymbol.str();
  model.rest.decoder->byte_fallback = true;
  model.rest.decoder->strip_start = *prefix ? 1 : 0;
  addBos = true;
  return readScores();
}

// Every way to cut a token into two tokens is a merge; its rank is the place
// of the whole's score, so that equal scores leave the choice to the position.
llvm::Error GgufImporter::readScores() {
  constexpr llvm::StringLiteral key = "tokenizer.ggml.scores";
  llvm::Expected<const GgufArray *> scores = array(key);
  if (!scores)
    return scores.takeError();
  if ((*scores)->size() != model.list.size())
    return wrong(key, "a list of " + llvm::Twine((*scores)->size()),
                 llvm::formatv("{0}, one per token", model.list.size()).str());
  std::map<double, std::vector<uint32_t>, std::greater<>> byScore;
  for (uint32_t id = 0; id < model.list.size(); ++id) {
    if (model.list[id].type != tokens::TokenType::Normal)
      continue;
    const auto *score = std::get_if<double>(&(**scores)[id]);
    if (!score || std::isnan(*score))
      return wrong((key + "[" + llvm::Twine(id) + "]").str(), "no number",
                   "a score");
    byScore[*score].push_back(id);
  }
  model.explicitRanks = true;
  uint32_t rank = 0;
  for (const auto &[score, ids] : byScore) {
    for (uint32_t id : ids)
      model.addMergesOf(id, rank);
    ++rank;
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Ids and templates
//===----------------------------------------------------------------------===//

llvm::Error GgufImporter::readIds(bool addBosByDefault) {
  struct Role {
    const char *key;
    const char *name;
    int32_t *id;
  };
  int32_t unk = -1;
  const Role roles[] = {
      {"tokenizer.ggml.bos_token_id", "bos_token", &model.rest.bos_id},
      {"tokenizer.ggml.eos_token_id", "eos_token", &model.rest.eos_id},
      {"tokenizer.ggml.unknown_token_id", "unk_token", &unk},
      {"tokenizer.ggml.padding_token_id", "pad_token", &model.rest.pad_id}};
  for (const Role &role : roles) {
    llvm::Expected<std::optional<int64_t>> id = gguf.integer(role.key);
    if (!id)
      return id.takeError();
    if (!*id)
      continue;
    if (**id < 0 || **id >= static_cast<int64_t>(model.list.size()))
      return wrong(role.key, llvm::Twine(**id),
                   llvm::formatv("an id below {0}", model.list.size()).str());
    *role.id = static_cast<int32_t>(**id);
    auto token = std::make_unique<tokens::NamedTokenT>();
    token->name = role.name;
    token->content = model.list[**id].text;
    model.rest.named_tokens.push_back(std::move(token));
  }
  // Byte-level vocabularies know every byte; what they call unknown is unused.
  if (!model.rest.byte_level)
    model.rest.unk_id = unk;
  auto surround = [&](llvm::StringRef key, bool fallback, int32_t id,
                      std::vector<uint32_t> &ids) -> llvm::Error {
    llvm::Expected<bool> add = flag(key, fallback);
    if (!add)
      return add.takeError();
    if (*add && id >= 0)
      ids.push_back(static_cast<uint32_t>(id));
    return llvm::Error::success();
  };
  if (auto error = surround("tokenizer.ggml.add_bos_token", addBosByDefault,
                            model.rest.bos_id, model.rest.prefix_ids))
    return error;
  return surround("tokenizer.ggml.add_eos_token", false, model.rest.eos_id,
                  model.rest.suffix_ids);
}

llvm::Error GgufImporter::readTemplates() {
  constexpr llvm::StringLiteral key = "tokenizer.chat_template";
  auto add = [&](llvm::StringRef name, const std::string &text) {
    auto chat = std::make_unique<tokens::ChatTemplateT>();
    chat->name = name.str();
    chat->text = text;
    model.rest.chat_templates.push_back(std::move(chat));
  };
  llvm::Expected<std::optional<std::string>> text = gguf.string(key);
  if (!text)
    return text.takeError();
  if (*text)
    add("default", **text);
  // Others are tokenizer.chat_template.NAME.
  for (const auto &[entry, value] : gguf.metadata()) {
    llvm::StringRef name = entry;
    const auto *other = std::get_if<std::string>(&value);
    if (name.consume_front(key) && name.consume_front(".") && other)
      add(name, *other);
  }
  return llvm::Error::success();
}

} // namespace

llvm::Expected<std::vector<uint8_t>> importGgufTokenizer(const GgufFile &file,
                                                         int64_t vocab) {
  return GgufImporter(file, vocab).run();
}

} // namespace stele::checkpoint
