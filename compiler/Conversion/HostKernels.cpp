// The argument order and constants of every host kernel template
// (HostKernels.h). One function per operation; a template that gains a constant
// or a binding changes here and nowhere else in the compiler.

#include "stele/compiler/Conversion/HostKernels.h"
#include "stele/schema/weight_layout.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using Kind = KernelArgument::Kind;

/// The templates' names for activations (enum Activation of their math.h).
static int64_t activationOf(lm::GluKind kind) {
  switch (kind) {
  case lm::GluKind::Silu:
    return 1;
  case lm::GluKind::Gelu:
    return 2;
  case lm::GluKind::GeluTanh:
    return 3;
  }
  llvm_unreachable("covered switch");
}

static int64_t columnsOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getDimSize(1);
}

uint64_t compiler::elementBytes(Type type) {
  return llvm::divideCeil(type.getIntOrFloatBitWidth(), 8);
}

FailureOr<uint64_t> compiler::storedBytes(lm::WeightOp weight) {
  RankedTensorType type = weight.getTensorType();
  StringRef name = weight.getLayout().value_or("rows");
  const schema::WeightLayout *layout = schema::FindWeightLayout(name);
  if (!layout)
    return weight.emitOpError("layout \"")
           << name << "\" is not one of runtime/schema/weight_layout.h";
  int64_t columns = type.getRank() == 2 ? type.getDimSize(1) : 1;
  lm::QuantAttr quant = weight.getQuantAttr();
  std::optional<uint64_t> size =
      quant ? schema::PackedBytes(*layout, quant.getFormat(),
                                  type.getDimSize(0), columns)
            : schema::PackedElements(*layout, type.getDimSize(0), columns);
  if (!size)
    return weight.emitOpError("shape and quantisation do not fit layout \"")
           << name << '"';
  return quant ? *size : *size * elementBytes(type.getElementType());
}

namespace {

/// Collects a launch; the first thing that goes wrong stays.
class LaunchBuilder {
public:
  explicit LaunchBuilder(Operation *op)
      : op(op), symbols(op->getParentOfType<ModuleOp>()) {
    auto kernel = cast<lm::KernelOpInterface>(op).getKernelAttr();
    if (!kernel) {
      op->emitOpError("has no kernel; run stele-select-kernels first");
      failed = true;
      return;
    }
    launch.instance.templateName = kernel.getTemplateName().str();
    if (kernel.getRow())
      launch.chosenBy = kernel.getRow().str();
    for (lm::TileAttr tile : kernel.getTile())
      integer(tile.getName(), tile.getValue());
  }

  void integer(StringRef name, int64_t value) {
    launch.instance.ints[name.str()] = value;
  }
  void real(StringRef name, double value) {
    launch.instance.floats[name.str()] = value;
  }

  void read(Value rows, bool mayBeInPlace = false) {
    launch.arguments.push_back({.kind = Kind::Buffer,
                                .mayBeInPlace = mayBeInPlace,
                                .bytesPerToken = rowBytes(rows),
                                .value = rows});
  }
  void readIf(Value rows) {
    if (rows)
      read(rows);
  }
  void write(Value rows) {
    launch.arguments.push_back({.kind = Kind::Buffer,
                                .isWritten = true,
                                .bytesPerToken = rowBytes(rows),
                                .value = rows});
  }
  void writeLogits(Value rows) {
    launch.arguments.push_back({.kind = Kind::Buffer,
                                .isWritten = true,
                                .bytesPerLogitRow = rowBytes(rows),
                                .value = rows});
  }
  void weight(FlatSymbolRefAttr name) {
    auto declared = symbols.lookup<lm::WeightOp>(name.getValue());
    FailureOr<uint64_t> bytes = storedBytes(declared);
    if (mlir::failed(bytes)) {
      failed = true;
      return;
    }
    launch.arguments.push_back(
        {.kind = Kind::Tensor, .bytes = *bytes, .weight = name});
  }
  void weightIf(FlatSymbolRefAttr name) {
    if (name)
      weight(name);
  }
  /// A selection: one bit for each key block of the context, by KV head, kept
  /// with the first token of a query block (selection.h of the templates).
  void selection(Value value, bool isWritten) {
    auto type = cast<lm::SelectionType>(value.getType());
    launch.arguments.push_back(
        {.kind = Kind::Buffer,
         .isWritten = isWritten,
         .bytesPerToken = uint64_t(type.getHeads()) * 4 *
                          llvm::divideCeil(contextBlocks(type.getBlock()), 32),
         .value = value});
  }
  /// Key blocks of the longest context, to which the launch is then bound.
  int64_t contextBlocks(int64_t block) {
    auto model = op->getParentOfType<ModuleOp>()->getAttrOfType<lm::ModelAttr>(
        lm::LmDialect::modelAttrName);
    if (!model) {
      fail("needs the context length of a #lm.model");
      return 1;
    }
    launch.contextLimit = model.getContextLength();
    return llvm::divideCeil(model.getContextLength(), block);
  }
  /// A matrix that somebody else made into a weight.
  void weightValue(Value value) {
    auto reference = value.getDefiningOp<lm::WeightRefOp>();
    if (!reference)
      return fail("has a bias that is not a weight, for which there is no host "
                  "kernel");
    weight(reference.getWeightAttr());
  }
  void cache(Value value, int64_t layer, bool isWritten) {
    launch.arguments.push_back(
        {.kind = Kind::KvCache, .isWritten = isWritten, .value = value});
    launch.layer = layer;
  }

