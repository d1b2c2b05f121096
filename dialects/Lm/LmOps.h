// Operations of the lm dialect, and all that they need.

#ifndef STELE_DIALECTS_LM_LMOPS_H
#define STELE_DIALECTS_LM_LMOPS_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "stele/dialects/Lm/LmAttrs.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "stele/dialects/Lm/LmTypes.h"

#include "stele/dialects/Lm/LmInterfaces.h.inc"

#define GET_OP_CLASSES
#include "stele/dialects/Lm/LmOps.h.inc"

#endif // STELE_DIALECTS_LM_LMOPS_H
