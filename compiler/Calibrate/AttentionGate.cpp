// Calibrating sparse attention (AttentionGate.h).
//
// With a budget of mass, all KV heads start with the share that was asked for.
// Estimates are too optimistic for some: their targets are raised until every
// head keeps that share of its true mass, as the kernels measure it, on the
// calibration text. On the gate's text the heads together have to keep enough,
// and perplexity to stay close to dense attention's; else the budget of all is
// raised until they do.

#include "stele/compiler/Calibrate/AttentionGate.h"
#include "mlir/Pass/PassManager.h"
#include "stele/compiler/Calibrate/Attention.h"
#include "stele/compiler/Calibrate/Awq.h"
#include "stele/compiler/Calibrate/Text.h"
#include "stele/compiler/Calibrate/Trials.h"
#include "stele/compiler/Calibrate/Units.h"
#include "stele/compiler/Driver/Diagnostics.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Transforms/Passes.h"
#include <cmath>
#include <map>

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using checkpoint::Checkpoint;
using checkpoint::makeError;

/// Tokens in a window, unless the model's context or a text is shorter.
static constexpr size_t windowTokens = 8192;
/// Of either text no more are read, but for one window.
static constexpr size_t mostTokens = 16384;
/// A window has so many times the blocks that are kept whatever they say.
static constexpr size_t leastWindow = 3;
/// Of the mass so much is kept on the gate's text, or what was asked for if
/// that is less.
static constexpr double leastKept = 0.95;
/// How often targets are raised before heads that still miss too much keep
/// everything.
static constexpr int mostRounds = 6;

namespace {

/// What an artifact did on the gate's text.
struct Outcome {
  double loss = 0; // mean negative log-likelihood
  double kept = 1, read = 1;
};

class AttentionGate {
public:
  AttentionGate(const CompileOptions &options, const GateOptions &gate,
                llvm::raw_ostream &progress)
      : options(options), gate(gate), progress(progress), trials(options) {}

  llvm::Error run();

private:
  llvm::Error fuse();
  llvm::Error tokenizeTexts(const CompiledModel &model);
  llvm::Error lookAtDense();
  llvm::Error watchQueries(CompiledModel &model);
  llvm::Error findTargets();
  llvm::Expected<int> raiseTargets(bool isLast);
  llvm::Error hold();
  llvm::Error finish();
  llvm::Error giveUp();

  llvm::Expected<std::unique_ptr<CompiledModel>> loadTuned();
  llvm::Error measure();
  bool holds() const {
    return outcome.kept >= wantedKept() &&
           std::expm1(outcome.loss - denseLoss) <= gate.maxLoss;
  }
  double wantedKept() const {
    return asked.select == lm::BlockSelect::TopP
               ? std::min(leastKept, asked.share)
               : leastKept;
  }
  bool hasTargets() const { return budget.select == lm::BlockSelect::TopP; }
  int64_t blocksKeptAlways() const {
    return options.sparsity.local + options.sparsity.adjacent +
           options.sparsity.sink;
  }
  std::string makeTable() const;

  const CompileOptions &options;
  const GateOptions &gate;
  llvm::raw_ostream &progress;
  Trials trials;
  OwningOpRef<ModuleOp> dense, sparse; // fused
  std::unique_ptr<Checkpoint> source;
  Text calibrationText, gateText;
  std::vector<int32_t> calibrationTokens, gateTokens;
  size_t window = 0;
  double denseLoss = 0;
  Budget asked, budget;
  Targets targets;
  Outcome outcome;                  // of the budget
  std::optional<HeadSeries> series; // likewise, on the gate's text
};

/// Sums up the queries of a layer's heads, as attention reads them.
class QueryMeans {
public:
  QueryMeans(lm::AttentionOp op, std::vector<float> norm)
      : heads(op.getHeads()), kvHeads(op.getCache().getType().getHeads()),
        dim(op.getCache().getType().getHeadDim()), offset(op.getQueryOffset()),
        scale(op.getScale().convertToDouble()),
        eps(op.getNormEps() ? op.getNormEps()->convertToDouble() : 0),
        norm(std::move(norm)), sums(kvHeads * dim) {}

  void add(const float *row) {
    for (int64_t head = 0; head < heads; ++head) {
      ArrayRef<float> query(row + offset + head * dim, dim);
      if (!norm.empty()) {
        normalise(query, norm, eps, normalised);
        query = normalised;
      }
      double *sum = &sums[head / (heads / kvHeads) * dim];
      for (int64_t i = 0; i < dim; ++i)
        sum[i] += query[i];
    }
    ++rows;
  }

