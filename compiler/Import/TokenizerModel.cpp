//===- TokenizerModel.cpp - checks and serialisation
//-----------------------===//
#include "stele/compiler/Import/TokenizerModel.h"

#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/JSON.h"

#include <array>

namespace stele::checkpoint {
namespace {

// The code points that GPT-2 spells bytes as: printable Latin-1 characters
// stand for themselves, the other bytes, in order, for U+0100 and up.
const std::array<int, 0x200> &byteAlphabet() {
  static const std::array<int, 0x200> alphabet = [] {
    std::array<int, 0x200> table;
    table.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= '!' && byte <= '~') ||
                       (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      table[printable ? byte : next++] = byte;
    }
    return table;
  }();
  return alphabet;
}

} // namespace

bool isByteTokenName(llvm::StringRef text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with(">") &&
         llvm::all_of(text.substr(3, 2), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
         });
}

std::optional<std::string> bytesOfByteLevelToken(llvm::StringRef token) {
  std::string bytes;
  const auto *at = token.bytes_begin();
  while (at != token.bytes_end()) {
    llvm::UTF32 c;
    if (llvm::convertUTF8Sequence(&at, token.bytes_end(), &c,
                                  llvm::strictConversion) != llvm::conversionOK)
      return std::nullopt;
    if (c >= byteAlphabet().size() || byteAlphabet()[c] < 0)
      return std::nullopt;
    bytes += static_cast<char>(byteAlphabet()[c]);
  }
  return bytes;
}

llvm::Error TokenizerModel::check(llvm::StringRef text, int64_t id) const {
  if (!llvm::json::isUTF8(text))
    return makeError("{0}: the token of id {1} is not UTF-8", file, id);
  if (id >= 0 && id < vocab)
    return llvm::Error::success();
  return makeError("{0}: token `{1}` has id {2}, but the model has embeddings "
                   "for ids 0 to {3}; take the tokenizer that belongs to this "
                   "checkpoint",
                   file, text, id, vocab - 1);
}

llvm::Error TokenizerModel::addToken(llvm::StringRef text, int64_t id,
                                     tokens::TokenType type) {
  if (auto error = check(text, id))
    return error;
  if (list.size() <= static_cast<size_t>(id))
    list.resize(id + 1);
  Token &token = list[id];
  if (token.type != tokens::TokenType::Hole)
    return makeError(
        "{0}: tokens `{1}` and `{2}` both have id {3}; an id names "
        "one token",
        file, token.text, text, id);
  token = {text.str(), type};
  // Reserved ids may be nameless.
  if (text.empty()) {
    token.type = tokens::TokenType::Literal;
    return llvm::Error::success();
  }
  if (std::optional<uint32_t> other = find(text))
    return makeError("{0}: token `{1}` appears twice, as ids {2} and {3}; a "
                     "text has one id",
                     file, text, *other, id);
  ids[text] = static_cast<uint32_t>(id);
  return llvm::Error::success();
}

llvm::Error TokenizerModel::addAddedToken(tokens::AddedTokenT token,
                                          int64_t id) {
  if (token.content.empty())
    return makeError("{0}: the added token of id {1} is empty; remove it", file,
                     id);
  if (auto error = check(token.content, id))
    return error;
  token.id = static_cast<uint32_t>(id);
  auto inVocabulary = ids.find(token.content);
  if (inVocabulary != ids.end() && inVocabulary->second != token.id)
    return makeError("{0}: added token `{1}` has id {2}, the vocabulary gives "
                     "it id {3}; make them equal",
                     file, token.content, token.id, inVocabulary->second);
  if (!addedIds.try_emplace(token.content, token.id).second)
    return makeError("{0}: added token `{1}` appears twice", file,
                     token.content);
  if (list.size() <= token.id)
    list.resize(token.id + 1);
  Token &entry = list[token.id];
  if (entry.type == tokens::TokenType::Hole)
    entry = {token.content, tokens::TokenType::Literal};
  else if (entry.text != token.content)
    return makeError("{0}: added token `{1}` has id {2}, which is `{3}` "
                     "already; an id names one token",
                     file, token.content, token.id, entry.text);
  rest.added_tokens.push_back(
      std::make_unique<tokens::AddedTokenT>(std::move(token)));
  return llvm::Error::success();
}

