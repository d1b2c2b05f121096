// Verifiers of the plan dialect's operations, each by itself and against the
// symbols it names. What only the order of a function's operations shows is
// checked in PlanFunction.cpp.

#include "stele/dialects/Plan/PlanOps.h"

#include "mlir/IR/Builders.h"
#include "stele/schema/weight_layout.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace stele;
using namespace stele::plan_ir;

/// The bindings of a launch: `(%buffer, @tensor, ...)`. `bindings` has a symbol
/// for each tensor and cache, and a unit where the next of `buffers` goes.
static ParseResult
parseBindings(OpAsmParser &parser,
              SmallVectorImpl<OpAsmParser::UnresolvedOperand> &buffers,
              ArrayAttr &bindings) {
  SmallVector<Attribute> list;
  auto parseOne = [&]() -> ParseResult {
    OpAsmParser::UnresolvedOperand operand;
    OptionalParseResult isOperand = parser.parseOptionalOperand(operand);
    if (isOperand.has_value()) {
      buffers.push_back(operand);
      list.push_back(UnitAttr::get(parser.getContext()));
      return *isOperand;
    }
    StringAttr name;
    if (parser.parseSymbolName(name))
      return failure();
    list.push_back(FlatSymbolRefAttr::get(name));
    return success();
  };
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, parseOne))
    return failure();
  bindings = ArrayAttr::get(parser.getContext(), list);
  return success();
}

static void printBindings(OpAsmPrinter &printer, Operation *,
                          OperandRange buffers, ArrayAttr bindings) {
  printer << "(";
  auto next = buffers.begin();
  llvm::interleaveComma(bindings, printer, [&](Attribute binding) {
    if (isa<UnitAttr>(binding))
      printer << *next++;
    else
      printer << binding;
  });
  printer << ")";
}

#define GET_OP_CLASSES
#include "stele/dialects/Plan/PlanOps.cpp.inc"

/// The symbol that `op` names, or a message with the rule.
template <typename OpT>
static FailureOr<OpT> lookup(Operation *op, SymbolTableCollection &symbols,
                             SymbolRefAttr name, StringRef what,
                             StringRef rule) {
  if (auto found = symbols.lookupNearestSymbolFrom<OpT>(op, name))
    return found;
  return op->emitOpError() << name << " is not " << what << " (" << rule << ")";
}

static LogicalResult verifyTarget(Operation *op, SymbolTableCollection &symbols,
                                  FlatSymbolRefAttr target, StringRef rule) {
  return lookup<TargetOp>(op, symbols, target, "a target", rule);
}

/// The target and the time that an operation of a function may carry.
static LogicalResult verifyStep(Operation *op, SymbolTableCollection &symbols) {
  // Bounded, so that sums over a function cannot overflow.
  auto time = op->getAttrOfType<IntegerAttr>("modelled_ns");
  if (time && (time.getInt() < 0 || time.getInt() >= int64_t(1) << 40))
    return op->emitOpError()
           << "ns must be in 0..2^40-1, got " << time.getInt();
  auto target = op->getAttrOfType<FlatSymbolRefAttr>("target");
  return target ? verifyTarget(op, symbols, target, "target") : success();
}

int64_t plan_ir::streamOf(Operation *step) {
  auto stream = step->getAttrOfType<IntegerAttr>("stream");
  return stream ? stream.getInt() : 0;
}

//===----------------------------------------------------------------------===//
// What a plan is about
//===----------------------------------------------------------------------===//

LogicalResult TargetOp::verify() {
  if (getIsa().empty())
    return emitOpError() << "isa must not be empty (C1)";
  return success();
}

static bool isPlainFileName(StringRef name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(StringRef("/\0", 2)) == StringRef::npos;
}

LogicalResult SegmentOp::verify() {
  if (getTargets().empty())
    return emitOpError() << "needs at least one target (C1)";
  bool external = getStorage() == Storage::External;
  if (external != bool(getFileAttr()) ||
      (external && !isPlainFileName(*getFile())))
    return emitOpError() << "file must be a plain name, for external storage "
                            "only (C2)";
  if ((getStorage() == Storage::Synthetic) != bool(getSeedAttr()))
    return emitOpError() << "seed is for synthetic storage only (C3)";
  if (getStorage() != Storage::Inline && getKind() != SegmentKind::Weights)
    return emitOpError() << "only weights may be "
                         << stringifyStorage(getStorage()) << ", got "
                         << stringifySegmentKind(getKind()) << " (C4)";
  if (getOffset() && (*getOffset() < 0 || *getOffset() % 4096 != 0))
    return emitOpError() << "offset must be a multiple of 4096, got "
                         << *getOffset() << " (C6)";
  if (getSha256() && (!external || getSha256()->size() != 64 ||
                      !llvm::all_of(*getSha256(), llvm::isHexDigit)))
    return emitOpError()
           << "sha256 must be 64 hexadecimal digits, for external "
              "storage only (C7)";
  return success();
}