  lm::WeightOp lookup(FlatSymbolRefAttr name) {
    return symbols.lookup<lm::WeightOp>(name.getValue());
  }

  /// For kernels that touch pages: how these store an element.
  void stored(lm::KvCacheType cache) {
    integer("kv",
            static_cast<int64_t>(*lm::cacheElement(cache.getElementType())));
  }

  /// Constants that kv_append and attention have alike: the cache's shape, the
  /// optional norm of every head, and the rotation.
  void headConstants(lm::KvCacheType cache, bool hasNorm, const APFloat *eps,
                     lm::RopeAttr rope, Value rotary) {
    integer("kv_heads", cache.getHeads());
    integer("head_dim", cache.getHeadDim());
    integer("block", cache.getBlock());
    integer("norm", hasNorm);
    real("eps", hasNorm ? eps->convertToDouble() : 0);
    integer("rotary", rope != nullptr);
    integer("rotary_dims", rope ? rope.getDims() : 0);
    integer("parts", rope ? rope.getParts() : 1);
    if (rope && !rotary)
      fail("rotates without a rotary table; run stele-prepare-positions first");
  }

  void fail(StringRef why) {
    if (!failed)
      op->emitOpError(why);
    failed = true;
  }

  FailureOr<KernelLaunch> finish() {
    if (failed)
      return failure();
    return std::move(launch);
  }

  KernelLaunch launch;

private:
  static uint64_t rowBytes(Value rows) {
    auto type = cast<RankedTensorType>(rows.getType());
    return columnsOf(rows) * elementBytes(type.getElementType());
  }

  Operation *op;
  SymbolTable symbols;
  bool failed = false;
};

} // namespace

/// The constants by which a template knows the format of its matrix.
static void describeFormat(lm::QuantAttr quant, LaunchBuilder &launch) {
  schema::QuantFormat format = quant.getFormat();
  launch.integer("bits", format.bits);
  launch.integer("group", format.group);
  launch.integer("scale_f32", format.scale == schema::QuantFormat::Real::kF32);
  launch.integer("offset", static_cast<int64_t>(format.offset));
}

static void describe(lm::EmbedOp op, LaunchBuilder &launch) {
  lm::WeightOp table = launch.lookup(op.getTableAttr());
  launch.integer("hidden", columnsOf(op.getOutput()));
  if (lm::QuantAttr quant = table.getQuantAttr()) {
    describeFormat(quant, launch);
  } else {
    launch.integer("packed", table.getLayout().value_or("rows") != "rows");
    launch.integer("bf16", table.getTensorType().getElementType().isBF16());
  }
  launch.weight(op.getTableAttr());
  launch.write(op.getOutput());
  launch.launch.tokenLimit = table.getTensorType().getDimSize(0);
}

static void describe(lm::RmsNormOp op, LaunchBuilder &launch) {
  launch.integer("width", columnsOf(op.getInput()) / op.getGroups());
  launch.integer("groups", op.getGroups());
  launch.real("eps", op.getEps().convertToDouble());
  launch.read(op.getInput());
  launch.weight(op.getWeightAttr());
  launch.write(op.getOutput());
}

