// One artifact for several targets (MergePlans.h).

#include "stele/compiler/Driver/MergePlans.h"
#include "mlir/IR/SymbolTable.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/dialects/Plan/PlanOps.h"

using namespace mlir;
using namespace stele;
using namespace stele::plan_ir;
using checkpoint::makeError;

/// "decode" of x86-64-v3 becomes "decode.x86-64-v3".
static void renameForTarget(ModuleOp plan, StringRef target) {
  SmallVector<Operation *> renamed;
  for (Operation &op : *plan.getBody()) {
    auto segment = dyn_cast<SegmentOp>(op);
    if (isa<ExecutableOp, FunctionOp, KvCacheOp>(op) ||
        (segment && segment.getKind() == SegmentKind::Executable))
      renamed.push_back(&op);
  }
  for (Operation *op : renamed) {
    auto name = SymbolTable::getSymbolName(op);
    auto suffixed =
        StringAttr::get(op->getContext(), name.getValue() + "." + target);
    // Symbols of these operations are few; one walk for each will do.
    (void)SymbolTable::replaceAllSymbolUses(op, suffixed, plan);
    SymbolTable::setSymbolName(op, suffixed);
  }
}

/// The weights of a plan as text: equal for plans that can share them.
static bool sameTensors(ModuleOp a, ModuleOp b) {
  auto left = a.getOps<TensorOp>(), right = b.getOps<TensorOp>();
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](TensorOp x, TensorOp y) {
                      return x->getAttrDictionary() == y->getAttrDictionary();
                    });
}

static void shareSegments(ModuleOp plan, FlatSymbolRefAttr target) {
  for (auto segment : plan.getOps<SegmentOp>()) {
    if (segment.getKind() == SegmentKind::Executable)
      continue;
    SmallVector<Attribute> targets(segment.getTargets().begin(),
                                   segment.getTargets().end());
    targets.push_back(target);
    segment.setTargetsAttr(ArrayAttr::get(plan.getContext(), targets));
  }
}

llvm::Error
compiler::mergePlans(llvm::MutableArrayRef<OwningOpRef<ModuleOp>> plans) {
  ModuleOp whole = *plans.front();
  for (OwningOpRef<ModuleOp> &plan : plans) {
    auto target = *plan->getOps<TargetOp>().begin();
    renameForTarget(*plan, target.getSymName());
    if (*plan == whole)
      continue;
    if (!sameTensors(whole, *plan))
      return makeError("target {0} reads weights in other layouts than {1}; "
                       "compile an artifact for each",
                       target.getSymName(),
                       (*whole.getOps<TargetOp>().begin()).getSymName());
    shareSegments(whole, FlatSymbolRefAttr::get(target.getSymNameAttr()));
    // Weights and their segment are there already.
    auto movesOver = [](Operation &op) {
      auto segment = dyn_cast<SegmentOp>(op);
      return !isa<TensorOp>(op) &&
             (!segment || segment.getKind() == SegmentKind::Executable);
    };
    for (Operation &op : llvm::make_early_inc_range(*plan->getBody()))
      if (movesOver(op))
        op.moveBefore(whole.getBody(), whole.getBody()->end());
  }
  return llvm::Error::success();
}
