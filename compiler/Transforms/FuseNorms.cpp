// stele-fuse-norms: a norm costs a pass over the rows; as a prologue of the
// product that reads them it costs none.

#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/ADT/TypeSwitch.h"

namespace stele::compiler {
#define GEN_PASS_DEF_FUSENORMS
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

namespace {

struct FuseNorms : compiler::impl::FuseNormsBase<FuseNorms> {
  void runOnOperation() override {
    SmallVector<lm::RmsNormOp> norms;
    getOperation().walk([&](lm::RmsNormOp norm) {
      if (norm.getGroups() == 1 && norm.getOutput().hasOneUse())
        norms.push_back(norm);
    });
    for (lm::RmsNormOp norm : norms) {
      Operation *reader = *norm.getOutput().user_begin();
      llvm::TypeSwitch<Operation *>(reader).Case<lm::LinearOp, lm::LogitsOp>(
          [&](auto product) { fuse(norm, product); });
    }
  }

  template <typename OpT> void fuse(lm::RmsNormOp norm, OpT product) {
    bool isInput = product.getInput() == norm.getOutput();
    if (!isInput || product.getNormWeightAttr())
      return;
    product.getInputMutable().assign(norm.getInput());
    product.setNormWeightAttr(norm.getWeightAttr());
    product.setNormEpsAttr(norm.getEpsAttr());
    norm.erase();
    ++numNorms;
  }
};

} // namespace
