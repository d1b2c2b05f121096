// Runs passes of the compiler on .mlir files: what lit tests call, and what
// one uses to look at a module between two phases.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "stele/compiler/Conversion/Passes.h"
#include "stele/compiler/Schedule/Passes.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "stele/dialects/Plan/PlanDialect.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::func::FuncDialect, stele::lm::LmDialect,
                  stele::plan_ir::PlanDialect>();
  mlir::registerTransformsPasses();
  stele::compiler::registerLmPasses();
  stele::compiler::registerSteleConversionPasses();
  stele::compiler::registerSteleSchedulePasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "Stele's modular optimizer driver\n", registry));
}
