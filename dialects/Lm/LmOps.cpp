// Verifiers and hand-written syntax of the lm operations. Every message names
// the rule that LmOps.td numbers, and the values that break it.

#include "stele/dialects/Lm/LmOps.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>

using namespace mlir;
using namespace stele::lm;

//===----------------------------------------------------------------------===//
// Syntax of lm.merge
//===----------------------------------------------------------------------===//

/// `part type, lse type -> type(, lse type)?`: all parts have the same types.
static ParseResult
parseMergeTypes(OpAsmParser &parser,
                ArrayRef<OpAsmParser::UnresolvedOperand> parts,
                SmallVectorImpl<Type> &partTypes,
                SmallVectorImpl<Type> &lseTypes, Type &output, Type &lse) {
  Type partType, partLseType;
  if (parser.parseType(partType) || parser.parseComma() ||
      parser.parseType(partLseType) || parser.parseArrow() ||
      parser.parseType(output))
    return failure();
  if (succeeded(parser.parseOptionalComma()) && parser.parseType(lse))
    return failure();
  partTypes.assign(parts.size(), partType);
  lseTypes.assign(parts.size(), partLseType);
  return success();
}

static void printMergeTypes(OpAsmPrinter &printer, MergeOp op, OperandRange,
                            TypeRange partTypes, TypeRange lseTypes,
                            Type output, Type lse) {
  printer << partTypes.front() << ", " << lseTypes.front() << " -> " << output;
  if (lse)
    printer << ", " << lse;
}

#include "stele/dialects/Lm/LmInterfaces.cpp.inc"
#define GET_OP_CLASSES
#include "stele/dialects/Lm/LmOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Shared checks
//===----------------------------------------------------------------------===//

static int64_t columns(Value value) {
  return cast<RankedTensorType>(value.getType()).getDimSize(1);
}

/// Checks that `name` is an lm.weight of this shape, -1 standing for any size.
static LogicalResult verifyWeight(Operation *op, SymbolTableCollection &symbols,
                                  FlatSymbolRefAttr name, StringRef role,
                                  StringRef rule, ArrayRef<int64_t> shape) {
  auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(op, name);
  if (!weight)
    return op->emitOpError() << role << " " << name
                             << " does not name an lm.weight (" << rule << ")";
  ArrayRef<int64_t> actual = weight.getTensorType().getShape();
  bool matches = actual.size() == shape.size();
  for (size_t i = 0; matches && i < shape.size(); ++i)
    matches = shape[i] < 0 || shape[i] == actual[i];
  if (matches)
    return success();
  InFlightDiagnostic diagnostic = op->emitOpError();
  diagnostic << role << " " << name << " must have shape [";
  llvm::interleaveComma(shape, diagnostic, [&](int64_t size) {
    if (size < 0)
      diagnostic << "?";
    else
      diagnostic << size;
  });
  diagnostic << "], got [";
  llvm::interleaveComma(actual, diagnostic);
  return diagnostic << "] (" << rule << ")";
}

/// The same of one whose elements kernels read as f32.
static LogicalResult verifyFloats(Operation *op, SymbolTableCollection &symbols,
                                  FlatSymbolRefAttr name, StringRef role,
                                  StringRef rule, ArrayRef<int64_t> shape) {
  if (failed(verifyWeight(op, symbols, name, role, rule, shape)))
    return failure();
  auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(op, name);
  if (weight.getTensorType().getElementType().isF32() && !weight.getQuantAttr())
    return success();
  return op->emitOpError() << role << " " << name << " must be of f32 (" << rule
                           << ")";
}

static LogicalResult verifyEps(Operation *op, const APFloat &eps,
                               StringRef rule) {
  if (eps.isFinite() && !eps.isNegative())
    return success();
  return op->emitOpError() << "epsilon must be finite and not negative, got "
                           << eps.convertToDouble() << " (" << rule << ")";
}

/// Norm prologues: weight and epsilon come together, epsilon is sane.
template <typename OpT>
static LogicalResult verifyNorm(OpT op, StringRef pairRule, StringRef epsRule) {
  if (bool(op.getNormWeightAttr()) != bool(op.getNormEpsAttr()))
    return op.emitOpError() << "norm_weight and norm_eps must come together ("
                            << pairRule << ")";
  if (op.getNormEpsAttr())
    return verifyEps(op, op.getNormEpsAttr().getValue(), epsRule);
  return success();
}

