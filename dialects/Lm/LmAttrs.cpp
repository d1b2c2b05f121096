// Verifiers, parts of the syntax, and registration of the lm dialect's
// attributes.

#include "stele/dialects/Lm/LmAttrs.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "stele/dialects/Lm/LmTypes.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace stele::lm;

FailureOr<Real> stele::lm::parseReal(AsmParser &parser) {
  double value;
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseFloat(value))
    return failure();
  if (!std::isfinite(value))
    return parser.emitError(location, "expected a finite number");
  return Real(value);
}

void stele::lm::printReal(AsmPrinter &printer, Real value) {
  printer.printFloat(APFloat(static_cast<double>(value)));
}

static ParseResult parseReals(AsmParser &parser, SmallVector<Real> &values) {
  return parser.parseCommaSeparatedList([&]() -> ParseResult {
    FailureOr<Real> value = parseReal(parser);
    if (failed(value))
      return failure();
    values.push_back(*value);
    return success();
  });
}

static void printReals(AsmPrinter &printer, ArrayRef<Real> values) {
  llvm::interleaveComma(values, printer.getStream(),
                        [&](Real value) { printReal(printer, value); });
}

/// `[2, 7]`, maybe empty.
static ParseResult parseTokenIds(AsmParser &parser, SmallVector<int64_t> &ids) {
  return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] {
    return parser.parseInteger(ids.emplace_back());
  });
}

static void printTokenIds(AsmPrinter &printer, ArrayRef<int64_t> ids) {
  printer << '[';
  llvm::interleaveComma(ids, printer.getStream());
  printer << ']';
}

/// `none`, `top_k(k)`, `top_p(p)` or `top_share(s)`.
static ParseResult parseBlockSelect(AsmParser &parser, BlockSelect &select,
                                    int64_t &topK, Real &topP) {
  StringRef keyword;
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  std::optional<BlockSelect> kind = symbolizeBlockSelect(keyword);
  if (!kind)
    return parser.emitError(location,
                            "expected none, top_k, top_p or top_share, got ")
           << keyword;
  select = *kind;
  topK = 0;
  topP = 0;
  if (select == BlockSelect::None)
    return success();
  if (parser.parseLParen())
    return failure();
  if (select == BlockSelect::TopK) {
    if (parser.parseInteger(topK))
      return failure();
  } else {
    FailureOr<Real> value = parseReal(parser);
    if (failed(value))
      return failure();
    topP = *value;
  }
  return parser.parseRParen();
}

static void printBlockSelect(AsmPrinter &printer, BlockSelect select,
                             int64_t topK, Real topP) {
  printer << stringifyBlockSelect(select);
  if (select == BlockSelect::TopK) {
    printer << "(" << topK << ")";
  } else if (select != BlockSelect::None) {
    printer << "(";
    printReal(printer, topP);
    printer << ")";
  }
}

#include "stele/dialects/Lm/LmEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "stele/dialects/Lm/LmAttrs.cpp.inc"

void LmDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "stele/dialects/Lm/LmAttrs.cpp.inc"
      >();
}

/// Bound of what may be large; sums and small multiples of it do not overflow.
static constexpr int64_t kMaxExtent = int64_t(1) << 40;

using EmitError = function_ref<InFlightDiagnostic()>;

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

static LogicalResult verifyFactor(EmitError emitError, Real factor) {
  if (!(factor >= 1))
    return emitError() << "factor must be at least 1, got " << double(factor)
                       << " (C1)";
  return success();
}

static LogicalResult verifyOriginal(EmitError emitError, int64_t original,
                                    StringRef rule) {
  if (original <= 0)
    return emitError() << "original must be positive, got " << original << " ("
                       << rule << ")";
  return success();
}

LogicalResult LinearScalingAttr::verify(EmitError emitError, Real factor) {
  return verifyFactor(emitError, factor);
}

LogicalResult Llama3ScalingAttr::verify(EmitError emitError, Real factor,
                                        Real low, Real high, int64_t original) {
  if (failed(verifyFactor(emitError, factor)))
    return failure();
  if (!(low > 0 && low < high))
    return emitError() << "0 < low_freq_factor < high_freq_factor must hold, "
                          "got "
                       << double(low) << " and " << double(high) << " (C2)";
  return verifyOriginal(emitError, original, "C3");
}

LogicalResult YarnScalingAttr::verify(EmitError emitError, Real factor,
                                      int64_t original, Real attentionFactor,
                                      Real betaFast, Real betaSlow,
                                      bool truncate) {
  if (failed(verifyFactor(emitError, factor)))
    return failure();
  if (!(betaSlow > 0 && betaSlow < betaFast))
    return emitError() << "0 < beta_slow < beta_fast must hold, got "
                       << double(betaSlow) << " and " << double(betaFast)
                       << " (C2)";
  if (failed(verifyOriginal(emitError, original, "C3")))
    return failure();
  if (!(attentionFactor > 0))
    return emitError() << "attention_factor must be positive, got "
                       << double(attentionFactor) << " (C4)";
  return success();
}

