//===- TokenizerHf.cpp - tokenizer.json and its companions
//-----------------===//
//
// tokenizer.json describes a chain of steps by type names; the ones that
// byte-level and SentencePiece-style BPE vocabularies use are understood, any
// other is refused by name. tokenizer_config.json and special_tokens_map.json
// name the special tokens' roles, *.jinja files hold chat templates.
//
//===----------------------------------------------------------------------===//
#include "stele/compiler/Import/Checkpoint.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/InputFile.h"
#include "stele/compiler/Import/Json.h"
#include "stele/compiler/Import/Tokenizer.h"
#include "stele/compiler/Import/TokenizerModel.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <map>

namespace stele::checkpoint {
namespace {

constexpr uint64_t maxTemplateBytes = 4 << 20;

// The regular expressions that the runtime has hand-written splitters for.
struct KnownPattern {
  llvm::StringRef pattern;
  tokens::Splitter splitter;
};
const KnownPattern knownPatterns[] = {
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
     tokens::Splitter::Gpt2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     tokens::Splitter::Llama3},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     tokens::Splitter::Qwen2},
};

std::string describe(const Json *value) {
  return value ? value->dump().substr(0, 80) : "nothing";
}

class HfImporter {
public:
  HfImporter(llvm::StringRef folder, int64_t vocab)
      : folder(folder), path(inFolder("tokenizer.json")), model(path, vocab) {}

  llvm::Expected<std::vector<uint8_t>> run();

private:
  std::string inFolder(llvm::StringRef name) const {
    llvm::SmallString<256> path(folder);
    llvm::sys::path::append(path, name);
    return path.str().str();
  }
  llvm::Error checkPresent() const;
  llvm::Expected<Json> readOptional(llvm::StringRef name) const;

  // Members of an object; `where` is its place in the file. A missing member
  // or null is `fallback`, or an error where there is none.
  llvm::Expected<bool> boolean(const Json &object, llvm::StringRef where,
                               llvm::StringRef key,
                               std::optional<bool> fallback) const;
  llvm::Expected<std::string> text(const Json &object, llvm::StringRef where,
                                   llvm::StringRef key) const;
  llvm::Error wrong(llvm::StringRef where, const Json *value,
                    llvm::StringRef expected) const;
  llvm::Error unknown(llvm::StringRef where, llvm::StringRef type,
                      llvm::StringRef known) const;

  // The steps of a section: null is none, a Sequence its list under `listKey`.
  using Step =
      llvm::function_ref<llvm::Error(const Json &, llvm::StringRef type)>;
  llvm::Error forEachStep(const Json *section, const std::string &where,
                          llvm::StringRef listKey, Step step) const;

  llvm::Error readModel(const Json &root);
  llvm::Error readUnknownToken(const Json &model);
  llvm::Error readVocabulary(const Json &model);
  llvm::Error readMerges(const Json &model);
  llvm::Error readAddedTokens(const Json &root);
  llvm::Error addAddedToken(const Json &token, llvm::StringRef where,
                            int64_t id);
  llvm::Error readNormalizer(const Json &step, llvm::StringRef type);
  llvm::Error readPreTokenizer(const Json &step, llvm::StringRef type);
  llvm::Error readSplit(const Json &step);
  llvm::Error readMetaspace(const Json &step);
  llvm::Error readDecoder(const Json &root);
  llvm::Error readDecoderStep(const Json &step, llvm::StringRef type);
  llvm::Error readPostProcessor(const Json &step, llvm::StringRef type);
  llvm::Error readConfig();
  llvm::Error readAddedTokensOf(const Json &config);
  llvm::Error readNamedTokens(const Json &config);
  llvm::Error readAddBosEos(const Json &config);
  llvm::Error readTemplates(const Json &config);
  llvm::Error readTemplateFiles();
  std::optional<std::string> patternOf(const Json &step, bool &regex) const;

  std::string folder;
  std::string path;
  TokenizerModel model;
  bool fused = false; // the decoder's steps so far include Fuse
  std::map<std::string, std::string> templates; // but for "default", by name
  std::optional<std::string> defaultTemplate;
};

