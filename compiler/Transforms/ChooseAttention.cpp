// stele-choose-attention: dense, block-sparse with or without an estimate of
// the rest, or kernelized, as the compile asked.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/compiler/Transforms/CacheTypes.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"

namespace stele::compiler {
#define GEN_PASS_DEF_CHOOSEATTENTION
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

/// The log-sum-exp that the richer kinds always return.
static Type getLseType(lm::AttentionOp attention) {
  return RankedTensorType::get({ShapedType::kDynamic, attention.getHeads()},
                               Float32Type::get(attention.getContext()));
}

static void replace(lm::AttentionOp attention, Value output, Value lse) {
  attention.getOutput().replaceAllUsesWith(output);
  if (attention.getLse())
    attention.getLse().replaceAllUsesWith(lse);
  attention.erase();
}

/// Makes every page of the function's caches one block.
static void setPages(func::FuncOp function, lm::BlockSparsityAttr sparsity,
                     bool valueIndex) {
  bool keyIndex = sparsity.getSelect() != lm::BlockSelect::None &&
                  sparsity.getEstimate() == lm::Estimator::MeanKey;
  compiler::convertCaches(function, [&](lm::KvCacheType cache) {
    return lm::KvCacheType::get(cache.getContext(), cache.getLayers(),
                                cache.getHeads(), cache.getHeadDim(),
                                sparsity.getBlock(), cache.getElementType(),
                                keyIndex, valueIndex);
  });
}

namespace {

struct ChooseAttention : compiler::impl::ChooseAttentionBase<ChooseAttention> {
  using ChooseAttentionBase::ChooseAttentionBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (kind == "dense")
      return;
    if (kind != "sparse" && kind != "hybrid" && kind != "kernelized") {
      module.emitError("unknown attention kind '")
          << kind << "', expected dense, sparse, hybrid or kernelized";
      return signalPassFailure();
    }
    for (auto function : module.getOps<func::FuncOp>()) {
      SmallVector<lm::AttentionOp> candidates;
      function.walk([&](lm::AttentionOp attention) {
        if (attention.getWindow())
          ++numWindows;
        else
          candidates.push_back(attention);
      });
      if (failed(kind == "kernelized" ? makeKernelized(function, candidates)
                                      : makeSparse(function, candidates)))
        return signalPassFailure();
      numChanged += candidates.size();
    }
  }

  LogicalResult makeSparse(func::FuncOp function,
                           ArrayRef<lm::AttentionOp> candidates) {
    std::optional<lm::Estimator> estimator = lm::symbolizeEstimator(estimate);
    Location location = getOperation().getLoc();
    if (!estimator)
      return emitError(location)
             << "unknown estimator '" << estimate
             << "', expected mean_key, antidiagonal or vertical_slash";
    if ((topK > 0) + (topP > 0) + (topShare > 0) > 1)
      return emitError(location)
             << "top-k, top-p and top-share exclude each other";
    lm::BlockSelect select = topK > 0       ? lm::BlockSelect::TopK
                             : topP > 0     ? lm::BlockSelect::TopP
                             : topShare > 0 ? lm::BlockSelect::TopShare
                                            : lm::BlockSelect::None;
    auto sparsity = lm::BlockSparsityAttr::getChecked(
        [&] { return emitError(location); }, &getContext(), block.getValue(),
        local.getValue(), adjacent.getValue(), sink.getValue(), select,
        topK.getValue(), lm::Real(topP + topShare), *estimator,
        dense.getValue(), limit.getValue());
    if (!sparsity)
      return failure();
    if (kind == "hybrid" && (select == lm::BlockSelect::None ||
                             *estimator != lm::Estimator::MeanKey))
      return emitError(location)
             << "hybrid attention estimates what a choice by mean_key leaves "
                "out; give top-k, top-p or top-share";
    if (candidates.empty())
      return success();
    setPages(function, sparsity, /*valueIndex=*/kind == "hybrid");
    for (lm::AttentionOp attention : candidates)
      makeSparse(attention, sparsity);
    return success();
  }

