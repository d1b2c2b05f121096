// Bytes and operations of each kernel family, and what moves cost
// (CostModel.h).

#include "stele/compiler/Schedule/CostModel.h"
#include "stele/schema/block_selection.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;

/// Query tokens that read a key together (docs/kernels.md).
static constexpr int64_t tokensOfChain = 32;
/// What a choice by mass without a bound is taken to keep: the share that
/// --density has by default.
static constexpr double usualShare = 0.1;
/// As in LmEnums.td.
enum : int64_t { topK = 1, topShare = 3 };
/// The dialect's bound on a modelled time.
static constexpr double maxNanoseconds = double((int64_t(1) << 40) - 1);

std::optional<int64_t> compiler::constantOf(EntryOp entry, StringRef name) {
  if (!entry.getInstance())
    return std::nullopt;
  for (NamedAttribute constant : entry.getInstance()->getConstants())
    if (auto value = dyn_cast<IntegerAttr>(constant.getValue());
        value && constant.getName() == name)
      return value.getInt();
  return std::nullopt;
}

static double realOf(EntryOp entry, StringRef name) {
  for (NamedAttribute constant : entry.getInstance()->getConstants())
    if (auto value = dyn_cast<FloatAttr>(constant.getValue());
        value && constant.getName() == name)
      return value.getValueAsDouble();
  return 0;
}

static int64_t constantOr(EntryOp entry, StringRef name, int64_t otherwise) {
  return constantOf(entry, name).value_or(otherwise);
}

bool compiler::isMadeFrom(EntryOp entry, StringRef family) {
  return entry.getInstance() &&
         entry.getInstance()->getTemplateName().starts_with(family);
}

ModelledStep ModelledStep::of(FunctionOp function, int64_t context) {
  const bool decodes = function.getTokens() == function.getSequences();
  int64_t tokens = decodes ? 1 : function.getTokens();
  return {tokens, std::min<int64_t>(1, function.getLogitRows()), context};
}

BlockChoice BlockChoice::of(EntryOp entry) {
  BlockChoice choice;
  choice.always =
      constantOr(entry, "local", 1) + constantOr(entry, "adjacent", 0);
  choice.sinks = constantOr(entry, "sink", 0);
  choice.dense = constantOr(entry, "dense", 0);
  int64_t select = constantOr(entry, "select", 0);
  int64_t limit = constantOr(entry, "limit", 0);
  if (select == 0)
    choice.chosen = 0;
  else if (select == topK)
    choice.chosen = constantOr(entry, "top_k", 0);
  else if (select == topShare)
    choice.chosen = int64_t(schema::ShareOfBlocks(
        float(realOf(entry, "top_p")), constantOr(entry, "blocks", 0)));
  if (limit > 0)
    choice.chosen = std::min(choice.chosen.value_or(limit), limit);
  return choice;
}

/// Bytes of a launch's activations for `step`.
static double bytesOfRows(ParameterAttr parameter, const ModelledStep &step) {
  return double(parameter.getBytes()) +
         double(parameter.getPerToken()) * double(step.tokens) +
         double(parameter.getPerLogitRow()) * double(step.logitRows);
}

/// The launch that wrote the selection that `launch` reads, or null.
static LaunchOp selectorOf(LaunchOp launch, SymbolTableCollection &symbols) {
  for (Operation *op = launch->getPrevNode(); op; op = op->getPrevNode()) {
    auto other = dyn_cast<LaunchOp>(op);
    EntryOp entry = other ? other.lookupEntry(symbols) : EntryOp();
    if (entry && isMadeFrom(entry, "select_blocks") &&
        llvm::is_contained(launch.getBuffers(), other.getBuffers().back()))
      return other;
  }
  return {};
}

/// Keys that one query of the launch reads.
double CostModel::keysRead(LaunchOp launch, EntryOp entry,
                           const ModelledStep &step) {
  double context = double(step.context);
  if (isMadeFrom(entry, "attention")) {
    int64_t window = constantOr(entry, "window", 0);
    return window ? std::min(double(window), context) : context;
  }
  if (!isMadeFrom(entry, "block_sparse"))
    return 0;
  LaunchOp selector = selectorOf(launch, symbols);
  BlockChoice choice =
      BlockChoice::of(selector ? selector.lookupEntry(symbols) : entry);
  double block = double(constantOr(entry, "block", 1));
  double chosen =
      choice.chosen ? double(*choice.chosen) : usualShare * context / block;
  return std::min(context,
                  (double(choice.always + choice.sinks) + chosen) * block);
}