llvm::Error HfImporter::wrong(llvm::StringRef where, const Json *value,
                              llvm::StringRef expected) const {
  return makeError("{0}: {1} is {2}, expected {3}", path, where,
                   describe(value), expected);
}

llvm::Error HfImporter::unknown(llvm::StringRef where, llvm::StringRef type,
                                llvm::StringRef known) const {
  return makeError("{0}: {1} is of type `{2}`, which stele does not implement; "
                   "known are {3}",
                   path, where, type, known);
}

llvm::Expected<bool> HfImporter::boolean(const Json &object,
                                         llvm::StringRef where,
                                         llvm::StringRef key,
                                         std::optional<bool> fallback) const {
  const Json *value = findMember(object, key);
  if (value && value->is_boolean())
    return value->get<bool>();
  if (fallback && (!value || value->is_null()))
    return *fallback;
  return wrong((where + "." + key).str(), value, "true or false");
}

llvm::Expected<std::string> HfImporter::text(const Json &object,
                                             llvm::StringRef where,
                                             llvm::StringRef key) const {
  const Json *value = findMember(object, key);
  if (!value || !value->is_string())
    return wrong((where + "." + key).str(), value, "a text");
  return value->get<std::string>();
}

llvm::Error HfImporter::checkPresent() const {
  if (llvm::sys::fs::exists(path))
    return llvm::Error::success();
  for (llvm::StringRef other : otherTokenizerFiles)
    if (llvm::sys::fs::exists(inFolder(other)))
      return makeError(
          "{0}: only {1} is here; stele reads tokenizer.json: "
          "save the tokenizer with transformers, "
          "AutoTokenizer.from_pretrained(...).save_pretrained(...)",
          folder, other);
  return makeError("{0}: no tokenizer.json; put the checkpoint's one there",
                   folder);
}

llvm::Expected<Json> HfImporter::readOptional(llvm::StringRef name) const {
  std::string file = inFolder(name);
  if (!llvm::sys::fs::exists(file))
    return Json::object();
  llvm::Expected<Json> json = readJsonFile(file);
  if (json && !json->is_object())
    return makeError("{0}: not a JSON object", file);
  return json;
}

llvm::Expected<std::vector<uint8_t>> HfImporter::run() {
  if (auto error = checkPresent())
    return std::move(error);
  llvm::Expected<Json> root = readJsonFile(path);
  if (!root)
    return root.takeError();
  if (!root->is_object())
    return makeError("{0}: not a JSON object", path);
  auto chain =
      [&](const char *section, const char *listKey,
          llvm::Error (HfImporter::*read)(const Json &, llvm::StringRef)) {
        return forEachStep(findMember(*root, section), section, listKey,
                           [&](const Json &step, llvm::StringRef type) {
                             return (this->*read)(step, type);
                           });
      };
  if (auto error = readModel(*root))
    return std::move(error);
  if (auto error = readAddedTokens(*root))
    return std::move(error);
  if (auto error = readUnknownToken(*findMember(*root, "model")))
    return std::move(error);
  if (auto error =
          chain("normalizer", "normalizers", &HfImporter::readNormalizer))
    return std::move(error);
  if (auto error = chain("pre_tokenizer", "pretokenizers",
                         &HfImporter::readPreTokenizer))
    return std::move(error);
  if (auto error = readDecoder(*root))
    return std::move(error);
  if (auto error =
          chain("post_processor", "processors", &HfImporter::readPostProcessor))
    return std::move(error);
  if (auto error = readConfig())
    return std::move(error);
  return model.serialise();
}

