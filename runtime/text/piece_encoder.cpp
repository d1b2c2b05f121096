// Pieces to ids; see piece_encoder.h.
#include "stele/runtime/text/piece_encoder.h"

#include <cstring>

#include "stele/runtime/text/hash.h"
#include "stele/runtime/text/unicode.h"

namespace stele::text {
namespace {

constexpr size_t kCacheSlots = 1 << 14;
// A cache is worth its memory from here on.
constexpr size_t kCachedText = 4 << 10;

}  // namespace

PieceEncoder::PieceEncoder(const Vocabulary& vocabulary,
                           const PieceOptions& options, size_t text_size,
                           std::vector<int32_t>& out)
    : vocabulary_(vocabulary), options_(options), out_(out) {
  if (text_size >= kCachedText) cache_.resize(kCacheSlots);
}

PieceEncoder::CacheEntry* PieceEncoder::SlotOf(std::string_view text) {
  if (cache_.empty() || text.size() > kCachedBytes) return nullptr;
  return &cache_[HashBytes(text) % kCacheSlots];
}

bool PieceEncoder::EmitCached(std::string_view text) {
  const CacheEntry* entry = SlotOf(text);
  if (!entry || entry->size != text.size() ||
      std::memcmp(entry->bytes, text.data(), text.size()) != 0) {
    return false;
  }
  out_.insert(out_.end(), entry->id, entry->id + entry->ids);
  return true;
}

void PieceEncoder::Remember(std::string_view text, size_t first_id) {
  CacheEntry* entry = SlotOf(text);
  const size_t ids = out_.size() - first_id;
  if (!entry || ids > kCachedIds) return;
  entry->size = static_cast<uint8_t>(text.size());
  entry->ids = static_cast<uint8_t>(ids);
  std::memcpy(entry->bytes, text.data(), text.size());
  std::memcpy(entry->id, out_.data() + first_id, ids * sizeof(int32_t));
}

void PieceEncoder::Encode(std::string_view piece) {
  if (piece.empty() || EmitCached(piece)) return;
  const size_t first_id = out_.size();
  const uint32_t whole =
      options_.ignore_merges ? vocabulary_.Find(piece) : Vocabulary::kNoToken;
  if (whole != Vocabulary::kNoToken) {
    out_.push_back(static_cast<int32_t>(whole));
  } else {
    EncodeSymbols(piece);
  }
  Remember(piece, first_id);
}

void PieceEncoder::EncodeSymbols(std::string_view piece) {
  size_t begin = 0;  // of the text that symbols_ stand for
  uint32_t previous = Vocabulary::kNoToken;
  for (size_t at = 0; at < piece.size();) {
    const size_t size =
        vocabulary_.byte_level() ? 1 : FirstCodePoint(piece.substr(at)).size;
    const std::string_view character = piece.substr(at, size);
    const uint32_t symbol = vocabulary_.Symbol(character);
    if (symbol == Vocabulary::kNoToken) {
      AddUnknown(character);
    } else {
      FlushUnknown();
      // Where nothing can merge across, what came before is finished. That
      // keeps a text without pre-tokeniser in word-sized parts.
      if (previous != Vocabulary::kNoToken &&
          !vocabulary_.MayJoin(previous, symbol)) {
        FlushSymbols(piece.substr(begin, at - begin));
        begin = at;
      }
      symbols_.push_back(symbol);
    }
    previous = symbol;
    at += size;
  }
  FlushUnknown();
  FlushSymbols(piece.substr(begin));
}

// Byte tokens do not end a run of unknown characters: where only some bytes
// have a token, the reference puts the unknown token behind them.
void PieceEncoder::AddUnknown(std::string_view character) {
  if (options_.byte_fallback && !vocabulary_.byte_level()) {
    bool complete = true;
    for (const char c : character) {
      complete &= vocabulary_.ByteToken(static_cast<uint8_t>(c)) !=
                  Vocabulary::kNoToken;
    }
    if (complete) {
      for (const char c : character) {
        symbols_.push_back(vocabulary_.ByteToken(static_cast<uint8_t>(c)));
      }
      return;
    }
  }
  if (options_.unk == Vocabulary::kNoToken) return;
  if (!options_.fuse_unk) FlushUnknown();
  unknown_pending_ = true;
}

void PieceEncoder::FlushUnknown() {
  if (unknown_pending_) symbols_.push_back(options_.unk);
  unknown_pending_ = false;
}

void PieceEncoder::FlushSymbols(std::string_view text) {
  // With ignore_merges a part of a piece may differ from a piece of its own.
  const bool cached = !options_.ignore_merges;
  if (!cached || !EmitCached(text)) {
    const size_t first_id = out_.size();
    vocabulary_.merges().Apply(symbols_);
    out_.insert(out_.end(), symbols_.begin(), symbols_.end());
    if (cached) Remember(text, first_id);
  }
  symbols_.clear();
}

}  // namespace stele::text
