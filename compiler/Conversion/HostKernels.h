// How an lm operation is launched on a host target: the kernel instance, what
// its parameters are bound to, and what they need.
//
// Place on the road: LmToPlan turns these descriptions into plan launches and
// executable entries; compiler/Codegen/Host compiles the instances. The order
// of arguments is the one in which the templates of kernels-templates/host take
// their bindings.
#ifndef STELE_COMPILER_CONVERSION_HOSTKERNELS_H
#define STELE_COMPILER_CONVERSION_HOSTKERNELS_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/compiler/Codegen/Host/HostCodegen.h"
#include "stele/dialects/Lm/LmOps.h"
#include <optional>

namespace stele::compiler {

/// One pointer parameter of a kernel and what a launch binds to it: a value
/// (rows of activations), a weight, or the KV cache.
struct KernelArgument {
  enum class Kind { Buffer, Tensor, KvCache };
  Kind kind;
  bool isWritten = false;
  /// A read that may share its buffer with what the launch writes.
  bool mayBeInPlace = false;
  /// What the kernel reads or writes at most: fixed, per token of the step and
  /// per row of logits. 0 for a cache.
  uint64_t bytes = 0;
  uint64_t bytesPerToken = 0;
  uint64_t bytesPerLogitRow = 0;
  mlir::Value value = nullptr;              // Buffer, KvCache (or states)
  mlir::FlatSymbolRefAttr weight = nullptr; // Tensor
};

struct KernelLaunch {
  KernelInstance instance;
  /// The row of the table of kernels; empty: by hand.
  std::string chosenBy;
  llvm::SmallVector<KernelArgument> arguments;
  /// The launch's only kind of immediate so far.
  std::optional<int64_t> layer;
  /// Token ids that the kernel reads must be below this; 0: it reads none.
  int64_t tokenLimit = 0;
  /// The longest context that the instance is sized for; 0: any.
  int64_t contextLimit = 0;
  /// Of a kernel that chooses key blocks or attends to them.
  lm::BlockSparsityAttr sparsity = nullptr;
};

/// Describes the launch of an operation whose kernel was selected. Emits an
/// error when the operation has no kernel on hosts.
mlir::FailureOr<KernelLaunch> describeHostLaunch(mlir::Operation *op);

/// Bytes of the weight as the artifact stores it, or nothing (with an error) if
/// its layout is unknown or does not fit.
mlir::FailureOr<uint64_t> storedBytes(lm::WeightOp weight);

/// Bytes of one element of a stored weight, buffer or page.
uint64_t elementBytes(mlir::Type type);

} // namespace stele::compiler

#endif // STELE_COMPILER_CONVERSION_HOSTKERNELS_H
