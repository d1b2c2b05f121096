// What several passes do with weight symbols.

#ifndef STELE_COMPILER_TRANSFORMS_WEIGHTS_H
#define STELE_COMPILER_TRANSFORMS_WEIGHTS_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/dialects/Lm/LmOps.h"

namespace stele::compiler {

/// `name`, or `name.1`, `name.2`, ... if that is taken.
std::string uniqueSymbol(mlir::ModuleOp module, llvm::StringRef name);

/// Erases the weights that nothing names any more.
void eraseUnusedWeights(mlir::ModuleOp module);

/// A weight that is `parts` one under the other, placed after the last of them:
/// one segment for each, named by what tells their symbols apart ("q_proj").
/// The parts have no segments themselves.
lm::WeightOp concatenateWeights(mlir::ModuleOp module,
                                llvm::ArrayRef<lm::WeightOp> parts);

} // namespace stele::compiler

#endif // STELE_COMPILER_TRANSFORMS_WEIGHTS_H