/// C5 of plan.segment.
static LogicalResult verifyTensorsOf(SegmentOp segment) {
  SmallVector<TensorOp> tensors;
  for (auto tensor : segment->getBlock()->getOps<TensorOp>())
    if (tensor.getSegmentAttr().getAttr() == segment.getSymNameAttr())
      tensors.push_back(tensor);
  llvm::sort(tensors, [](TensorOp a, TensorOp b) {
    return a.getOffset() < b.getOffset();
  });
  int64_t end = 0;
  for (TensorOp tensor : tensors) {
    if (tensor.getOffset() < end || tensor.getOffset() % 64 != 0)
      return tensor.emitOpError()
             << "offset must be a multiple of 64 from " << end << " on, got "
             << tensor.getOffset() << " (C5 of plan.segment)";
    end = tensor.getOffset() + tensor.getLength();
    if (segment.getLength() && end > int64_t(*segment.getLength()))
      return tensor.emitOpError()
             << "ends at " << end << ", past the segment's "
             << *segment.getLength() << " bytes (C5 of plan.segment)";
  }
  return success();
}

LogicalResult SegmentOp::verifySymbolUses(SymbolTableCollection &symbols) {
  for (auto target : getTargets().getAsRange<FlatSymbolRefAttr>())
    if (failed(verifyTarget(*this, symbols, target, "C1")))
      return failure();
  return verifyTensorsOf(*this);
}

/// Bytes that a matrix [first dimension, product of the rest] needs.
static std::optional<int64_t> packedBytes(RankedTensorType type,
                                          lm::QuantAttr quant,
                                          const schema::WeightLayout &layout) {
  uint64_t columns = 1;
  for (int64_t size : type.getShape().drop_front()) {
    std::optional<uint64_t> product =
        llvm::checkedMulUnsigned(columns, uint64_t(size));
    if (!product)
      return std::nullopt;
    columns = *product;
  }
  std::optional<uint64_t> size =
      quant ? schema::PackedBytes(layout, quant.getFormat(), type.getDimSize(0),
                                  columns)
            : schema::PackedElements(layout, type.getDimSize(0), columns);
  if (!size || *size > uint64_t(INT64_MAX))
    return std::nullopt;
  return quant ? int64_t(*size) : storedBytes(type.getElementType(), *size);
}

LogicalResult TensorOp::verify() {
  RankedTensorType type = getTensorType();
  if (!type.hasStaticShape() || type.getRank() < 1 || type.getRank() > 4 ||
      type.getNumElements() == 0)
    return emitOpError() << "type must be static with 1 to 4 dimensions, got "
                         << type << " (C1)";
  StringRef name = getLayout();
  const schema::WeightLayout *layout =
      schema::FindWeightLayout({name.data(), name.size()});
  if (!layout)
    return emitOpError() << "layout " << getLayoutAttr()
                         << " is not in runtime/schema/weight_layout.h (C2)";
  std::optional<int64_t> bytes = packedBytes(type, getQuantAttr(), *layout);
  if (!bytes)
    return emitOpError() << "type and quant do not fit layout "
                         << getLayoutAttr() << " (C3)";
  if (*bytes != getLength())
    return emitOpError() << "length must be " << *bytes
                         << " for this type and layout, got " << getLength()
                         << " (C3)";
  if (getSegmentsAttr() && getValueAttr())
    return emitOpError() << "has both segments and a value (C4)";
  return success();
}

LogicalResult TensorOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<SegmentOp> segment = lookup<SegmentOp>(
      *this, symbols, getSegmentAttr(), "a segment of weights", "C5");
  if (failed(segment))
    return failure();
  if (segment->getKind() != SegmentKind::Weights)
    return emitOpError() << getSegmentAttr() << " holds no weights but "
                         << stringifySegmentKind(segment->getKind()) << " (C5)";
  return success();
}

