// Selections of key blocks: where their bits are, and how many blocks there can
// be. A selection has for each query block of a step and KV head one bit for
// each key block of the context, in the row of the query block's first token of
// the step.
//
// Place on the road: select_blocks of the host templates writes a selection,
// block-sparse attention and the pager of the runtime read it; the compiler
// proves that what may be chosen has room, and the runtime for what it is asked
// to choose instead.
#ifndef STELE_SCHEMA_BLOCK_SELECTION_H_
#define STELE_SCHEMA_BLOCK_SELECTION_H_

#include <stdint.h>

namespace stele::schema {

// 32-bit words of a row, for a context of `blocks` key blocks.
constexpr uint64_t SelectionWords(uint64_t blocks) {
  return (blocks + 31) / 32;
}

// The first word of a row.
constexpr uint64_t SelectionRow(uint64_t token, uint64_t kv_heads,
                                uint64_t head, uint64_t words) {
  return (token * kv_heads + head) * words;
}

// How many of `blocks` a share of them is, rounded up.
constexpr uint64_t ShareOfBlocks(float share, uint64_t blocks) {
  const float exact = share * static_cast<float>(blocks);
  const auto whole = static_cast<uint64_t>(exact);
  return static_cast<float>(whole) < exact ? whole + 1 : whole;
}

// Query blocks that a run of tokens touches at most, wherever it begins.
constexpr uint64_t TouchedBlocks(uint64_t tokens, uint64_t block) {
  return tokens < 2 ? 1 : (tokens - 2) / block + 2;
}

// Blocks that a KV head reads in a step at most, of `there`, if each of its
// query blocks chooses up to `chosen`, or has up to `dense` and keeps them all.
constexpr uint64_t MostRead(uint64_t there, uint64_t chosen, uint64_t dense,
                            uint64_t query_blocks) {
  const uint64_t most = (chosen > dense ? chosen : dense) * query_blocks;
  return most < there ? most : there;
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_BLOCK_SELECTION_H_
