// Executes an lm module with the plain reference (dialects/Lm/reference), one
// operation after the other, in double precision.
//
// It shares no kernel, plan or schedule with the product. Comparing it with
// transformers checks importers, families and passes by themselves; comparing a
// compiled artifact with it finds the kernel at fault.

#ifndef STELE_TEST_ORACLE_INTERPRETER_H
#define STELE_TEST_ORACLE_INTERPRETER_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/compiler/Import/Checkpoint.h"
#include "stele/dialects/Lm/LmOps.h"
#include "stele/dialects/Lm/reference/Reference.h"
#include "llvm/ADT/StringMap.h"

namespace stele::oracle {

/// Holds the cache, so that steps follow each other as in the runtime. Weights
/// are taken as f32 whatever their type in the module is; a tensor that cannot
/// be read ends the test.
class Interpreter {
public:
  Interpreter(mlir::ModuleOp module, const checkpoint::Checkpoint &checkpoint)
      : module(module), checkpoint(checkpoint) {}

  /// One step of @forward: the logits of the wanted rows.
  lm::reference::Matrix step(const std::vector<int32_t> &tokens,
                             const lm::reference::Batch &batch);

private:
  using Matrix = lm::reference::Matrix;

  void execute(mlir::Operation &op);
  const Matrix &weight(mlir::FlatSymbolRefAttr name);
  Matrix readWeight(lm::WeightOp op);
  std::optional<lm::reference::Norm> norm(mlir::FlatSymbolRefAttr name,
                                          mlir::FloatAttr eps);
  std::optional<lm::reference::Rope> rope(lm::RotaryOpInterface op);
  template <typename OpT> lm::reference::Queries queries(OpT op);
  template <typename OpT> lm::reference::LinearParts linearParts(OpT op);
  const Matrix &value(mlir::Value v) { return values.at(v); }

  mlir::ModuleOp module;
  const checkpoint::Checkpoint &checkpoint;
  llvm::StringMap<Matrix> weights;
  lm::reference::Cache cache;
  lm::reference::KernelState state;

  // Of the step that runs.
  std::vector<int32_t> tokens;
  lm::reference::Batch batch;
  llvm::DenseMap<mlir::Value, Matrix> values;
  llvm::DenseMap<mlir::Value, lm::reference::Selection> selections;
};

} // namespace stele::oracle

#endif // STELE_TEST_ORACLE_INTERPRETER_H
