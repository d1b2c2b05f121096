// Compiling a module again and again, to run what comes of it.
//
// Place on the road: the gates (Gate.cpp, AttentionGate.cpp) start from a fused
// module, load variants of it as artifacts, and finish with the one they keep.
// Files that this takes are beside the output, and gone in the end.
#ifndef STELE_COMPILER_CALIBRATE_TRIALS_H
#define STELE_COMPILER_CALIBRATE_TRIALS_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "stele/compiler/Calibrate/CompiledModel.h"
#include "stele/compiler/Driver/Driver.h"
#include "stele/compiler/Import/Checkpoint.h"

namespace stele::compiler {

/// The checkpoint that a module's weights are in.
llvm::Expected<std::unique_ptr<checkpoint::Checkpoint>>
openSource(mlir::ModuleOp module);

/// A file that is removed in the end, whatever happens.
class ScratchFile {
public:
  explicit ScratchFile(const llvm::Twine &name);
  ~ScratchFile();
  ScratchFile(const ScratchFile &) = delete;

  const std::string path;
};

class Trials {
public:
  /// Beside `options.output`.
  explicit Trials(const CompileOptions &options);

  mlir::MLIRContext &getContext() { return context; }

  /// Compiles as far as the fused module.
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
  fuse(const CompileOptions &front, llvm::raw_ostream &progress);

  /// What the module computes. `compile` is compile or compileAsSaid.
  using Compile = llvm::Error(const CompileOptions &, llvm::raw_ostream &);
  llvm::Expected<std::unique_ptr<CompiledModel>>
  load(mlir::ModuleOp module, llvm::function_ref<Compile> compile,
       bool measuresHeads = false);

  /// Compiles the module that was kept to the output.
  llvm::Error finish(mlir::ModuleOp module, llvm::raw_ostream &progress);

private:
  llvm::Error write(mlir::ModuleOp module);

  const CompileOptions &options;
  ScratchFile moduleFile, artifactFile;
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
};

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_TRIALS_H
