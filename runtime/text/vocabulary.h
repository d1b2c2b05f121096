// The tokens of a vocabulary and its merges, checked and indexed.
//
// Loaded from the tokenizer segment, which is untrusted: after Load every id
// that the tables yield is below size(), every merge's text is that of its
// parts. Immutable, thread safe.
#ifndef STELE_RUNTIME_TEXT_VOCABULARY_H_
#define STELE_RUNTIME_TEXT_VOCABULARY_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/text/bpe.h"
#include "stele/schema/tokenizer_generated.h"

namespace stele::text {

class Vocabulary {
 public:
  static constexpr uint32_t kNoToken = UINT32_MAX;

  static Result<std::unique_ptr<Vocabulary>> Load(
      const schema::Tokenizer& tokenizer);

  uint32_t size() const { return static_cast<uint32_t>(types_.size()); }
  bool byte_level() const { return byte_level_; }
  std::string_view bytes(uint32_t id) const {
    return std::string_view(bytes_).substr(offsets_[id],
                                           offsets_[id + 1] - offsets_[id]);
  }
  schema::TokenType type(uint32_t id) const { return types_[id]; }
  // Control tokens; encoding a piece never yields one.
  bool special(uint32_t id) const { return special_[id]; }

  // The token with these bytes that encoding may yield, or kNoToken.
  uint32_t Find(std::string_view bytes) const;
  // The byte that a Byte token stands for.
  uint8_t ByteOf(uint32_t byte_token) const;
  // The token that stands for one byte: of a byte-level vocabulary the token
  // with that byte, else the Byte token. kNoToken if there is none.
  uint32_t ByteToken(uint8_t byte) const { return byte_tokens_[byte]; }
  // The symbol that a piece's character (a byte, if byte_level) starts as.
  uint32_t Symbol(std::string_view character) const {
    return character.size() == 1
               ? single_byte_[static_cast<unsigned char>(character[0])]
               : Find(character);
  }

  const MergeTable& merges() const { return *merges_; }
  // False if no merge can join symbols across the boundary between these two
  // initial symbols. (True may mean maybe.)
  bool MayJoin(uint32_t left, uint32_t right) const {
    const size_t bit = JoinBit(left, right);
    return joins_[bit / 64] >> (bit % 64) & 1;
  }

 private:
  Vocabulary() = default;
  Status ReadTokens(const schema::Tokenizer& tokenizer);
  Status ReadSpecial(const schema::Tokenizer& tokenizer);
  void IndexTokens();
  Status ReadMerges(const schema::Tokenizer& tokenizer);
  Status CheckMerge(uint32_t index, uint32_t left, uint32_t right,
                    uint32_t result) const;
  void NoteJoins(uint32_t token);
  static size_t JoinBit(uint32_t left, uint32_t right) {
    return (left * 0x9E3779B1u ^ right * 0x85EBCA77u) >> 12;
  }

  bool byte_level_ = false;
  std::string bytes_;
  std::vector<uint32_t> offsets_;
  std::vector<schema::TokenType> types_;
  std::vector<bool> special_;
  std::vector<uint32_t> index_;  // hash table of ids by bytes
  std::array<uint32_t, 256> byte_tokens_{};
  std::array<uint32_t, 256> single_byte_{};
  std::unique_ptr<MergeTable> merges_;
  std::vector<uint64_t> joins_;  // Bloom filter of 2^20 bits
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_VOCABULARY_H_