template <typename OpT>
static LogicalResult verifyNormWeight(OpT op, SymbolTableCollection &symbols,
                                      StringRef rule, int64_t width) {
  if (!op.getNormWeightAttr())
    return success();
  return verifyWeight(op, symbols, op.getNormWeightAttr(), "norm weight", rule,
                      {width});
}

static LogicalResult verifyRotary(Operation *op, RopeAttr rope, Value rotary,
                                  int64_t headDim, StringRef dimsRule,
                                  StringRef rotaryRule) {
  if (rope && rope.getDims() > headDim)
    return op->emitOpError()
           << "rope dims must be at most head_dim, got " << rope.getDims()
           << " and " << headDim << " (" << dimsRule << ")";
  if (!rotary)
    return success();
  if (!rope)
    return op->emitOpError() << "rotary needs rope (" << rotaryRule << ")";
  int64_t wanted = rope.getDims() * rope.getParts();
  if (columns(rotary) != wanted)
    return op->emitOpError()
           << "rotary must have " << wanted << " columns, got "
           << columns(rotary) << " (" << rotaryRule << ")";
  return success();
}

/// Whether `heads` heads lie inside a buffer from `offset` on. Both are as the
/// user wrote them: nothing is added or multiplied before it is bounded.
static LogicalResult verifyColumns(Operation *op, StringRef what, Value buffer,
                                   int64_t offset, int64_t heads,
                                   int64_t headDim, StringRef rule) {
  int64_t available = columns(buffer);
  if (offset >= 0 && offset <= available &&
      heads <= (available - offset) / headDim)
    return success();
  return op->emitOpError() << what << " takes " << heads << " heads of "
                           << headDim << " from column " << offset << " of "
                           << available << " (" << rule << ")";
}

static LogicalResult verifyLayer(Operation *op, int64_t layer,
                                 KvCacheType cache) {
  if (layer >= 0 && layer < cache.getLayers())
    return success();
  return op->emitOpError() << "layer must be in [0, " << cache.getLayers()
                           << "), got " << layer << " (C1)";
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

void WeightOp::build(OpBuilder &builder, OperationState &state, StringRef name,
                     RankedTensorType type, ArrayRef<Attribute> segments) {
  ArrayAttr segmentsAttr =
      segments.empty() ? ArrayAttr() : builder.getArrayAttr(segments);
  build(builder, state, builder.getStringAttr(name), TypeAttr::get(type),
        segmentsAttr, /*value=*/ElementsAttr(), /*quant=*/QuantAttr(),
        /*rounding=*/RoundingAttr(), /*row_scale=*/ElementsAttr(),
        /*column_scale=*/ElementsAttr(), /*importance=*/ElementsAttr(),
        /*layout=*/StringAttr());
}

SmallVector<SegmentAttr> WeightOp::getSources() {
  if (getValueAttr())
    return {};
  if (ArrayAttr segments = getSegmentsAttr())
    return llvm::to_vector(segments.getAsRange<SegmentAttr>());
  return {SegmentAttr::get(getContext(), getSymName(), getSymName(),
                           getTensorType().getDimSize(0), /*first_row=*/0)};
}

/// C3, C4.
static LogicalResult verifySegments(WeightOp op) {
  int64_t rows = 0;
  llvm::StringSet<> names;
  for (auto segment : op.getSegmentsAttr().getAsRange<SegmentAttr>()) {
    rows += segment.getRows();
    if (!names.insert(segment.getName()).second)
      return op.emitOpError()
             << "segment " << segment.getName() << " is named twice (C4)";
  }
  if (rows != op.getTensorType().getDimSize(0))
    return op.emitOpError()
           << "segments have " << rows << " rows, the weight has "
           << op.getTensorType().getDimSize(0) << " (C3)";
  return success();
}

/// C8.
static LogicalResult verifyScales(WeightOp op) {
  RankedTensorType type = op.getTensorType();
  int64_t columns = type.getRank() == 2 ? type.getDimSize(1) : -1;
  std::tuple<StringRef, ElementsAttr, int64_t> vectors[] = {
      {"row_scale", op.getRowScaleAttr(), type.getDimSize(0)},
      {"column_scale", op.getColumnScaleAttr(), columns},
      {"importance", op.getImportanceAttr(), columns}};
  for (auto [name, vector, size] : vectors) {
    if (!vector)
      continue;
    ShapedType given = vector.getShapedType();
    if (!given.getElementType().isF32() || given.getRank() != 1 ||
        given.getDimSize(0) != size)
      return op.emitOpError() << name << " of type " << given
                              << " does not fit " << type << " (C8)";
  }
  return success();
}

/// C6, C7, C9.
static LogicalResult verifyQuant(WeightOp op) {
  RankedTensorType type = op.getTensorType();
  bool isFloatMatrix =
      type.getRank() == 2 && isa<FloatType>(type.getElementType());
  if (op.getQuantAttr() && (!isFloatMatrix || op.getValueAttr()))
    return op.emitOpError()
           << "quant is for matrices of the checkpoint, got "
           << (op.getValueAttr() ? "a value of " : "") << type << " (C6)";
  if (op.getRoundingAttr() && !op.getQuantAttr())
    return op.emitOpError() << "rounding needs quant (C7)";
  if (op.getImportanceAttr() && !op.getRoundingAttr())
    return op.emitOpError() << "importance needs rounding (C7)";
  if (op.getQuantAttr() && !op.getRoundingAttr() &&
      (op.getRowScaleAttr() || op.getColumnScaleAttr()))
    return op.emitOpError() << "scales of a quantised weight need rounding, "
                               "its codes would change (C9)";
  return success();
}

LogicalResult WeightOp::verify() {
  RankedTensorType type = getTensorType();
  auto isExtent = [](int64_t size) {
    return size >= 1 && size <= int64_t(1) << 40; // kDynamic is negative
  };
  if (type.getRank() < 1 || type.getRank() > 2 ||
      !llvm::all_of(type.getShape(), isExtent))
    return emitOpError() << "type must have 1 or 2 dimensions of 1..2^40, got "
                         << type << " (C1)";
  if (getSegmentsAttr() && getValueAttr())
    return emitOpError() << "segments and value exclude each other (C2)";
  if (getSegmentsAttr() && failed(verifySegments(*this)))
    return failure();
  if (getValueAttr() && getValueAttr().getShapedType() != type)
    return emitOpError() << "value has type " << getValueAttr().getShapedType()
                         << ", the weight " << type << " (C5)";
  return failure(failed(verifyScales(*this)) || failed(verifyQuant(*this)));
}

LogicalResult WeightRefOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyWeight(*this, symbols, getWeightAttr(), "weight", "C1",
                      cast<RankedTensorType>(getType()).getShape());
}

