// See Positions.h.
#include "stele/models/Positions.h"
#include "stele/compiler/Import/Errors.h"
#include <cmath>

using namespace stele;
using namespace stele::models;
using checkpoint::makeError;
using checkpoint::ModelConfig;
using checkpoint::RopeScaling;

/// The distance of a query and a key that the model knows from its training.
static int64_t trainedReach(const ModelConfig &config) {
  return config.dualChunk ? config.dualChunk->original : config.context;
}

static llvm::Expected<RopeScaling> stretchedByYarn(const ModelConfig &config,
                                                   llvm::StringRef path,
                                                   int64_t context) {
  int64_t trained = trainedReach(config);
  if (config.rope.kind != RopeScaling::Kind::None)
    return makeError("{0}: positions yarn: the checkpoint scales its "
                     "frequencies already; ask for dca instead",
                     path);
  if (context <= trained)
    return makeError("{0}: positions yarn: stretches beyond the {1} tokens "
                     "that the model was trained with; give a context longer "
                     "than that, not {2}",
                     path, trained, context);
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::Yarn;
  scaling.factor = double(context) / trained;
  scaling.originalContext = trained;
  scaling.attentionFactor = 0.1 * std::log(scaling.factor) + 1;
  return scaling;
}

/// What the user gave, then the checkpoint's, then what follows from the
/// trained length: all of it for the chunk, an eighth for the local part.
/// Queries are scaled only where the checkpoint says so: a model that was not
/// trained with it gets worse (docs/long-context.md).
static llvm::Expected<checkpoint::DualChunk>
chooseDualChunk(const ModelConfig &config, llvm::StringRef path,
                const BuildOptions &options) {
  int64_t block = options.block, trained = trainedReach(config);
  checkpoint::DualChunk dual = config.dualChunk.value_or(
      checkpoint::DualChunk{trained / block * block, 0, 0});
  if (options.dualChunk) {
    dual.chunk = options.dualChunk;
    dual.local = 0;
  }
  if (options.dualChunkLocal)
    dual.local = options.dualChunkLocal;
  if (!dual.local)
    dual.local = std::max(dual.chunk / 8 / block, int64_t(1)) * block;
  if (dual.chunk > std::max(trained, config.context))
    return makeError("{0}: a chunk of {1} is longer than the {2} tokens that "
                     "the model's positions are made for",
                     path, dual.chunk, std::max(trained, config.context));
  return dual;
}

static llvm::Error checkDualChunk(const checkpoint::DualChunk &dual,
                                  llvm::StringRef path, int64_t block) {
  int64_t keys = dual.chunk - dual.local;
  if (keys > 0 && keys % block == 0)
    return llvm::Error::success();
  return makeError("{0}: dual chunk attention: chunk - local is {1} - {2} = "
                   "{3}, which is not a positive multiple of the {4} tokens of "
                   "a page; choose sizes with --positions dca, --dca-chunk and "
                   "--dca-local",
                   path, dual.chunk, dual.local, keys, block);
}

/// Plain positions end where training did. YaRN and dual chunk attention are
/// meant to go on, at the user's risk.
static llvm::Error checkContext(const Positions &positions,
                                llvm::StringRef path, int64_t trained) {
  if (positions.context <= trained || positions.dualChunk ||
      positions.scaling.kind == RopeScaling::Kind::Yarn)
    return llvm::Error::success();
  return makeError("{0}: context {1} is longer than the {2} tokens that the "
                   "model's positions are made for; ask for {2} or less, or "
                   "for positions that reach further: --positions dca or yarn",
                   path, positions.context, trained);
}

llvm::Expected<Positions> models::choosePositions(const ModelConfig &config,
                                                  llvm::StringRef path,
                                                  const BuildOptions &options) {
  Positions result{config.rope, std::nullopt, config.context};
  int64_t trained = config.context;
  switch (options.positions) {
  case PositionKind::Checkpoint:
    result.dualChunk = config.dualChunk;
    break;
  case PositionKind::Rope:
    result.context = trained = std::min(trainedReach(config), config.context);
    break;
  case PositionKind::Yarn: {
    auto scaling = stretchedByYarn(config, path, options.context);
    if (!scaling)
      return scaling.takeError();
    result.scaling = *scaling;
    break;
  }
  case PositionKind::DualChunk: {
    auto dual = chooseDualChunk(config, path, options);
    if (!dual)
      return dual.takeError();
    result.dualChunk = *dual;
    break;
  }
  }
  if (options.context)
    result.context = options.context;
  if (result.dualChunk)
    if (llvm::Error error =
            checkDualChunk(*result.dualChunk, path, options.block))
      return std::move(error);
  if (llvm::Error error = checkContext(result, path, trained))
    return std::move(error);
  return result;
}