  void makeSparse(lm::AttentionOp a, lm::BlockSparsityAttr sparsity) {
    OpBuilder builder(a);
    Value selection;
    if (sparsity.getSelect() != lm::BlockSelect::None)
      selection = lm::SelectBlocksOp::create(
          builder, a.getLoc(),
          lm::SelectionType::get(&getContext(),
                                 a.getCache().getType().getHeads(),
                                 sparsity.getBlock()),
          a.getQuery(), a.getCache(), a.getBatch(), a.getRotary(),
          a.getLayerAttr(), a.getHeadsAttr(), a.getScaleAttr(),
          a.getQueryOffsetAttr(), a.getNormWeightAttr(), a.getNormEpsAttr(),
          a.getRopeAttr(), sparsity, /*targets=*/FlatSymbolRefAttr(),
          lm::KernelAttr());
    auto sparse = lm::BlockSparseAttentionOp::create(
        builder, a.getLoc(), a.getOutput().getType(), getLseType(a),
        a.getQuery(), a.getCache(), a.getBatch(), selection, /*bias=*/Value(),
        a.getRotary(), a.getLayerAttr(), a.getHeadsAttr(), a.getScaleAttr(),
        a.getQueryOffsetAttr(), a.getNormWeightAttr(), a.getNormEpsAttr(),
        a.getRopeAttr(), sparsity, lm::KernelAttr());
    if (kind != "hybrid")
      return replace(a, sparse.getOutput(), sparse.getLse());
    auto hybrid = lm::TailAttentionOp::create(
        builder, a.getLoc(), a.getOutput().getType(), getLseType(a),
        a.getQuery(), a.getCache(), a.getBatch(), selection, sparse.getOutput(),
        sparse.getLse(), a.getRotary(), a.getLayerAttr(), a.getHeadsAttr(),
        a.getScaleAttr(), a.getQueryOffsetAttr(), a.getNormWeightAttr(),
        a.getNormEpsAttr(), a.getRopeAttr(), sparsity,
        /*biases=*/FlatSymbolRefAttr(), lm::KernelAttr());
    replace(a, hybrid.getOutput(), hybrid.getLse());
  }

  LogicalResult makeKernelized(func::FuncOp function,
                               ArrayRef<lm::AttentionOp> candidates) {
    if (candidates.empty())
      return success();
    for (lm::AttentionOp attention : candidates)
      if (lm::RopeAttr rope = attention.getRopeAttr();
          rope && rope.getDualChunk())
        return attention.emitOpError(
            "cannot be kernelized with dual chunk positions: one state cannot "
            "serve the three rotations of a query; compile with --positions "
            "rope or yarn");
    auto map = lm::FeatureMapAttr::getChecked(
        [&] { return emitError(getOperation().getLoc()); }, &getContext(),
        lm::FeatureMapKind::FavorPlus, features.getValue(),
        /*orthogonal=*/true, seed.getValue());
    if (!map)
      return failure();
    lm::KvCacheType cache =
        lm::AttentionOp(candidates.front()).getCache().getType();
    auto stateType = lm::KernelStateType::get(&getContext(), cache.getLayers(),
                                              cache.getHeads(),
                                              cache.getHeadDim(), features);
    unsigned index = function.getNumArguments();
    if (failed(
            function.insertArgument(index, stateType, {}, function.getLoc())))
      return function.emitOpError("cannot take the kernel state as argument");
    Value state = function.getArgument(index);
    for (lm::AttentionOp attention : candidates)
      state = makeKernelized(attention, map, state);
    return success();
  }

  /// Returns the state after it.
  Value makeKernelized(lm::AttentionOp a, lm::FeatureMapAttr map, Value state) {
    OpBuilder builder(a);
    auto kernelized = lm::KernelizedAttentionOp::create(
        builder, a.getLoc(), a.getOutput().getType(), getLseType(a),
        state.getType(), a.getQuery(), a.getCache(), a.getBatch(), state,
        /*selection=*/Value(), a.getRotary(), a.getLayerAttr(),
        a.getHeadsAttr(), a.getScaleAttr(), a.getQueryOffsetAttr(),
        a.getNormWeightAttr(), a.getNormEpsAttr(), a.getRopeAttr(), map,
        /*features=*/FlatSymbolRefAttr(), lm::KernelAttr());
    replace(a, kernelized.getOutput(), kernelized.getLse());
    return kernelized.getNewState();
  }
};

} // namespace
