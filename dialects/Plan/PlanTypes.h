// Types of the plan dialect.

#ifndef STELE_DIALECTS_PLAN_PLANTYPES_H
#define STELE_DIALECTS_PLAN_PLANTYPES_H

#include "mlir/IR/Types.h"

#define GET_TYPEDEF_CLASSES
#include "stele/dialects/Plan/PlanTypes.h.inc"

#endif // STELE_DIALECTS_PLAN_PLANTYPES_H
