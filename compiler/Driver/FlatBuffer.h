// A plan module as the FlatBuffer of an artifact, and back.
//
// Place on the road: the last form of a plan in the compiler. Every operation
// of the plan dialect has its table in runtime/schema/plan.fbs, so that an
// artifact can be read back, edited as text and looked at with the compiler's
// own tools. What an artifact does not carry (where weights came from, how
// kernels were made) is gone after the way there and back.
#ifndef STELE_COMPILER_DRIVER_FLATBUFFER_H
#define STELE_COMPILER_DRIVER_FLATBUFFER_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace stele::compiler {

/// Whether the module has all that exportPlan needs: a model, buffers with
/// places, segments with lengths. Emits an error when it has not.
mlir::LogicalResult verifyExportable(mlir::ModuleOp module);

/// The FlatBuffer of a verified, exportable module. Its size does not depend on
/// the offsets and checksums of segments.
std::string exportPlan(mlir::ModuleOp module);

/// The FlatBuffer as JSON, every field by its name in plan.fbs.
std::string planToJson(llvm::StringRef flatBuffer);

/// The plan in `bytes`, a whole artifact or a FlatBuffer alone. `name` is for
/// errors.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
importPlan(mlir::MLIRContext &context, llvm::StringRef bytes,
           llvm::StringRef name);

} // namespace stele::compiler

#endif // STELE_COMPILER_DRIVER_FLATBUFFER_H
