// Stored weights to f32: the plain types and the GGUF block types, with results
// equal to those of the `gguf` Python package bit for bit.
#ifndef STELE_COMPILER_IMPORT_DEQUANTISE_H
#define STELE_COMPILER_IMPORT_DEQUANTISE_H

#include "stele/compiler/Import/Tensor.h"

namespace stele::checkpoint {

// The half at `in`, which need not be aligned.
float loadHalf(const uint8_t *in);

// Converts `count` elements, a multiple of blockElements(type), from `in`
// (which need not be aligned) to out[count].
void dequantise(ElementType type, const uint8_t *in, int64_t count, float *out);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_DEQUANTISE_H
