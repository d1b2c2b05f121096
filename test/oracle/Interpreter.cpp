// From lm operations to calls of the reference.

#include "Interpreter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/dialects/Lm/LmConstants.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace stele;
namespace ref = stele::lm::reference;
using oracle::Interpreter;

static ref::Activation convert(lm::GluKind kind) {
  switch (kind) {
  case lm::GluKind::Silu:
    return ref::Activation::Silu;
  case lm::GluKind::Gelu:
    return ref::Activation::Gelu;
  case lm::GluKind::GeluTanh:
    return ref::Activation::GeluTanh;
  }
  llvm_unreachable("covered switch");
}

static ref::BlockSparsity convert(lm::BlockSparsityAttr sparsity) {
  ref::BlockSparsity result;
  result.block = sparsity.getBlock();
  result.local = sparsity.getLocal();
  result.adjacent = sparsity.getAdjacent();
  result.sink = sparsity.getSink();
  result.select = static_cast<ref::BlockSparsity::Select>(sparsity.getSelect());
  result.topK = sparsity.getTopK();
  result.topP = sparsity.getTopP();
  result.dense = sparsity.getDense();
  result.limit = sparsity.getLimit();
  result.estimate =
      static_cast<ref::BlockSparsity::Estimator>(sparsity.getEstimate());
  return result;
}

ref::Matrix Interpreter::step(const std::vector<int32_t> &stepTokens,
                              const ref::Batch &stepBatch) {
  tokens = stepTokens;
  batch = stepBatch;
  values.clear();
  selections.clear();
  auto function = module.lookupSymbol<func::FuncOp>("forward");
  for (Operation &op : function.getBody().front()) {
    if (auto end = dyn_cast<func::ReturnOp>(op))
      return value(end.getOperand(0));
    execute(op);
  }
  llvm_unreachable("a function ends with a return");
}

const ref::Matrix &Interpreter::weight(FlatSymbolRefAttr name) {
  auto [entry, isNew] = weights.try_emplace(name.getValue());
  if (isNew)
    entry->second =
        readWeight(module.lookupSymbol<lm::WeightOp>(name.getValue()));
  return entry->second;
}

/// A vector becomes a matrix of one column.
ref::Matrix Interpreter::readWeight(lm::WeightOp op) {
  RankedTensorType type = op.getTensorType();
  int64_t columns = type.getRank() == 2 ? type.getDimSize(1) : 1;
  ref::Matrix result(type.getDimSize(0), columns);
  if (op.getValueAttr()) {
    auto elements = cast<DenseElementsAttr>(op.getValueAttr());
    llvm::copy(elements.getValues<float>(), result.values.begin());
    return result;
  }
  int64_t row = 0;
  for (lm::SegmentAttr segment : op.getSources()) {
    std::vector<float> rows(segment.getRows() * columns);
    const checkpoint::TensorInfo *tensor = checkpoint.find(segment.getSource());
    if (!tensor)
      llvm::report_fatal_error("no tensor " + segment.getSource());
    llvm::cantFail(checkpoint.readRows(
        *tensor, segment.getFirstRow(),
        segment.getFirstRow() + segment.getRows(), rows.data()));
    llvm::copy(rows, result.values.begin() + row * columns);
    row += segment.getRows();
  }
  return result;
}

std::optional<ref::Norm> Interpreter::norm(FlatSymbolRefAttr name,
                                           FloatAttr eps) {
  if (!name)
    return std::nullopt;
  return ref::Norm{weight(name).values, eps.getValueAsDouble()};
}

/// Frequencies come from the prepared table where there is one, so that a wrong
/// one shows.
std::optional<ref::Rope> Interpreter::rope(lm::RotaryOpInterface op) {
  lm::RopeAttr attribute = op.getRopeAttr();
  if (!attribute)
    return std::nullopt;
  ref::Rope result;
  result.attentionFactor = lm::attentionFactor(attribute);
  if (lm::DualChunkAttr dual = attribute.getDualChunk())
    result.dualChunk = {dual.getChunk(), dual.getLocal(), dual.getOriginal()};
  if (op.getRotary()) {
    auto table = op.getRotary().getDefiningOp<lm::RotaryTableOp>();
    llvm::append_range(result.frequencies,
                       weight(table.getFrequenciesAttr()).values);
  } else {
    llvm::append_range(result.frequencies, lm::inverseFrequencies(attribute));
  }
  return result;
}

template <typename OpT> ref::Queries Interpreter::queries(OpT op) {
  ref::Queries result;
  result.query = value(op.getQuery());
  result.heads = op.getHeads();
  result.scale = op.getScale().convertToDouble();
  result.layer = op.getLayer();
  result.offset = op.getQueryOffset();
  result.norm = norm(op.getNormWeightAttr(), op.getNormEpsAttr());
  result.rope = rope(op);
  return result;
}