  /// [kvHeads, dim], times the attention's scale.
  Attribute mean(MLIRContext *context) const {
    const int64_t queries = rows * (heads / kvHeads);
    std::vector<float> values;
    for (double sum : sums)
      values.push_back(float(sum * scale / double(queries)));
    auto type =
        RankedTensorType::get({kvHeads, dim}, Float32Type::get(context));
    return DenseElementsAttr::get(type, ArrayRef(values));
  }

private:
  int64_t heads, kvHeads, dim, offset;
  double scale, eps;
  std::vector<float> norm, normalised;
  std::vector<double> sums;
  int64_t rows = 0;
};

} // namespace

//===----------------------------------------------------------------------===//
// Dense attention
//===----------------------------------------------------------------------===//

static Budget budgetOf(lm::BlockSparsityAttr sparsity) {
  return {sparsity.getSelect(), sparsity.getTopK(), double(sparsity.getTopP())};
}

/// The operations of a module's layers, which are numbered from 0.
static std::vector<lm::AttentionOp> findAttention(ModuleOp module) {
  std::vector<lm::AttentionOp> found;
  module.walk([&](lm::AttentionOp op) { found.push_back(op); });
  return found;
}

/// As stele-expose-inputs names them.
static std::string nameOfQueries(int64_t layer) {
  return "queries." + std::to_string(layer);
}

static llvm::Error exposeQueries(ModuleOp module) {
  FirstError errors(*module.getContext());
  PassManager manager(module.getContext());
  ExposeInputsOptions options;
  options.queries = true;
  manager.addPass(createExposeInputs(options));
  if (failed(manager.run(module)))
    return errors.take("cannot expose the queries of attention");
  return llvm::Error::success();
}

llvm::Error AttentionGate::fuse() {
  CompileOptions front = options;
  front.attention = "dense";
  llvm::Expected<OwningOpRef<ModuleOp>> fused =
      trials.fuse(front, llvm::nulls());
  if (!fused)
    return fused.takeError();
  dense = std::move(*fused);
  front.attention = "sparse";
  fused = trials.fuse(front, progress);
  if (!fused)
    return fused.takeError();
  sparse = std::move(*fused);
  std::vector<lm::SelectBlocksOp> selections = findSelections(*sparse);
  if (selections.empty())
    return makeError("{0}: every layer has a sliding window and stays dense; "
                     "leave --calibrate out",
                     options.input);
  asked = budget = budgetOf(selections.front().getSparsity());
  llvm::Expected<std::unique_ptr<Checkpoint>> opened = openSource(*sparse);
  if (!opened)
    return opened.takeError();
  source = std::move(*opened);
  return llvm::Error::success();
}

llvm::Error AttentionGate::tokenizeTexts(const CompiledModel &model) {
  const size_t least =
      leastWindow * blocksKeptAlways() * options.sparsity.block;
  if (model.context() < least)
    return makeError("{0}: a context of {1} tokens is nearly all kept anyway, "
                     "with {2} blocks of {3}; leave --attention out",
                     options.input, model.context(), blocksKeptAlways(),
                     options.sparsity.block);
  auto tokenize = [&](const Text &text,
                      std::vector<int32_t> &tokens) -> llvm::Error {
    llvm::Expected<std::vector<int32_t>> ids = model.tokenize(text.bytes);
    if (!ids)
      return makeError("{0}: {1}; --calibrate reads a text: name a checkpoint "
                       "with its tokenizer, or leave --calibrate out",
                       options.input, llvm::toString(ids.takeError()));
    if (ids->size() < least)
      return makeError("{0}: has {1} tokens, and {2} are kept anyway; name a "
                       "text with {3} or more in its last third with "
                       "--calibrate, better with {4}",
                       text.name, ids->size(), least / leastWindow, least,
                       windowTokens);
    tokens = std::move(*ids);
    return llvm::Error::success();
  };
  if (llvm::Error error = tokenize(calibrationText, calibrationTokens))
    return error;
  if (llvm::Error error = tokenize(gateText, gateTokens))
    return error;
  window = std::min({windowTokens, size_t(model.context()),
                     calibrationTokens.size(), gateTokens.size()});
  for (std::vector<int32_t> *tokens : {&calibrationTokens, &gateTokens})
    tokens->resize(std::min(tokens->size(), mostTokens) / window * window);
  return llvm::Error::success();
}

