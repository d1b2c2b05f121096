// plan module -> FlatBuffer (FlatBuffer.h). Symbols and values become indices
// into the tables' vectors, in the order of the module.

#include "stele/compiler/Driver/FlatBuffer.h"
#include "stele/dialects/Lm/LmOps.h"
#include "stele/dialects/Plan/PlanOps.h"
#include "stele/schema/plan_generated.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace stele;
using namespace stele::plan_ir;

namespace {

class Exporter {
public:
  explicit Exporter(ModuleOp module) : module(module) {}
  std::string run();

private:
  void exportModel();
  void exportSegment(SegmentOp op);
  void exportTensor(TensorOp op);
  void exportCache(KvCacheOp op);
  std::unique_ptr<plan::PagingT> makePaging(PagingAttr attr);
  void exportExecutable(ExecutableOp op);
  void exportFunction(FunctionOp op);
  std::unique_ptr<plan::BufferT> makeBuffer(BufferOp op);
  plan::OpBodyUnion makeBody(Operation *op);
  std::unique_ptr<plan::LaunchT> makeLaunch(LaunchOp op);

  /// Where `op` runs: stream, device, target.
  template <typename BodyT, typename OpT> void place(BodyT &body, OpT op) {
    body.stream = op.getStream();
    body.device = op.getDevice();
    body.target = targetOf(op.getTargetAttr());
  }
  uint16_t targetOf(FlatSymbolRefAttr written) {
    return written ? targets.lookup(written.getAttr()) : functionTarget;
  }
  uint32_t indexOf(Value buffer) { return buffers.lookup(buffer); }

  using Index = llvm::DenseMap<StringAttr, uint32_t>;
  ModuleOp module;
  plan::PlanT out;
  Index targets, segments, tensors, caches, executables;
  llvm::DenseMap<SymbolRefAttr, uint32_t> entries;
  llvm::DenseMap<Value, uint32_t> buffers; // of the function being exported
  uint16_t functionTarget = 0;
};

} // namespace

static plan::DType dtypeOf(Type type) {
  if (type.isF32())
    return plan::DType::F32;
  if (type.isF16())
    return plan::DType::F16;
  if (type.isBF16())
    return plan::DType::BF16;
  if (type.isUnsignedInteger(8))
    return plan::DType::U8;
  switch (type.getIntOrFloatBitWidth()) {
  case 4:
    return plan::DType::I4;
  case 8:
    return plan::DType::I8;
  case 32:
    return plan::DType::I32;
  default:
    return plan::DType::I64;
  }
}

void Exporter::exportModel() {
  auto model =
      module->getAttrOfType<lm::ModelAttr>(lm::LmDialect::modelAttrName);
  auto arithmetic = module->getAttrOfType<lm::ArithmeticAttr>(
      lm::LmDialect::arithmeticAttrName);
  auto info = std::make_unique<plan::ModelInfoT>();
  info->architecture = model.getArchitecture();
  info->name = model.getName();
  info->vocab_size = model.getVocab();
  info->hidden_size = model.getHidden();
  info->layers = model.getLayers();
  info->heads = model.getHeads();
  info->kv_heads = model.getKvHeads();
  info->head_dim = model.getHeadDim();
  info->context = model.getContextLength();
  info->trained_context = model.getTrainedContext();
  info->sliding_window = model.getSlidingWindow();
  llvm::append_range(info->eos_ids, model.getEos());
  info->parameters = model.getParameters();
  if (lm::SamplingAttr sampling = model.getSampling()) {
    info->temperature = sampling.getTemperature();
    info->top_k = sampling.getTopK();
    info->top_p = sampling.getTopP();
    info->min_p = sampling.getMinP();
    info->repetition_penalty = sampling.getRepetitionPenalty();
    info->sample = sampling.getSample();
  }
  info->arithmetic = lm::stringifyArithmetic(arithmetic ? arithmetic.getValue()
                                                        : lm::Arithmetic::F32);
  out.model = std::move(info);
}

void Exporter::exportSegment(SegmentOp op) {
  segments[op.getSymNameAttr()] = out.segments.size();
  auto segment = std::make_unique<plan::SegmentT>();
  segment->name = op.getSymName();
  segment->kind = static_cast<plan::SegmentKind>(op.getKind());
  segment->storage = static_cast<plan::Storage>(op.getStorage());
  segment->offset = op.getOffset().value_or(0);
  segment->length = op.getLength().value_or(0);
  segment->xxh3 = op.getXxh3().value_or(0);
  segment->external_path = op.getFile().value_or("");
  if (auto sha256 = op.getSha256()) {
    std::string digest = llvm::fromHex(*sha256);
    segment->sha256.assign(digest.begin(), digest.end());
  }
  segment->seed = op.getSeed().value_or(0);
  for (auto target : op.getTargets().getAsRange<FlatSymbolRefAttr>())
    segment->targets.push_back(targets.lookup(target.getAttr()));
  segment->device = op.getDevice();
  out.segments.push_back(std::move(segment));
}

