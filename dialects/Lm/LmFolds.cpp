// Folds and canonicalisers of the lm dialect: rewrites that hold exactly, bit
// for bit, whatever the data.

#include "mlir/IR/PatternMatch.h"
#include "stele/dialects/Lm/LmOps.h"

using namespace mlir;
using namespace stele::lm;

OpFoldResult AllReduceOp::fold(FoldAdaptor) {
  return getRanks() == 1 ? getInput() : Value();
}

LogicalResult MergeOp::fold(FoldAdaptor,
                            SmallVectorImpl<OpFoldResult> &results) {
  if (getOutputs().size() != 1)
    return failure();
  results.push_back(getOutputs().front());
  if (getLse())
    results.push_back(getLses().front());
  return success();
}

namespace {

/// Rebuilds an operation without its log-sum-exp when nobody reads it, so that
/// the kernel does not write it.
template <typename OpT> struct DropUnusedLse : OpRewritePattern<OpT> {
  using OpRewritePattern<OpT>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpT op,
                                PatternRewriter &rewriter) const override {
    if (!op.getLse() || !op.getLse().use_empty())
      return failure();
    OperationState state(op.getLoc(), OpT::getOperationName(),
                         op->getOperands(), op.getOutput().getType(),
                         op->getAttrs());
    Operation *slim = rewriter.create(state);
    rewriter.replaceAllUsesWith(op.getOutput(), slim->getResult(0));
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *context) {
  patterns.add<DropUnusedLse<AttentionOp>>(context);
}

void MergeOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                          MLIRContext *context) {
  patterns.add<DropUnusedLse<MergeOp>>(context);
}
