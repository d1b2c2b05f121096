// stele-model-time: how long each launch and copy should take (CostModel.h).

#include "stele/compiler/Schedule/CostModel.h"
#include "stele/compiler/Schedule/Passes.h"
#include "stele/dialects/Lm/LmAttrs.h"
#include "stele/dialects/Lm/LmDialect.h"

namespace stele::compiler {
#define GEN_PASS_DEF_MODELTIME
#include "stele/compiler/Schedule/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;

namespace {

struct ModelTime : compiler::impl::ModelTimeBase<ModelTime> {
  using ModelTimeBase::ModelTimeBase;

  void runOnOperation() override {
    auto model = getOperation()->getAttrOfType<lm::ModelAttr>(
        lm::LmDialect::modelAttrName);
    for (const std::string &name : targets) {
      llvm::Expected<Target> target = findTarget(name);
      if (!target) {
        getOperation().emitError(llvm::toString(target.takeError()));
        return signalPassFailure();
      }
      for (auto function : getOperation().getOps<FunctionOp>())
        if (model && function.getTarget() == target->name)
          modelFunction(function, *target, model.getContextLength());
    }
  }

  void modelFunction(FunctionOp function, const Target &target,
                     int64_t context) {
    SymbolTableCollection symbols;
    CostModel cost(target.limits, symbols);
    ModelledStep step = ModelledStep::of(function, context);
    for (Operation *op : function.getSteps()) {
      if (auto launch = dyn_cast<LaunchOp>(op))
        launch.setModelledNs(cost.ofLaunch(launch, step));
      if (auto copy = dyn_cast<CopyOp>(op))
        copy.setModelledNs(cost.ofCopy(copy));
    }
  }
};

} // namespace