static std::unique_ptr<plan::QuantFormatT>
makeQuant(const schema::QuantFormat &format) {
  auto quant = std::make_unique<plan::QuantFormatT>();
  quant->bits = format.bits;
  quant->group = format.group;
  quant->scale = static_cast<plan::QuantReal>(format.scale);
  quant->offset = static_cast<plan::QuantReal>(format.offset);
  return quant;
}

void Exporter::exportTensor(TensorOp op) {
  tensors[op.getSymNameAttr()] = out.tensors.size();
  auto tensor = std::make_unique<plan::TensorT>();
  tensor->name = op.getSymName();
  tensor->dtype = dtypeOf(op.getTensorType().getElementType());
  llvm::append_range(tensor->shape, op.getTensorType().getShape());
  tensor->layout = op.getLayout();
  tensor->segment = segments.lookup(op.getSegmentAttr().getAttr());
  tensor->offset = op.getOffset();
  tensor->length = op.getLength();
  if (lm::QuantAttr quant = op.getQuantAttr())
    tensor->quant = makeQuant(quant.getFormat());
  out.tensors.push_back(std::move(tensor));
}

void Exporter::exportCache(KvCacheOp op) {
  caches[op.getSymNameAttr()] = out.kv_caches.size();
  auto cache = std::make_unique<plan::KvCacheT>();
  cache->name = op.getSymName();
  cache->layers = op.getLayers();
  cache->kv_heads = op.getPage().getHeads();
  cache->head_dim = op.getPage().getHeadDim();
  cache->block_tokens = op.getPage().getBlock();
  cache->dtype = dtypeOf(op.getPage().getType());
  cache->page_bytes = op.getPage().getPageBytes();
  cache->device = op.getDevice();
  cache->target = targets.lookup(op.getTargetAttr().getAttr());
  cache->slots = op.getSlots();
  cache->features = op.getPage().getFeatures();
  cache->transient = op.getTransient();
  cache->key_index = op.getPage().getKeyIndex();
  cache->value_index = op.getPage().getValueIndex();
  if (PagingAttr paging = op.getPagingAttr())
    cache->paging = makePaging(paging);
  out.kv_caches.push_back(std::move(cache));
}

std::unique_ptr<plan::PagingT> Exporter::makePaging(PagingAttr attr) {
  auto paging = std::make_unique<plan::PagingT>();
  paging->hot_tokens = attr.getHot();
  paging->sink_blocks = attr.getSinks();
  paging->grid_tokens = attr.getGrid();
  paging->warm_dtype = dtypeOf(attr.getWarm());
  paging->warm_page_bytes = attr.getWarmBytes();
  paging->warm_tokens = attr.getWarmTokens();
  paging->executable = executables.lookup(attr.getPack().getRootReference());
  paging->pack = entries.lookup(attr.getPack());
  paging->unpack = entries.lookup(attr.getUnpack());
  return paging;
}

static std::unique_ptr<plan::ParameterT> makeParameter(ParameterAttr attr) {
  auto parameter = std::make_unique<plan::ParameterT>();
  parameter->kind = static_cast<plan::BindingKind>(attr.getKind());
  parameter->access = static_cast<plan::Access>(attr.getAccess());
  parameter->in_place = attr.getInPlace();
  parameter->bytes = attr.getBytes();
  parameter->bytes_per_token = attr.getPerToken();
  parameter->bytes_per_logit_row = attr.getPerLogitRow();
  if (PageShapeAttr page = attr.getCache()) {
    parameter->kv_heads = page.getHeads();
    parameter->head_dim = page.getHeadDim();
    parameter->block_tokens = page.getBlock();
    parameter->dtype = dtypeOf(page.getType());
    parameter->page_bytes = page.getPageBytes();
    parameter->features = page.getFeatures();
    parameter->key_index = page.getKeyIndex();
    parameter->value_index = page.getValueIndex();
  }
  return parameter;
}

static std::unique_ptr<plan::BlockSparsityT>
makeSparsity(lm::BlockSparsityAttr attr) {
  auto sparsity = std::make_unique<plan::BlockSparsityT>();
  sparsity->block = attr.getBlock();
  sparsity->local = attr.getLocal();
  sparsity->adjacent = attr.getAdjacent();
  sparsity->sink = attr.getSink();
  sparsity->dense = attr.getDense();
  sparsity->select = static_cast<plan::BlockSelect>(attr.getSelect());
  sparsity->top_k = attr.getTopK();
  sparsity->top_p = double(attr.getTopP());
  sparsity->limit = attr.getLimit();
  sparsity->estimate = static_cast<plan::Estimator>(attr.getEstimate());
  return sparsity;
}

