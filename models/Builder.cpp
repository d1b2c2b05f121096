// See Builder.h.
#include "stele/models/Builder.h"
#include "mlir/IR/Verifier.h"
#include "stele/compiler/Import/Errors.h"
#include <cmath>

using namespace mlir;
using namespace stele;
using namespace stele::models;
using checkpoint::ModelConfig;
using checkpoint::RopeScaling;

ModelBuilder::ModelBuilder(MLIRContext &context,
                           const checkpoint::Checkpoint &checkpoint,
                           const Positions &positions, int64_t block)
    : checkpoint(checkpoint), positions(positions), builder(&context),
      location(NameLoc::get(builder.getStringAttr(config().name))) {
  module = ModuleOp::create(location);
  builder.setInsertionPointToStart(module->getBody());
  Type tokensType =
      RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  Type cacheType =
      lm::KvCacheType::get(&context, config().layers, config().kvHeads,
                           config().headDim, block, builder.getF32Type(),
                           /*key_index=*/false, /*value_index=*/false);
  function = func::FuncOp::create(
      builder, location, "forward",
      builder.getFunctionType(
          {tokensType, lm::BatchType::get(&context), cacheType},
          {rows(config().vocab)}));
  Block *entry = function.addEntryBlock();
  tokens = entry->getArgument(0);
  batch = entry->getArgument(1);
  cache = entry->getArgument(2);
  builder.setInsertionPointToStart(entry);
}

RankedTensorType ModelBuilder::rows(int64_t columns) {
  return RankedTensorType::get({ShapedType::kDynamic, columns},
                               builder.getF32Type());
}

int64_t ModelBuilder::columnsOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getDimSize(1);
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

FlatSymbolRefAttr ModelBuilder::declare(const Twine &name,
                                        ArrayRef<int64_t> shape) {
  std::string symbol = name.str();
  auto reference = FlatSymbolRefAttr::get(builder.getContext(), symbol);
  if (!declared.insert(symbol).second)
    return reference;
  checkTensor(symbol, shape);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(function);
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  auto declaredWeight = lm::WeightOp::create(builder, location, symbol, type);
  if (const checkpoint::TensorInfo *tensor = checkpoint.find(symbol))
    if (auto format = checkpoint.quantFormat(*tensor))
      declaredWeight.setQuantAttr(
          lm::QuantAttr::get(builder.getContext(), *format));
  parameters += type.getNumElements();
  return reference;
}

/// Where the checkpoint's columns are, as a weight; null for the natural order.
FlatSymbolRefAttr ModelBuilder::columnOrder(StringRef weight) {
  const checkpoint::TensorInfo *tensor = checkpoint.find(weight);
  ArrayRef<int32_t> order;
  if (tensor)
    order = checkpoint.columnOrder(*tensor);
  if (order.empty())
    return {};
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(function);
  auto type =
      RankedTensorType::get({int64_t(order.size())}, builder.getI32Type());
  std::string symbol = (weight + ".order").str();
  lm::WeightOp::create(builder, location, symbol, type)
      .setValueAttr(DenseElementsAttr::get(type, order));
  return FlatSymbolRefAttr::get(builder.getContext(), symbol);
}

void ModelBuilder::checkTensor(StringRef name, ArrayRef<int64_t> shape) {
  if (!error.empty() || checkpoint.tensors().empty())
    return;
  const checkpoint::TensorInfo *tensor = checkpoint.find(name);
  if (!tensor)
    error = llvm::formatv("{0}: tensor '{1}' of shape {2} is missing",
                          checkpoint.path(), checkpoint.nameInFile(name),
                          checkpoint::describeShape(shape));
  else if (ArrayRef(tensor->shape) != shape)
    error = llvm::formatv("{0}: tensor '{1}' has shape {2}, the configuration "
                          "asks for {3}",
                          checkpoint.path(), checkpoint.nameInFile(name),
                          checkpoint::describeShape(tensor->shape),
                          checkpoint::describeShape(shape));
}