LogicalResult FactorScalingAttr::verify(EmitError emitError,
                                        ArrayRef<Real> values) {
  for (Real value : values)
    if (!(value > 0 && std::isfinite(value)))
      return emitError() << "factors must be finite and positive, got "
                         << double(value) << " (C1)";
  return success();
}

LogicalResult DualChunkAttr::verify(EmitError emitError, int64_t chunk,
                                    int64_t local, int64_t original) {
  if (!(local > 0 && local < chunk))
    return emitError() << "0 < local < chunk must hold, got " << local
                       << " and " << chunk << " (C1)";
  if (original < 0)
    return emitError() << "original must not be negative, got " << original
                       << " (C2)";
  return success();
}

LogicalResult RopeAttr::verify(EmitError emitError, Real theta, int64_t dims,
                               Attribute scaling, DualChunkAttr dualChunk) {
  if (!(theta >= 1))
    return emitError() << "theta must be at least 1, got " << double(theta)
                       << " (C1)";
  if (dims < 2 || dims > 65536 || dims % 2 != 0)
    return emitError() << "dims must be even and in 2..65536, got " << dims
                       << " (C2)";
  if (scaling && !isa<LinearScalingAttr, Llama3ScalingAttr, YarnScalingAttr,
                      FactorScalingAttr>(scaling))
    return emitError() << "scaling must be #lm.linear, #lm.llama3, #lm.yarn or "
                          "#lm.factors, got "
                       << scaling << " (C3)";
  auto factors = dyn_cast_or_null<FactorScalingAttr>(scaling);
  if (factors && int64_t(factors.getValues().size()) != dims / 2)
    return emitError() << "factors must be dims / 2 = " << dims / 2
                       << " values, got " << factors.getValues().size()
                       << " (C4)";
  return success();
}

//===----------------------------------------------------------------------===//
// Sparsity and feature maps
//===----------------------------------------------------------------------===//

LogicalResult BlockSparsityAttr::verify(EmitError emitError, int64_t block,
                                        int64_t local, int64_t adjacent,
                                        int64_t sink, BlockSelect select,
                                        int64_t topK, Real topP,
                                        Estimator estimate, int64_t dense,
                                        int64_t limit) {
  if (!isBlockSize(block))
    return emitError() << "block must be a power of two in 16..1024, got "
                       << block << " (C1)";
  if (local < 1)
    return emitError() << "local must be at least 1, got " << local << " (C2)";
  if (adjacent < 0 || sink < 0 || dense < 0)
    return emitError() << "adjacent, sink and dense must not be negative, got "
                       << adjacent << ", " << sink << " and " << dense
                       << " (C3)";
  if (select == BlockSelect::TopK && topK < 1)
    return emitError() << "top_k must be at least 1, got " << topK << " (C4)";
  bool isShare = select == BlockSelect::TopP || select == BlockSelect::TopShare;
  if (isShare && !(topP > 0 && topP <= 1))
    return emitError() << stringifyBlockSelect(select)
                       << " must be in (0, 1], got " << double(topP) << " (C5)";
  if (limit < 0 || (limit > 0 && !isShare))
    return emitError() << "limit must be 0 for " << stringifyBlockSelect(select)
                       << " and is never negative, got " << limit << " (C6)";
  return success();
}

LogicalResult FeatureMapAttr::verify(EmitError emitError, FeatureMapKind kind,
                                     int64_t features, bool orthogonal,
                                     uint64_t seed) {
  if (features < 1 || features > 65536)
    return emitError() << "features must be in 1..65536, got " << features
                       << " (C1)";
  return success();
}

//===----------------------------------------------------------------------===//
// Weights and kernels
//===----------------------------------------------------------------------===//

LogicalResult SegmentAttr::verify(EmitError emitError, StringRef name,
                                  StringRef source, int64_t rows,
                                  int64_t firstRow) {
  if (name.empty() || source.empty())
    return emitError() << "a segment needs a name and a source, got \"" << name
                       << "\" and \"" << source << "\" (C1)";
  if (rows < 1 || rows > kMaxExtent || firstRow < 0 || firstRow > kMaxExtent)
    return emitError() << "rows must be in 1..2^40 and first_row in 0..2^40, "
                          "got "
                       << rows << " and " << firstRow << " (C2)";
  return success();
}

LogicalResult QuantAttr::verify(EmitError emitError, QuantKind kind,
                                int64_t group, Type scale, Type offset) {
  if (group < 16 || group > 256 || !llvm::isPowerOf2_64(group))
    return emitError() << "group must be a power of two in 16..256, got "
                       << group << " (C1)";
  if (!scale.isF16() && !scale.isF32())
    return emitError() << "scale must be f16 or f32, got " << scale << " (C2)";
  if (offset && !offset.isF16() && !offset.isF32())
    return emitError() << "offset must be f16 or f32, got " << offset
                       << " (C3)";
  return success();
}

