// Plans of one model for several targets become the plan of one artifact.
#ifndef STELE_COMPILER_DRIVER_MERGEPLANS_H
#define STELE_COMPILER_DRIVER_MERGEPLANS_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace stele::compiler {

/// Moves the plans into the first. Code, caches and functions get their
/// target's name; the weights are stored once when all targets read the same
/// layouts, which an error says when they do not.
llvm::Error
mergePlans(llvm::MutableArrayRef<mlir::OwningOpRef<mlir::ModuleOp>> plans);

} // namespace stele::compiler

#endif // STELE_COMPILER_DRIVER_MERGEPLANS_H
