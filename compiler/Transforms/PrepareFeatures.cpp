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
        weight = makeFeatures(op, headDim);
      op.setFeaturesAttr(FlatSymbolRefAttr::get(weight));
    });
  }

  lm::WeightOp makeFeatures(lm::KernelizedAttentionOp op, int64_t headDim) {
    lm::FeatureMapAttr map = op.getFeatureMap();
    ++numWeights;
    return compiler::makeWeight(op, "features", {map.getFeatures(), headDim},
                                lm::randomFeatures(map, headDim));
  }
};

} // namespace
