// The matrices that a Hugging Face folder stores quantised. AWQ, GPTQ and
// compressed-tensors keep one in several tensors: codes packed into words,
// scales, zero points, and sometimes the group of every column. Here they
// become one tensor NAME.weight, like that of any other checkpoint.
#ifndef STELE_COMPILER_IMPORT_PACKEDWEIGHTS_H
#define STELE_COMPILER_IMPORT_PACKEDWEIGHTS_H

#include "stele/compiler/Import/InputFile.h"
#include "stele/compiler/Import/QuantConfig.h"
#include "stele/compiler/Import/Quantised.h"
#include "stele/compiler/Import/Tensor.h"
#include "llvm/ADT/ArrayRef.h"
#include <list>
#include <memory>
#include <mutex>

namespace stele::checkpoint {

// A tensor in its file.
struct PackedPart {
  TensorInfo info;
  const InputFile *file;

  llvm::Error read(std::vector<uint8_t> &bytes) const;
};

// One matrix. Column k of output row r is scale[r, g] * (code[r, k] -
// zero[r, g]), where g = group[k].
struct PackedWeight {
  std::string module;
  QuantMethod method;
  bool zerosMinusOne = false;
  bool perTensor = false; // one scale and zero point are stored, for all
  int64_t bits = 0;
  int64_t rows = 0, columns = 0, groups = 0;
  PackedPart codes, scales;
  std::optional<PackedPart> zeros;    // absent: the middle of the codes
  std::vector<int32_t> groupOfColumn; // [columns]

  // How it is handed on: the columns sorted by group (empty: they are), in a
  // format whose groups are parts of the stored ones. No format: groups too
  // small or too irregular for one, or products that a float cannot hold.
  std::vector<int32_t> order;
  std::optional<schema::QuantFormat> format;
};

class PackedWeights {
public:
  // Takes the parts of every packed matrix out of `tensors`, puts the matrix in
  // their place, and checks shapes, scales and groups. `files` must outlive
  // this.
  static llvm::Expected<std::unique_ptr<PackedWeights>>
  collect(const QuantConfig &config,
          llvm::ArrayRef<std::unique_ptr<InputFile>> files,
          std::vector<TensorInfo> &tensors);

  const PackedWeight &operator[](unsigned index) const {
    return weights[index];
  }

  // Rows as values in natural order, or as they are stored. AWQ and GPTQ store
  // matrices transposed, so that a row is spread over all of its tensor: the
  // last matrices are kept whole, in memory. Safe from several threads.
  llvm::Error readRows(unsigned index, int64_t begin, int64_t end,
                       float *out) const;
  llvm::Error readQuantised(unsigned index, int64_t begin, int64_t end,
                            QuantRows &out) const;

private:
  // A matrix unpacked, its columns in natural order.
  struct Unpacked {
    std::vector<uint8_t> codes; // [rows, columns]
    std::vector<float> scales;  // [rows, groups]
    std::vector<uint8_t> zeros; // [rows, groups]
  };
  llvm::Expected<std::shared_ptr<const Unpacked>> unpack(unsigned index) const;

  std::vector<PackedWeight> weights;
  mutable std::mutex mutex;
  // The newest first.
  mutable std::list<std::pair<unsigned, std::shared_ptr<const Unpacked>>> kept;
};

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_PACKEDWEIGHTS_H
