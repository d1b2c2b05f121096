// Stored weights to f32: the plain types and the GGUF block types, with the
// same operations in the same order as the `gguf` Python package, so that the
// results are equal bit for bit.
#ifndef STELE_COMPILER_IMPORT_DEQUANTISE_H
#define STELE_COMPILER_IMPORT_DEQUANTISE_H

#include "stele/compiler/Import/Tensor.h"

namespace stele::checkpoint {

// Converts `count` elements, a multiple of blockElements(type), from `in`
// (which need not be aligned) to out[count].
void dequantise(ElementType type, const uint8_t *in, int64_t count, float *out);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_DEQUANTISE_H
