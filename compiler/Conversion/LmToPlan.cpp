// stele-convert-lm-to-plan: from what the model computes to when and where.
//
// The module's @forward is walked once per token bucket of the target. What a
// launch binds and what its kernel is made from comes from HostKernels; here
// values become buffers, weights become placed tensors, and equal kernels
// become one entry.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/compiler/Conversion/HostKernels.h"
#include "stele/compiler/Conversion/Passes.h"
#include "stele/compiler/Targets/Targets.h"
#include "stele/dialects/Plan/PlanOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

namespace stele::compiler {
#define GEN_PASS_DEF_CONVERTLMTOPLAN
#include "stele/compiler/Conversion/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;

static constexpr StringLiteral weightsName = "weights";
static constexpr StringLiteral codeName = "code";
static constexpr StringLiteral kernelsName = "kernels";
static constexpr StringLiteral cacheName = "cache";
static constexpr StringLiteral statesName = "states";
static constexpr StringLiteral logitsName = "logits";
static constexpr int64_t tensorAlignment = 64;

namespace {

/// Where the weights' bytes will be: the pass option, parsed.
struct WeightStorage {
  Storage storage;
  std::string file;             // external
  std::optional<uint64_t> seed; // synthetic
};

class Converter {
public:
  Converter(ModuleOp module, const Target &target, WeightStorage storage)
      : module(module), target(target), storage(std::move(storage)),
        builder(module.getBodyRegion()),
        targetRef(FlatSymbolRefAttr::get(module.getContext(), target.name)) {}

  LogicalResult run(func::FuncOp forward);

  int64_t numEntries = 0, numLaunches = 0;

private:
  LogicalResult convertWeights();
  LogicalResult convertCaches(func::FuncOp forward);
  void makeSegments(int64_t weightBytes);
  LogicalResult convertFunction(func::FuncOp forward,
                                const TokenBucket &bucket);
  LogicalResult makeLaunch(Operation *op, const TokenBucket &bucket);
  Value getBuffer(const KernelArgument &argument, Operation *op,
                  const TokenBucket &bucket);
  SymbolRefAttr getEntry(const KernelLaunch &launch, Location loc);
  ParameterAttr makeParameter(const KernelArgument &argument);
  MLIRContext *context() { return builder.getContext(); }

