// What the families build with: one short call per step of a decoder, which
// declares the weights it needs and checks them against the checkpoint.
#ifndef STELE_MODELS_BUILDER_H
#define STELE_MODELS_BUILDER_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/dialects/Lm/LmOps.h"
#include "stele/models/Families.h"
#include "stele/models/Positions.h"
#include "llvm/ADT/StringSet.h"

namespace stele::models {

/// Names in `weight` arguments are the checkpoint's, without ".weight"; a bias
/// has the same name with ".bias". Activations are f32 [tokens, columns].
class ModelBuilder {
public:
  ModelBuilder(mlir::MLIRContext &context,
               const checkpoint::Checkpoint &checkpoint,
               const Positions &positions, int64_t block);

  const checkpoint::ModelConfig &config() const { return checkpoint.config(); }

  /// The embedding of this step's tokens.
  mlir::Value embed(llvm::StringRef weight);
  /// RMS norm of every row, or of each of `groups` equal parts of it.
  mlir::Value rmsNorm(mlir::Value input, const llvm::Twine &weight,
                      int64_t groups = 1);
  mlir::Value linear(mlir::Value input, const llvm::Twine &weight,
                     int64_t columns, bool bias = false);
  mlir::Value add(mlir::Value lhs, mlir::Value rhs);
  /// act(gate) * up, with the config's activation.
  mlir::Value glu(mlir::Value gate, mlir::Value up);
  /// Rotates the keys, appends them and the values to the cache, and attends
  /// with the (unrotated) queries. Positions, scale and window are the
  /// config's.
  mlir::Value attention(mlir::Value query, mlir::Value key, mlir::Value value,
                        int64_t layer);
  /// Scores of the vocabulary: from `weight`, or from the embedding `tied`.
  mlir::Value logits(mlir::Value input, llvm::StringRef weight,
                     llvm::StringRef tied);

  /// Ends @forward with its result. The first thing that was wrong with the
  /// checkpoint's tensors is the error.
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> finish(mlir::Value logits);

private:
  /// Declares the weight, once, and checks it against the checkpoint.
  mlir::FlatSymbolRefAttr declare(const llvm::Twine &name,
                                  llvm::ArrayRef<int64_t> shape);
  mlir::FlatSymbolRefAttr columnOrder(llvm::StringRef weight);
  void checkTensor(llvm::StringRef name, llvm::ArrayRef<int64_t> shape);
  void checkAllUsed();
  lm::ModelAttr modelAttr();
  lm::RopeAttr ropeAttr();
  mlir::RankedTensorType rows(int64_t columns);
  static int64_t columnsOf(mlir::Value value);

  const checkpoint::Checkpoint &checkpoint;
  const Positions positions;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp function;
  mlir::OpBuilder builder;
  mlir::Location location;
  mlir::Value tokens, batch, cache; // `cache` is the newest one
  llvm::StringSet<> declared;
  int64_t parameters = 0;
  std::string error; // the first one
};

} // namespace stele::models

#endif // STELE_MODELS_BUILDER_H