double CostModel::bytesOfCache(LaunchOp launch, EntryOp entry,
                               ParameterAttr parameter,
                               const ModelledStep &step) {
  PageShapeAttr page = parameter.getCache();
  if (page.getFeatures() != 0)
    return double(page.getHeads()) * double(page.getPageBytes());
  double ofToken = double(page.getHeads()) * double(page.getPageBytes()) /
                   double(page.getBlock());
  if (writes(parameter.getAccess()))
    return double(step.tokens) * ofToken;
  // A byte of each mean key's element, and of each mean value's.
  double means = double(constantOr(entry, "blocks", 0)) *
                 double(page.getHeads()) * double(page.getHeadDim());
  if (isMadeFrom(entry, "select_blocks"))
    return means;
  if (isMadeFrom(entry, "tail_attention"))
    return 2 * means;
  return keysRead(launch, entry, step) * ofToken *
         double(llvm::divideCeil(step.tokens, tokensOfChain));
}

double CostModel::bytesOf(LaunchOp launch, EntryOp entry,
                          const ModelledStep &step) {
  double bytes = 0;
  for (auto [binding, attr] :
       llvm::zip(launch.getBindings(), entry.getParams())) {
    auto parameter = cast<ParameterAttr>(attr);
    switch (parameter.getKind()) {
    case BindingKind::Buffer:
      bytes += bytesOfRows(parameter, step);
      break;
    case BindingKind::Tensor: {
      auto tensor = symbols.lookupNearestSymbolFrom<TensorOp>(
          launch, cast<FlatSymbolRefAttr>(binding));
      // A table that token ids index is read by rows.
      double share = entry.getTokenLimit() > 0
                         ? double(step.tokens) / double(entry.getTokenLimit())
                         : 1;
      bytes += std::min(share, 1.0) * double(tensor.getLength());
      break;
    }
    case BindingKind::KvCache:
      bytes += bytesOfCache(launch, entry, parameter, step);
      break;
    }
  }
  return bytes;
}

/// A multiplication and an addition are two.
double CostModel::operationsOf(LaunchOp launch, EntryOp entry,
                               const ModelledStep &step) {
  auto constant = [&](StringRef name) {
    return double(constantOr(entry, name, 0));
  };
  double tokens = double(step.tokens);
  double product = 2 * constant("k") * constant("n");
  double headRow = constant("heads") * constant("head_dim");
  if (isMadeFrom(entry, "linear"))
    return product * tokens;
  if (isMadeFrom(entry, "logits"))
    return product * double(step.logitRows);
  if (isMadeFrom(entry, "select_blocks"))
    return 2 * headRow * constant("blocks") * tokens;
  if (isMadeFrom(entry, "tail_attention"))
    return 4 * headRow * constant("blocks") * tokens;
  if (isMadeFrom(entry, "kernelized_attention")) // two products, two states
    return 8 * headRow * constant("features") * tokens;
  return 4 * headRow * keysRead(launch, entry, step) * tokens;
}

static int64_t operationsPerSecond(const MachineLimits &limits, EntryOp entry) {
  StringRef name = entry.getInstance() ? entry.getInstance()->getTemplateName()
                                       : StringRef();
  // Blocks are selected by products of codes, whatever the arithmetic.
  if (name.ends_with("_int8") || isMadeFrom(entry, "select_blocks"))
    return limits.int8PerSecond;
  return name.ends_with("_bf16") ? limits.bf16PerSecond : limits.f32PerSecond;
}

static int64_t toNanoseconds(double seconds) {
  return int64_t(std::clamp(std::ceil(seconds * 1e9), 1.0, maxNanoseconds));
}

int64_t CostModel::ofLaunch(LaunchOp launch, const ModelledStep &step) {
  EntryOp entry = launch.lookupEntry(symbols);
  return toNanoseconds(std::max(
      bytesOf(launch, entry, step) / double(limits.memoryBytesPerSecond),
      operationsOf(launch, entry, step) /
          double(operationsPerSecond(limits, entry))));
}

int64_t CostModel::ofCopy(CopyOp copy) const {
  return toNanoseconds(2 * double(copy.getLength()) /
                       double(limits.memoryBytesPerSecond));
}

/// A move with nothing to take, as most are that might have, takes no time.
double CostModel::latencyOf(const PageMove &move) const {
  return std::min(1.0, move.pages) * double(limits.linkNanoseconds) * 1e-9;
}

int64_t CostModel::ofPageOut(const PageMove &move) const {
  double page = double(move.pageBytes) / double(limits.packBytesPerSecond) +
                double(move.recordBytes) / double(limits.linkBytesPerSecond);
  return toNanoseconds(latencyOf(move) + move.pages * page);
}

int64_t CostModel::ofPageIn(const PageMove &move) const {
  double record = double(move.recordBytes);
  double page = record / double(limits.linkBytesPerSecond) +
                double(move.pageBytes) / double(limits.unpackBytesPerSecond);
  return toNanoseconds(latencyOf(move) + move.pages * page +
                       move.coldPages * record /
                           double(limits.diskBytesPerSecond));
}