static std::unique_ptr<plan::EntryT> makeEntry(EntryOp op) {
  auto entry = std::make_unique<plan::EntryT>();
  entry->symbol = op.getSymName();
  for (auto parameter : op.getParams().getAsRange<ParameterAttr>())
    entry->parameters.push_back(makeParameter(parameter));
  for (auto kind : op.getImmediates().getAsRange<ImmediateKindAttr>())
    entry->immediates.push_back(
        static_cast<plan::ImmediateKind>(kind.getValue()));
  entry->token_limit = op.getTokenLimit();
  entry->context_limit = op.getContextLimit();
  entry->scratch_bytes = op.getScratch();
  entry->chosen_by = op.getChosenBy().value_or("");
  entry->shared_bytes_per_token = op.getShared();
  if (lm::BlockSparsityAttr sparsity = op.getSparsityAttr())
    entry->sparsity = makeSparsity(sparsity);
  return entry;
}

void Exporter::exportExecutable(ExecutableOp op) {
  executables[op.getSymNameAttr()] = out.executables.size();
  auto executable = std::make_unique<plan::ExecutableT>();
  executable->name = op.getSymName();
  executable->target = targets.lookup(op.getTargetAttr().getAttr());
  executable->format = static_cast<plan::CodeFormat>(op.getFormat());
  executable->segment = segments.lookup(op.getSegmentAttr().getAttr());
  for (auto entry : op.getBody().getOps<EntryOp>()) {
    auto name = SymbolRefAttr::get(
        op.getSymNameAttr(), {FlatSymbolRefAttr::get(entry.getSymNameAttr())});
    entries[name] = executable->entries.size();
    executable->entries.push_back(makeEntry(entry));
  }
  out.executables.push_back(std::move(executable));
}

std::unique_ptr<plan::BufferT> Exporter::makeBuffer(BufferOp op) {
  auto buffer = std::make_unique<plan::BufferT>();
  buffer->name = op.getName();
  buffer->role = static_cast<plan::BufferRole>(op.getRole());
  buffer->dtype = dtypeOf(op.getElementType());
  buffer->row_elements = op.getRowElements();
  buffer->max_rows = op.getMaxRows();
  buffer->offset = op.getPlacementAttr().getOffset();
  buffer->length = op.getBytes();
  buffer->first_op = op.getPlacementAttr().getFirst();
  buffer->last_op = op.getPlacementAttr().getLast();
  buffer->device = op.getDevice();
  buffer->target = targetOf(op.getTargetAttr());
  return buffer;
}

std::unique_ptr<plan::LaunchT> Exporter::makeLaunch(LaunchOp op) {
  auto launch = std::make_unique<plan::LaunchT>();
  launch->label = op.getLabel();
  launch->executable = executables.lookup(op.getEntry().getRootReference());
  launch->entry = entries.lookup(op.getEntry());
  auto buffer = op.getBuffers().begin();
  for (Attribute attr : op.getBindings()) {
    auto binding = std::make_unique<plan::BindingT>();
    auto name = dyn_cast<FlatSymbolRefAttr>(attr);
    if (!name) {
      binding->index = indexOf(*buffer++);
    } else if (auto tensor = tensors.find(name.getAttr());
               tensor != tensors.end()) {
      binding->kind = plan::BindingKind::Tensor;
      binding->index = tensor->second;
    } else {
      binding->kind = plan::BindingKind::KvCache;
      binding->index = caches.lookup(name.getAttr());
    }
    launch->bindings.push_back(std::move(binding));
  }
  llvm::append_range(launch->immediates, op.getImmediates());
  llvm::append_range(launch->grid, op.getGrid());
  llvm::append_range(launch->block, op.getBlock());
  launch->shared_bytes = op.getSharedBytes();
  place(*launch, op);
  return launch;
}

