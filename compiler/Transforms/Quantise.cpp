// stele-quantise: which weights are rounded, to what and how. The codes are
// made when the artifact is written (compiler/Quantise), so that no weight is
// ever whole in memory and the module stays small.

#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/ADT/MapVector.h"

namespace stele::compiler {
#define GEN_PASS_DEF_QUANTISE
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

namespace {

struct Quantise : compiler::impl::QuantiseBase<Quantise> {
  using QuantiseBase::QuantiseBase;

  void runOnOperation() override {
    std::optional<lm::QuantKind> asked = lm::symbolizeQuantKind(kind);
    std::optional<lm::RoundingKind> span = lm::symbolizeRoundingKind(rounding);
    if (failed(checkOptions(asked, span)))
      return signalPassFailure();
    auto how = lm::RoundingAttr::get(&getContext(), *span, perChannel);
    for (auto &[weight, isEnd] : collectMatrices()) {
      if (weight.getQuantAttr() || weight.getValueAttr())
        continue;
      bool isInt8 = isEnd || *asked == lm::QuantKind::Int8;
      weight.setQuantAttr(makeFormat(isInt8));
      weight.setRoundingAttr(how);
      ++numWeights;
    }
  }

  LogicalResult checkOptions(std::optional<lm::QuantKind> asked,
                             std::optional<lm::RoundingKind> span) {
    Location location = getOperation().getLoc();
    if (!asked)
      return emitError(location)
             << "unknown kind '" << kind << "', expected int4 or int8";
    if (!span)
      return emitError(location) << "unknown rounding '" << rounding
                                 << "', expected nearest or clipped";
    if (group != 32 && group != 64 && group != 128)
      return emitError(location)
             << "group must be 32, 64 or 128, got " << group.getValue();
    if (perChannel && *asked != lm::QuantKind::Int8)
      return emitError(location) << "per-channel is for int8";
    return success();
  }

  /// Every matrix that is multiplied by or gathered from, and whether it is one
  /// of embedding and logits.
  llvm::MapVector<lm::WeightOp, bool> collectMatrices() {
    SymbolTable symbols(getOperation());
    llvm::MapVector<lm::WeightOp, bool> matrices;
    auto add = [&](FlatSymbolRefAttr name, bool isEnd) {
      matrices[symbols.lookup<lm::WeightOp>(name.getAttr())] |= isEnd;
    };
    getOperation().walk([&](Operation *op) {
      if (auto linear = dyn_cast<lm::LinearOp>(op))
        add(linear.getWeightAttr(), false);
      else if (auto logits = dyn_cast<lm::LogitsOp>(op))
        add(logits.getWeightAttr(), true);
      else if (auto embed = dyn_cast<lm::EmbedOp>(op))
        add(embed.getTableAttr(), true);
    });
    return matrices;
  }

  /// int8 is symmetric: an offset would buy it nothing.
  lm::QuantAttr makeFormat(bool isInt8) {
    using Stored = schema::QuantFormat::Real;
    return lm::QuantAttr::get(
        &getContext(), schema::QuantFormat{
                           isInt8 ? 8u : 4u, uint32_t(group), Stored::kF16,
                           isInt8 || symmetric ? Stored::kNone : Stored::kF16});
  }
};

} // namespace