QuantAttr QuantAttr::get(MLIRContext *context,
                         const schema::QuantFormat &format) {
  using Stored = schema::QuantFormat::Real;
  auto typeOf = [&](Stored real) -> Type {
    if (real == Stored::kNone)
      return {};
    return real == Stored::kF16 ? Type(Float16Type::get(context))
                                : Type(Float32Type::get(context));
  };
  return get(context, format.bits == 4 ? QuantKind::Int4 : QuantKind::Int8,
             format.group, typeOf(format.scale), typeOf(format.offset));
}

stele::schema::QuantFormat QuantAttr::getFormat() {
  using Stored = stele::schema::QuantFormat::Real;
  auto realOf = [](Type type) {
    return !type ? Stored::kNone : type.isF16() ? Stored::kF16 : Stored::kF32;
  };
  return {getKind() == QuantKind::Int4 ? 4u : 8u, uint32_t(getGroup()),
          realOf(getScale()), realOf(getOffset())};
}

LogicalResult TileAttr::verify(EmitError emitError, StringRef name,
                               int64_t value) {
  if (name.empty())
    return emitError() << "a tile constant needs a name (C1)";
  if (value <= 0)
    return emitError() << "tile constant " << name << " must be positive, got "
                       << value << " (C2)";
  return success();
}

LogicalResult KernelAttr::verify(EmitError emitError, StringRef templateName,
                                 StringRef target, StringAttr row,
                                 ArrayRef<TileAttr> tile) {
  if (templateName.empty() || target.empty())
    return emitError() << "a kernel needs a template and a target, got \""
                       << templateName << "\" and \"" << target << "\" (C1)";
  llvm::StringSet<> names;
  for (TileAttr constant : tile)
    if (!names.insert(constant.getName()).second)
      return emitError() << "tile constant " << constant.getName()
                         << " is named twice (C2)";
  return success();
}

//===----------------------------------------------------------------------===//
// Model
//===----------------------------------------------------------------------===//

LogicalResult SamplingAttr::verify(EmitError emitError, bool sample,
                                   Real temperature, int64_t topK, Real topP,
                                   Real minP, Real repetitionPenalty) {
  if (!(temperature >= 0))
    return emitError() << "temperature must not be negative, got "
                       << double(temperature) << " (C1)";
  if (topK < 0)
    return emitError() << "top_k must not be negative, got " << topK << " (C2)";
  if (!(topP > 0 && topP <= 1))
    return emitError() << "top_p must be in (0, 1], got " << double(topP)
                       << " (C3)";
  if (!(minP >= 0 && minP <= 1))
    return emitError() << "min_p must be in [0, 1], got " << double(minP)
                       << " (C4)";
  if (!(repetitionPenalty > 0))
    return emitError() << "repetition_penalty must be positive, got "
                       << double(repetitionPenalty) << " (C5)";
  return success();
}

LogicalResult ModelAttr::verify(EmitError emitError, StringRef architecture,
                                StringRef name, int64_t vocab, int64_t hidden,
                                int64_t layers, int64_t heads, int64_t kvHeads,
                                int64_t headDim, int64_t contextLength,
                                int64_t trainedContext, int64_t parameters,
                                ArrayRef<int64_t> eos, int64_t bos,
                                int64_t slidingWindow, SamplingAttr sampling) {
  if (architecture.empty())
    return emitError() << "architecture must not be empty (C1)";
  constexpr int64_t kMaxSize = std::numeric_limits<int32_t>::max();
  std::tuple<StringRef, int64_t, int64_t> sizes[] = {
      {"vocab", vocab, kMaxSize},
      {"hidden", hidden, kMaxSize},
      {"layers", layers, kMaxSize},
      {"heads", heads, kMaxSize},
      {"kv_heads", kvHeads, kMaxSize},
      {"head_dim", headDim, kMaxSize},
      {"context_length", contextLength, kMaxExtent},
      {"trained_context", trainedContext, kMaxExtent}};
  for (auto [what, size, most] : sizes)
    if (size < 1 || size > most)
      return emitError() << what << " must be in 1.." << most << ", got "
                         << size << " (C2)";
  if (heads % kvHeads != 0)
    return emitError() << "kv_heads must divide heads, got " << kvHeads
                       << " and " << heads << " (C3)";
  if (slidingWindow < 0)
    return emitError() << "sliding_window must not be negative, got "
                       << slidingWindow << " (C4)";
  for (int64_t id : eos)
    if (id < 0 || id >= vocab)
      return emitError() << "eos id must be in [0, " << vocab << "), got " << id
                         << " (C5)";
  if (bos < -1 || bos >= vocab)
    return emitError() << "bos id must be in [0, " << vocab << ") or -1, got "
                       << bos << " (C5)";
  return success();
}
