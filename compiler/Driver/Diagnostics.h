// MLIR's diagnostics as the one line that a user gets.
#ifndef STELE_COMPILER_DRIVER_DIAGNOSTICS_H
#define STELE_COMPILER_DRIVER_DIAGNOSTICS_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/Error.h"
#include <string>

namespace stele::compiler {

/// Keeps the first error of a context for as long as it lives, and where a
/// failing pass left its reproducer.
class FirstError {
public:
  explicit FirstError(mlir::MLIRContext &context);

  /// The error, or `otherwise` when no diagnostic was emitted.
  llvm::Error take(llvm::StringRef otherwise);

private:
  void see(mlir::Diagnostic &diagnostic);

  std::string message, reproducer;
  mlir::ScopedDiagnosticHandler handler;
};

} // namespace stele::compiler

#endif // STELE_COMPILER_DRIVER_DIAGNOSTICS_H
