// stele-fuse-residuals: the residual stream is added where the product's rows
// are still in registers.

#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"

namespace stele::compiler {
#define GEN_PASS_DEF_FUSERESIDUALS
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

/// The linear that can take `other` as its residual when it makes `value`.
static lm::LinearOp getFusible(Value value) {
  auto linear = value.getDefiningOp<lm::LinearOp>();
  bool fusible =
      linear && value.hasOneUse() && !linear.getGlu() && !linear.getResidual();
  return fusible ? linear : lm::LinearOp();
}

namespace {

struct FuseResiduals : compiler::impl::FuseResidualsBase<FuseResiduals> {
  void runOnOperation() override {
    SmallVector<lm::AddOp> additions;
    getOperation().walk([&](lm::AddOp add) { additions.push_back(add); });
    for (lm::AddOp add : additions) {
      Value residual = add.getLhs();
      lm::LinearOp linear = getFusible(add.getRhs());
      if (!linear) {
        residual = add.getRhs();
        linear = getFusible(add.getLhs());
      }
      if (linear)
        fuse(add, linear, residual);
    }
  }

  /// The residual may be made after the linear, hence the move.
  void fuse(lm::AddOp add, lm::LinearOp linear, Value residual) {
    linear->moveBefore(add);
    linear.getResidualMutable().assign(residual);
    add.getOutput().replaceAllUsesWith(linear.getOutput());
    add.erase();
    ++numResiduals;
  }
};

} // namespace