//===----------------------------------------------------------------------===//
// Token-wise operations
//===----------------------------------------------------------------------===//

LogicalResult EmbedOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyWeight(*this, symbols, getTableAttr(), "table", "C1",
                      {-1, columns(getOutput())});
}

LogicalResult RmsNormOp::verify() {
  if (failed(verifyEps(*this, getEps(), "C1")))
    return failure();
  if (getGroups() <= 0 || columns(getInput()) % getGroups() != 0)
    return emitOpError() << "groups must divide the columns, got "
                         << getGroups() << " and " << columns(getInput())
                         << " (C2)";
  return success();
}

LogicalResult RmsNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyWeight(*this, symbols, getWeightAttr(), "weight", "C3",
                      {columns(getInput()) / getGroups()});
}

/// C9.
static LogicalResult
verifyPermutation(LinearOp op, SymbolTableCollection &symbols, int64_t width) {
  if (!op.getPermutationAttr())
    return success();
  if (failed(verifyWeight(op, symbols, op.getPermutationAttr(), "permutation",
                          "C9", {width})))
    return failure();
  auto order = dyn_cast_or_null<DenseIntElementsAttr>(
      symbols.lookupNearestSymbolFrom<WeightOp>(op, op.getPermutationAttr())
          .getValueAttr());
  llvm::BitVector seen(width);
  if (order && order.getElementType().isSignlessInteger(32))
    for (int32_t column : order.getValues<int32_t>())
      if (column >= 0 && column < width)
        seen.set(column);
  if (!seen.all())
    return op.emitOpError()
           << "permutation " << op.getPermutationAttr()
           << " must hold each of 0.." << width - 1 << " as i32 (C9)";
  return success();
}

