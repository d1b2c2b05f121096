// Operations of the plan dialect, and all that they need.

#ifndef STELE_DIALECTS_PLAN_PLANOPS_H
#define STELE_DIALECTS_PLAN_PLANOPS_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "stele/dialects/Lm/LmAttrs.h"
#include "stele/dialects/Plan/PlanAttrs.h"
#include "stele/dialects/Plan/PlanDialect.h"
#include "stele/dialects/Plan/PlanTypes.h"

#define GET_OP_CLASSES
#include "stele/dialects/Plan/PlanOps.h.inc"

namespace stele::plan_ir {

/// Whether a kernel with that access reads, or writes.
inline bool reads(Access access) { return access != Access::Write; }
inline bool writes(Access access) { return access != Access::Read; }

/// The operation's stream (that of any operation of a function but buffers and
/// the return).
int64_t streamOf(mlir::Operation *step);

} // namespace stele::plan_ir

#endif // STELE_DIALECTS_PLAN_PLANOPS_H
