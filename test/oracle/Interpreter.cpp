// See Interpreter.h.
#include "Interpreter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace stele;
using namespace stele::oracle;
namespace ref = stele::lm::reference;

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

static ref::RopeScaling scalingOf(lm::RopeAttr rope) {
  ref::RopeScaling scaling;
  llvm::TypeSwitch<Attribute>(rope.getScaling())
      .Case([&](lm::LinearScalingAttr linear) {
        scaling.kind = ref::RopeScaling::Linear;
        scaling.factor = linear.getFactor();
      })
      .Case([&](lm::Llama3ScalingAttr llama3) {
        scaling.kind = ref::RopeScaling::Llama3;
        scaling.factor = llama3.getFactor();
        scaling.lowFreqFactor = llama3.getLowFreqFactor();
        scaling.highFreqFactor = llama3.getHighFreqFactor();
        scaling.original = llama3.getOriginal();
      })
      .Case([&](lm::YarnScalingAttr yarn) {
        scaling.kind = ref::RopeScaling::Yarn;
        scaling.factor = yarn.getFactor();
        scaling.original = yarn.getOriginal();
        scaling.betaFast = yarn.getBetaFast();
        scaling.betaSlow = yarn.getBetaSlow();
        scaling.truncate = yarn.getTruncate();
      })
      .Case([&](lm::FactorScalingAttr factors) {
        scaling.kind = ref::RopeScaling::Factors;
        scaling.factors.assign(factors.getValues().begin(),
                               factors.getValues().end());
      });
  return scaling;
}

static std::optional<ref::Rope> ropeOf(lm::RopeAttr attribute) {
  if (!attribute)
    return std::nullopt;
  ref::Rope rope;
  ref::RopeScaling scaling;
  if (attribute.getScaling())
    scaling = scalingOf(attribute);
  rope.frequencies =
      ref::ropeFrequencies(attribute.getTheta(), attribute.getDims(), scaling);
  if (auto yarn =
          llvm::dyn_cast_or_null<lm::YarnScalingAttr>(attribute.getScaling()))
    rope.attentionFactor = yarn.getAttentionFactor();
  return rope;
}