/// A tensor that nobody reads means that the model computes something else.
void ModelBuilder::checkAllUsed() {
  for (const checkpoint::TensorInfo &tensor : checkpoint.tensors())
    if (error.empty() && !declared.contains(tensor.name))
      error =
          llvm::formatv("{0}: tensor '{1}' has no place in a {2} model of "
                        "this configuration",
                        checkpoint.path(), tensor.name, config().architecture);
}

//===----------------------------------------------------------------------===//
// Steps of a decoder
//===----------------------------------------------------------------------===//

Value ModelBuilder::embed(StringRef weight) {
  FlatSymbolRefAttr table =
      declare(weight + ".weight", {config().vocab, config().hidden});
  return lm::EmbedOp::create(builder, location, rows(config().hidden), tokens,
                             table, lm::KernelAttr());
}

Value ModelBuilder::rmsNorm(Value input, const Twine &weight, int64_t groups) {
  FlatSymbolRefAttr scale =
      declare(weight + ".weight", {columnsOf(input) / groups});
  return lm::RmsNormOp::create(builder, location, input.getType(), input, scale,
                               builder.getF64FloatAttr(config().rmsEps),
                               builder.getI64IntegerAttr(groups),
                               lm::KernelAttr());
}

Value ModelBuilder::linear(Value input, const Twine &weight, int64_t columns,
                           bool bias) {
  std::string name = weight.str();
  FlatSymbolRefAttr matrix =
      declare(name + ".weight", {columns, columnsOf(input)});
  FlatSymbolRefAttr offset;
  if (bias)
    offset = declare(name + ".bias", {columns});
  return lm::LinearOp::create(builder, location, rows(columns), input,
                              /*residual=*/Value(), matrix,
                              /*norm_weight=*/FlatSymbolRefAttr(),
                              /*norm_eps=*/FloatAttr(), offset,
                              columnOrder(name + ".weight"),
                              /*glu=*/lm::GluKindAttr(), lm::KernelAttr());
}

Value ModelBuilder::add(Value lhs, Value rhs) {
  return lm::AddOp::create(builder, location, lhs.getType(), lhs, rhs,
                           lm::KernelAttr());
}

Value ModelBuilder::glu(Value gate, Value up) {
  std::optional<lm::GluKind> kind = lm::symbolizeGluKind(config().activation);
  assert(kind && "the importer normalises activations to these names");
  return lm::GluOp::create(builder, location, gate.getType(), gate, up,
                           lm::GluKindAttr::get(builder.getContext(), *kind),
                           lm::KernelAttr());
}

Value ModelBuilder::attention(Value query, Value key, Value value,
                              int64_t layer) {
  lm::RopeAttr rope = ropeAttr();
  IntegerAttr layerAttr = builder.getI64IntegerAttr(layer);
  Value rotated = lm::RopeOp::create(
      builder, location, key.getType(), key, batch, /*rotary=*/Value(),
      builder.getI64IntegerAttr(config().kvHeads), rope, lm::KernelAttr());
  IntegerAttr zero = builder.getI64IntegerAttr(0);
  cache = lm::KvAppendOp::create(
      builder, location, cache.getType(), rotated, value, cache, batch,
      /*rotary=*/Value(), layerAttr, /*key_offset=*/zero,
      /*value_offset=*/zero,
      /*norm_weight=*/FlatSymbolRefAttr(),
      /*norm_eps=*/FloatAttr(),
      /*rope=*/lm::RopeAttr(),
      /*reference=*/FlatSymbolRefAttr(), lm::KernelAttr());
  IntegerAttr window;
  if (config().slidingWindow && config().slidingLayers[layer])
    window = builder.getI64IntegerAttr(*config().slidingWindow);
  auto attention = lm::AttentionOp::create(
      builder, location, TypeRange{query.getType()}, query, cache, batch,
      /*rotary=*/Value(), layerAttr, builder.getI64IntegerAttr(config().heads),
      builder.getF64FloatAttr(1 / std::sqrt(double(config().headDim))),
      /*query_offset=*/zero, /*norm_weight=*/FlatSymbolRefAttr(),
      /*norm_eps=*/FloatAttr(), rope, window, lm::KernelAttr());
  return attention.getOutput();
}

