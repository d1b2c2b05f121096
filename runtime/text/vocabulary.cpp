// Checks and indexes a vocabulary; see vocabulary.h.
#include "stele/runtime/text/vocabulary.h"

#include <algorithm>
#include <bit>

#include "stele/runtime/text/hash.h"
#include "stele/runtime/text/unicode.h"

namespace stele::text {
namespace {

constexpr size_t kJoinBits = size_t{1} << 20;

Status Corrupt(const std::string& what) {
  return DataLoss("tokenizer: " + what + "; compile the checkpoint again");
}

// The byte that "<0x0A>" stands for, or -1.
int ByteOfName(std::string_view name) {
  if (name.size() != 6 || !name.starts_with("<0x") || name[5] != '>') return -1;
  int byte = 0;
  for (const char c : name.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      byte = byte * 16 + (c - '0');
    } else if (c >= 'A' && c <= 'F') {
      byte = byte * 16 + (c - 'A' + 10);
    } else {
      return -1;
    }
  }
  return byte;
}

}  // namespace

Result<std::unique_ptr<Vocabulary>> Vocabulary::Load(
    const schema::Tokenizer& tokenizer) {
  std::unique_ptr<Vocabulary> vocabulary(new Vocabulary());
  STELE_RETURN_IF_ERROR(vocabulary->ReadTokens(tokenizer));
  STELE_RETURN_IF_ERROR(vocabulary->ReadSpecial(tokenizer));
  vocabulary->IndexTokens();
  STELE_RETURN_IF_ERROR(vocabulary->ReadMerges(tokenizer));
  return vocabulary;
}

Status Vocabulary::ReadTokens(const schema::Tokenizer& tokenizer) {
  byte_level_ = tokenizer.byte_level();
  const auto& offsets = *tokenizer.offsets();
  const auto& types = *tokenizer.types();
  const uint32_t count = types.size();
  // Ids are int32_t outside.
  if (count == 0 || count > INT32_MAX || offsets.size() != count + 1) {
    return Corrupt(std::to_string(offsets.size()) + " offsets for " +
                   std::to_string(count) + " tokens, expected one more");
  }
  if (offsets[0] != 0 || offsets[count] != tokenizer.bytes()->size()) {
    return Corrupt("offsets do not cover the tokens' bytes");
  }
  bytes_.assign(reinterpret_cast<const char*>(tokenizer.bytes()->data()),
                tokenizer.bytes()->size());
  offsets_.assign(offsets.begin(), offsets.end());
  if (!std::is_sorted(offsets_.begin(), offsets_.end())) {
    return Corrupt("offsets of tokens descend");
  }
  types_.reserve(count);
  for (uint32_t id = 0; id < count; ++id) {
    const auto type = static_cast<schema::TokenType>(types[id]);
    if (type > schema::TokenType::MAX) {
      return Corrupt("token " + std::to_string(id) + " has the unknown type " +
                     std::to_string(static_cast<int>(type)));
    }
    types_.push_back(type);
    if (type == schema::TokenType::Byte && ByteOfName(bytes(id)) < 0) {
      return Corrupt("token " + std::to_string(id) +
                     " stands for a byte, but is not spelled like <0x0A>");
    }
    if (!byte_level_ && !IsValidUtf8(bytes(id))) {
      return Corrupt("token " + std::to_string(id) + " is not UTF-8");
    }
  }
  return OkStatus();
}

Status Vocabulary::ReadSpecial(const schema::Tokenizer& tokenizer) {
  special_.resize(size());
  for (const schema::AddedToken* token : *tokenizer.added_tokens()) {
    if (token->id() >= size()) {
      return Corrupt("added token `" + token->content()->str() + "` has id " +
                     std::to_string(token->id()) + ", the vocabulary ends at " +
                     std::to_string(size()));
    }
    if (token->special()) special_[token->id()] = true;
  }
  return OkStatus();
}

