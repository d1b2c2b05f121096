// What calibration decides about: the matrices of a fused module, and where the
// scales of their columns can hide.
//
// Place on the road: Gate.cpp finds the units once, collects statistics for
// them, searches their scales (Awq.h), and writes its decisions into the module
// as attributes of lm.weight.
#ifndef STELE_COMPILER_CALIBRATE_UNITS_H
#define STELE_COMPILER_CALIBRATE_UNITS_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/dialects/Lm/LmOps.h"
#include <string>
#include <vector>

namespace stele::compiler {

/// Rows of weights whose division by a scale multiplies the columns of a linear
/// by it: the other side of the product.
struct Fold {
  std::vector<std::string> weights; // a matrix and its bias, or a norm
  int64_t firstRow = 0;
  int64_t rows = 0; // 0: the scales cannot be folded
  /// Column c of the linear is row firstRow + map(c): heads that share values
  /// are `heads` wide blocks over `rows / headDim` of them.
  int64_t headDim = 0; // 0: column c is row firstRow + c
  int64_t headsPerRow = 1;

  explicit operator bool() const { return rows > 0; }
  /// The row, behind firstRow, that makes column `c`.
  int64_t rowOf(int64_t c) const {
    if (headDim == 0)
      return c;
    return c / (headDim * headsPerRow) * headDim + c % headDim;
  }
};

struct Unit {
  std::string weight;
  int64_t rows, columns;
  /// The norm inside the linear; empty: none.
  std::string norm;
  double normEps = 0;
  Fold fold;
  /// A matrix of embedding or logits: never int4, and nothing is known of what
  /// it reads.
  bool isEnd = false;

  int64_t elements() const { return rows * columns; }
  /// The name without its numbers: equal for the same linear of other layers.
  std::string role() const;
};

/// What a norm makes of a row.
void normalise(llvm::ArrayRef<float> row, llvm::ArrayRef<float> weight,
               double eps, std::vector<float> &out);

/// The matrices that are not quantised yet, in the order of the module.
std::vector<Unit> findUnits(mlir::ModuleOp module);

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_UNITS_H
