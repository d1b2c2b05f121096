// Budgets, targets and what heads did (Attention.h).

#include "stele/compiler/Calibrate/Attention.h"
#include "stele/compiler/Transforms/Weights.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace stele;
using namespace stele::compiler;

/// A head that misses less of the mass than this by its estimate, or a budget
/// of as much, is as good as whole.
static constexpr double leastMissing = 1e-3;
/// Beyond this share of the blocks the choice is not worth its work.
static constexpr double mostShare = 0.75;
/// How far a target is moved at a time: what is missing becomes at least so
/// much smaller, and at most.
static constexpr double leastStep = 0.9, mostStep = 0.1;

std::string Budget::describe() const {
  switch (select) {
  case lm::BlockSelect::TopK:
    return llvm::formatv("{0} blocks", topK);
  case lm::BlockSelect::TopP:
    return llvm::formatv("mass {0}", llvm::format("%.4g", share));
  case lm::BlockSelect::TopShare:
    return llvm::formatv("density {0}", llvm::format("%.4g", share));
  case lm::BlockSelect::None:
    break;
  }
  return "no blocks";
}

std::optional<Budget> Budget::raised(int64_t blocks) const {
  Budget more = *this;
  if (select == lm::BlockSelect::TopP) {
    more.share = raiseTarget(share);
    return more.share < 1 ? std::optional(more) : std::nullopt;
  }
  more.topK = topK + std::max<int64_t>(1, topK / 2);
  more.share = share * 1.5;
  const double next = select == lm::BlockSelect::TopK
                          ? double(more.topK) / double(blocks)
                          : more.share;
  return next < mostShare ? std::optional(more) : std::nullopt;
}

/// Nothing less than what counts as whole is missing.
static double targetMissing(double missing) {
  return missing < leastMissing ? 1 : 1 - missing;
}

double compiler::raiseTarget(double target) {
  return targetMissing((1 - target) / 2);
}

double compiler::raiseTarget(double target, double kept, double wanted) {
  if (kept >= wanted)
    return target;
  const double step = (1 - wanted) / (1 - kept);
  return targetMissing((1 - target) * std::clamp(step, mostStep, leastStep));
}

std::vector<lm::SelectBlocksOp> compiler::findSelections(ModuleOp module) {
  std::vector<lm::SelectBlocksOp> selections;
  module.walk([&](lm::SelectBlocksOp op) { selections.push_back(op); });
  return selections;
}

static lm::BlockSparsityAttr withBudget(lm::BlockSparsityAttr sparsity,
                                        const Budget &budget) {
  return lm::BlockSparsityAttr::get(
      sparsity.getContext(), sparsity.getBlock(), sparsity.getLocal(),
      sparsity.getAdjacent(), sparsity.getSink(), budget.select, budget.topK,
      lm::Real(budget.share), sparsity.getEstimate(), sparsity.getDense(),
      sparsity.getLimit());
}

static void setTargets(lm::SelectBlocksOp op, ArrayRef<double> targets) {
  const std::vector<float> values(targets.begin(), targets.end());
  op.setTargetsAttr(FlatSymbolRefAttr::get(
      makeWeight(op, "targets." + std::to_string(op.getLayer()),
                 int64_t(values.size()), values)));
}

void compiler::applyBudget(ModuleOp module, const Budget &budget,
                           const Targets &targets) {
  for (lm::SelectBlocksOp op : findSelections(module)) {
    op.setSparsityAttr(withBudget(op.getSparsity(), budget));
    for (Operation *user : op->getUsers())
      if (auto sparse = dyn_cast<lm::BlockSparseAttentionOp>(user))
        sparse.setSparsityAttr(withBudget(sparse.getSparsity(), budget));
    if (auto found = targets.find(op.getLayer()); found != targets.end())
      setTargets(op, found->second);
  }
}

void HeadSeries::add(std::vector<HeadSums> now, size_t processed) {
  sums = std::move(now);
  before.resize(sums.size());
  firstKeys.resize(sums.size());
  if (cut == 0 && processed >= window / 2 && processed < window)
    cut = processed;
  if (processed == cut)
    for (size_t head = 0; head < sums.size(); ++head)
      firstKeys[head] += sums[head].keptKeys - before[head].keptKeys;
  if (processed == window)
    before = sums;
}

/// Keys up to n are the integral of n^g.
std::optional<double> HeadSeries::growth(size_t head) const {
  if (cut == 0)
    return std::nullopt;
  return std::log(sums[head].keptKeys / firstKeys[head]) /
             std::log(double(window) / double(cut)) -
         1;
}

double compiler::meanKept(ArrayRef<HeadSums> heads) {
  double queries = 0, mass = 0;
  for (const HeadSums &head : heads) {
    queries += head.queries;
    mass += head.keptMass;
  }
  return queries > 0 ? mass / queries : 1;
}

double compiler::shareRead(ArrayRef<HeadSums> heads) {
  double kept = 0, causal = 0;
  for (const HeadSums &head : heads) {
    kept += head.keptKeys;
    causal += head.causalKeys;
  }
  return causal > 0 ? kept / causal : 1;
}

static llvm::json::Value orNull(std::optional<double> value) {
  return value ? llvm::json::Value(*value) : llvm::json::Value(nullptr);
}

llvm::json::Array
compiler::makeHeadRows(ArrayRef<lm::SelectBlocksOp> selections,
                       const Targets &targets, const HeadSeries &series) {
  llvm::json::Array rows;
  for (lm::SelectBlocksOp op : selections) {
    const int64_t layer = op.getLayer(), heads = op.getHeads();
    const int64_t group = heads / op.getCache().getType().getHeads();
    const auto found = targets.find(layer);
    for (int64_t head = 0; head < heads; ++head) {
      const size_t index = layer * heads + head;
      const ArrayRef<HeadSums> own = series.whole().slice(index, 1);
      const std::optional<double> target =
          found == targets.end() ? std::nullopt
                                 : std::optional(found->second[head / group]);
      rows.push_back(
          llvm::json::Object{{"layer", layer},
                             {"head", head},
                             {"kv_head", head / group},
                             {"target", orNull(target)},
                             {"kept_mass", meanKept(own)},
                             {"read", shareRead(own)},
                             {"growth", orNull(series.growth(index))}});
    }
  }
  return rows;
}
