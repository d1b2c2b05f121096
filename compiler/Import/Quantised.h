// Rows of a matrix as a checkpoint or the quantise pass stores them: codes,
// scales and offsets of a schema::QuantFormat, not yet packed.
//
// Place on the road: compiler/Import reads them, compiler/Transforms makes
// them, compiler/Codegen/Host packs them for its kernels.
#ifndef STELE_COMPILER_IMPORT_QUANTISED_H
#define STELE_COMPILER_IMPORT_QUANTISED_H

#include <cstdint>
#include <vector>

namespace stele::checkpoint {

struct QuantRows {
  std::vector<uint8_t> codes; // [rows, columns]
  std::vector<float> scales;  // [rows, groups]
  std::vector<float> offsets; // [rows, groups]; empty when symmetric
};

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_QUANTISED_H
