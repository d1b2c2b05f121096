// What several passes do with weight symbols.

#ifndef STELE_COMPILER_TRANSFORMS_WEIGHTS_H
#define STELE_COMPILER_TRANSFORMS_WEIGHTS_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/dialects/Lm/LmOps.h"

namespace stele::compiler {

/// A weight of f32 in front of the function that `op` is in, named
/// `name`, or `name.1`, `name.2`, ... if that is taken.
lm::WeightOp makeWeight(mlir::Operation *op, llvm::StringRef name,
                        llvm::ArrayRef<int64_t> shape,
                        llvm::ArrayRef<float> values);

/// Erases the weights that nothing names any more.
void eraseUnusedWeights(mlir::ModuleOp module);

/// A weight that is `parts` one under the other, placed after the last of them:
/// one segment for each, named by what tells their symbols apart ("q_proj").
/// The parts have no segments themselves.
lm::WeightOp concatenateWeights(mlir::ModuleOp module,
                                llvm::ArrayRef<lm::WeightOp> parts);

} // namespace stele::compiler

#endif // STELE_COMPILER_TRANSFORMS_WEIGHTS_H