/// Has the dense module keep lm.mean_queries for the sparse one.
llvm::Error AttentionGate::watchQueries(CompiledModel &model) {
  std::map<std::string, QueryMeans> means;
  std::vector<std::string> names;
  for (lm::AttentionOp op : findAttention(*dense)) {
    std::vector<float> norm;
    if (FlatSymbolRefAttr name = op.getNormWeightAttr()) {
      llvm::Expected<std::vector<float>> weight =
          readRows(dense->lookupSymbol<lm::WeightOp>(name.getAttr()), *source,
                   0, op.getCache().getType().getHeadDim());
      if (!weight)
        return weight.takeError();
      norm = std::move(*weight);
    }
    names.push_back(nameOfQueries(op.getLayer()));
    means.emplace(names.back(), QueryMeans(op, std::move(norm)));
  }
  if (llvm::Error error = model.watch(
          calibrationTokens, window, names,
          [&](StringRef name, const float *rows, int64_t count, int64_t width) {
            QueryMeans &mean = means.at(name.str());
            for (int64_t row = 0; row < count; ++row)
              mean.add(rows + row * width);
          }))
    return error;
  SmallVector<Attribute> found;
  for (size_t layer = 0; layer < names.size(); ++layer)
    found.push_back(means.at(nameOfQueries(layer)).mean(&trials.getContext()));
  sparse.get()->setAttr(lm::LmDialect::meanQueriesAttrName,
                        ArrayAttr::get(&trials.getContext(), found));
  return llvm::Error::success();
}

llvm::Error AttentionGate::lookAtDense() {
  if (llvm::Error error = exposeQueries(*dense))
    return error;
  llvm::Expected<std::unique_ptr<CompiledModel>> model =
      trials.load(*dense, compile);
  if (!model)
    return model.takeError();
  if (llvm::Error error = tokenizeTexts(**model))
    return error;
  llvm::Expected<double> loss = (*model)->score(gateTokens, window);
  if (!loss)
    return loss.takeError();
  denseLoss = *loss;
  progress << llvm::formatv(
      "gate      dense: perplexity {0:f3} on {1} tokens of {2}, in windows of "
      "{3}\n",
      std::exp(denseLoss), gateTokens.size(), gateText.name, window);
  return watchQueries(**model);
}

//===----------------------------------------------------------------------===//
// Targets
//===----------------------------------------------------------------------===//

llvm::Expected<std::unique_ptr<CompiledModel>> AttentionGate::loadTuned() {
  OwningOpRef<ModuleOp> tuned(sparse.get().clone());
  applyBudget(*tuned, budget, targets);
  return trials.load(*tuned, compile, /*measuresHeads=*/true);
}

/// Measures what heads keep with these targets, and raises those of KV heads
/// with a query head that keeps too little; in the last round to everything.
/// Returns how many.
llvm::Expected<int> AttentionGate::raiseTargets(bool isLast) {
  llvm::Expected<std::unique_ptr<CompiledModel>> model = loadTuned();
  if (!model)
    return model.takeError();
  if (llvm::Error error = (*model)->run(calibrationTokens, window, [](size_t) {
        return llvm::Error::success();
      }))
    return std::move(error);
  llvm::Expected<std::vector<HeadSums>> sums = (*model)->heads();
  if (!sums)
    return sums.takeError();
  int raised = 0;
  for (lm::SelectBlocksOp op : findSelections(*sparse)) {
    std::vector<double> &own = targets[op.getLayer()];
    const int64_t group = op.getHeads() / int64_t(own.size());
    for (auto [kvHead, target] : llvm::enumerate(own)) {
      double least = 1;
      for (int64_t i = 0; i < group; ++i) {
        const size_t head = op.getLayer() * op.getHeads() + kvHead * group + i;
        least = std::min(least, meanKept(ArrayRef(*sums).slice(head, 1)));
      }
      if (least >= asked.share || target == 1)
        continue;
      target = isLast ? 1 : raiseTarget(target, least, asked.share);
      ++raised;
    }
  }
  return raised;
}