Value ModelBuilder::logits(Value input, StringRef weight, StringRef tied) {
  FlatSymbolRefAttr matrix =
      declare((config().tiedEmbeddings ? tied : weight) + ".weight",
              {config().vocab, config().hidden});
  return lm::LogitsOp::create(builder, location, rows(config().vocab), input,
                              batch, matrix,
                              /*norm_weight=*/FlatSymbolRefAttr(),
                              /*norm_eps=*/FloatAttr(),
                              /*bias=*/FlatSymbolRefAttr(), lm::KernelAttr());
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

static Attribute scalingAttr(MLIRContext *context, const RopeScaling &rope) {
  switch (rope.kind) {
  case RopeScaling::Kind::None:
    return {};
  case RopeScaling::Kind::Linear:
    return lm::LinearScalingAttr::get(context, rope.factor);
  case RopeScaling::Kind::Llama3:
    return lm::Llama3ScalingAttr::get(context, rope.factor, rope.lowFreqFactor,
                                      rope.highFreqFactor,
                                      rope.originalContext);
  case RopeScaling::Kind::Yarn:
    return lm::YarnScalingAttr::get(context, rope.factor, rope.originalContext,
                                    rope.attentionFactor, rope.betaFast,
                                    rope.betaSlow, rope.truncate);
  case RopeScaling::Kind::Factors:
    return lm::FactorScalingAttr::get(
        context,
        SmallVector<lm::Real>(rope.factors.begin(), rope.factors.end()));
  }
  llvm_unreachable("every kind of scaling has an attribute");
}

lm::RopeAttr ModelBuilder::ropeAttr() {
  MLIRContext *context = builder.getContext();
  lm::DualChunkAttr dual;
  if (const auto &chunk = positions.dualChunk)
    dual = lm::DualChunkAttr::get(context, chunk->chunk, chunk->local,
                                  chunk->original);
  return lm::RopeAttr::get(context, config().ropeTheta, config().headDim,
                           scalingAttr(context, positions.scaling), dual);
}

lm::ModelAttr ModelBuilder::modelAttr() {
  MLIRContext *context = builder.getContext();
  const ModelConfig &model = config();
  const checkpoint::GenerationDefaults &defaults = model.generation;
  auto sampling = lm::SamplingAttr::get(
      context, defaults.doSample, defaults.temperature, defaults.topK,
      defaults.topP, defaults.minP, defaults.repetitionPenalty);
  SmallVector<int64_t> eos(model.eosIds.begin(), model.eosIds.end());
  int64_t bos = model.bosId ? int64_t(*model.bosId) : -1;
  return lm::ModelAttr::get(context, model.architecture, model.name,
                            model.vocab, model.hidden, model.layers,
                            model.heads, model.kvHeads, model.headDim,
                            positions.context, model.context, parameters, eos,
                            bos, model.slidingWindow.value_or(0), sampling);
}

llvm::Expected<OwningOpRef<ModuleOp>> ModelBuilder::finish(Value logits) {
  checkAllUsed();
  if (!error.empty())
    return checkpoint::makeError("{0}", error);
  func::ReturnOp::create(builder, location, logits);
  (*module)->setAttr(lm::LmDialect::modelAttrName, modelAttr());
  if (failed(verify(*module)))
    return checkpoint::makeError("{0}: the module built for it is not valid; "
                                 "this is a bug",
                                 checkpoint.path());
  return std::move(module);
}
