// Runs the @forward of an lm module, fused or not, on the plain reference of
// every operation (dialects/Lm/reference) with the weights of a checkpoint.
//
// Place on the road: beside it. Tests hold an imported module, and the module
// after each pass, against what transformers computes, before any kernel
// exists.
#ifndef STELE_TEST_ORACLE_INTERPRETER_H
#define STELE_TEST_ORACLE_INTERPRETER_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/compiler/Import/Checkpoint.h"
#include "stele/dialects/Lm/LmOps.h"
#include "stele/dialects/Lm/reference/Reference.h"

namespace stele::oracle {

/// Weights are taken as f32 whatever their type in the module is.
class Interpreter {
public:
  Interpreter(mlir::ModuleOp module, const checkpoint::Checkpoint &checkpoint)
      : module(module), symbols(module), checkpoint(checkpoint) {}

  /// One step: the logits of the batch's logit rows. The cache persists.
  llvm::Expected<lm::reference::Matrix> step(const std::vector<int32_t> &tokens,
                                             const lm::reference::Batch &batch);

private:
  using Matrix = lm::reference::Matrix;

  llvm::Error run(mlir::Operation &op);
  llvm::Error runAttention(lm::AttentionOp op);
  llvm::Error runAppend(lm::KvAppendOp op);
  llvm::Error runLinear(lm::LinearOp op);
  llvm::Expected<Matrix> weight(mlir::FlatSymbolRefAttr name);
  llvm::Error readWeight(lm::WeightOp op, Matrix &out);
  llvm::Error readNorm(mlir::FlatSymbolRefAttr weight, mlir::FloatAttr eps,
                       std::optional<lm::reference::Norm> &out);
  llvm::Error readBias(mlir::FlatSymbolRefAttr bias,
                       std::optional<lm::reference::Vector> &out);
  const Matrix &value(mlir::Value value) const { return values.at(value); }

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  const checkpoint::Checkpoint &checkpoint;
  std::map<std::string, Matrix> weights;
  lm::reference::Cache cache;
  // Of the step that runs.
  std::vector<int32_t> tokens;
  lm::reference::Batch batch;
  llvm::DenseMap<mlir::Value, Matrix> values;
};

} // namespace stele::oracle

#endif // STELE_TEST_ORACLE_INTERPRETER_H