LogicalResult KvCacheOp::verify() {
  if (getLayers() <= 0 || getSlots() < 0 || getSlots() > 1 << 24)
    return emitOpError() << "layers must be positive and slots in 0..16777216, "
                            "got "
                         << getLayers() << " and " << getSlots() << " (C1)";
  PagingAttr paging = getPagingAttr();
  if (getPage().getFeatures() != 0 &&
      (getSlots() != 0 || getTransient() || paging))
    return emitOpError() << "states are never moved into slots, nor transient, "
                            "nor paged (C3)";
  if (!paging)
    return success();
  if (getTransient())
    return emitOpError() << "a paged cache is not transient (C4)";
  if (paging.getGrid() % getPage().getBlock() != 0)
    return emitOpError() << "grid must be a multiple of the block of "
                         << getPage().getBlock() << ", got " << paging.getGrid()
                         << " (C4)";
  std::optional<int64_t> bytes = getPage().getRecordBytes(paging.getWarm());
  if (!bytes)
    return emitOpError() << "pages of " << getPage().getType()
                         << " cannot be packed as " << paging.getWarm()
                         << " (C4)";
  if (paging.getWarmBytes() != *bytes)
    return emitOpError() << "warm_bytes must be a record's " << *bytes
                         << ", got " << paging.getWarmBytes() << " (C4)";
  return success();
}

/// C5 of plan.kv_cache: an entry that makes `to` bytes of `from`.
static LogicalResult verifyCodec(KvCacheOp cache,
                                 SymbolTableCollection &symbols,
                                 SymbolRefAttr name, int64_t from, int64_t to) {
  FailureOr<EntryOp> entry =
      lookup<EntryOp>(cache, symbols, name, "an entry", "C5");
  if (failed(entry))
    return failure();
  auto executable = cast<ExecutableOp>((*entry)->getParentOp());
  if (executable.getTargetAttr() != cache.getTargetAttr())
    return cache.emitOpError()
           << name << " is code for " << executable.getTargetAttr()
           << ", the cache is for " << cache.getTargetAttr() << " (C5)";
  auto buffer = [&](Access access, int64_t bytes) {
    return ParameterAttr::get(cache.getContext(), BindingKind::Buffer, access,
                              /*in_place=*/false, bytes, /*per_token=*/0,
                              /*per_logit_row=*/0, PageShapeAttr());
  };
  Attribute wanted[] = {buffer(Access::Read, from), buffer(Access::Write, to)};
  if (entry->getParams().getValue() == ArrayRef(wanted) &&
      entry->getImmediates().empty() && entry->getScratch() == 0 &&
      entry->getShared() == 0)
    return success();
  return cache.emitOpError() << name << " must take " << wanted[0] << " and "
                             << wanted[1] << " and nothing else (C5)";
}

LogicalResult KvCacheOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyTarget(*this, symbols, getTargetAttr(), "C2")))
    return failure();
  PagingAttr paging = getPagingAttr();
  if (!paging)
    return success();
  if (paging.getPack().getRootReference() !=
      paging.getUnpack().getRootReference())
    return emitOpError() << paging.getPack() << " and " << paging.getUnpack()
                         << " must be of one executable (C5)";
  int64_t hot = getPage().getPageBytes(), warm = paging.getWarmBytes();
  if (failed(verifyCodec(*this, symbols, paging.getPack(), hot, warm)))
    return failure();
  return verifyCodec(*this, symbols, paging.getUnpack(), warm, hot);
}

LogicalResult ExecutableOp::verify() {
  for (Operation &op : getBody().front())
    if (!isa<EntryOp>(op))
      return emitOpError() << "holds " << op.getName()
                           << ", which is no plan.entry (C3)";
  return success();
}

LogicalResult ExecutableOp::verifySymbolUses(SymbolTableCollection &symbols) {
  Operation *parent = (*this)->getParentOp();
  if (!symbols.lookupSymbolIn(parent, getTargetAttr()))
    return emitOpError() << getTargetAttr() << " is not a target (C1)";
  auto segment = dyn_cast_or_null<SegmentOp>(
      symbols.lookupSymbolIn(parent, getSegmentAttr()));
  if (!segment || segment.getKind() != SegmentKind::Executable ||
      !llvm::is_contained(segment.getTargets(), getTargetAttr()))
    return emitOpError() << getSegmentAttr()
                         << " is not an executable segment for "
                         << getTargetAttr() << " (C2)";
  return success();
}

