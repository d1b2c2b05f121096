// stele-fuse-rope-append: what happens to a key between its projection and the
// cache, and to a query between its projection and the scores, happens in the
// kernel at the end of that way.

#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"

namespace stele::compiler {
#define GEN_PASS_DEF_FUSEROPEAPPEND
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

static int64_t columns(Value value) {
  return cast<RankedTensorType>(value.getType()).getDimSize(1);
}

/// Whether `user` is an attention that takes all of `norm` as its queries and
/// could norm them itself.
static bool canNormQuery(Operation *user, lm::RmsNormOp norm) {
  auto attention = dyn_cast<lm::AttentionOpInterface>(user);
  return attention && attention.getQuery() == norm.getOutput() &&
         attention.getHeads() == norm.getGroups() &&
         columns(norm) == attention.getHeads() *
                              attention.getCache().getType().getHeadDim() &&
         !attention.getNormWeightAttr();
}

namespace {

struct FuseRopeAppend : compiler::impl::FuseRopeAppendBase<FuseRopeAppend> {
  void runOnOperation() override {
    SmallVector<lm::KvAppendOp> appends;
    SmallVector<lm::RmsNormOp> norms;
    getOperation().walk([&](Operation *op) {
      if (auto append = dyn_cast<lm::KvAppendOp>(op))
        appends.push_back(append);
      if (auto norm = dyn_cast<lm::RmsNormOp>(op))
        norms.push_back(norm);
    });
    for (lm::RmsNormOp norm : norms)
      fuseQueryNorm(norm);
    for (lm::KvAppendOp append : appends) {
      fuseRotation(append);
      fuseKeyNorm(append);
    }
  }

  void fuseRotation(lm::KvAppendOp append) {
    auto rope = append.getKey().getDefiningOp<lm::RopeOp>();
    int64_t heads = append.getCache().getType().getHeads();
    if (!rope || !rope.getOutput().hasOneUse() || append.getRopeAttr() ||
        append.getNormWeightAttr() || rope.getHeads() != heads ||
        columns(rope) != heads * append.getCache().getType().getHeadDim() ||
        rope.getBatch() != append.getBatch())
      return;
    append.setRopeAttr(rope.getRopeAttr());
    append.getKeyMutable().assign(rope.getInput());
    if (rope.getRotary())
      append.getRotaryMutable().assign(rope.getRotary());
    rope.erase();
    ++numRotations;
  }

  void fuseKeyNorm(lm::KvAppendOp append) {
    auto norm = append.getKey().getDefiningOp<lm::RmsNormOp>();
    int64_t heads = append.getCache().getType().getHeads();
    if (!norm || !norm.getOutput().hasOneUse() || append.getNormWeightAttr() ||
        norm.getGroups() != heads ||
        columns(norm) != heads * append.getCache().getType().getHeadDim())
      return;
    append.setNormWeightAttr(norm.getWeightAttr());
    append.setNormEpsAttr(norm.getEpsAttr());
    append.getKeyMutable().assign(norm.getInput());
    norm.erase();
    ++numHeadNorms;
  }

  void fuseQueryNorm(lm::RmsNormOp norm) {
    Value query = norm.getOutput();
    if (query.use_empty() ||
        !llvm::all_of(query.getUsers(), [&](Operation *user) {
          return canNormQuery(user, norm);
        }))
      return;
    for (Operation *user : llvm::make_early_inc_range(query.getUsers())) {
      auto attention = cast<lm::AttentionOpInterface>(user);
      attention.setNormWeightAttr(norm.getWeightAttr());
      attention.setNormEpsAttr(norm.getEpsAttr());
      attention.getQueryMutable().set(norm.getInput());
    }
    norm.erase();
    ++numHeadNorms;
  }
};

} // namespace
