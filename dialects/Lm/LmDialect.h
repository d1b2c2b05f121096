// The lm dialect's registration; LmOps.h includes everything else.

#ifndef STELE_DIALECTS_LM_LMDIALECT_H
#define STELE_DIALECTS_LM_LMDIALECT_H

#include "mlir/IR/Dialect.h"

#include "stele/dialects/Lm/LmDialect.h.inc"

#endif // STELE_DIALECTS_LM_LMDIALECT_H
