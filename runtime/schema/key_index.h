// How the index is laid out by which block selection finds pages: the one rule
// for the runtime that allocates it and for the kernels that fill and read it.
//
// Each layer and KV head of a session has a row of groups of 16 blocks:
//
//   codes   [head_dim / 4][16][4]  unsigned bytes, 4 elements of each block at
//                                  a time, the last ones padded with 128
//   scales  [16]                   f32
//   offsets [16]                   f32
//
// An element of a block's mean key c is (code - 128) * scale. The log of a
// block's attention mass for a query q is about q.c + offset; for the plain
// mean the offset is the log of its keys. An entry is there once the block is
// full.
//
// Behind the groups of a row an index with values has, for each block,
//
//   scale   f32
//   codes   [head_dim]  signed bytes, padded to 16 with 0
//
// An element of the block's mean value is code * scale.
//
// Place on the road: key_index.h of the host templates; runtime/engine.
#ifndef STELE_SCHEMA_KEY_INDEX_H_
#define STELE_SCHEMA_KEY_INDEX_H_

#include <stdint.h>

namespace stele::schema {

constexpr uint64_t kKeyIndexLanes = 16;  // blocks of a group
constexpr uint64_t kKeyIndexDepth = 4;  // elements of a block that lie together

// Units of kKeyIndexDepth elements that a mean key has.
constexpr uint64_t KeyIndexSteps(uint64_t head_dim) {
  return (head_dim + kKeyIndexDepth - 1) / kKeyIndexDepth;
}

// Bytes from a group's start to the scales, to the offsets, and of the group.
constexpr uint64_t KeyIndexScales(uint64_t head_dim) {
  return KeyIndexSteps(head_dim) * kKeyIndexDepth * kKeyIndexLanes;
}
constexpr uint64_t KeyIndexOffsets(uint64_t head_dim) {
  return KeyIndexScales(head_dim) + kKeyIndexLanes * sizeof(float);
}
constexpr uint64_t KeyIndexGroupBytes(uint64_t head_dim) {
  return KeyIndexOffsets(head_dim) + kKeyIndexLanes * sizeof(float);
}

// Bytes of a row's groups, of a block's mean value, and of a row.
constexpr uint64_t KeyIndexKeyBytes(uint64_t blocks, uint64_t head_dim) {
  return (blocks + kKeyIndexLanes - 1) / kKeyIndexLanes *
         KeyIndexGroupBytes(head_dim);
}
constexpr uint64_t KeyIndexValueBytes(uint64_t head_dim) {
  return sizeof(float) + (head_dim + 15) / 16 * 16;
}
constexpr uint64_t KeyIndexRowBytes(uint64_t blocks, uint64_t head_dim,
                                    bool values) {
  return KeyIndexKeyBytes(blocks, head_dim) +
         (values ? blocks * KeyIndexValueBytes(head_dim) : 0);
}

// A block's entry is in pieces of 4 bytes: its steps, the scale and the offset.
// How many; and bytes from the row's start to one of them. Values are in one
// piece.
constexpr uint64_t KeyIndexPieces(uint64_t head_dim) {
  return KeyIndexSteps(head_dim) + 2;
}
constexpr uint64_t KeyIndexPiece(uint64_t block, uint64_t head_dim,
                                 uint64_t piece) {
  return block / kKeyIndexLanes * KeyIndexGroupBytes(head_dim) +
         (piece * kKeyIndexLanes + block % kKeyIndexLanes) * kKeyIndexDepth;
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_KEY_INDEX_H_
