// The plan dialect's registration; PlanOps.h includes everything else.

#ifndef STELE_DIALECTS_PLAN_PLANDIALECT_H
#define STELE_DIALECTS_PLAN_PLANDIALECT_H

#include "mlir/IR/Dialect.h"
#include "stele/dialects/Lm/LmDialect.h"

#include "stele/dialects/Plan/PlanDialect.h.inc"

#endif // STELE_DIALECTS_PLAN_PLANDIALECT_H