plan::OpBodyUnion Exporter::makeBody(Operation *op) {
  plan::OpBodyUnion body;
  auto set = [&](auto table) { body.Set(std::move(table)); };
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](LaunchOp op) { set(std::move(*makeLaunch(op))); })
      .Case([&](CopyOp op) {
        plan::CopyT copy;
        copy.source = indexOf(op.getSource());
        copy.destination = indexOf(op.getDestination());
        copy.length = op.getLength();
        place(copy, op);
        set(copy);
      })
      .Case([&](SelectPagesOp op) {
        plan::SelectPagesT select;
        select.cache = caches.lookup(op.getCacheAttr().getAttr());
        select.layer = op.getLayer();
        select.selection = indexOf(op.getSelection());
        select.slots = op.getSlots();
        place(select, op);
        set(select);
      })
      .Case([&](PageInOp op) {
        plan::PageInT pages;
        pages.cache = caches.lookup(op.getCacheAttr().getAttr());
        pages.layer = op.getLayer();
        pages.first_slot = op.getFirstSlot();
        pages.slots = op.getSlots();
        pages.ahead = op.getAhead();
        place(pages, op);
        set(pages);
      })
      .Case([&](PageOutOp op) {
        plan::PageOutT pages;
        pages.cache = caches.lookup(op.getCacheAttr().getAttr());
        pages.layer = op.getLayer();
        pages.max_pages = op.getMaxPages();
        place(pages, op);
        set(pages);
      })
      .Case([&](SignalOp op) {
        plan::SignalT signal;
        signal.event = op.getEvent();
        place(signal, op);
        set(signal);
      })
      .Case([&](WaitOp op) {
        plan::WaitT wait;
        wait.event = op.getEvent();
        place(wait, op);
        set(wait);
      })
      .Case([&](CollectiveOp op) {
        plan::CollectiveT collective;
        collective.kind = static_cast<plan::CollectiveKind>(op.getKind());
        collective.buffer = indexOf(op.getBuffer());
        place(collective, op);
        set(collective);
      });
  return body;
}

void Exporter::exportFunction(FunctionOp op) {
  functionTarget = targets.lookup(op.getTargetAttr().getAttr());
  auto function = std::make_unique<plan::FunctionT>();
  function->name = op.getSymName();
  function->target = functionTarget;
  function->max_tokens = op.getTokens();
  function->max_sequences = op.getSequences();
  function->max_logit_rows = op.getLogitRows();
  function->ranks = op.getRanks();
  function->streams = op.getStreams();
  function->events = op.getEvents();
  function->arena_bytes = op.getArena().value_or(0);
  function->scratch_bytes = op.getScratch();
  function->shared_bytes = op.getShared();
  for (auto buffer : op.getBody().getOps<BufferOp>()) {
    buffers[buffer] = function->buffers.size();
    function->buffers.push_back(makeBuffer(buffer));
  }
  for (Operation *step : op.getSteps()) {
    auto entry = std::make_unique<plan::OpT>();
    entry->body = makeBody(step);
    if (auto time = step->getAttrOfType<IntegerAttr>("modelled_ns"))
      entry->modelled_ns = time.getInt();
    function->ops.push_back(std::move(entry));
  }
  ReturnOp returned = op.getReturn();
  for (auto [name, buffer] :
       llvm::zip(returned.getNames(), returned.getBuffers())) {
    auto output = std::make_unique<plan::OutputT>();
    output->name = cast<StringAttr>(name).str();
    output->buffer = indexOf(buffer);
    function->outputs.push_back(std::move(output));
  }
  out.functions.push_back(std::move(function));
}

std::string Exporter::run() {
  out.producer = "stele-compile " STELE_VERSION;
  exportModel();
  for (auto op : module.getOps<TargetOp>()) {
    targets[op.getSymNameAttr()] = out.targets.size();
    auto target = std::make_unique<plan::TargetT>();
    target->name = op.getSymName();
    target->isa = op.getIsa();
    for (auto feature : op.getFeatures().getAsRange<StringAttr>())
      target->features.push_back(feature.str());
    out.targets.push_back(std::move(target));
  }
  for (auto op : module.getOps<SegmentOp>())
    exportSegment(op);
  for (auto op : module.getOps<TensorOp>())
    exportTensor(op);
  // Before caches, whose pages they pack.
  for (auto op : module.getOps<ExecutableOp>())
    exportExecutable(op);
  for (auto op : module.getOps<KvCacheOp>())
    exportCache(op);
  for (auto op : module.getOps<FunctionOp>())
    exportFunction(op);

  flatbuffers::FlatBufferBuilder builder(1 << 20);
  // Fields at their default are stored too: the size must not change when
  // offsets and checksums become known.
  builder.ForceDefaults(true);
  plan::FinishPlanBuffer(builder, plan::CreatePlan(builder, &out));
  return {reinterpret_cast<const char *>(builder.GetBufferPointer()),
          builder.GetSize()};
}

LogicalResult compiler::verifyExportable(ModuleOp module) {
  if (!module->hasAttr(lm::LmDialect::modelAttrName))
    return module.emitError("has no lm.model; an artifact needs one");
  for (auto segment : module.getOps<SegmentOp>())
    if (!segment.getLength())
      return segment.emitOpError("has no length yet");
  for (auto function : module.getOps<FunctionOp>())
    if (!function.getArena())
      return function.emitOpError(
          "has no arena; run stele-assign-buffers first");
  return success();
}

std::string compiler::exportPlan(ModuleOp module) {
  return Exporter(module).run();
}