static FlatSymbolRefAttr getPermutation(lm::LinearOp op) {
  return op.getPermutationAttr();
}
static FlatSymbolRefAttr getPermutation(lm::LogitsOp) { return {}; }

/// What linear and logits share: x, the matrix, the norm before and the bias.
template <typename ProductOp>
static void describeProduct(ProductOp op, LaunchBuilder &launch) {
  launch.integer("k", columnsOf(op.getInput()));
  lm::WeightOp weight = launch.lookup(op.getWeightAttr());
  launch.integer("n", weight.getTensorType().getDimSize(0));
  FlatSymbolRefAttr order = getPermutation(op);
  if (lm::QuantAttr quant = weight.getQuantAttr()) {
    describeFormat(quant, launch);
    launch.integer("permuted", order != nullptr);
  } else if (order) {
    launch.fail("permutes the columns of a weight that is not quantised, for "
                "which there is no host kernel");
  }
  launch.integer("norm", op.getNormWeight().has_value());
  launch.real("eps", op.getNormEps() ? op.getNormEps()->convertToDouble() : 0);
  launch.integer("bias", op.getBias().has_value());
  launch.read(op.getInput());
  launch.weight(op.getWeightAttr());
  launch.weightIf(op.getNormWeightAttr());
  launch.weightIf(op.getBiasAttr());
}

static void describe(lm::LinearOp op, LaunchBuilder &launch) {
  describeProduct(op, launch);
  launch.integer("residual", op.getResidual() != nullptr);
  launch.integer("glu", op.getGlu() ? activationOf(*op.getGlu()) : 0);
  if (op.getResidual())
    launch.read(op.getResidual(), /*mayBeInPlace=*/true);
  launch.weightIf(op.getPermutationAttr());
  launch.write(op.getOutput());
}

static void describe(lm::LogitsOp op, LaunchBuilder &launch) {
  describeProduct(op, launch);
  launch.writeLogits(op.getOutput());
}

static void describe(lm::GluOp op, LaunchBuilder &launch) {
  launch.integer("width", columnsOf(op.getOutput()));
  launch.integer("glu", activationOf(op.getKind()));
  launch.read(op.getGate(), /*mayBeInPlace=*/true);
  launch.read(op.getUp(), /*mayBeInPlace=*/true);
  launch.write(op.getOutput());
}

static void describe(lm::AddOp op, LaunchBuilder &launch) {
  launch.integer("width", columnsOf(op.getOutput()));
  launch.read(op.getLhs(), /*mayBeInPlace=*/true);
  launch.read(op.getRhs(), /*mayBeInPlace=*/true);
  launch.write(op.getOutput());
}

static void describe(lm::RotaryTableOp op, LaunchBuilder &launch) {
  auto yarn = dyn_cast_or_null<lm::YarnScalingAttr>(op.getRope().getScaling());
  launch.integer("rotary_dims", op.getRope().getDims());
  lm::DualChunkAttr dual = op.getRope().getDualChunk();
  launch.integer("chunk", dual ? dual.getChunk() : 0);
  launch.integer("chunk_keys", dual ? dual.getChunkKeys() : 0);
  launch.integer("estimate", op.getEstimate());
  launch.real("factor", yarn ? double(yarn.getAttentionFactor()) : 1);
  launch.weight(op.getFrequenciesAttr());
  launch.write(op.getOutput());
}

static void describe(lm::RopeOp op, LaunchBuilder &launch) {
  if (!op.getRotary())
    return launch.fail(
        "rotates without a rotary table; run stele-prepare-positions first");
  launch.integer("heads", op.getHeads());
  launch.integer("head_dim", columnsOf(op.getInput()) / op.getHeads());
  launch.integer("rotary_dims", op.getRope().getDims());
  launch.integer("parts", op.getRope().getParts());
  launch.read(op.getInput());
  launch.read(op.getRotary());
  launch.write(op.getOutput());
}

