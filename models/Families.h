// From a checkpoint to the lm module that says what it computes. Every family
// has one small file here; Families.cpp is the table of them.
#ifndef STELE_MODELS_FAMILIES_H
#define STELE_MODELS_FAMILIES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "stele/compiler/Import/Checkpoint.h"

namespace stele::models {

class ModelBuilder;

/// Which positions queries and keys are rotated at.
enum class PositionKind {
  Checkpoint, // what the checkpoint says
  Rope,       // its frequencies, at plain positions
  Yarn,       // plain positions, frequencies stretched to the context
  DualChunk,  // its frequencies, at the positions of dual chunk attention
};

struct BuildOptions {
  /// Longest context planned for; 0: what the checkpoint says.
  int64_t context = 0;
  PositionKind positions = PositionKind::Checkpoint;
  /// DualChunk: sizes; 0: the checkpoint's, or what follows from the length
  /// that it was trained with.
  int64_t dualChunk = 0, dualChunkLocal = 0;
  /// Tokens of one KV page.
  int64_t block = 128;
};

/// Builds the module of a checkpoint: @forward and its weights, all in f32 (the
/// choice of arithmetic comes later). Fails when the checkpoint lacks a tensor,
/// has one of another shape, or one that the family has no use for; a
/// checkpoint without any tensors stands for synthetic weights. The lm and func
/// dialects must be loaded in `context`.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
buildModule(mlir::MLIRContext &context,
            const checkpoint::Checkpoint &checkpoint,
            const BuildOptions &options = {});

/// The families: each builds the body of @forward and returns the logits.
mlir::Value buildLlama(ModelBuilder &builder);
mlir::Value buildMistral(ModelBuilder &builder);
mlir::Value buildQwen2(ModelBuilder &builder);
mlir::Value buildQwen3(ModelBuilder &builder);

} // namespace stele::models

#endif // STELE_MODELS_FAMILIES_H