LogicalResult LinearOp::verify() {
  if (failed(verifyNorm(*this, "C3", "C4")))
    return failure();
  if (getGlu() && getResidual())
    return emitOpError() << "glu and residual exclude each other (C7)";
  if (getResidual() && getResidual().getType() != getType())
    return emitOpError() << "residual must have type " << getType() << ", got "
                         << getResidual().getType() << " (C8)";
  return success();
}

LogicalResult LinearOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t width = columns(getInput());
  if (failed(verifyWeight(*this, symbols, getWeightAttr(), "weight", "C1",
                          {-1, width})) ||
      failed(verifyNormWeight(*this, symbols, "C3", width)) ||
      failed(verifyPermutation(*this, symbols, width)))
    return failure();
  auto weight =
      symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  int64_t rows = weight.getTensorType().getDimSize(0);
  if (columns(getOutput()) != (getGlu() ? rows / 2 : rows))
    return emitOpError() << "output must have " << (getGlu() ? rows / 2 : rows)
                         << " columns for " << rows << " rows of weight, got "
                         << columns(getOutput()) << " (C2)";
  if (getBiasAttr() &&
      failed(verifyWeight(*this, symbols, getBiasAttr(), "bias", "C5", {rows})))
    return failure();
  if (!getGlu())
    return success();
  SmallVector<SegmentAttr> segments = weight.getSources();
  if (segments.size() != 2 || segments[0].getRows() != segments[1].getRows())
    return emitOpError() << "glu needs a weight of two segments of equal rows, "
                         << getWeightAttr() << " has " << segments.size()
                         << " (C6)";
  return success();
}

LogicalResult AllReduceOp::verify() {
  if (getRanks() <= 0)
    return emitOpError() << "ranks must be positive, got " << getRanks()
                         << " (C1)";
  return success();
}

LogicalResult LogitsOp::verify() { return verifyNorm(*this, "C2", "C3"); }

LogicalResult LogitsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t width = columns(getInput());
  if (failed(verifyWeight(*this, symbols, getWeightAttr(), "weight", "C1",
                          {columns(getOutput()), width})) ||
      failed(verifyNormWeight(*this, symbols, "C2", width)))
    return failure();
  if (!getBiasAttr())
    return success();
  return verifyWeight(*this, symbols, getBiasAttr(), "bias", "C4",
                      {columns(getOutput())});
}

//===----------------------------------------------------------------------===//
// Positions and the cache
//===----------------------------------------------------------------------===//

LogicalResult RotaryTableOp::verify() {
  int64_t wanted = getRope().getDims() * getRope().getParts();
  if (columns(getOutput()) != wanted)
    return emitOpError() << "output must have " << wanted << " columns, got "
                         << columns(getOutput()) << " (C2)";
  return success();
}

LogicalResult RotaryTableOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyWeight(*this, symbols, getFrequenciesAttr(), "frequencies", "C1",
                      {getRope().getDims() / 2});
}

LogicalResult RopeOp::verify() {
  if (getHeads() <= 0 || columns(getInput()) % getHeads() != 0)
    return emitOpError() << "heads must divide the columns, got " << getHeads()
                         << " and " << columns(getInput()) << " (C1)";
  return verifyRotary(*this, getRope(), getRotary(),
                      columns(getInput()) / getHeads(), "C2", "C3");
}

LogicalResult KvAppendOp::verify() {
  KvCacheType cache = getCache().getType();
  if (failed(verifyLayer(*this, getLayer(), cache)) ||
      failed(verifyColumns(*this, "key", getKey(), getKeyOffset(),
                           cache.getHeads(), cache.getHeadDim(), "C2")) ||
      failed(verifyColumns(*this, "value", getValue(), getValueOffset(),
                           cache.getHeads(), cache.getHeadDim(), "C2")) ||
      failed(verifyNorm(*this, "C3", "C4")) ||
      failed(verifyRotary(*this, getRopeAttr(), getRotary(), cache.getHeadDim(),
                          "C5", "C6")))
    return failure();
  if (getReference() && !cache.getKeyIndex())
    return emitOpError("reference needs a cache with a key_index (C7)");
  return success();
}

