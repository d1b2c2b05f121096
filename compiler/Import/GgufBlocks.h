// The block types of GGUF as codes, scales and offsets. A block type has one
// function that takes one block apart; both the rows that stay quantised and
// the dequantised ones come from it.
#ifndef STELE_COMPILER_IMPORT_GGUFBLOCKS_H
#define STELE_COMPILER_IMPORT_GGUFBLOCKS_H

#include "stele/compiler/Import/Quantised.h"
#include "stele/compiler/Import/Tensor.h"
#include <optional>

namespace stele::checkpoint {

// The format that holds every value of a block type exactly, or nothing for the
// plain types. In all of them scale * q fits a float's 24 bits, so what the
// formula gives is what the `gguf` Python package gives, bit for bit.
std::optional<schema::QuantFormat> quantFormatOf(ElementType type);

// Takes rows of `columns` elements, a multiple of blockElements(type), apart.
// `out` has its size; the rows are written from `row` on.
void splitBlocks(ElementType type, const uint8_t *in, int64_t rows,
                 int64_t columns, int64_t row, QuantRows &out);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_GGUFBLOCKS_H