LogicalResult EntryOp::verify() {
  if (getTokenLimit() < 0 || getContextLimit() < 0 || getScratch() < 0)
    return emitOpError() << "token_limit, context_limit and scratch must not "
                            "be negative, got "
                         << getTokenLimit() << ", " << getContextLimit()
                         << " and " << getScratch() << " (C1)";
  // Bounded, so that its product with the tokens cannot overflow.
  if (getShared() < 0 || getShared() > 1 << 20)
    return emitOpError() << "shared must be in 0..1048576, got " << getShared()
                         << " (C1)";
  return success();
}

//===----------------------------------------------------------------------===//
// Operations of a function
//===----------------------------------------------------------------------===//

LogicalResult BufferOp::verify() {
  if (getMaxRows() <= 0 || getRowElements() <= 0)
    return emitOpError() << "rows and elements of a row must be positive, got "
                         << getMaxRows() << " of " << getRowElements()
                         << " (C1)";
  Type type = getElementType();
  bool stored = isa<Float32Type, Float16Type, BFloat16Type>(type) ||
                type.isUnsignedInteger(8) || type.isSignlessInteger(4) ||
                type.isSignlessInteger(8) || type.isSignlessInteger(32) ||
                type.isSignlessInteger(64);
  if (!stored)
    return emitOpError() << "element type must be f32, f16, bf16, i64, i32, "
                            "i8, ui8 or i4, got "
                         << type << " (C2)";
  std::optional<int64_t> elements =
      llvm::checkedMul(int64_t(getMaxRows()), int64_t(getRowElements()));
  if (!elements || !storedBytes(type, *elements))
    return emitOpError() << "size must fit 48 bits, got " << getMaxRows()
                         << " rows of " << getRowElements() << " (C1)";
  return success();
}

void BufferOp::getAsmResultNames(function_ref<void(Value, StringRef)> setName) {
  setName(getBuffer(), getName());
}

int64_t BufferOp::getBytes() {
  return *storedBytes(getElementType(), getMaxRows() * getRowElements());
}

EntryOp LaunchOp::lookupEntry(SymbolTableCollection &symbols) {
  return symbols.lookupNearestSymbolFrom<EntryOp>(*this, getEntryAttr());
}

void LaunchOp::visitBuffers(EntryOp entry,
                            function_ref<void(ParameterAttr, Value)> visit) {
  auto next = getBuffers().begin();
  for (auto [binding, parameter] : llvm::zip(getBindings(), entry.getParams()))
    if (isa<UnitAttr>(binding))
      visit(cast<ParameterAttr>(parameter), *next++);
}

void LaunchOp::visitCaches(
    EntryOp entry, function_ref<void(ParameterAttr, FlatSymbolRefAttr)> visit) {
  for (auto [binding, attr] : llvm::zip(getBindings(), entry.getParams())) {
    auto parameter = cast<ParameterAttr>(attr);
    if (auto cache = dyn_cast<FlatSymbolRefAttr>(binding);
        cache && parameter.getKind() == BindingKind::KvCache)
      visit(parameter, cache);
  }
}

namespace {

/// Checks one launch against the entry that it names.
class LaunchVerifier {
public:
  LaunchVerifier(LaunchOp launch, EntryOp entry, SymbolTableCollection &symbols)
      : launch(launch), entry(entry),
        function(cast<FunctionOp>(launch->getParentOp())), symbols(symbols) {}

  LogicalResult run() {
    if (failed(verifyCode()) || failed(verifyBindings()) ||
        failed(verifyAliases()) || failed(verifyImmediates()))
      return failure();
    if (entry.getScratch() > function.getScratch())
      return launch.emitOpError() << "needs " << entry.getScratch()
                                  << " bytes of scratch, the function has "
                                  << function.getScratch() << " (C8)";
    if (entry.getShared() * function.getTokens() > function.getShared())
      return launch.emitOpError()
             << "needs " << entry.getShared()
             << " bytes of shared memory for each of " << function.getTokens()
             << " tokens, the function has " << function.getShared() << " (C8)";
    return success();
  }

private:
  LogicalResult verifyCode() {
    auto executable = cast<ExecutableOp>(entry->getParentOp());
    if (executable.getTargetAttr() == function.getTargetAttr())
      return success();
    return launch.emitOpError()
           << launch.getEntryAttr() << " is code for "
           << executable.getTargetAttr() << ", the function's target is "
           << function.getTargetAttr() << " (C1)";
  }