LogicalResult KvAppendOp::verifySymbolUses(SymbolTableCollection &symbols) {
  KvCacheType cache = getCache().getType();
  if (failed(verifyNormWeight(*this, symbols, "C3", cache.getHeadDim())))
    return failure();
  if (!getReferenceAttr())
    return success();
  return verifyFloats(*this, symbols, getReferenceAttr(), "reference", "C7",
                      {cache.getHeads(), cache.getHeadDim()});
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// C1, C2, C3, C5, C6, C7 of lm.attention, which the others share.
template <typename OpT> static LogicalResult verifyQueries(OpT op) {
  KvCacheType cache = op.getCache().getType();
  int64_t heads = op.getHeads();
  if (failed(verifyLayer(op, op.getLayer(), cache)))
    return failure();
  if (heads <= 0 || heads % cache.getHeads() != 0)
    return op.emitOpError()
           << "heads must be a positive multiple of the cache's, got " << heads
           << " and " << cache.getHeads() << " (C2)";
  if (failed(verifyColumns(op, "query", op.getQuery(), op.getQueryOffset(),
                           heads, cache.getHeadDim(), "C3")))
    return failure();
  const APFloat &scale = op.getScale();
  if (!scale.isFinite() || scale.isNegative() || scale.isZero())
    return op.emitOpError() << "scale must be finite and positive, got "
                            << scale.convertToDouble() << " (C5)";
  if (failed(verifyNorm(op, "C6", "C6")))
    return failure();
  return verifyRotary(op, op.getRopeAttr(), op.getRotary(), cache.getHeadDim(),
                      "C7", "C7");
}

/// A block never straddles a chunk.
static LogicalResult verifyChunkGrid(Operation *op, RopeAttr rope,
                                     int64_t block, StringRef rule) {
  if (!rope || !rope.getDualChunk())
    return success();
  int64_t keys = rope.getDualChunk().getChunkKeys();
  if (keys % block == 0)
    return success();
  return op->emitOpError() << "block must divide chunk - local, got " << block
                           << " and " << keys << " (" << rule << ")";
}

/// C4 and C8 of lm.attention.
template <typename OpT> static LogicalResult verifyAttended(OpT op) {
  int64_t width = op.getHeads() * op.getCache().getType().getHeadDim();
  if (columns(op.getOutput()) != width)
    return op.emitOpError() << "output must have " << width << " columns, got "
                            << columns(op.getOutput()) << " (C4)";
  if (op.getLse() && columns(op.getLse()) != int64_t(op.getHeads()))
    return op.emitOpError()
           << "lse must have " << op.getHeads() << " columns, got "
           << columns(op.getLse()) << " (C8)";
  return success();
}

template <typename OpT>
static LogicalResult verifyQueryNormWeight(OpT op,
                                           SymbolTableCollection &symbols) {
  return verifyNormWeight(op, symbols, "C6",
                          op.getCache().getType().getHeadDim());
}

static LogicalResult verifySelection(Operation *op, SelectionType selection,
                                     KvCacheType cache, int64_t block,
                                     StringRef rule) {
  if (selection.getHeads() != cache.getHeads() || selection.getBlock() != block)
    return op->emitOpError()
           << "selection must have heads = " << cache.getHeads()
           << " and block = " << block << ", got " << selection << " (" << rule
           << ")";
  return success();
}

LogicalResult AttentionOp::verify() {
  if (failed(verifyQueries(*this)) || failed(verifyAttended(*this)))
    return failure();
  if (getWindow() && *getWindow() <= 0)
    return emitOpError() << "window must be positive, got " << *getWindow()
                         << " (C9)";
  return verifyChunkGrid(*this, getRopeAttr(), getCache().getType().getBlock(),
                         "C10");
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyQueryNormWeight(*this, symbols);
}

LogicalResult SelectBlocksOp::verify() {
  int64_t block = getSparsity().getBlock();
  if (failed(verifyQueries(*this)) ||
      failed(verifySelection(*this, getOutput().getType(), getCache().getType(),
                             block, "C8")))
    return failure();
  if (getSparsity().getSelect() == BlockSelect::None)
    return emitOpError() << "sparsity must choose, got none (C9)";
  if (getTargets() && getSparsity().getSelect() != BlockSelect::TopP)
    return emitOpError() << "targets need top_p (C11)";
  return verifyChunkGrid(*this, getRopeAttr(), block, "C10");
}

LogicalResult SelectBlocksOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyQueryNormWeight(*this, symbols)))
    return failure();
  if (!getTargetsAttr())
    return success();
  return verifyFloats(*this, symbols, getTargetsAttr(), "targets", "C11",
                      {getCache().getType().getHeads()});
}