template <typename OpT> ref::LinearParts Interpreter::linearParts(OpT op) {
  ref::LinearParts parts;
  parts.norm = norm(op.getNormWeightAttr(), op.getNormEpsAttr());
  if (op.getBiasAttr())
    parts.bias = weight(op.getBiasAttr()).values;
  return parts;
}

void Interpreter::execute(Operation &operation) {
  auto setAttended = [&](auto op, ref::Attended attended) {
    values[op.getOutput()] = std::move(attended.output);
    if (op.getLse())
      values[op.getLse()] = std::move(attended.lse);
  };
  auto selectionOf = [&](auto op) {
    return op.getSelection() ? &selections.find(op.getSelection())->second
                             : nullptr;
  };
  llvm::TypeSwitch<Operation *>(&operation)
      .Case([&](lm::WeightRefOp op) {
        values[op.getOutput()] = weight(op.getWeightAttr());
      })
      .Case([&](lm::EmbedOp op) {
        values[op.getOutput()] = ref::embed(tokens, weight(op.getTableAttr()));
      })
      .Case([&](lm::RmsNormOp op) {
        values[op.getOutput()] = ref::rmsNorm(
            value(op.getInput()), *norm(op.getWeightAttr(), op.getEpsAttr()),
            op.getGroups());
      })
      .Case([&](lm::LinearOp op) {
        ref::LinearParts parts = linearParts(op);
        if (op.getResidual())
          parts.residual = value(op.getResidual());
        if (op.getGlu())
          parts.glu = convert(*op.getGlu());
        values[op.getOutput()] = ref::linear(value(op.getInput()),
                                             weight(op.getWeightAttr()), parts);
      })
      .Case([&](lm::GluOp op) {
        values[op.getOutput()] = ref::glu(
            value(op.getGate()), value(op.getUp()), convert(op.getKind()));
      })
      .Case([&](lm::AddOp op) {
        values[op.getOutput()] =
            ref::add(value(op.getLhs()), value(op.getRhs()));
      })
      .Case([&](lm::LogitsOp op) {
        values[op.getOutput()] =
            ref::logits(value(op.getInput()), batch, weight(op.getWeightAttr()),
                        linearParts(op));
      })
      .Case([&](lm::RotaryTableOp) {}) // its readers ask for the frequencies
      .Case([&](lm::RopeOp op) {
        values[op.getOutput()] =
            ref::rope(value(op.getInput()), batch, op.getHeads(), *rope(op));
      })
      .Case([&](lm::KvAppendOp op) {
        cache.heads = op.getCache().getType().getHeads();
        cache.headDim = op.getCache().getType().getHeadDim();
        ref::AppendOptions options;
        options.layer = op.getLayer();
        options.keyOffset = op.getKeyOffset();
        options.valueOffset = op.getValueOffset();
        options.norm = norm(op.getNormWeightAttr(), op.getNormEpsAttr());
        options.rope = rope(op);
        if (op.getReferenceAttr())
          options.reference = weight(op.getReferenceAttr());
        ref::kvAppend(cache, value(op.getKey()), value(op.getValue()), batch,
                      options);
      })
      .Case([&](lm::AttentionOp op) {
        setAttended(op,
                    ref::attention(queries(op), cache, batch, op.getWindow()));
      })
      .Case([&](lm::SelectBlocksOp op) {
        ref::BlockSparsity sparsity = convert(op.getSparsity());
        if (op.getTargetsAttr())
          sparsity.targets = weight(op.getTargetsAttr()).values;
        selections[op.getOutput()] =
            ref::selectBlocks(queries(op), cache, batch, sparsity);
      })
      .Case([&](lm::TailAttentionOp op) {
        ref::Attended attended{value(op.getAttended()),
                               value(op.getAttendedLse())};
        setAttended(op,
                    ref::tailAttention(
                        queries(op), cache, batch,
                        selections.find(op.getSelection())->second, attended,
                        op.getBiasesAttr() ? &weight(op.getBiasesAttr()).values
                                           : nullptr));
      })
      .Case([&](lm::BlockSparseAttentionOp op) {
        setAttended(op, ref::blockSparseAttention(
                            queries(op), cache, batch,
                            convert(op.getSparsity()), selectionOf(op),
                            op.getBias() ? &value(op.getBias()) : nullptr));
      })
      .Case([&](lm::KernelizedAttentionOp op) {
        setAttended(op, ref::kernelizedAttention(
                            queries(op), cache, batch, state,
                            weight(op.getFeaturesAttr()), selectionOf(op)));
      })
      .Case([&](lm::MergeOp op) {
        std::vector<ref::Attended> parts;
        for (auto [output, lse] : llvm::zip(op.getOutputs(), op.getLses()))
          parts.push_back({value(output), value(lse)});
        setAttended(op, ref::merge(parts, op.getHeads()));
      })
      .DefaultUnreachable("an lm operation without a reference");
}