  LogicalResult verifyBindings() {
    size_t buffers = llvm::count_if(
        launch.getBindings(), [](Attribute a) { return isa<UnitAttr>(a); });
    if (launch.getBindings().size() != entry.getParams().size() ||
        buffers != launch.getBuffers().size())
      return launch.emitOpError()
             << "binds " << launch.getBindings().size() << " values, the entry "
             << "has " << entry.getParams().size() << " parameters (C2)";
    auto buffer = launch.getBuffers().begin();
    for (auto [index, binding] : llvm::enumerate(launch.getBindings())) {
      auto parameter = cast<ParameterAttr>(entry.getParams()[index]);
      LogicalResult result =
          isa<UnitAttr>(binding)
              ? verifyBuffer(index, parameter, *buffer++)
              : verifySymbol(index, parameter,
                             dyn_cast<FlatSymbolRefAttr>(binding));
      if (failed(result))
        return failure();
    }
    return success();
  }

  InFlightDiagnostic wrongKind(size_t index, ParameterAttr parameter) {
    return launch.emitOpError()
           << "binding " << index << " must be a "
           << stringifyBindingKind(parameter.getKind()) << " (C2)";
  }

  LogicalResult verifySize(size_t index, ParameterAttr parameter,
                           int64_t bytes) {
    int64_t needed = parameter.getBytes() +
                     parameter.getPerToken() * function.getTokens() +
                     parameter.getPerLogitRow() * function.getLogitRows();
    if (bytes >= needed)
      return success();
    return launch.emitOpError()
           << "binding " << index << " has " << bytes << " bytes, the entry "
           << "needs " << needed << " (C3)";
  }

  LogicalResult verifyBuffer(size_t index, ParameterAttr parameter,
                             Value buffer) {
    if (parameter.getKind() != BindingKind::Buffer)
      return wrongKind(index, parameter);
    auto definition = buffer.getDefiningOp<BufferOp>();
    return verifySize(index, parameter, definition.getBytes());
  }

  LogicalResult verifySymbol(size_t index, ParameterAttr parameter,
                             FlatSymbolRefAttr name) {
    Operation *symbol =
        name ? symbols.lookupNearestSymbolFrom(launch, name) : nullptr;
    if (auto tensor = dyn_cast_or_null<TensorOp>(symbol);
        tensor && parameter.getKind() == BindingKind::Tensor)
      return verifyTensor(index, parameter, tensor);
    if (auto cache = dyn_cast_or_null<KvCacheOp>(symbol);
        cache && parameter.getKind() == BindingKind::KvCache)
      return verifyCache(index, parameter, cache);
    return wrongKind(index, parameter);
  }

  LogicalResult verifyTensor(size_t index, ParameterAttr parameter,
                             TensorOp tensor) {
    auto segment = symbols.lookupNearestSymbolFrom<SegmentOp>(
        launch, tensor.getSegmentAttr());
    if (segment &&
        !llvm::is_contained(segment.getTargets(), function.getTargetAttr()))
      return launch.emitOpError()
             << "binding " << index << " is a tensor of "
             << segment.getSymName() << ", which is not for "
             << function.getTargetAttr() << " (C7)";
    return verifySize(index, parameter, tensor.getLength());
  }

  LogicalResult verifyCache(size_t index, ParameterAttr parameter,
                            KvCacheOp cache) {
    if (cache.getPage() == parameter.getCache() &&
        cache.getTargetAttr() == function.getTargetAttr())
      return success();
    return launch.emitOpError()
           << "binding " << index << " is a cache of " << cache.getPage()
           << " for " << cache.getTargetAttr() << ", the entry takes "
           << parameter.getCache() << " for " << function.getTargetAttr()
           << " (C4)";
  }

  LogicalResult verifyAliases() {
    SmallVector<std::pair<ParameterAttr, Value>> uses;
    launch.visitBuffers(entry, [&](ParameterAttr parameter, Value buffer) {
      uses.emplace_back(parameter, buffer);
    });
    for (size_t w = 0; w < uses.size(); ++w) {
      if (!writes(uses[w].first.getAccess()))
        continue;
      for (size_t r = 0; r < uses.size(); ++r)
        if (r != w && uses[r].second == uses[w].second &&
            !uses[r].first.getInPlace())
          return launch.emitOpError()
                 << "binds the buffer that it writes a second time, and the "
                    "entry does not work in place there (C5)";
    }
    return success();
  }