llvm::Error TokenizerModel::addMerge(llvm::StringRef left,
                                     llvm::StringRef right) {
  std::string result = (left + right).str();
  uint32_t found[3];
  llvm::StringRef texts[3] = {left, right, result};
  for (int i = 0; i < 3; ++i) {
    auto it = ids.find(texts[i]);
    if (it == ids.end())
      return makeError("{0}: merge {1} (`{2}` `{3}`) needs token `{4}`, which "
                       "is not in the vocabulary; vocabulary and merges are "
                       "not of the same tokenizer",
                       file, merges.size(), left, right, texts[i]);
    found[i] = it->second;
  }
  // A merge with an empty part makes its own other part: it would never end.
  if (left.empty() || right.empty())
    return makeError(
        "{0}: merge {1} (`{2}` `{3}`) has an empty part; remove it", file,
        merges.size(), left, right);
  merges.push_back(
      {found[0], found[1], found[2], static_cast<uint32_t>(merges.size())});
  return llvm::Error::success();
}

void TokenizerModel::addMergesOf(uint32_t token, uint32_t rank) {
  llvm::StringRef text = list[token].text;
  for (size_t cut = 1; cut < text.size(); ++cut) {
    if ((text[cut] & 0xC0) == 0x80)
      continue; // inside a character
    auto left = ids.find(text.take_front(cut));
    auto right = ids.find(text.drop_front(cut));
    if (left != ids.end() && right != ids.end() && isNormal(left->second) &&
        isNormal(right->second))
      merges.push_back({left->second, right->second, token, rank});
  }
}

llvm::Error TokenizerModel::markByteTokens() {
  for (auto [id, token] : llvm::enumerate(list)) {
    llvm::StringRef text = token.text;
    if (text.size() != 6 || !text.starts_with("<0x") || !text.ends_with(">"))
      continue;
    if (!isByteTokenName(text))
      return makeError("{0}: token {1} `{2}` does not name a byte; byte tokens "
                       "are <0x00> to <0xFF>",
                       file, id, token.text);
    token.type = tokens::TokenType::Byte;
  }
  return llvm::Error::success();
}

std::optional<uint32_t> TokenizerModel::find(llvm::StringRef text) const {
  for (const llvm::StringMap<uint32_t> *map : {&addedIds, &ids}) {
    auto it = map->find(text);
    if (it != map->end())
      return it->second;
  }
  return std::nullopt;
}

llvm::Expected<std::vector<uint8_t>> TokenizerModel::serialise() {
  if (list.empty())
    return makeError("{0}: the vocabulary is empty; take the tokenizer that "
                     "belongs to this checkpoint",
                     file);
  rest.offsets.push_back(0);
  for (const Token &token : list) {
    std::string bytes = token.text;
    tokens::TokenType type = token.type;
    if (rest.byte_level && type != tokens::TokenType::Hole) {
      if (auto decoded = bytesOfByteLevelToken(token.text))
        bytes = *decoded;
      else
        type = tokens::TokenType::Literal;
    }
    rest.bytes.insert(rest.bytes.end(), bytes.begin(), bytes.end());
    if (rest.bytes.size() > UINT32_MAX)
      return makeError("{0}: the tokens' texts exceed 4 GiB", file);
    rest.offsets.push_back(static_cast<uint32_t>(rest.bytes.size()));
    rest.types.push_back(type);
  }
  for (const Merge &merge : merges) {
    for (uint32_t id : {merge.left, merge.right, merge.result}) {
      if (rest.types[id] != tokens::TokenType::Normal)
        return makeError("{0}: a merge of `{1}` and `{2}` uses token `{3}`, "
                         "which does not consist of text; remove the merge",
                         file, list[merge.left].text, list[merge.right].text,
                         list[id].text);
      rest.merges.push_back(id);
    }
    if (explicitRanks)
      rest.ranks.push_back(merge.rank);
  }
  for (const auto &chat : rest.chat_templates)
    if (!llvm::json::isUTF8(chat->text))
      return makeError("{0}: the chat template '{1}' is not UTF-8; save it as "
                       "UTF-8",
                       file, chat->name);
  flatbuffers::FlatBufferBuilder builder(1 << 20);
  tokens::FinishTokenizerBuffer(builder,
                                tokens::CreateTokenizer(builder, &rest));
  return std::vector<uint8_t>(builder.GetBufferPointer(),
                              builder.GetBufferPointer() + builder.GetSize());
}

} // namespace stele::checkpoint
