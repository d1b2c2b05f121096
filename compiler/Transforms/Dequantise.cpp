// stele-dequantise: what a checkpoint quantised becomes numbers again, for a
// compile that asks for another format or none.

#include "stele/compiler/Transforms/Passes.h"
#include "stele/compiler/Transforms/Weights.h"
#include "stele/dialects/Lm/LmOps.h"

namespace stele::compiler {
#define GEN_PASS_DEF_DEQUANTISE
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

namespace {

struct Dequantise : compiler::impl::DequantiseBase<Dequantise> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto weight : module.getOps<lm::WeightOp>()) {
      if (!weight.getQuantAttr())
        continue;
      weight.removeQuantAttr();
      weight.removeRoundingAttr();
      weight.removeImportanceAttr();
      ++numWeights;
    }
    // Numbers are read in the natural order of columns.
    module.walk([](lm::LinearOp linear) { linear.removePermutationAttr(); });
    compiler::eraseUnusedWeights(module);
  }
};

} // namespace