  LogicalResult verifyImmediates() {
    if (launch.getImmediates().size() != entry.getImmediates().size())
      return launch.emitOpError() << "has " << launch.getImmediates().size()
                                  << " immediates, the entry takes "
                                  << entry.getImmediates().size() << " (C6)";
    LogicalResult result = success();
    launch.visitCaches(entry, [&](ParameterAttr, FlatSymbolRefAttr name) {
      auto cache = symbols.lookupNearestSymbolFrom<KvCacheOp>(launch, name);
      for (int64_t layer : launch.getImmediates())
        if (succeeded(result) && (layer < 0 || layer >= cache.getLayers()))
          result = launch.emitOpError()
                   << "layer must be below the cache's " << cache.getLayers()
                   << ", got " << layer << " (C6)";
    });
    return result;
  }

  LaunchOp launch;
  EntryOp entry;
  FunctionOp function;
  SymbolTableCollection &symbols;
};

} // namespace

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<EntryOp> entry =
      lookup<EntryOp>(*this, symbols, getEntryAttr(), "an entry", "C1");
  if (failed(entry) || failed(verifyStep(*this, symbols)))
    return failure();
  return LaunchVerifier(*this, *entry, symbols).run();
}

LogicalResult CopyOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (getSource() == getDestination())
    return emitOpError() << "copies a buffer to itself (C1)";
  for (Value buffer : {getSource(), getDestination()})
    if (int64_t bytes = buffer.getDefiningOp<BufferOp>().getBytes();
        getLength() <= 0 || getLength() > bytes)
      return emitOpError() << "length must be in 1.." << bytes << ", got "
                           << getLength() << " (C2)";
  return verifyStep(*this, symbols);
}

/// C1 of the operations that move pages.
template <typename OpT>
static LogicalResult verifyLayer(OpT op, SymbolTableCollection &symbols) {
  FailureOr<KvCacheOp> cache =
      lookup<KvCacheOp>(op, symbols, op.getCacheAttr(), "a KV cache", "C1");
  if (failed(cache))
    return failure();
  if (op.getLayer() < 0 || op.getLayer() >= cache->getLayers())
    return op.emitOpError()
           << "layer must be below the cache's " << cache->getLayers()
           << ", got " << op.getLayer() << " (C1)";
  if (!cache->getPagingAttr())
    return op.emitOpError() << op.getCacheAttr() << " is not paged (C1)";
  return verifyStep(op, symbols);
}

LogicalResult SelectPagesOp::verify() {
  if (getSlots() <= 0)
    return emitOpError() << "slots must be positive, got " << getSlots()
                         << " (C2)";
  return success();
}

LogicalResult SelectPagesOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyLayer(*this, symbols);
}

LogicalResult PageInOp::verify() {
  if (getSlots() <= 0 || getFirstSlot() < 0)
    return emitOpError() << "slots must be positive and the first not "
                            "negative, got "
                         << getSlots() << " and " << getFirstSlot() << " (C2)";
  return success();
}

LogicalResult PageInOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyLayer(*this, symbols);
}

LogicalResult PageOutOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyLayer(*this, symbols)))
    return failure();
  auto cache =
      symbols.lookupNearestSymbolFrom<KvCacheOp>(*this, getCacheAttr());
  int64_t blocks = cache.getPaging()->getGrid() / cache.getPage().getBlock();
  int64_t heads = cache.getPage().getHeads();
  std::optional<int64_t> needed = llvm::checkedMul(heads, blocks);
  if (needed && int64_t(getMaxPages()) >= *needed)
    return success();
  return emitOpError() << "pages must be at least " << heads << " heads of "
                       << blocks << " blocks, got " << getMaxPages() << " (C2)";
}

LogicalResult SignalOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyStep(*this, symbols);
}

LogicalResult WaitOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyStep(*this, symbols);
}

LogicalResult CollectiveOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyStep(*this, symbols);
}

LogicalResult ReturnOp::verify() {
  if (getNames().size() != getBuffers().size())
    return emitOpError() << "has " << getNames().size() << " names for "
                         << getBuffers().size() << " buffers (C1)";
  llvm::StringSet<> seen;
  for (auto name : getNames().getAsRange<StringAttr>())
    if (!seen.insert(name).second)
      return emitOpError() << "names " << name << " twice (C1)";
  for (Value buffer : getBuffers())
    if (buffer.getDefiningOp<BufferOp>().getRole() != BufferRole::Output)
      return emitOpError() << "buffer "
                           << buffer.getDefiningOp<BufferOp>().getNameAttr()
                           << " must have the role output (C2)";
  return success();
}
