// Rows of a matrix as a checkpoint or the quantise pass stores them: codes,
// scales and offsets of a schema::QuantFormat, not yet packed.
//
// Place on the road: compiler/Import reads them, compiler/Transforms makes
// them, compiler/Codegen/Host packs them for its kernels.
#ifndef STELE_COMPILER_IMPORT_QUANTISED_H
#define STELE_COMPILER_IMPORT_QUANTISED_H

#include "stele/schema/quant_format.h"
#include <cstdint>
#include <vector>

namespace stele::checkpoint {

struct QuantRows {
  std::vector<uint8_t> codes; // [rows, columns]
  std::vector<float> scales;  // [rows, groups]
  std::vector<float> offsets; // [rows, groups]; empty when symmetric

  // Makes room for `rows` rows; what it held before is lost.
  void resize(const schema::QuantFormat &format, int64_t rows, int64_t columns);
};

inline int64_t groupsOf(const schema::QuantFormat &format, int64_t columns) {
  return (columns + format.group - 1) / format.group;
}

// The values of `rows`, in the order of their codes: out[rows, columns].
void dequantise(const schema::QuantFormat &format, const QuantRows &rows,
                int64_t columns, float *out);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_QUANTISED_H