static void describe(lm::KvAppendOp op, LaunchBuilder &launch) {
  lm::KvCacheType cache = op.getCache().getType();
  launch.integer("key_offset", op.getKeyOffset());
  launch.integer("key_stride", columnsOf(op.getKey()));
  launch.integer("value_offset", op.getValueOffset());
  launch.integer("value_stride", columnsOf(op.getValue()));
  launch.integer("key_index", cache.getKeyIndex());
  launch.stored(cache);
  launch.integer("value_index", cache.getValueIndex());
  launch.integer("reference", op.getReference().has_value());
  std::optional<APFloat> eps = op.getNormEps();
  launch.headConstants(cache, op.getNormWeight().has_value(),
                       eps ? &*eps : nullptr, op.getRopeAttr(), op.getRotary());
  launch.read(op.getKey());
  launch.read(op.getValue());
  launch.readIf(op.getRotary());
  launch.weightIf(op.getNormWeightAttr());
  launch.weightIf(op.getReferenceAttr());
  launch.cache(op.getCache(), op.getLayer(), /*isWritten=*/true);
}

/// What all attention operations share: the queries, in front of whatever else
/// the kernel reads.
template <typename OpT>
static void describeQueries(OpT op, LaunchBuilder &launch) {
  launch.integer("heads", op.getHeads());
  launch.integer("q_offset", op.getQueryOffset());
  launch.integer("q_stride", columnsOf(op.getQuery()));
  launch.real("scale", op.getScale().convertToDouble());
  std::optional<APFloat> eps = op.getNormEps();
  launch.headConstants(op.getCache().getType(), op.getNormWeight().has_value(),
                       eps ? &*eps : nullptr, op.getRopeAttr(), op.getRotary());
  launch.read(op.getQuery());
  launch.readIf(op.getRotary());
  launch.weightIf(op.getNormWeightAttr());
}

/// Of those with an own query for every part of the keys.
static void describeChunks(lm::RopeAttr rope, LaunchBuilder &launch) {
  lm::DualChunkAttr dual = rope ? rope.getDualChunk() : lm::DualChunkAttr();
  launch.integer("chunk_keys", dual ? dual.getChunkKeys() : 0);
  launch.real("original", dual ? dual.getOriginal() : 0);
}

static void describe(lm::AttentionOp op, LaunchBuilder &launch) {
  launch.integer("window", op.getWindow().value_or(0));
  launch.integer("lse", op.getLse() != nullptr);
  launch.stored(op.getCache().getType());
  describeQueries(op, launch);
  describeChunks(op.getRopeAttr(), launch);
  launch.cache(op.getCache(), op.getLayer(), /*isWritten=*/false);
  launch.write(op.getOutput());
  if (op.getLse())
    launch.write(op.getLse());
}

static void describe(lm::KernelizedAttentionOp op, LaunchBuilder &launch) {
  if (op.getSelection())
    return launch.fail("leaves out the keys of a selection, for which there "
                       "is no host kernel");
  if (!op.getFeaturesAttr())
    return launch.fail("has no features; run stele-prepare-features first");
  if (!launch.lookup(op.getFeaturesAttr())
           .getTensorType()
           .getElementType()
           .isF32())
    return launch.fail("takes features of f32 only");
  launch.integer("features", op.getFeatureMap().getFeatures());
  launch.integer("lse", !op.getLse().use_empty());
  launch.stored(op.getCache().getType());
  describeQueries(op, launch);
  launch.weight(op.getFeaturesAttr());
  launch.cache(op.getCache(), op.getLayer(), /*isWritten=*/false);
  launch.cache(op.getState(), op.getLayer(), /*isWritten=*/true);
  launch.write(op.getOutput());
  if (!op.getLse().use_empty())
    launch.write(op.getLse());
}

/// Blocks, which are pages here.
template <typename OpT>
static void describeBlocks(OpT op, LaunchBuilder &launch) {
  int64_t block = op.getSparsity().getBlock();
  if (op.getCache().getType().getBlock() != block)
    launch.fail("has blocks that are not the cache's pages, for which there is "
                "no host kernel");
  launch.integer("blocks", launch.contextBlocks(block));
}