llvm::Error HfImporter::forEachStep(const Json *section,
                                    const std::string &where,
                                    llvm::StringRef listKey, Step step) const {
  if (!section || section->is_null())
    return llvm::Error::success();
  llvm::Expected<std::string> type = text(*section, where, "type");
  if (!type)
    return type.takeError();
  if (*type != "Sequence")
    return step(*section, *type);
  const Json *list = findMember(*section, listKey);
  if (!list || !list->is_array())
    return wrong((where + "." + listKey).str(), list, "a list");
  for (const Json &member : *list)
    if (auto error = forEachStep(&member, where, listKey, step))
      return error;
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Model and added tokens
//===----------------------------------------------------------------------===//

llvm::Error HfImporter::readModel(const Json &root) {
  const Json *section = findMember(root, "model");
  if (!section || !section->is_object())
    return wrong("model", section, "an object");
  // Files of early versions have no type.
  const Json *type = findMember(*section, "type");
  if (type && (!type->is_string() || type->get<std::string>() != "BPE"))
    return unknown("model",
                   type->is_string() ? type->get<std::string>() : type->dump(),
                   "BPE");
  const Json *dropout = findMember(*section, "dropout");
  if (dropout && !dropout->is_null() && *dropout != 0)
    return wrong("model.dropout", dropout,
                 "null: it makes tokenisation random, remove it");
  for (const char *key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json *value = findMember(*section, key);
    if (value && !value->is_null() && *value != "")
      return makeError("{0}: model.{1} is {2}, which stele does not implement",
                       path, key, describe(value));
  }
  auto flag = [&](llvm::StringRef key, bool &out) -> llvm::Error {
    llvm::Expected<bool> value = boolean(*section, "model", key, false);
    if (!value)
      return value.takeError();
    out = *value;
    return llvm::Error::success();
  };
  if (auto error = flag("fuse_unk", model.rest.fuse_unk))
    return error;
  if (auto error = flag("byte_fallback", model.rest.byte_fallback))
    return error;
  if (auto error = flag("ignore_merges", model.rest.ignore_merges))
    return error;
  if (auto error = readVocabulary(*section))
    return error;
  if (model.rest.byte_fallback)
    if (auto error = model.markByteTokens())
      return error;
  return readMerges(*section);
}

// Some files spell "none" as an empty text.
llvm::Error HfImporter::readUnknownToken(const Json &section) {
  const Json *unk = findMember(section, "unk_token");
  if (!unk || unk->is_null() || *unk == "")
    return llvm::Error::success();
  if (!unk->is_string())
    return wrong("model.unk_token", unk, "a text");
  std::optional<uint32_t> id = model.find(unk->get<std::string>());
  if (!id)
    return makeError("{0}: model.unk_token is {1}, which is not in the "
                     "vocabulary; add it or set null",
                     path, describe(unk));
  model.rest.unk_id = static_cast<int32_t>(*id);
  return llvm::Error::success();
}

llvm::Error HfImporter::readVocabulary(const Json &section) {
  const Json *vocab = findMember(section, "vocab");
  if (!vocab || !vocab->is_object())
    return wrong("model.vocab", vocab, "an object of ids by token");
  for (const auto &[token, id] : vocab->items()) {
    if (!id.is_number_integer() ||
        (id.is_number_unsigned() && id.get<uint64_t>() > INT64_MAX))
      return wrong("model.vocab[\"" + token + "\"]", &id, "an id");
    if (auto error = model.addToken(token, id.get<int64_t>()))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error HfImporter::readMerges(const Json &section) {
  const Json *merges = findMember(section, "merges");
  if (!merges || !merges->is_array())
    return wrong("model.merges", merges, "a list of pairs");
  for (const Json &merge : *merges) {
    std::string where =
        "model.merges[" + std::to_string(model.merges.size()) + "]";
    std::string left, right;
    if (merge.is_string()) {
      // "left right", as files before 2024 have it.
      auto text = merge.get<std::string>();
      if (llvm::StringRef(text).starts_with("#version"))
        continue;
      auto [before, after] = llvm::StringRef(text).split(' ');
      if (after.empty() || before.empty() || after.contains(' '))
        return wrong(where, &merge, "two tokens with one space between");
      left = before.str();
      right = after.str();
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      left = merge[0].get<std::string>();
      right = merge[1].get<std::string>();
    } else {
      return wrong(where, &merge, "a pair of tokens");
    }
    if (auto error = model.addMerge(left, right))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error HfImporter::addAddedToken(const Json &token, llvm::StringRef where,
                                      int64_t id) {
  tokens::AddedTokenT added;
  llvm::Expected<std::string> content = text(token, where, "content");
  if (!content)
    return content.takeError();
  added.content = *content;
  const std::pair<const char *, bool *> flags[] = {
      {"special", &added.special},
      {"lstrip", &added.lstrip},
      {"rstrip", &added.rstrip},
      {"single_word", &added.single_word},
      {"normalized", &added.normalized}};
  for (auto [key, flag] : flags) {
    llvm::Expected<bool> value = boolean(token, where, key, false);
    if (!value)
      return value.takeError();
    *flag = *value;
  }
  return model.addAddedToken(std::move(added), id);
}

llvm::Error HfImporter::readAddedTokens(const Json &root) {
  const Json *list = findMember(root, "added_tokens");
  if (!list || list->is_null())
    return llvm::Error::success();
  if (!list->is_array())
    return wrong("added_tokens", list, "a list");
  for (auto [index, token] : llvm::enumerate(*list)) {
    std::string where = "added_tokens[" + std::to_string(index) + "]";
    const Json *id = findMember(token, "id");
    if (!id || !id->is_number_integer() ||
        (id->is_number_unsigned() && id->get<uint64_t>() > INT64_MAX))
      return wrong(where + ".id", id, "an id");
    if (auto error = addAddedToken(token, where, id->get<int64_t>()))
      return error;
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Normaliser and pre-tokeniser
//===----------------------------------------------------------------------===//

// {"String": text} or {"Regex": text}.
std::optional<std::string> HfImporter::patternOf(const Json &step,
                                                 bool &regex) const {
  const Json *pattern = findMember(step, "pattern");
  if (!pattern || !pattern->is_object() || pattern->size() != 1)
    return std::nullopt;
  regex = pattern->begin().key() == "Regex";
  if ((!regex && pattern->begin().key() != "String") ||
      !pattern->begin().value().is_string())
    return std::nullopt;
  return pattern->begin().value().get<std::string>();
}

llvm::Error HfImporter::readNormalizer(const Json &step, llvm::StringRef type) {
  auto normalizer = std::make_unique<tokens::NormalizerT>();
  const std::pair<llvm::StringRef, tokens::NormalizerKind> forms[] = {
      {"NFC", tokens::NormalizerKind::Nfc},
      {"NFD", tokens::NormalizerKind::Nfd},
      {"NFKC", tokens::NormalizerKind::Nfkc},
      {"NFKD", tokens::NormalizerKind::Nfkd}};
  const auto *form = llvm::find_if(
      forms, [&](const auto &known) { return known.first == type; });
  if (form != std::end(forms)) {
    normalizer->kind = form->second;
  } else if (type == "Prepend") {
    llvm::Expected<std::string> prepend = text(step, "normalizer", "prepend");
    if (!prepend)
      return prepend.takeError();
    normalizer->kind = tokens::NormalizerKind::Prepend;
    normalizer->content = *prepend;
  } else if (type == "Replace") {
    std::optional<std::string> pattern = patternOf(step, normalizer->regex);
    if (!pattern)
      return wrong("normalizer.pattern", findMember(step, "pattern"),
                   "{\"String\": text} or {\"Regex\": text}");
    llvm::Expected<std::string> content = text(step, "normalizer", "content");
    if (!content)
      return content.takeError();
    normalizer->kind = tokens::NormalizerKind::Replace;
    normalizer->pattern = *pattern;
    normalizer->content = *content;
  } else {
    return unknown("normalizer", type,
                   "NFC, NFD, NFKC, NFKD, Prepend, Replace, Sequence");
  }
  model.rest.normalizers.push_back(std::move(normalizer));
  return llvm::Error::success();
}

llvm::Error HfImporter::readPreTokenizer(const Json &step,
                                         llvm::StringRef type) {
  if (model.rest.byte_level)
    return makeError("{0}: pre_tokenizer has {1} behind ByteLevel, which stele "
                     "does not implement; ByteLevel must come last",
                     path, type);
  auto &list = model.rest.pre_tokenizers;
  auto add = [&](tokens::PreTokenizerKind kind) -> tokens::PreTokenizerT & {
    list.push_back(std::make_unique<tokens::PreTokenizerT>());
    list.back()->kind = kind;
    return *list.back();
  };
  if (type == "Split")
    return readSplit(step);
  if (type == "Metaspace")
    return readMetaspace(step);
  if (type == "Digits") {
    llvm::Expected<bool> individual =
        boolean(step, "pre_tokenizer", "individual_digits", std::nullopt);
    if (!individual)
      return individual.takeError();
    add(tokens::PreTokenizerKind::Digits).individual = *individual;
    return llvm::Error::success();
  }
  if (type == "ByteLevel") {
    llvm::Expected<bool> prefix =
        boolean(step, "pre_tokenizer", "add_prefix_space", std::nullopt);
    if (!prefix)
      return prefix.takeError();
    llvm::Expected<bool> regex =
        boolean(step, "pre_tokenizer", "use_regex", true);
    if (!regex)
      return regex.takeError();
    if (*prefix)
      add(tokens::PreTokenizerKind::PrefixSpace);
    if (*regex)
      add(tokens::PreTokenizerKind::Split).splitter = tokens::Splitter::Gpt2;
    model.rest.byte_level = true;
    return llvm::Error::success();
  }
  return unknown("pre_tokenizer", type,
                 "Split, Digits, ByteLevel, Metaspace, Sequence");
}

llvm::Error HfImporter::readSplit(const Json &step) {
  auto split = std::make_unique<tokens::PreTokenizerT>();
  split->kind = tokens::PreTokenizerKind::Split;
  bool regex;
  std::optional<std::string> pattern = patternOf(step, regex);
  if (!pattern)
    return wrong("pre_tokenizer.pattern", findMember(step, "pattern"),
                 "{\"String\": text} or {\"Regex\": text}");
  const auto *known = llvm::find_if(knownPatterns, [&](const auto &candidate) {
    return regex && candidate.pattern == *pattern;
  });
  if (known != std::end(knownPatterns)) {
    split->splitter = known->splitter;
  } else {
    split->splitter = regex ? tokens::Splitter::Regex : tokens::Splitter::Text;
    split->pattern = *pattern;
  }
  llvm::Expected<std::string> behavior =
      text(step, "pre_tokenizer", "behavior");
  if (!behavior)
    return behavior.takeError();
  const std::pair<llvm::StringRef, tokens::SplitBehavior> behaviors[] = {
      {"Isolated", tokens::SplitBehavior::Isolated},
      {"Removed", tokens::SplitBehavior::Removed},
      {"MergedWithPrevious", tokens::SplitBehavior::MergedWithPrevious},
      {"MergedWithNext", tokens::SplitBehavior::MergedWithNext},
      {"Contiguous", tokens::SplitBehavior::Contiguous}};
  const auto *found = llvm::find_if(behaviors, [&](const auto &candidate) {
    return candidate.first == *behavior;
  });
  if (found == std::end(behaviors))
    return unknown("pre_tokenizer.behavior", *behavior,
                   "Isolated, Removed, MergedWithPrevious, MergedWithNext, "
                   "Contiguous");
  split->behavior = found->second;
  llvm::Expected<bool> invert = boolean(step, "pre_tokenizer", "invert", false);
  if (!invert)
    return invert.takeError();
  split->invert = *invert;
  model.rest.pre_tokenizers.push_back(std::move(split));
  return llvm::Error::success();
}

// `prepend_scheme` replaced `add_prefix_space` in 2023.
llvm::Expected<tokens::PrependScheme>
prependScheme(const Json &step, llvm::StringRef path, llvm::StringRef where) {
  const Json *scheme = findMember(step, "prepend_scheme");
  const Json *old = findMember(step, "add_prefix_space");
  const bool never = old && old->is_boolean() && !old->get<bool>();
  if (!scheme || scheme->is_null())
    return never ? tokens::PrependScheme::Never : tokens::PrependScheme::Always;
  if (*scheme == "never")
    return tokens::PrependScheme::Never;
  if (*scheme == "always" && !never)
    return tokens::PrependScheme::Always;
  if (*scheme == "first" && !never)
    return tokens::PrependScheme::First;
  return makeError("{0}: {1}.prepend_scheme is {2}, expected \"always\", "
                   "\"first\" or \"never\"{3}",
                   path, where, describe(scheme),
                   never ? " and, as add_prefix_space is false, \"never\""
                         : "");
}

llvm::Error HfImporter::readMetaspace(const Json &step) {
  auto metaspace = std::make_unique<tokens::PreTokenizerT>();
  metaspace->kind = tokens::PreTokenizerKind::Metaspace;
  llvm::Expected<std::string> replacement =
      text(step, "pre_tokenizer", "replacement");
  if (!replacement)
    return replacement.takeError();
  if (replacement->empty())
    return wrong("pre_tokenizer.replacement", findMember(step, "replacement"),
                 "a character");
  metaspace->replacement = *replacement;
  llvm::Expected<tokens::PrependScheme> scheme =
      prependScheme(step, path, "pre_tokenizer");
  if (!scheme)
    return scheme.takeError();
  metaspace->prepend_scheme = *scheme;
  llvm::Expected<bool> split = boolean(step, "pre_tokenizer", "split", true);
  if (!split)
    return split.takeError();
  metaspace->split = *split;
  model.rest.pre_tokenizers.push_back(std::move(metaspace));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Decoder and post-processor
//===----------------------------------------------------------------------===//

llvm::Error HfImporter::readDecoder(const Json &root) {
  model.rest.decoder = std::make_unique<tokens::DecoderT>();
  model.rest.decoder->kind = tokens::DecoderKind::Words;
  auto read = [&](const Json &step, llvm::StringRef type) {
    return readDecoderStep(step, type);
  };
  if (auto error =
          forEachStep(findMember(root, "decoder"), "decoder", "decoders", read))
    return error;
  const bool bytes = model.rest.decoder->kind == tokens::DecoderKind::ByteLevel;
  if (bytes != model.rest.byte_level)
    return makeError("{0}: pre_tokenizer and decoder must both be ByteLevel or "
                     "neither; only the {1} is",
                     path, bytes ? "decoder" : "pre_tokenizer");
  return llvm::Error::success();
}

// The chain that SentencePiece vocabularies decode with is Replace,
// ByteFallback, Fuse, Strip; every part but the first may be missing.
llvm::Error HfImporter::readDecoderStep(const Json &step,
                                        llvm::StringRef type) {
  tokens::DecoderT &decoder = *model.rest.decoder;
  auto misplaced = [&] {
    return makeError("{0}: decoder has {1} where stele does not implement it; "
                     "known are ByteLevel, Metaspace, and the sequence "
                     "Replace, ByteFallback, Fuse, Strip",
                     path, type);
  };
  const bool none = decoder.kind == tokens::DecoderKind::Words;
  const bool spm = decoder.kind == tokens::DecoderKind::Spm;
  if (type == "ByteLevel" && none) {
    decoder.kind = tokens::DecoderKind::ByteLevel;
    return llvm::Error::success();
  }
  if (type == "Metaspace" && none) {
    decoder.kind = tokens::DecoderKind::Metaspace;
    llvm::Expected<std::string> replacement =
        text(step, "decoder", "replacement");
    if (!replacement)
      return replacement.takeError();
    decoder.replacement = *replacement;
    llvm::Expected<tokens::PrependScheme> scheme =
        prependScheme(step, path, "decoder");
    if (!scheme)
      return scheme.takeError();
    decoder.strip_start = *scheme != tokens::PrependScheme::Never;
    return llvm::Error::success();
  }
  if (type == "Replace" && none) {
    bool regex;
    std::optional<std::string> pattern = patternOf(step, regex);
    const Json *content = findMember(step, "content");
    if (!pattern || regex || pattern->empty() || !content || *content != " ")
      return wrong("decoder Replace", &step,
                   "a text that is replaced by a space");
    decoder.kind = tokens::DecoderKind::Spm;
    decoder.replacement = *pattern;
    return llvm::Error::success();
  }
  if (type == "ByteFallback" && (none || spm) && !fused) {
    decoder.kind = tokens::DecoderKind::Spm;
    decoder.byte_fallback = true;
    return model.markByteTokens();
  }
  if (type == "Fuse") {
    if (none)
      decoder.kind = tokens::DecoderKind::Spm;
    fused = true;
    return llvm::Error::success();
  }
  if (type == "Strip" && spm && fused) {
    const Json *content = findMember(step, "content");
    const Json *start = findMember(step, "start");
    const Json *stop = findMember(step, "stop");
    if (!content || *content != " " || !start || !start->is_number_unsigned() ||
        start->get<uint64_t>() > 1000 || !stop || *stop != 0)
      return wrong("decoder Strip", &step, "spaces stripped from the start");
    decoder.strip_start = start->get<uint32_t>();
    return llvm::Error::success();
  }
  if (llvm::is_contained(
          {"ByteLevel", "Metaspace", "Replace", "ByteFallback", "Strip"}, type))
    return misplaced();
  return unknown("decoder", type,
                 "ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, "
                 "Sequence");
}

llvm::Error HfImporter::readPostProcessor(const Json &step,
                                          llvm::StringRef type) {
  // ByteLevel adjusts offsets into the text, which stele does not give.
  if (type == "ByteLevel")
    return llvm::Error::success();
  if (type != "TemplateProcessing")
    return unknown("post_processor", type,
                   "TemplateProcessing, ByteLevel, Sequence");
  const Json *single = findMember(step, "single");
  const Json *special = findMember(step, "special_tokens");
  if (!single || !single->is_array())
    return wrong("post_processor.single", single, "a list");
  std::vector<uint32_t> before, after;
  bool behindText = false;
  for (const Json &part : *single) {
    if (findMember(part, "Sequence")) {
      if (behindText)
        return wrong("post_processor.single", single, "the text once");
      behindText = true;
      continue;
    }
    const Json *token = findMember(part, "SpecialToken");
    const Json *name = token ? findMember(*token, "id") : nullptr;
    const Json *entry = name && name->is_string() && special
                            ? findMember(*special, name->get<std::string>())
                            : nullptr;
    const Json *ids = entry ? findMember(*entry, "ids") : nullptr;
    if (!ids || !ids->is_array())
      return wrong("post_processor.single", &part,
                   "a token that post_processor.special_tokens has ids for");
    for (const Json &id : *ids) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= model.list.size())
        return wrong("post_processor.special_tokens", &id,
                     "an id of the vocabulary");
      (behindText ? after : before).push_back(id.get<uint32_t>());
    }
  }
  if (!behindText)
    return wrong("post_processor.single", single, "the text once");
  auto &prefix = model.rest.prefix_ids;
  auto &suffix = model.rest.suffix_ids;
  prefix.insert(prefix.begin(), before.begin(), before.end());
  suffix.insert(suffix.end(), after.begin(), after.end());
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// tokenizer_config.json, special_tokens_map.json, templates
//===----------------------------------------------------------------------===//

llvm::Error HfImporter::readConfig() {
  llvm::Expected<Json> config = readOptional("tokenizer_config.json");
  if (!config)
    return config.takeError();
  llvm::Expected<Json> map = readOptional("special_tokens_map.json");
  if (!map)
    return map.takeError();
  // tokenizer_config.json wins.
  for (const auto &[key, value] : map->items())
    if (!findMember(*config, key))
      (*config)[key] = value;
  if (auto error = readAddedTokensOf(*config))
    return error;
  if (auto error = readNamedTokens(*config))
    return error;
  if (auto error = readAddBosEos(*config))
    return error;
  if (auto error = readTemplates(*config))
    return error;
  return readTemplateFiles();
}

// added_tokens_decoder repeats added_tokens by id; what tokenizer.json lacks is
// added.
llvm::Error HfImporter::readAddedTokensOf(const Json &config) {
  const Json *map = findMember(config, "added_tokens_decoder");
  if (!map || !map->is_object())
    return llvm::Error::success();
  for (const auto &[key, token] : map->items()) {
    std::string where = "added_tokens_decoder[\"" + key + "\"]";
    int64_t id;
    if (llvm::StringRef(key).getAsInteger(10, id))
      return makeError("{0}: {1} is not named by an id",
                       inFolder("tokenizer_config.json"), where);
    const Json *content = findMember(token, "content");
    if (content && content->is_string() &&
        model.isAdded(content->get<std::string>()))
      continue;
    if (auto error = addAddedToken(token, where, id))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error HfImporter::readNamedTokens(const Json &config) {
  const std::pair<const char *, int32_t *> roles[] = {
      {"bos_token", &model.rest.bos_id},
      {"eos_token", &model.rest.eos_id},
      {"unk_token", nullptr},
      {"sep_token", nullptr},
      {"pad_token", &model.rest.pad_id},
      {"cls_token", nullptr},
      {"mask_token", nullptr}};
  for (auto [role, id] : roles) {
    const Json *value = findMember(config, role);
    // A text, or an object as in added_tokens.
    if (value && value->is_object())
      value = findMember(*value, "content");
    if (!value || value->is_null())
      continue;
    if (!value->is_string())
      return makeError("{0}: {1} is {2}, expected a token",
                       inFolder("tokenizer_config.json"), role,
                       describe(value));
    auto token = std::make_unique<tokens::NamedTokenT>();
    token->name = role;
    token->content = value->get<std::string>();
    if (std::optional<uint32_t> found = model.find(token->content); found && id)
      *id = static_cast<int32_t>(*found);
    model.rest.named_tokens.push_back(std::move(token));
  }
  return llvm::Error::success();
}

// Where the config says so itself it overrides the post-processor.
llvm::Error HfImporter::readAddBosEos(const Json &config) {
  const Json *bos = findMember(config, "add_bos_token");
  const Json *eos = findMember(config, "add_eos_token");
  if (!bos && !eos)
    return llvm::Error::success();
  auto ids = [](const Json *flag, int32_t id) {
    std::vector<uint32_t> list;
    if (flag && flag->is_boolean() && flag->get<bool>() && id >= 0)
      list.push_back(static_cast<uint32_t>(id));
    return list;
  };
  model.rest.prefix_ids = ids(bos, model.rest.bos_id);
  model.rest.suffix_ids = ids(eos, model.rest.eos_id);
  return llvm::Error::success();
}

// One template, or a list of named ones.
llvm::Error HfImporter::readTemplates(const Json &config) {
  const Json *value = findMember(config, "chat_template");
  if (!value || value->is_null())
    return llvm::Error::success();
  if (value->is_string()) {
    defaultTemplate = value->get<std::string>();
    return llvm::Error::success();
  }
  auto bad = [&](const Json *what) {
    return makeError("{0}: chat_template is {1}, expected a text or a list of "
                     "{\"name\": text, \"template\": text}",
                     inFolder("tokenizer_config.json"), describe(what));
  };
  if (!value->is_array())
    return bad(value);
  for (const Json &entry : *value) {
    const Json *name = findMember(entry, "name");
    const Json *text = findMember(entry, "template");
    if (!name || !name->is_string() || !text || !text->is_string())
      return bad(&entry);
    if (*name == "default")
      defaultTemplate = text->get<std::string>();
    else
      templates[name->get<std::string>()] = text->get<std::string>();
  }
  return llvm::Error::success();
}

// Files win over what tokenizer_config.json says.
llvm::Error HfImporter::readTemplateFiles() {
  std::string file = inFolder("chat_template.jinja");
  if (llvm::sys::fs::exists(file)) {
    llvm::Expected<std::string> text = readTextFile(file, maxTemplateBytes);
    if (!text)
      return text.takeError();
    defaultTemplate = *text;
  }
  std::error_code code;
  llvm::sys::fs::directory_iterator it(inFolder("additional_chat_templates"),
                                       code),
      end;
  for (; !code && it != end; it.increment(code)) {
    llvm::StringRef name = llvm::sys::path::filename(it->path());
    if (!name.consume_back(".jinja"))
      continue;
    llvm::Expected<std::string> text =
        readTextFile(it->path(), maxTemplateBytes);
    if (!text)
      return text.takeError();
    templates[name.str()] = *text;
  }
  auto add = [&](llvm::StringRef name, llvm::StringRef text) {
    auto chat = std::make_unique<tokens::ChatTemplateT>();
    chat->name = name.str();
    chat->text = text.str();
    model.rest.chat_templates.push_back(std::move(chat));
  };
  if (defaultTemplate)
    add("default", *defaultTemplate);
  for (const auto &[name, text] : templates)
    add(name, text);
  return llvm::Error::success();
}

} // namespace

llvm::Expected<std::vector<uint8_t>> importHfTokenizer(llvm::StringRef folder,
                                                       int64_t vocab) {
  return HfImporter(folder, vocab).run();
}

} // namespace stele::checkpoint
