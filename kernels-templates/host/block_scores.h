// Scores of queries with the blocks of the key index, for whoever chooses among
// them or estimates what they hold.
//
// A query becomes codes of 8 bits as the mean keys are, and products of codes
// are exact. 16 blocks are a vector, as the index has them: a score is a lane,
// and no sum of a block runs across lanes. Scores are in units of log2, with
// the blocks' offsets.
#ifndef STELE_KERNELS_HOST_BLOCK_SCORES_H_
#define STELE_KERNELS_HOST_BLOCK_SCORES_H_

#include "dot.h"
#include "key_index.h"
#include "selection.h"

STELE_INT(block)

namespace stele {

// Queries that are scored side by side, with as many groups of the index.
constexpr int kRowTile = 4;
constexpr int64_t kGroupLine = 64;  // bytes: 4 codes of each of 16 blocks
#ifdef __AVX512F__
constexpr int kGroupTile = 4;
#else
constexpr int kGroupTile = 1;
#endif

STELE_INLINE KeyIndex Index() { return KeyIndex(stele_head_dim); }
STELE_INLINE int64_t PaddedBlocks() { return RoundUp(stele_blocks, kLanes); }

// A query for one part of its keys, as codes. Those of mean keys are 128 too
// high, for which the sum of products starts at `start`.
struct Codes {
  uint32_t* units;  // [Index().Steps()]: 4 codes each
  int32_t start;
  float scale;
};

// Queries as codes, and their scores.
struct BlockScores {
  Codes query[kRowTile][3];
  float* score;  // [kRowTile, PaddedBlocks()]

  float* ScoresOf(int64_t row) const { return score + row * PaddedBlocks(); }
};

STELE_INLINE void CarveScores(Arena& arena, BlockScores* s) {
  for (auto& parts : s->query)
    for (int64_t part = 0; part < stele_parts; ++part)
      parts[part].units = arena.Take<uint32_t>(Index().Steps());
  s->score = arena.Take<float>(kRowTile * PaddedBlocks());
}

// A query block of sequence s: its tokens in the step, and one KV head.
struct QueryBlock {
  int64_t s, head, index;
  Range tokens;
};

STELE_INLINE const char* IndexRow(const SteleBatch* batch, int64_t layer,
                                  const QueryBlock& block) {
  return Index().Row(batch, block.s, layer * stele_kv_heads + block.head);
}

// The blocks before the query block that its queries meet in a part.
STELE_INLINE Range BlocksIn(int64_t part, const QueryBlock& block) {
  if (stele_parts == 1) return {0, block.index};
  const int64_t per_chunk = stele_chunk_keys / stele_block;
  const int64_t chunk = block.index / per_chunk;
  const int64_t begin = part == 2 ? 0 : Max(0, chunk - part) * per_chunk;
  const int64_t end = Max(0, chunk - part + 1) * per_chunk;
  return {begin, part == 0 ? block.index : end};
}

// Makes codes of the query in `head`, which `scale` multiplies.
STELE_INLINE void Encode(const float* head, float scale, Codes* codes) {
  const float inverse = Quantise(head, stele_head_dim, &codes->scale);
  codes->scale *= scale;
  codes->start = 0;
  for (int64_t step = 0; step < Index().Steps(); ++step) {
    uint32_t unit = 0;
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t dim = step * 4 + i;
      if (dim >= stele_head_dim) break;
      const auto code = static_cast<int32_t>(ToCode(head[dim], inverse));
      unit |= (static_cast<uint32_t>(code) & 0xffu) << 8 * i;
      codes->start -= 128 * code;
    }
    codes->units[step] = unit;
  }
}

// How many rows a tile has, as a type.
template <int R>
struct TileRows {};

template <int R, typename Tile>
STELE_INLINE void TileUpTo(int64_t row, int64_t rows, Tile& tile) {
  if (rows - row >= R)
    tile(TileRows<R>(), row);
  else if constexpr (R > 1)
    TileUpTo<R - 1>(row, rows, tile);
}

