// Registration of the plan dialect.

#include "stele/dialects/Plan/PlanDialect.h"

#include "stele/dialects/Plan/PlanOps.h"

#include "stele/dialects/Plan/PlanDialect.cpp.inc"

using namespace stele::plan_ir;

void PlanDialect::initialize() {
  registerAttributes();
  registerTypes();
  addOperations<
#define GET_OP_LIST
#include "stele/dialects/Plan/PlanOps.cpp.inc"
      >();
}
