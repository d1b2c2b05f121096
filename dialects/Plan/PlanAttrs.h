// Attributes and enumerations of the plan dialect.

#ifndef STELE_DIALECTS_PLAN_PLANATTRS_H
#define STELE_DIALECTS_PLAN_PLANATTRS_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/OpImplementation.h"

#include "stele/dialects/Plan/PlanEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "stele/dialects/Plan/PlanAttrs.h.inc"

namespace stele::plan_ir {

/// Bytes that `elements` elements of a stored type take; nothing when the type
/// cannot be stored or the size passes 48 bits, beyond any memory.
std::optional<int64_t> storedBytes(mlir::Type type, int64_t elements);

} // namespace stele::plan_ir

#endif // STELE_DIALECTS_PLAN_PLANATTRS_H
