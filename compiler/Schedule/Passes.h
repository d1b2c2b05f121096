// The passes plan -> plan, for stele-compile, stele-opt and the tests.
#ifndef STELE_COMPILER_SCHEDULE_PASSES_H
#define STELE_COMPILER_SCHEDULE_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace stele::compiler {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "stele/compiler/Schedule/Passes.h.inc"

} // namespace stele::compiler

#endif // STELE_COMPILER_SCHEDULE_PASSES_H