void Vocabulary::IndexTokens() {
  index_.assign(std::bit_ceil(size_t{size()} * 3 / 2 + 1), kNoToken);
  byte_tokens_.fill(kNoToken);
  const size_t mask = index_.size() - 1;
  for (uint32_t id = 0; id < size(); ++id) {
    if (types_[id] == schema::TokenType::Byte) byte_tokens_[ByteOf(id)] = id;
    if (types_[id] >= schema::TokenType::Literal || special_[id]) continue;
    size_t slot = HashBytes(bytes(id)) & mask;
    while (index_[slot] != kNoToken && bytes(index_[slot]) != bytes(id)) {
      slot = (slot + 1) & mask;
    }
    index_[slot] = id;
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    single_byte_[byte] = Find({&c, 1});
  }
  if (byte_level_) byte_tokens_ = single_byte_;
}

uint8_t Vocabulary::ByteOf(uint32_t byte_token) const {
  return static_cast<uint8_t>(ByteOfName(bytes(byte_token)));
}

uint32_t Vocabulary::Find(std::string_view wanted) const {
  const size_t mask = index_.size() - 1;
  for (size_t slot = HashBytes(wanted) & mask;; slot = (slot + 1) & mask) {
    const uint32_t id = index_[slot];
    if (id == kNoToken || bytes(id) == wanted) return id;
  }
}

Status Vocabulary::CheckMerge(uint32_t index, uint32_t left, uint32_t right,
                              uint32_t result) const {
  const auto corrupt = [&](const std::string& what) {
    return Corrupt("merge " + std::to_string(index) + " (" +
                   std::to_string(left) + ", " + std::to_string(right) + ") " +
                   what);
  };
  for (const uint32_t id : {left, right, result}) {
    if (id >= size()) {
      return corrupt("names token " + std::to_string(id) +
                     ", the vocabulary ends at " + std::to_string(size()));
    }
    if (types_[id] != schema::TokenType::Normal || bytes(id).empty()) {
      return corrupt("names token " + std::to_string(id) +
                     ", which merges cannot form");
    }
  }
  const std::string_view whole = bytes(result);
  if (whole.size() != bytes(left).size() + bytes(right).size() ||
      !whole.starts_with(bytes(left)) || !whole.ends_with(bytes(right))) {
    return corrupt("gives token " + std::to_string(result) +
                   ", whose text is not theirs joined");
  }
  return OkStatus();
}

Status Vocabulary::ReadMerges(const schema::Tokenizer& tokenizer) {
  const auto& triples = *tokenizer.merges();
  const auto* ranks = tokenizer.ranks();
  const uint32_t count = triples.size() / 3;
  if (triples.size() % 3 != 0 || (ranks && ranks->size() != count)) {
    return Corrupt("merges are not triples with one rank each");
  }
  joins_.assign(kJoinBits / 64, 0);
  merges_ = std::make_unique<MergeTable>(count);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t left = triples[3 * i], right = triples[3 * i + 1],
                   result = triples[3 * i + 2];
    STELE_RETURN_IF_ERROR(CheckMerge(i, left, right, result));
    // A control token is read where the text may spell one, never made.
    if (special_[result]) continue;
    merges_->Add(left, right, {ranks ? (*ranks)[i] : i, result});
    NoteJoins(result);
  }
  return OkStatus();
}

void Vocabulary::NoteJoins(uint32_t token) {
  std::string_view rest = bytes(token);
  uint32_t previous = kNoToken;
  while (!rest.empty()) {
    const size_t size = byte_level_ ? 1 : FirstCodePoint(rest).size;
    const uint32_t symbol = Symbol(rest.substr(0, size));
    if (previous != kNoToken) {
      const size_t bit = JoinBit(previous, symbol);
      joins_[bit / 64] |= uint64_t{1} << (bit % 64);
    }
    previous = symbol;
    rest.remove_prefix(size);
  }
}

}  // namespace stele::text
