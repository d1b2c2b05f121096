// stele-prepare-positions: cosines and sines depend on the step's positions and
// on nothing else, so that one small kernel computes them for all layers.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/compiler/Transforms/Weights.h"
#include "stele/dialects/Lm/LmConstants.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/ADT/MapVector.h"

namespace stele::compiler {
#define GEN_PASS_DEF_PREPAREPOSITIONS
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

namespace {

struct PreparePositions
    : compiler::impl::PreparePositionsBase<PreparePositions> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      prepare(function);
  }

  /// One table for each rotation, batch and use, before their first reader.
  void prepare(func::FuncOp function) {
    llvm::MapVector<std::tuple<Attribute, Value, Attribute>, Value> tables;
    function.walk([&](lm::RotaryOpInterface op) {
      if (!op.getRopeAttr() || op.getRotary())
        return;
      // Dual chunk attention clamps positions, which an estimate must not.
      UnitAttr estimate;
      if (isa<lm::SelectBlocksOp>(op) && op.getRopeAttr().getDualChunk())
        estimate = UnitAttr::get(&getContext());
      Value &table = tables[{op.getRopeAttr(), op.getBatch(), estimate}];
      if (!table)
        table = makeTable(op, estimate);
      op.getRotaryMutable().assign(table);
    });
  }

  Value makeTable(lm::RotaryOpInterface op, UnitAttr estimate) {
    OpBuilder builder(&getContext());
    builder.setInsertionPointAfterValue(op.getBatch());
    lm::RopeAttr rope = op.getRopeAttr();
    auto type = RankedTensorType::get(
        {ShapedType::kDynamic, rope.getDims() * rope.getParts()},
        builder.getF32Type());
    ++numTables;
    return lm::RotaryTableOp::create(
        builder, op->getLoc(), type, op.getBatch(),
        FlatSymbolRefAttr::get(makeFrequencies(op)), rope, estimate,
        lm::KernelAttr());
  }

  lm::WeightOp makeFrequencies(lm::RotaryOpInterface op) {
    SmallVector<float> values = lm::inverseFrequencies(op.getRopeAttr());
    return compiler::makeWeight(op, "rope.frequencies", int64_t(values.size()),
                                values);
  }
};

} // namespace