  ModuleOp module;
  const Target &target;
  WeightStorage storage;
  OpBuilder builder;
  FlatSymbolRefAttr targetRef;
  ExecutableOp executable;
  llvm::StringSet<> entries;
  // Of the function being made.
  llvm::DenseMap<Value, Value> buffers; // lm value -> buffer
  llvm::DenseSet<Value> outputs;        // lm values that it returns
  FunctionOp function;
};

struct ConvertLmToPlan : compiler::impl::ConvertLmToPlanBase<ConvertLmToPlan> {
  using ConvertLmToPlanBase::ConvertLmToPlanBase;
  void runOnOperation() override;
};

} // namespace

static bool isActivation(Value value) {
  return isa<RankedTensorType>(value.getType());
}

/// "linear @model.layers.0.mlp.down_proj.weight": for errors and traces.
static std::string makeLabel(Operation *op, const KernelLaunch &launch) {
  std::string label = op->getName().stripDialect().str();
  for (const KernelArgument &argument : launch.arguments)
    if (argument.kind == KernelArgument::Kind::Tensor)
      return label + " @" + argument.weight.getValue().str();
  if (launch.layer)
    label += " layer " + std::to_string(*launch.layer);
  return label;
}

namespace {

/// What the plan calls a KV cache: pages of keys and values, or states.
struct CacheShape {
  StringRef name;
  int64_t layers;
  PageShapeAttr page;
};

} // namespace

/// Nothing for a type that is neither.
static std::optional<CacheShape> cacheShapeOf(Type type) {
  if (auto cache = dyn_cast<lm::KvCacheType>(type))
    return CacheShape{cacheName, cache.getLayers(),
                      PageShapeAttr::get(type.getContext(), cache.getHeads(),
                                         cache.getHeadDim(), cache.getBlock(),
                                         cache.getElementType(),
                                         /*features=*/0, cache.getKeyIndex(),
                                         cache.getValueIndex())};
  if (auto state = dyn_cast<lm::KernelStateType>(type))
    return CacheShape{statesName, state.getLayers(),
                      PageShapeAttr::get(type.getContext(), state.getHeads(),
                                         state.getHeadDim(), /*block=*/0,
                                         Float32Type::get(type.getContext()),
                                         state.getFeatures(),
                                         /*key_index=*/false,
                                         /*value_index=*/false)};
  return std::nullopt;
}

LogicalResult Converter::convertWeights() {
  // Symbols are reused, so every lm.weight goes before its tensor comes.
  int64_t end = 0;
  for (auto weight :
       llvm::make_early_inc_range(module.getOps<lm::WeightOp>())) {
    FailureOr<uint64_t> bytes = storedBytes(weight);
    if (failed(bytes))
      return failure();
    int64_t offset = llvm::alignTo(end, tensorAlignment);
    end = offset + *bytes;
    OpBuilder at(weight);
    // Where the bytes come from has to be said, since the plan forgets lm's
    // rule that a weight without segments is the tensor of its name.
    ArrayAttr segments;
    if (!weight.getValueAttr()) {
      SmallVector<Attribute> sources;
      llvm::append_range(sources, weight.getSources());
      segments = builder.getArrayAttr(sources);
    }
    TensorOp::create(
        at, weight.getLoc(), weight.getSymNameAttr(),
        FlatSymbolRefAttr::get(context(), weightsName),
        builder.getI64IntegerAttr(offset), builder.getI64IntegerAttr(*bytes),
        builder.getStringAttr(weight.getLayout().value_or("rows")), segments,
        weight.getValueAttr(), weight.getQuantAttr(), weight.getRoundingAttr(),
        weight.getRowScaleAttr(), weight.getColumnScaleAttr(),
        weight.getImportanceAttr(), weight.getTypeAttr());
    weight.erase();
  }
  makeSegments(end);
  return success();
}

void Converter::makeSegments(int64_t weightBytes) {
  builder.setInsertionPointToStart(module.getBody());
  Location loc = module.getLoc();
  ArrayAttr targets = builder.getArrayAttr({targetRef});
  TargetOp::create(builder, loc, builder.getStringAttr(target.name),
                   builder.getStringAttr(target.isa),
                   builder.getStrArrayAttr(SmallVector<StringRef>(
                       target.features.begin(), target.features.end())));
  IntegerAttr seed;
  if (storage.seed)
    seed = builder.getIntegerAttr(builder.getIntegerType(64, false),
                                  *storage.seed);
  StringAttr file;
  if (!storage.file.empty())
    file = builder.getStringAttr(storage.file);
  IntegerAttr zero = builder.getI64IntegerAttr(0);
  SegmentOp::create(builder, loc, builder.getStringAttr(weightsName),
                    SegmentKindAttr::get(context(), SegmentKind::Weights),
                    StorageAttr::get(context(), storage.storage), targets, file,
                    seed, builder.getI64IntegerAttr(weightBytes),
                    /*offset=*/nullptr, /*xxh3=*/nullptr, /*sha256=*/nullptr,
                    zero);
  SegmentOp::create(builder, loc, builder.getStringAttr(codeName),
                    SegmentKindAttr::get(context(), SegmentKind::Executable),
                    StorageAttr::get(context(), Storage::Inline), targets,
                    /*file=*/nullptr, /*seed=*/nullptr, /*length=*/nullptr,
                    /*offset=*/nullptr, /*xxh3=*/nullptr, /*sha256=*/nullptr,
                    zero);
}

/// Whether no operation reads keys that an earlier step appended: kernelized
/// attention has the sums over them in its state.
static bool isTransient(func::FuncOp forward) {
  auto readsThePast = [](Operation *op) {
    if (auto kernelized = dyn_cast<lm::KernelizedAttentionOp>(op))
      return kernelized.getSelection() != nullptr;
    return !isa<lm::KvAppendOp, func::ReturnOp>(op) &&
           llvm::any_of(op->getOperandTypes(), llvm::IsaPred<lm::KvCacheType>);
  };
  return llvm::none_of(forward.getBody().getOps(),
                       [&](Operation &op) { return readsThePast(&op); });
}

LogicalResult Converter::convertCaches(func::FuncOp forward) {
  builder.setInsertionPointToEnd(module.getBody());
  llvm::StringSet<> names;
  for (Type type : forward.getArgumentTypes()) {
    std::optional<CacheShape> shape = cacheShapeOf(type);
    if (!shape)
      continue;
    if (!names.insert(shape->name).second)
      return forward.emitOpError("has two arguments of type ")
             << type << ", a plan holds one";
    KvCacheOp::create(builder, forward.getLoc(),
                      builder.getStringAttr(shape->name), targetRef,
                      builder.getI64IntegerAttr(shape->layers), shape->page,
                      /*slots=*/builder.getI64IntegerAttr(0),
                      /*device=*/builder.getI64IntegerAttr(0),
                      isTransient(forward) && isa<lm::KvCacheType>(type)
                          ? builder.getUnitAttr()
                          : UnitAttr(),
                      /*paging=*/nullptr);
  }
  if (names.contains(cacheName))
    return success();
  return forward.emitOpError("has no KV cache among its arguments");
}

ParameterAttr Converter::makeParameter(const KernelArgument &argument) {
  using Kind = KernelArgument::Kind;
  const bool isCache = argument.kind == Kind::KvCache;
  BindingKind kind = isCache                         ? BindingKind::KvCache
                     : argument.kind == Kind::Tensor ? BindingKind::Tensor
                                                     : BindingKind::Buffer;
  // Appending keys leaves those of other tokens as they are.
  Access access = !argument.isWritten ? Access::Read
                  : isCache           ? Access::ReadWrite
                                      : Access::Write;
  PageShapeAttr shape;
  if (isCache)
    shape = cacheShapeOf(argument.value.getType())->page;
  return ParameterAttr::get(context(), kind, access, argument.mayBeInPlace,
                            argument.bytes, argument.bytesPerToken,
                            argument.bytesPerLogitRow, shape);
}

/// The entry for the launch's kernel, made when it is the first of its kind.
SymbolRefAttr Converter::getEntry(const KernelLaunch &launch, Location loc) {
  std::string symbol = launch.instance.symbol();
  if (entries.insert(symbol).second) {
    SmallVector<NamedAttribute> constants;
    for (const auto &[name, value] : launch.instance.ints)
      constants.push_back(
          builder.getNamedAttr(name, builder.getI64IntegerAttr(value)));
    for (const auto &[name, value] : launch.instance.floats)
      constants.push_back(
          builder.getNamedAttr(name, builder.getF64FloatAttr(value)));
    llvm::sort(constants, [](NamedAttribute a, NamedAttribute b) {
      return a.getName().strref() < b.getName().strref();
    });
    SmallVector<Attribute> parameters, immediates;
    for (const KernelArgument &argument : launch.arguments)
      parameters.push_back(makeParameter(argument));
    if (launch.layer)
      immediates.push_back(
          ImmediateKindAttr::get(context(), ImmediateKind::Layer));
    OpBuilder at = OpBuilder::atBlockEnd(&executable.getBody().front());
    EntryOp::create(
        at, loc, builder.getStringAttr(symbol),
        InstanceAttr::get(context(), launch.instance.templateName, constants),
        builder.getArrayAttr(parameters), builder.getArrayAttr(immediates),
        builder.getI64IntegerAttr(launch.tokenLimit),
        /*scratch=*/builder.getI64IntegerAttr(0),
        /*shared=*/builder.getI64IntegerAttr(0),
        builder.getI64IntegerAttr(launch.contextLimit),
        launch.chosenBy.empty() ? StringAttr()
                                : builder.getStringAttr(launch.chosenBy),
        launch.sparsity);
    ++numEntries;
  }
  return SymbolRefAttr::get(context(), kernelsName,
                            FlatSymbolRefAttr::get(context(), symbol));
}

/// The buffer of an argument's value; made, before all operations, when `op` is
/// the one that computes it.
Value Converter::getBuffer(const KernelArgument &argument, Operation *op,
                           const TokenBucket &bucket) {
  Value value = argument.value;
  auto [found, isNew] = buffers.try_emplace(value);
  if (!isNew)
    return found->second;
  // What is not a tensor, a selection, is words to all but its kernels.
  auto type = dyn_cast<RankedTensorType>(value.getType());
  Type element = type ? type.getElementType() : builder.getI32Type();
  int64_t rowElements = type ? type.getDimSize(1)
                             : argument.bytesPerToken / elementBytes(element);
  std::string name =
      (op->getName().stripDialect() + "_" + llvm::Twine(buffers.size() - 1))
          .str();
  auto role = BufferRoleAttr::get(context(), outputs.contains(value)
                                                 ? BufferRole::Output
                                                 : BufferRole::Temporary);
  const bool isLogits = isa<lm::LogitsOp>(op);
  OpBuilder::InsertionGuard guard(builder);
  Block *body = &function.getBody().front();
  auto firstStep = llvm::find_if(
      *body, [](Operation &each) { return !isa<BufferOp>(each); });
  builder.setInsertionPoint(body, firstStep);
  found->second = BufferOp::create(
      builder, op->getLoc(), BufferType::get(context()),
      builder.getStringAttr(name), role,
      builder.getI64IntegerAttr(isLogits ? bucket.logitRows : bucket.tokens),
      builder.getI64IntegerAttr(rowElements), /*placement=*/nullptr,
      TypeAttr::get(element), builder.getI64IntegerAttr(0),
      /*target=*/nullptr);
  return found->second;
}

LogicalResult Converter::makeLaunch(Operation *op, const TokenBucket &bucket) {
  auto kernel = dyn_cast<lm::KernelOpInterface>(op);
  lm::KernelAttr chosen = kernel ? kernel.getKernelAttr() : lm::KernelAttr();
  if (chosen && chosen.getTarget() != target.isa)
    return op->emitOpError("kernel was chosen for ")
           << chosen.getTarget() << ", but the target is " << target.isa;
  FailureOr<KernelLaunch> launch = describeHostLaunch(op);
  if (failed(launch))
    return failure();
  SmallVector<Value> operands;
  SmallVector<Attribute> bindings;
  for (const KernelArgument &argument : launch->arguments) {
    switch (argument.kind) {
    case KernelArgument::Kind::Buffer:
      operands.push_back(getBuffer(argument, op, bucket));
      bindings.push_back(builder.getUnitAttr());
      break;
    case KernelArgument::Kind::Tensor:
      bindings.push_back(argument.weight);
      break;
    case KernelArgument::Kind::KvCache:
      bindings.push_back(FlatSymbolRefAttr::get(
          context(), cacheShapeOf(argument.value.getType())->name));
      break;
    }
  }
  SmallVector<int64_t> immediates;
  if (launch->layer)
    immediates.push_back(*launch->layer);
  SymbolRefAttr entry = getEntry(*launch, op->getLoc());
  IntegerAttr zero = builder.getI64IntegerAttr(0);
  DenseI64ArrayAttr none = builder.getDenseI64ArrayAttr({});
  LaunchOp::create(builder, op->getLoc(),
                   builder.getStringAttr(makeLabel(op, *launch)), entry,
                   operands, builder.getArrayAttr(bindings),
                   builder.getDenseI64ArrayAttr(immediates), none, none, zero,
                   zero, zero, /*target=*/nullptr, /*modelled_ns=*/zero);
  ++numLaunches;
  return success();
}

/// By what name the host reads a result of @forward.
static StringAttr makeOutputName(func::FuncOp forward, unsigned index,
                                 Value value, Value buffer) {
  if (auto given = forward.getResultAttrOfType<StringAttr>(
          index, lm::LmDialect::nameAttrName))
    return given;
  if (value.getDefiningOp<lm::LogitsOp>())
    return StringAttr::get(forward.getContext(), logitsName);
  return cast<BufferOp>(buffer.getDefiningOp()).getNameAttr();
}

LogicalResult Converter::convertFunction(func::FuncOp forward,
                                         const TokenBucket &bucket) {
  buffers.clear();
  outputs.clear();
  Operation *returned = forward.getBody().front().getTerminator();
  for (Value value : returned->getOperands())
    if (isActivation(value))
      outputs.insert(value);

  builder.setInsertionPointToEnd(module.getBody());
  IntegerAttr tokens = builder.getI64IntegerAttr(bucket.tokens);
  IntegerAttr one = builder.getI64IntegerAttr(1);
  IntegerAttr zero = builder.getI64IntegerAttr(0);
  function = FunctionOp::create(
      builder, forward.getLoc(), builder.getStringAttr(bucket.name), targetRef,
      tokens, builder.getI64IntegerAttr(bucket.sequences),
      builder.getI64IntegerAttr(bucket.logitRows), one, one, zero,
      /*arena=*/nullptr, /*scratch=*/zero, /*shared=*/zero);
  builder.setInsertionPointToEnd(&function.getBody().emplaceBlock());

  SmallVector<Attribute> names;
  SmallVector<Value> results;
  for (Operation &op : forward.getBody().front().without_terminator())
    if (!isa<lm::WeightRefOp>(op) && failed(makeLaunch(&op, bucket)))
      return failure();
  for (auto [index, value] : llvm::enumerate(returned->getOperands())) {
    if (!isActivation(value))
      continue;
    Value buffer = buffers.lookup(value);
    if (!buffer)
      return returned->emitOpError("returns a value that no operation of "
                                   "@forward computes");
    names.push_back(makeOutputName(forward, index, value, buffer));
    results.push_back(buffer);
  }
  ReturnOp::create(builder, returned->getLoc(), builder.getArrayAttr(names),
                   results);
  return success();
}

LogicalResult Converter::run(func::FuncOp forward) {
  // Buckets first: describing a launch looks weights up.
  builder.setInsertionPointToEnd(module.getBody());
  executable = ExecutableOp::create(
      builder, module.getLoc(), builder.getStringAttr(kernelsName),
      CodeFormatAttr::get(context(), CodeFormat::Elf),
      FlatSymbolRefAttr::get(context(), codeName), targetRef);
  executable.getBody().emplaceBlock();
  for (const TokenBucket &bucket : target.buckets)
    if (failed(convertFunction(forward, bucket)))
      return failure();
  if (failed(convertCaches(forward)))
    return failure();
  forward.erase();
  return convertWeights();
}

static FailureOr<WeightStorage> parseStorage(StringRef text, Operation *op) {
  if (text == "inline")
    return WeightStorage{Storage::Inline, {}, {}};
  auto [kind, value] = text.split(':');
  if (kind == "external" && !value.empty())
    return WeightStorage{Storage::External, value.str(), {}};
  uint64_t seed;
  if (kind == "synthetic" && !value.getAsInteger(10, seed))
    return WeightStorage{Storage::Synthetic, {}, seed};
  return op->emitError("weights \"")
         << text << "\" must be inline, external:FILE or synthetic:SEED";
}

void ConvertLmToPlan::runOnOperation() {
  ModuleOp module = getOperation();
  auto forward = module.lookupSymbol<func::FuncOp>("forward");
  if (!forward || forward.isExternal()) {
    module.emitError("has no function @forward to convert; is this an lm "
                     "module?");
    return signalPassFailure();
  }
  llvm::Expected<Target> description = findTarget(target);
  if (!description) {
    module.emitError(llvm::toString(description.takeError()));
    return signalPassFailure();
  }
  FailureOr<WeightStorage> storage = parseStorage(weights, module);
  if (failed(storage))
    return signalPassFailure();
  Converter converter(module, *description, *storage);
  if (failed(converter.run(forward)))
    return signalPassFailure();
  numEntries += converter.numEntries;
  numLaunches += converter.numLaunches;
}
