// Registration of the plan dialect's types.

#include "stele/dialects/Plan/PlanTypes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "stele/dialects/Plan/PlanDialect.h"
#include "llvm/ADT/TypeSwitch.h"

#define GET_TYPEDEF_CLASSES
#include "stele/dialects/Plan/PlanTypes.cpp.inc"

void stele::plan_ir::PlanDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "stele/dialects/Plan/PlanTypes.cpp.inc"
      >();
}
