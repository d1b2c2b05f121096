// Encodes the pieces that a pre-tokeniser cut: characters (or bytes) become
// symbols, unknown ones fall back to bytes or to the unknown token, BPE merges
// the rest.
//
// One PieceEncoder serves one call of Encode: it carries a cache of words. Not
// thread safe; the vocabulary it reads is.
#ifndef STELE_RUNTIME_TEXT_PIECE_ENCODER_H_
#define STELE_RUNTIME_TEXT_PIECE_ENCODER_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "stele/runtime/text/vocabulary.h"

namespace stele::text {

// How pieces are encoded beside the vocabulary.
struct PieceOptions {
  bool ignore_merges = false;
  bool byte_fallback = false;
  bool fuse_unk = false;
  uint32_t unk = Vocabulary::kNoToken;
};

class PieceEncoder {
 public:
  // Ids are appended to `out`. `text_size` is that of the whole text.
  PieceEncoder(const Vocabulary& vocabulary, const PieceOptions& options,
               size_t text_size, std::vector<int32_t>& out);

  void Encode(std::string_view piece);

 private:
  static constexpr size_t kCachedBytes = 22;
  static constexpr size_t kCachedIds = 10;
  struct CacheEntry {
    uint8_t size = 0;  // 0: empty
    uint8_t ids = 0;
    char bytes[kCachedBytes];
    int32_t id[kCachedIds];
  };

  void EncodeSymbols(std::string_view piece);
  void AddUnknown(std::string_view character);
  void FlushUnknown();
  void FlushSymbols(std::string_view text);
  CacheEntry* SlotOf(std::string_view text);
  bool EmitCached(std::string_view text);
  void Remember(std::string_view text, size_t first_id);

  const Vocabulary& vocabulary_;
  const PieceOptions options_;
  std::vector<int32_t>& out_;
  std::vector<CacheEntry> cache_;
  std::vector<uint32_t> symbols_;
  bool unknown_pending_ = false;
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_PIECE_ENCODER_H_