LogicalResult BlockSparseAttentionOp::verify() {
  BlockSparsityAttr sparsity = getSparsity();
  if (failed(verifyQueries(*this)) || failed(verifyAttended(*this)))
    return failure();
  bool chooses = sparsity.getSelect() != BlockSelect::None;
  if (chooses != bool(getSelection()))
    return emitOpError() << "select = "
                         << stringifyBlockSelect(sparsity.getSelect())
                         << (chooses ? " needs a selection (C9)"
                                     : " takes no selection (C9)");
  if (getSelection() &&
      failed(verifySelection(*this, getSelection().getType(),
                             getCache().getType(), sparsity.getBlock(), "C10")))
    return failure();
  if (getBias()) {
    auto bias = cast<RankedTensorType>(getBias().getType());
    if (bias.getDimSize(0) != int64_t(getHeads()) || bias.getDimSize(1) == 0)
      return emitOpError() << "bias must be [" << getHeads()
                           << ", at least 1], got " << bias << " (C11)";
  }
  return verifyChunkGrid(*this, getRopeAttr(), sparsity.getBlock(), "C12");
}

LogicalResult
BlockSparseAttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyQueryNormWeight(*this, symbols);
}

LogicalResult TailAttentionOp::verify() {
  BlockSparsityAttr sparsity = getSparsity();
  if (failed(verifyQueries(*this)) || failed(verifyAttended(*this)) ||
      failed(verifySelection(*this, getSelection().getType(),
                             getCache().getType(), sparsity.getBlock(), "C9")))
    return failure();
  if (sparsity.getSelect() == BlockSelect::None ||
      sparsity.getEstimate() != Estimator::MeanKey)
    return emitOpError("sparsity must choose by mean_key (C10)");
  if (!getCache().getType().getValueIndex())
    return emitOpError("needs a cache with a value_index (C12)");
  return verifyChunkGrid(*this, getRopeAttr(), sparsity.getBlock(), "C11");
}

LogicalResult
TailAttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyQueryNormWeight(*this, symbols)))
    return failure();
  if (!getBiasesAttr())
    return success();
  return verifyFloats(*this, symbols, getBiasesAttr(), "biases", "C13",
                      {int64_t(getHeads())});
}

LogicalResult KernelizedAttentionOp::verify() {
  KvCacheType cache = getCache().getType();
  KernelStateType state = getState().getType();
  if (failed(verifyQueries(*this)) || failed(verifyAttended(*this)))
    return failure();
  auto wanted =
      KernelStateType::get(getContext(), cache.getLayers(), cache.getHeads(),
                           cache.getHeadDim(), getFeatureMap().getFeatures());
  if (state != wanted)
    return emitOpError() << "state must be " << wanted << ", got " << state
                         << " (C9)";
  if (getSelection() && getSelection().getType().getHeads() != cache.getHeads())
    return emitOpError() << "selection must have " << cache.getHeads()
                         << " heads, got "
                         << getSelection().getType().getHeads() << " (C10)";
  if (getRopeAttr() && getRopeAttr().getDualChunk())
    return emitOpError() << "rope must not have dual_chunk, got "
                         << getRopeAttr() << " (C12)";
  return success();
}

LogicalResult
KernelizedAttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyQueryNormWeight(*this, symbols)))
    return failure();
  if (!getFeaturesAttr())
    return success();
  return verifyWeight(
      *this, symbols, getFeaturesAttr(), "features", "C11",
      {getFeatureMap().getFeatures(), getCache().getType().getHeadDim()});
}

LogicalResult MergeOp::verify() {
  if (getOutputs().empty())
    return emitOpError() << "needs at least one part (C1)";
  int64_t heads = getHeads();
  for (auto [part, lse] : llvm::zip(getOutputs(), getLses()))
    if (part.getType() != getOutput().getType() || columns(lse) != heads)
      return emitOpError() << "a part must be " << getOutput().getType()
                           << " with an lse of " << heads << " columns, got "
                           << part.getType() << " and " << lse.getType()
                           << " (C2)";
  if (heads <= 0 || columns(getOutput()) % heads != 0)
    return emitOpError() << "heads must divide the columns, got " << heads
                         << " and " << columns(getOutput()) << " (C3)";
  if (getLse() && columns(getLse()) != heads)
    return emitOpError() << "lse must have " << heads << " columns, got "
                         << columns(getLse()) << " (C4)";
  return success();
}
