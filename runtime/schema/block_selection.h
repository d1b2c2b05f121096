// Where the bits of a selection of key blocks are: for each query block of a
// step and KV head one bit for each key block of the context, in the row of the
// query block's first token of the step.
//
// Place on the road: select_blocks of the host templates writes a selection,
// block-sparse attention and the pager of the runtime read it.
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

}  // namespace stele::schema

#endif  // STELE_SCHEMA_BLOCK_SELECTION_H_