static ref::Activation activationOf(lm::GluKind kind) {
  switch (kind) {
  case lm::GluKind::Silu:
    return ref::Activation::Silu;
  case lm::GluKind::Gelu:
    return ref::Activation::Gelu;
  case lm::GluKind::GeluTanh:
    return ref::Activation::GeluTanh;
  }
  llvm_unreachable("every kind has an activation");
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

llvm::Error Interpreter::readWeight(lm::WeightOp op, Matrix &out) {
  RankedTensorType type = op.getTensorType();
  int64_t rows = type.getDimSize(0);
  int64_t columns = type.getRank() == 2 ? type.getDimSize(1) : 1;
  out = Matrix(rows, columns);
  if (ElementsAttr value = op.getValueAttr()) {
    for (auto [to, from] :
         llvm::zip_equal(out.values, value.getValues<APFloat>()))
      to = from.convertToDouble();
    return llvm::Error::success();
  }
  auto to = out.values.begin();
  for (lm::SegmentAttr segment : op.getSources()) {
    const checkpoint::TensorInfo *tensor = checkpoint.find(segment.getSource());
    if (!tensor)
      return checkpoint::makeError("no tensor '{0}'", segment.getSource());
    std::vector<float> values(segment.getRows() * columns);
    if (llvm::Error error = checkpoint.readRows(
            *tensor, segment.getFirstRow(),
            segment.getFirstRow() + segment.getRows(), values.data()))
      return error;
    to = std::copy(values.begin(), values.end(), to);
  }
  return llvm::Error::success();
}

llvm::Expected<ref::Matrix> Interpreter::weight(FlatSymbolRefAttr name) {
  auto [it, isNew] = weights.try_emplace(name.getValue().str());
  if (isNew)
    if (llvm::Error error = readWeight(
            symbols.lookup<lm::WeightOp>(name.getAttr()), it->second))
      return std::move(error);
  return it->second;
}

llvm::Error Interpreter::readNorm(FlatSymbolRefAttr name, FloatAttr eps,
                                  std::optional<ref::Norm> &out) {
  if (!name)
    return llvm::Error::success();
  auto matrix = weight(name);
  if (!matrix)
    return matrix.takeError();
  out = ref::Norm{std::move(matrix->values), eps.getValueAsDouble()};
  return llvm::Error::success();
}

llvm::Error Interpreter::readBias(FlatSymbolRefAttr name,
                                  std::optional<ref::Vector> &out) {
  if (!name)
    return llvm::Error::success();
  auto matrix = weight(name);
  if (!matrix)
    return matrix.takeError();
  out = std::move(matrix->values);
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

llvm::Error Interpreter::runLinear(lm::LinearOp op) {
  auto matrix = weight(op.getWeightAttr());
  if (!matrix)
    return matrix.takeError();
  ref::LinearParts parts;
  if (llvm::Error error =
          readNorm(op.getNormWeightAttr(), op.getNormEpsAttr(), parts.norm))
    return error;
  if (llvm::Error error = readBias(op.getBiasAttr(), parts.bias))
    return error;
  if (op.getResidual())
    parts.residual = value(op.getResidual());
  if (op.getGlu())
    parts.glu = activationOf(*op.getGlu());
  values[op.getOutput()] = ref::linear(value(op.getInput()), *matrix, parts);
  return llvm::Error::success();
}

llvm::Error Interpreter::runAppend(lm::KvAppendOp op) {
  ref::AppendOptions options;
  options.layer = op.getLayer();
  options.keyOffset = op.getKeyOffset();
  options.valueOffset = op.getValueOffset();
  options.rope = ropeOf(op.getRopeAttr());
  if (llvm::Error error =
          readNorm(op.getNormWeightAttr(), op.getNormEpsAttr(), options.norm))
    return error;
  lm::KvCacheType type = op.getCache().getType();
  cache.heads = type.getHeads();
  cache.headDim = type.getHeadDim();
  ref::kvAppend(cache, value(op.getKey()), value(op.getValue()), batch,
                options);
  return llvm::Error::success();
}

llvm::Error Interpreter::runAttention(lm::AttentionOp op) {
  ref::Queries queries;
  queries.query = value(op.getQuery());
  queries.heads = op.getHeads();
  queries.scale = op.getScale().convertToDouble();
  queries.layer = op.getLayer();
  queries.offset = op.getQueryOffset();
  queries.rope = ropeOf(op.getRopeAttr());
  if (llvm::Error error =
          readNorm(op.getNormWeightAttr(), op.getNormEpsAttr(), queries.norm))
    return error;
  std::optional<int64_t> window;
  if (op.getWindow())
    window = *op.getWindow();
  ref::Attended attended = ref::attention(queries, cache, batch, window);
  values[op.getOutput()] = std::move(attended.output);
  if (op.getLse())
    values[op.getLse()] = std::move(attended.lse);
  return llvm::Error::success();
}

llvm::Error Interpreter::run(Operation &operation) {
  return llvm::TypeSwitch<Operation *, llvm::Error>(&operation)
      .Case([&](lm::EmbedOp op) -> llvm::Error {
        auto table = weight(op.getTableAttr());
        if (!table)
          return table.takeError();
        values[op.getOutput()] = ref::embed(tokens, *table);
        return llvm::Error::success();
      })
      .Case([&](lm::RmsNormOp op) -> llvm::Error {
        std::optional<ref::Norm> norm;
        if (llvm::Error error =
                readNorm(op.getWeightAttr(), op.getEpsAttr(), norm))
          return error;
        values[op.getOutput()] =
            ref::rmsNorm(value(op.getInput()), *norm, op.getGroups());
        return llvm::Error::success();
      })
      .Case([&](lm::LinearOp op) { return runLinear(op); })
      .Case([&](lm::GluOp op) {
        values[op.getOutput()] = ref::glu(
            value(op.getGate()), value(op.getUp()), activationOf(op.getKind()));
        return llvm::Error::success();
      })
      .Case([&](lm::AddOp op) {
        values[op.getOutput()] =
            ref::add(value(op.getLhs()), value(op.getRhs()));
        return llvm::Error::success();
      })
      .Case([&](lm::RotaryTableOp op) {
        // Readers rotate by their own `rope`; the table says the same.
        values[op.getOutput()] =
            ref::rotaryTable(batch, *ropeOf(op.getRopeAttr()));
        return llvm::Error::success();
      })
      .Case([&](lm::RopeOp op) {
        values[op.getOutput()] =
            ref::rope(value(op.getInput()), batch, op.getHeads(),
                      *ropeOf(op.getRopeAttr()));
        return llvm::Error::success();
      })
      .Case([&](lm::KvAppendOp op) { return runAppend(op); })
      .Case([&](lm::AttentionOp op) { return runAttention(op); })
      .Case([&](lm::LogitsOp op) -> llvm::Error {
        auto matrix = weight(op.getWeightAttr());
        if (!matrix)
          return matrix.takeError();
        ref::LinearParts parts;
        if (llvm::Error error = readNorm(op.getNormWeightAttr(),
                                         op.getNormEpsAttr(), parts.norm))
          return error;
        if (llvm::Error error = readBias(op.getBiasAttr(), parts.bias))
          return error;
        values[op.getOutput()] =
            ref::logits(value(op.getInput()), batch, *matrix, parts);
        return llvm::Error::success();
      })
      .Default([](Operation *op) {
        return checkpoint::makeError("the interpreter has no '{0}'",
                                     op->getName().getStringRef());
      });
}

llvm::Expected<ref::Matrix>
Interpreter::step(const std::vector<int32_t> &stepTokens,
                  const ref::Batch &stepBatch) {
  tokens = stepTokens;
  batch = stepBatch;
  values.clear();
  auto function = module.lookupSymbol<func::FuncOp>("forward");
  for (Operation &op : function.getBody().front()) {
    if (auto result = llvm::dyn_cast<func::ReturnOp>(op))
      return value(result.getOperand(0));
    if (llvm::Error error = run(op))
      return std::move(error);
  }
  return checkpoint::makeError("@forward does not return");
}
