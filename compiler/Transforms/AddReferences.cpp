// stele-add-references: the mean query of a KV group, as a block of keys far
// behind sees it. Positions differ from query to query, so that what stays is
// an average over distances.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/compiler/Transforms/Weights.h"
#include "stele/dialects/Lm/LmConstants.h"
#include "stele/dialects/Lm/LmOps.h"
#include <complex>

namespace stele::compiler {
#define GEN_PASS_DEF_ADDREFERENCES
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

/// What a reference is for: the farthest distance, and by how much the nearest
/// one is nearer.
static constexpr int64_t farthest = 4096;
static constexpr int64_t nearness = 16;

/// The mean over [begin, end) of a turn by distance * frequency.
static std::complex<double> meanTurn(double frequency, int64_t begin,
                                     int64_t end) {
  std::complex<double> sum = 0;
  for (int64_t distance = begin; distance < end; ++distance)
    sum += std::polar(1.0, double(distance) * frequency);
  return sum / double(end - begin);
}

/// Turns every row of `queries` by the distances below `end`, and averages.
static void averageOverDistances(MutableArrayRef<float> queries,
                                 int64_t headDim, lm::RopeAttr rope,
                                 int64_t end) {
  int64_t half = rope.getDims() / 2;
  for (auto [i, frequency] : llvm::enumerate(lm::inverseFrequencies(rope))) {
    std::complex<double> turn = meanTurn(frequency, end / nearness, end);
    for (int64_t at = i; at < int64_t(queries.size()); at += headDim) {
      float &first = queries[at], &second = queries[at + half];
      std::complex<double> turned = std::complex<double>(first, second) * turn;
      first = static_cast<float>(turned.real());
      second = static_cast<float>(turned.imag());
    }
  }
}

namespace {

struct AddReferences : compiler::impl::AddReferencesBase<AddReferences> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto queries =
        module->getAttrOfType<ArrayAttr>(lm::LmDialect::meanQueriesAttrName);
    if (!queries)
      return;
    module->removeAttr(lm::LmDialect::meanQueriesAttrName);
    for (auto function : module.getOps<func::FuncOp>()) {
      llvm::DenseMap<int64_t, lm::SelectBlocksOp> selections;
      function.walk(
          [&](lm::SelectBlocksOp op) { selections[op.getLayer()] = op; });
      WalkResult result = function.walk([&](lm::KvAppendOp append) {
        lm::SelectBlocksOp selection = selections.lookup(append.getLayer());
        return selection && append.getCache().getType().getKeyIndex()
                   ? WalkResult(addTo(append, selection.getRopeAttr(), queries))
                   : WalkResult::advance();
      });
      if (result.wasInterrupted())
        return signalPassFailure();
    }
  }

  LogicalResult addTo(lm::KvAppendOp append, lm::RopeAttr rope,
                      ArrayAttr queries) {
    if (append.getRopeAttr() != rope)
      return append.emitOpError("does not rotate its keys as the queries are; "
                                "run stele-fuse-rope-append first");
    int64_t layer = append.getLayer();
    if (layer >= int64_t(queries.size()))
      return append.emitOpError("is of a layer that lm.mean_queries has not, "
                                "which has ")
             << queries.size();
    lm::KvCacheType cache = append.getCache().getType();
    auto values = cast<DenseFPElementsAttr>(queries[layer]);
    if (values.getType().getShape() !=
        ArrayRef<int64_t>({cache.getHeads(), cache.getHeadDim()}))
      return append.emitOpError("needs mean queries of shape [")
             << cache.getHeads() << ", " << cache.getHeadDim() << "], got "
             << values.getType();
    SmallVector<float> reference(values.getValues<float>());
    if (!llvm::all_of(reference, [](float x) { return std::isfinite(x); }))
      return append.emitOpError("has mean queries that are not finite");
    if (rope)
      averageOverDistances(reference, cache.getHeadDim(), rope,
                           endOfDistances(rope));
    append.setReferenceAttr(FlatSymbolRefAttr::get(compiler::makeWeight(
        append, "reference." + std::to_string(append.getLayer()),
        values.getType().getShape(), reference)));
    ++numReferences;
    return success();
  }

  /// Distances that a query meets: no farther than the context, or the chunk.
  int64_t endOfDistances(lm::RopeAttr rope) {
    int64_t end = farthest;
    if (auto model = getOperation()->getAttrOfType<lm::ModelAttr>(
            lm::LmDialect::modelAttrName))
      end = std::min(end, model.getContextLength());
    if (lm::DualChunkAttr dual = rope.getDualChunk())
      end = std::min(end, dual.getChunk());
    return end;
  }
};

} // namespace
