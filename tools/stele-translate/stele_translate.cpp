// Reads the plan of an artifact back into .mlir, and writes a plan module as
// the FlatBuffer that an artifact holds: what tests compare, and how one looks
// at a plan that somebody else compiled.

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "stele/compiler/Driver/FlatBuffer.h"
#include "stele/dialects/Plan/PlanDialect.h"

using namespace mlir;
using namespace stele;

static OwningOpRef<ModuleOp> importArtifact(llvm::StringRef bytes,
                                            MLIRContext *context) {
  llvm::Expected<OwningOpRef<ModuleOp>> module =
      compiler::importPlan(*context, bytes, "input");
  if (module)
    return std::move(*module);
  emitError(UnknownLoc::get(context)) << llvm::toString(module.takeError());
  return nullptr;
}

static LogicalResult exportFlatBuffer(ModuleOp module, llvm::raw_ostream &out) {
  if (failed(compiler::verifyExportable(module)))
    return failure();
  out << compiler::exportPlan(module);
  return success();
}

int main(int argc, char **argv) {
  TranslateToMLIRRegistration fromArtifact(
      "artifact-to-plan", "read the plan of an artifact, or of its FlatBuffer",
      importArtifact);
  TranslateFromMLIRRegistration toFlatBuffer(
      "plan-to-flatbuffer", "write a plan as a FlatBuffer",
      [](ModuleOp module, llvm::raw_ostream &out) {
        return exportFlatBuffer(module, out);
      },
      [](DialectRegistry &registry) {
        registry.insert<lm::LmDialect, plan_ir::PlanDialect>();
      });
  return failed(mlirTranslateMain(argc, argv, "Stele's translations of plans"));
}