/// What selecting blocks and attending to them share.
template <typename OpT>
static void describeSparsity(OpT op, LaunchBuilder &launch) {
  describeBlocks(op, launch);
  lm::BlockSparsityAttr sparsity = op.getSparsity();
  launch.launch.sparsity = sparsity;
  launch.integer("select", static_cast<int64_t>(sparsity.getSelect()));
  launch.integer("local", sparsity.getLocal());
  launch.integer("adjacent", sparsity.getAdjacent());
  launch.integer("sink", sparsity.getSink());
  launch.integer("dense", sparsity.getDense());
}

static void describe(lm::SelectBlocksOp op, LaunchBuilder &launch) {
  lm::BlockSparsityAttr sparsity = op.getSparsity();
  if (sparsity.getEstimate() != lm::Estimator::MeanKey)
    return launch.fail(("estimates by " +
                        lm::stringifyEstimator(sparsity.getEstimate()) +
                        ", for which there is no host kernel yet; use mean_key")
                           .str());
  if (!op.getCache().getType().getKeyIndex())
    return launch.fail("needs a cache with a key_index");
  describeSparsity(op, launch);
  launch.integer("value_index", op.getCache().getType().getValueIndex());
  launch.integer("top_k", sparsity.getTopK());
  launch.real("top_p", double(sparsity.getTopP()));
  launch.integer("limit", sparsity.getLimit());
  launch.integer("targets", op.getTargets().has_value());
  launch.stored(op.getCache().getType());
  describeQueries(op, launch);
  describeChunks(op.getRopeAttr(), launch);
  launch.weightIf(op.getTargetsAttr());
  launch.cache(op.getCache(), op.getLayer(), /*isWritten=*/false);
  launch.selection(op.getOutput(), /*isWritten=*/true);
}

static void describe(lm::BlockSparseAttentionOp op, LaunchBuilder &launch) {
  describeSparsity(op, launch);
  launch.integer("bias_width", op.getBias() ? columnsOf(op.getBias()) : 0);
  launch.integer("lse", 1);
  launch.stored(op.getCache().getType());
  describeQueries(op, launch);
  describeChunks(op.getRopeAttr(), launch);
  if (op.getSelection())
    launch.selection(op.getSelection(), /*isWritten=*/false);
  if (op.getBias())
    launch.weightValue(op.getBias());
  launch.cache(op.getCache(), op.getLayer(), /*isWritten=*/false);
  launch.write(op.getOutput());
  launch.write(op.getLse());
}

static void describe(lm::TailAttentionOp op, LaunchBuilder &launch) {
  describeBlocks(op, launch);
  launch.integer("value_index", 1);
  launch.integer("biases", op.getBiases().has_value());
  describeQueries(op, launch);
  describeChunks(op.getRopeAttr(), launch);
  launch.weightIf(op.getBiasesAttr());
  launch.read(op.getAttended(), /*mayBeInPlace=*/true);
  launch.read(op.getAttendedLse(), /*mayBeInPlace=*/true);
  launch.selection(op.getSelection(), /*isWritten=*/false);
  launch.cache(op.getCache(), op.getLayer(), /*isWritten=*/false);
  launch.write(op.getOutput());
  launch.write(op.getLse());
}

namespace {

template <typename... OpTs> struct OperationList {
  static bool contains(Operation *op) { return isa<OpTs...>(op); }
  static void describeIn(Operation *op, LaunchBuilder &launch) {
    llvm::TypeSwitch<Operation *>(op).Case<OpTs...>(
        [&](auto known) { describe(known, launch); });
  }
};

/// What hosts have kernels for.
using HostOperations =
    OperationList<lm::EmbedOp, lm::RmsNormOp, lm::LinearOp, lm::LogitsOp,
                  lm::GluOp, lm::AddOp, lm::RotaryTableOp, lm::RopeOp,
                  lm::KvAppendOp, lm::AttentionOp, lm::SelectBlocksOp,
                  lm::BlockSparseAttentionOp, lm::TailAttentionOp,
                  lm::KernelizedAttentionOp>;

} // namespace

FailureOr<KernelLaunch> compiler::describeHostLaunch(Operation *op) {
  if (!HostOperations::contains(op))
    return op->emitOpError("has no host kernel yet; compile with --attention "
                           "dense");
  LaunchBuilder launch(op);
  if (cast<lm::KernelOpInterface>(op).getKernelAttr())
    HostOperations::describeIn(op, launch);
  return launch.finish();
}