llvm::Error AttentionGate::findTargets() {
  int64_t heads = 0;
  for (lm::SelectBlocksOp op : findSelections(*sparse)) {
    targets[op.getLayer()].assign(op.getCache().getType().getHeads(),
                                  asked.share);
    heads += op.getCache().getType().getHeads();
  }
  for (int round = 1; round <= mostRounds; ++round) {
    llvm::Expected<int> raised = raiseTargets(round == mostRounds);
    if (!raised)
      return raised.takeError();
    progress << llvm::formatv(
        "targets   {0} of {1} KV heads keep less than {2} of the attention\n",
        *raised, heads, llvm::format("%.4g", asked.share));
    if (*raised == 0)
      break;
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// The gate
//===----------------------------------------------------------------------===//

llvm::Error AttentionGate::measure() {
  llvm::Expected<std::unique_ptr<CompiledModel>> model = loadTuned();
  if (!model)
    return model.takeError();
  series.emplace(window);
  llvm::Expected<double> loss =
      (*model)->score(gateTokens, window, [&](size_t processed) -> llvm::Error {
        llvm::Expected<std::vector<HeadSums>> now = (*model)->heads();
        if (!now)
          return now.takeError();
        series->add(std::move(*now), processed);
        return llvm::Error::success();
      });
  if (!loss)
    return loss.takeError();
  outcome = {*loss, meanKept(series->whole()), shareRead(series->whole())};
  progress << llvm::formatv(
      "gate      {0}: perplexity {1:f3}, loss {2:f2}%, {3:f2}% of the "
      "attention kept by {4:f1}% of the keys\n",
      budget.describe(), std::exp(outcome.loss),
      100 * std::expm1(outcome.loss - denseLoss), 100 * outcome.kept,
      100 * outcome.read);
  return llvm::Error::success();
}

/// Raises the budget until the gate is met, or as far as there is a choice.
llvm::Error AttentionGate::hold() {
  for (;;) {
    if (llvm::Error error = measure())
      return error;
    if (holds())
      return llvm::Error::success();
    std::optional<Budget> more = budget.raised(window / options.sparsity.block);
    if (!more)
      return llvm::Error::success();
    progress << llvm::formatv(
        "gate      not met ({0}% lost at most, {1}% kept at least); raised to "
        "{2}\n",
        llvm::format("%.4g", 100 * gate.maxLoss),
        llvm::format("%.4g", 100 * wantedKept()), more->describe());
    budget = *more;
    for (auto &[layer, heads] : targets)
      for (double &target : heads)
        target = raiseTarget(target);
  }
}

//===----------------------------------------------------------------------===//
// The end
//===----------------------------------------------------------------------===//

std::string AttentionGate::makeTable() const {
  llvm::json::Object table{
      {"kind", "attention"},
      {"max_loss", gate.maxLoss},
      {"loss", std::expm1(outcome.loss - denseLoss)},
      {"min_kept_mass", wantedKept()},
      {"kept_mass", outcome.kept},
      {"read", outcome.read},
      {"met", holds()},
      {"perplexity", llvm::json::Object{{"dense", std::exp(denseLoss)},
                                        {"sparse", std::exp(outcome.loss)}}},
      {"budget", llvm::json::Object{{"asked", asked.describe()},
                                    {"used", budget.describe()}}},
      {"window", int64_t(window)},
      {"texts",
       llvm::json::Object{
           {"calibration", describe(calibrationText, calibrationTokens.size())},
           {"gate", describe(gateText, gateTokens.size())}}},
      {"heads", makeHeadRows(findSelections(*sparse), targets, *series)}};
  return llvm::formatv("{0}", llvm::json::Value(std::move(table)));
}

llvm::Error AttentionGate::finish() {
  applyBudget(*sparse, budget, targets);
  sparse.get()->setAttr(calibrationAttrName,
                        StringAttr::get(&trials.getContext(), makeTable()));
  return trials.finish(*sparse, progress);
}

/// When even what reads nearly everything does not hold.
llvm::Error AttentionGate::giveUp() {
  const std::string best = llvm::formatv(
      "{0} loses {1:f2}% and keeps {2:f2}% of the attention", budget.describe(),
      100 * std::expm1(outcome.loss - denseLoss), 100 * outcome.kept);
  if (options.attention == "auto") {
    progress << "note: attention stays dense: " << best << "\n";
    CompileOptions plain = options;
    plain.attention = "dense";
    return compile(plain, progress);
  }
  return makeError("{0}: sparse attention cannot keep {1}% of the attention "
                   "within --max-loss {2}%: {3}; allow more, say --attention "
                   "dense, or write it anyway with --force",
                   options.input, llvm::format("%.4g", 100 * wantedKept()),
                   llvm::format("%.4g", 100 * gate.maxLoss), best);
}

llvm::Error AttentionGate::run() {
  llvm::Expected<Text> text = readText(gate.calibrate);
  if (!text)
    return text.takeError();
  std::tie(calibrationText, gateText) = splitText(*text);
  if (llvm::Error error = fuse())
    return error;
  if (llvm::Error error = lookAtDense())
    return error;
  if (hasTargets())
    if (llvm::Error error = findTargets())
      return error;
  if (llvm::Error error = hold())
    return error;
  return holds() || gate.force ? finish() : giveUp();
}

llvm::Error
compiler::compileWithCalibratedAttention(const CompileOptions &options,
                                         const GateOptions &gate,
                                         llvm::raw_ostream &progress) {
  if (StringRef(options.weights).starts_with("synthetic"))
    return makeError("--calibrate measures what attention keeps; it needs the "
                     "checkpoint's own weights, not --weights {0}",
                     options.weights);
  return AttentionGate(options, gate, progress).run();
}
