// stele-prepare-features: random features are constants of the program, so that
// an artifact carries them and every machine computes with the same ones.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/compiler/Transforms/Weights.h"
#include "stele/dialects/Lm/LmConstants.h"
#include "stele/dialects/Lm/LmOps.h"

namespace stele::compiler {
#define GEN_PASS_DEF_PREPAREFEATURES
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

namespace {

struct PrepareFeatures : compiler::impl::PrepareFeaturesBase<PrepareFeatures> {
  void runOnOperation() override {
    llvm::DenseMap<std::pair<Attribute, int64_t>, lm::WeightOp> made;
    getOperation().walk([&](lm::KernelizedAttentionOp op) {
      if (op.getFeaturesAttr())
        return;
      int64_t headDim = op.getCache().getType().getHeadDim();
      lm::WeightOp &weight = made[{op.getFeatureMap(), headDim}];
      if (!weight)
        weight = makeWeight(op, headDim);
      op.setFeaturesAttr(FlatSymbolRefAttr::get(weight));
    });
  }

  /// A weight in front of the function.
  lm::WeightOp makeWeight(lm::KernelizedAttentionOp op, int64_t headDim) {
    SmallVector<float> values = lm::randomFeatures(op.getFeatureMap(), headDim);
    OpBuilder builder(op->getParentOfType<func::FuncOp>());
    auto type = RankedTensorType::get(
        {op.getFeatureMap().getFeatures(), headDim}, builder.getF32Type());
    auto weight = lm::WeightOp::create(
        builder, op.getLoc(),
        compiler::uniqueSymbol(getOperation(), "features"), type);
    weight.setValueAttr(DenseElementsAttr::get(type, ArrayRef(values)));
    ++numWeights;
    return weight;
  }
};

} // namespace