// Calls tile(TileRows<R>(), first) for [0, rows), kRowTile rows at a time and
// then what is left in one.
template <typename Tile>
STELE_INLINE void ForRowTiles(int64_t rows, Tile tile) {
  for (int64_t row = 0; row < rows; row += kRowTile)
    TileUpTo<kRowTile>(row, rows, tile);
}

// Scores of R queries with C groups of the index from `group` on, of which the
// blocks before `first` are another part's.
template <int R, int C>
STELE_INLINE void Score(const char* index, int64_t group, int64_t part,
                        int64_t first, const BlockScores& s) {
  const char* at = index + group * Index().GroupBytes();
  I16 sum[R][C];
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c) sum[r][c] = I16{} + s.query[r][part].start;
  for (int64_t step = 0; step < Index().Steps(); ++step) {
    U16 codes[C];
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const char* from = at + c * Index().GroupBytes() + step * kGroupLine;
      codes[c] = LoadUnits(reinterpret_cast<const uint32_t*>(from));
      // Groups are too short for the hardware to see what comes next.
      __builtin_prefetch(from + 2 * C * Index().GroupBytes());
    }
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const U16 q = U16{} + s.query[r][part].units[step];
#pragma unroll
      for (int c = 0; c < C; ++c) sum[r][c] = DotCodes(sum[r][c], codes[c], q);
    }
  }
#pragma unroll
  for (int c = 0; c < C; ++c) {
    const char* from = at + c * Index().GroupBytes();
    const V16 scales =
        Load(reinterpret_cast<const float*>(from + Index().Scales()));
    const V16 offsets =
        Load(reinterpret_cast<const float*>(from + Index().Offsets())) *
        Splat(kLog2E);
    const I16 blocks = kIota + static_cast<int32_t>((group + c) * kLanes);
#pragma unroll
    for (int r = 0; r < R; ++r) {
      float* to = s.ScoresOf(r) + (group + c) * kLanes;
      const V16 score = Fma(__builtin_convertvector(sum[r][c], V16) * scales,
                            Splat(s.query[r][part].scale), offsets);
      Store(to, stele_parts == 1 || blocks >= static_cast<int32_t>(first)
                    ? score
                    : Load(to));
    }
  }
}

// Scores of R queries with the blocks of a part. May write those of up to 15
// blocks behind it, which are the next part's.
template <int R>
STELE_INLINE void ScorePart(const char* index, int64_t part, Range met,
                            const BlockScores& s) {
  int64_t group = met.begin / kLanes;
  const int64_t end = RoundUp(met.end, kLanes) / kLanes;
  for (; group + kGroupTile <= end; group += kGroupTile)
    Score<R, kGroupTile>(index, group, part, met.begin, s);
  for (; group < end; ++group) Score<R, 1>(index, group, part, met.begin, s);
}

// Scores of R queries with the blocks before their own.
template <int R>
STELE_INLINE void ScoreRows(const SteleBatch* batch, int64_t layer,
                            const QueryBlock& block, const BlockScores& s) {
  // From far to near: what a part writes behind it is the next one's.
  for (int64_t part = stele_parts; part-- > 0;)
    ScorePart<R>(IndexRow(batch, layer, block), part, BlocksIn(part, block), s);
}

// The launch's query blocks in the order in which they are handed out:
// backwards, since later ones have more blocks before them.
class Items {
 public:
  explicit Items(const SteleBatch* batch)
      : batch_(batch), s_(batch->sequences) {}

  bool Take(const SteleHostArgs* args, QueryBlock* block) {
    const int64_t index = NextItem(args);
    while (index >= first_ + count_) {
      first_ += count_;
      if (--s_ < 0) return false;
      count_ = Grid().count() * stele_kv_heads;
    }
    const int64_t left = first_ + count_ - 1 - index;
    block->s = s_;
    block->head = left % stele_kv_heads;
    block->tokens = Grid().at(left / stele_kv_heads);
    block->index = batch_->positions[block->tokens.begin] / stele_block;
    return true;
  }

 private:
  TokenGrid Grid() const { return TokenGrid(batch_, s_, stele_block); }

  const SteleBatch* batch_;
  int64_t s_, first_ = 0, count_ = 0;
};

}  // namespace stele

#endif  // STELE_KERNELS_HOST_BLOCK_SCORES_H_
