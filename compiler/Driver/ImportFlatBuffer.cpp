// FlatBuffer -> plan module (FlatBuffer.h). The bytes may come from anywhere:
// the FlatBuffers verifier checks their structure, every index is checked here,
// and the dialect's verifiers check the rest.

#include "mlir/IR/Builders.h"
#include "mlir/IR/Verifier.h"
#include "stele/compiler/Driver/FlatBuffer.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/dialects/Lm/LmOps.h"
#include "stele/dialects/Plan/PlanOps.h"
#include "stele/schema/artifact_header.h"
#include "stele/schema/plan_generated.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace stele;
using namespace stele::plan_ir;
using checkpoint::makeError;

namespace {

/// Builds the module. The first thing that is wrong stays in `error`, and
/// whatever is built after it is thrown away with the module.
class Importer {
public:
  Importer(MLIRContext &context, StringRef name)
      : context(context), name(name),
        location(FileLineColLoc::get(&context, name, 0, 0)),
        module(ModuleOp::create(location)), builder(module->getBodyRegion()) {}

  llvm::Expected<OwningOpRef<ModuleOp>> run(const plan::Plan &plan);

private:
  void importModel(const plan::ModelInfo &model);
  void importTarget(const plan::Target &target);
  void importSegment(const plan::Segment &segment);
  lm::QuantAttr makeQuant(const plan::QuantFormat *quant);
  void importTensor(const plan::Tensor &tensor);
  void importCache(const plan::Plan &plan, const plan::KvCache &cache);
  PagingAttr makePaging(const plan::Plan &plan, const plan::Paging *paging);
  void importExecutable(const plan::Executable &executable);
  lm::BlockSparsityAttr makeSparsity(const plan::BlockSparsity *sparsity);
  void importEntry(OpBuilder &at, const plan::Entry &entry);
  ParameterAttr makeParameter(const plan::Parameter &parameter);
  template <typename TableT> PageShapeAttr makePage(const TableT &table);
  void importFunction(const plan::Function &function);
  void importBuffer(const plan::Buffer &buffer);
  void importOp(const plan::Op &op);
  void importLaunch(const plan::Launch &launch);

  void fail(const llvm::Twine &what) {
    if (error.empty())
      error = what.str();
  }
  StringAttr text(const flatbuffers::String *value) {
    return builder.getStringAttr(value->string_view());
  }
  StringAttr symbol(const flatbuffers::String *value) {
    StringAttr attr = text(value);
    if (attr.empty() || !symbols.insert(attr).second)
      fail("the name \"" + attr.getValue() + "\" is empty or there twice");
    return attr;
  }
  IntegerAttr integer(uint64_t value) {
    return builder.getI64IntegerAttr(value);
  }
  IntegerAttr hash(uint64_t value) {
    return builder.getIntegerAttr(builder.getIntegerType(64, false), value);
  }
  template <typename Vector> DenseI64ArrayAttr integers(const Vector *values) {
    SmallVector<int64_t> list;
    if (values)
      list.assign(values->begin(), values->end());
    return builder.getDenseI64ArrayAttr(list);
  }
  /// The case of an enumeration with that number.
  template <typename Enum>
  Enum kind(std::optional<Enum> (*symbolize)(uint32_t), uint64_t value,
            StringRef what) {
    std::optional<Enum> found = symbolize(value);
    if (!found)
      fail(what + " " + llvm::Twine(value) + " is not known");
    return found.value_or(Enum{});
  }
  Type type(plan::DType dtype);
  template <typename T> T at(ArrayRef<T> list, uint64_t index, StringRef what) {
    if (index < list.size())
      return list[index];
    fail(what + " " + llvm::Twine(index) + " is not below " +
         llvm::Twine(list.size()));
    return T();
  }
  FlatSymbolRefAttr target(uint64_t index) {
    StringAttr name = at(ArrayRef(targets), index, "target");
    return name ? FlatSymbolRefAttr::get(name) : FlatSymbolRefAttr();
  }
  /// Written only where it is not the function's.
  FlatSymbolRefAttr targetUnlessFunctions(uint64_t index) {
    return index == functionTarget ? FlatSymbolRefAttr() : target(index);
  }
  FlatSymbolRefAttr cache(uint64_t index) {
    StringAttr name = at(ArrayRef(caches), index, "kv_cache");
    return FlatSymbolRefAttr::get(name ? name : builder.getStringAttr("?"));
  }
  Value buffer(uint64_t index) {
    return at(ArrayRef(buffers), index, "buffer");
  }
  template <typename OpT, typename Body, typename... Args>
  void step(const Body &body, Args &&...args) {
    if (error.empty())
      OpT::create(builder, location, std::forward<Args>(args)...,
                  integer(body.stream()), integer(body.device()),
                  targetUnlessFunctions(body.target()), integer(modelledNs));
  }

  MLIRContext &context;
  StringRef name;
  Location location;
  OwningOpRef<ModuleOp> module;
  OpBuilder builder;
  std::string error;
  llvm::DenseSet<StringAttr> symbols;
  SmallVector<StringAttr> targets, segments, tensors, caches, executables;
  SmallVector<SmallVector<StringAttr>> entries; // by executable
  SmallVector<Value> buffers;                   // of the function
  uint64_t functionTarget = 0;
  uint64_t modelledNs = 0; // of the operation
};

} // namespace

Type Importer::type(plan::DType dtype) {
  switch (dtype) {
  case plan::DType::F32:
    return builder.getF32Type();
  case plan::DType::F16:
    return builder.getF16Type();
  case plan::DType::BF16:
    return builder.getBF16Type();
  case plan::DType::I32:
    return builder.getI32Type();
  case plan::DType::I8:
    return builder.getI8Type();
  case plan::DType::U8:
    return builder.getIntegerType(8, /*isSigned=*/false);
  case plan::DType::I64:
    return builder.getI64Type();
  case plan::DType::I4:
    return builder.getIntegerType(4);
  }
  fail("dtype " + llvm::Twine(static_cast<unsigned>(dtype)) + " is not known");
  return builder.getF32Type();
}

void Importer::importModel(const plan::ModelInfo &model) {
  auto emit = [&] { return emitError(location); };
  auto sampling = lm::SamplingAttr::getChecked(
      emit, &context, model.sample(), lm::Real(model.temperature()),
      int64_t(model.top_k()), lm::Real(model.top_p()), lm::Real(model.min_p()),
      lm::Real(model.repetition_penalty()));
  SmallVector<int64_t> eos(model.eos_ids()->begin(), model.eos_ids()->end());
  auto attr = lm::ModelAttr::getChecked(
      emit, &context, StringRef(model.architecture()->string_view()),
      StringRef(model.name()->string_view()), int64_t(model.vocab_size()),
      int64_t(model.hidden_size()), int64_t(model.layers()),
      int64_t(model.heads()), int64_t(model.kv_heads()),
      int64_t(model.head_dim()), int64_t(model.context()),
      int64_t(model.trained_context()), int64_t(model.parameters()),
      ArrayRef<int64_t>(eos), /*bos=*/int64_t(-1),
      int64_t(model.sliding_window()), sampling);
  std::optional<lm::Arithmetic> arithmetic =
      lm::symbolizeArithmetic(model.arithmetic()->string_view());
  if (!sampling || !attr || !arithmetic)
    return fail("plan.model is not a valid description");
  module.get()->setAttr(lm::LmDialect::modelAttrName, attr);
  module.get()->setAttr(lm::LmDialect::arithmeticAttrName,
                        lm::ArithmeticAttr::get(&context, *arithmetic));
}

void Importer::importTarget(const plan::Target &target) {
  targets.push_back(symbol(target.name()));
  SmallVector<Attribute> features;
  for (const flatbuffers::String *feature : *target.features())
    features.push_back(text(feature));
  TargetOp::create(builder, location, targets.back(), text(target.isa()),
                   builder.getArrayAttr(features));
}

void Importer::importSegment(const plan::Segment &segment) {
  segments.push_back(symbol(segment.name()));
  SmallVector<Attribute> users;
  for (uint16_t index : *segment.targets())
    if (FlatSymbolRefAttr user = target(index))
      users.push_back(user);
  auto storage = kind<Storage>(
      symbolizeStorage, static_cast<uint64_t>(segment.storage()), "storage");
  auto holds =
      kind<SegmentKind>(symbolizeSegmentKind,
                        static_cast<uint64_t>(segment.kind()), "segment kind");
  StringAttr file;
  if (storage == Storage::External && segment.external_path())
    file = text(segment.external_path());
  StringAttr sha256;
  if (segment.sha256() && segment.sha256()->size() > 0)
    sha256 = builder.getStringAttr(llvm::toHex(
        ArrayRef(segment.sha256()->data(), segment.sha256()->size()),
        /*LowerCase=*/true));
  const bool made = storage == Storage::Synthetic;
  SegmentOp::create(
      builder, location, segments.back(), SegmentKindAttr::get(&context, holds),
      StorageAttr::get(&context, storage), builder.getArrayAttr(users), file,
      made ? hash(segment.seed()) : IntegerAttr(), integer(segment.length()),
      made ? IntegerAttr() : integer(segment.offset()),
      made ? IntegerAttr() : hash(segment.xxh3()), sha256,
      integer(segment.device()));
}

lm::QuantAttr Importer::makeQuant(const plan::QuantFormat *quant) {
  if (!quant)
    return {};
  using Stored = schema::QuantFormat::Real;
  const schema::QuantFormat format{quant->bits(), quant->group(),
                                   static_cast<Stored>(quant->scale()),
                                   static_cast<Stored>(quant->offset())};
  if (schema::IsValid(format))
    return lm::QuantAttr::get(&context, format);
  fail("tensor \"" + tensors.back().getValue() + "\" has an unknown quant");
  return {};
}

void Importer::importTensor(const plan::Tensor &tensor) {
  tensors.push_back(symbol(tensor.name()));
  StringAttr segment = at(ArrayRef(segments), tensor.segment(), "segment");
  SmallVector<int64_t> shape(tensor.shape()->begin(), tensor.shape()->end());
  if (!llvm::all_of(shape, [](int64_t size) { return size > 0; }))
    fail("tensor \"" + tensors.back().getValue() + "\" has a dimension of 0");
  lm::QuantAttr quant = makeQuant(tensor.quant());
  if (!error.empty())
    return;
  TensorOp::create(
      builder, location, tensors.back(), FlatSymbolRefAttr::get(segment),
      integer(tensor.offset()), integer(tensor.length()), text(tensor.layout()),
      /*segments=*/nullptr, /*value=*/nullptr, quant, /*rounding=*/nullptr,
      /*row_scale=*/nullptr, /*column_scale=*/nullptr, /*importance=*/nullptr,
      TypeAttr::get(RankedTensorType::get(shape, type(tensor.dtype()))));
}

/// Of a cache, or of a parameter that takes one.
template <typename TableT>
PageShapeAttr Importer::makePage(const TableT &table) {
  const int64_t heads = table.kv_heads(), headDim = table.head_dim(),
                block = table.block_tokens(), features = table.features();
  auto page = PageShapeAttr::getChecked(
      [&] { return emitError(location); }, &context, heads, headDim, block,
      type(table.dtype()), features, table.key_index(), table.value_index());
  if (!page || uint64_t(page.getPageBytes()) != table.page_bytes()) {
    fail("the shape of a KV cache's pages does not give its page_bytes");
    return {};
  }
  return page;
}

/// Executables come behind the caches that name their entries.
PagingAttr Importer::makePaging(const plan::Plan &plan,
                                const plan::Paging *paging) {
  if (!paging)
    return {};
  const auto &executables = *plan.executables();
  if (paging->executable() >= executables.size()) {
    fail("the executable of a paging is not there");
    return {};
  }
  const plan::Executable &code = *executables[paging->executable()];
  auto entry = [&](uint32_t index) -> SymbolRefAttr {
    if (index < code.entries()->size())
      return SymbolRefAttr::get(
          text(code.name()),
          {FlatSymbolRefAttr::get(text(code.entries()->Get(index)->symbol()))});
    fail("an entry of a paging is not there");
    return {};
  };
  SymbolRefAttr pack = entry(paging->pack()), unpack = entry(paging->unpack());
  if (!error.empty())
    return {};
  auto attr = PagingAttr::getChecked(
      [&] { return emitError(location); }, &context,
      int64_t(paging->hot_tokens()), int64_t(paging->sink_blocks()),
      int64_t(paging->grid_tokens()), type(paging->warm_dtype()),
      int64_t(paging->warm_page_bytes()), int64_t(paging->warm_tokens()), pack,
      unpack);
  if (!attr)
    fail("a paging is not valid");
  return attr;
}

void Importer::importCache(const plan::Plan &plan, const plan::KvCache &cache) {
  caches.push_back(symbol(cache.name()));
  PageShapeAttr page = makePage(cache);
  FlatSymbolRefAttr user = target(cache.target());
  PagingAttr paging = makePaging(plan, cache.paging());
  if (error.empty())
    KvCacheOp::create(
        builder, location, caches.back(), user, integer(cache.layers()), page,
        integer(cache.slots()), integer(cache.device()),
        cache.transient() ? builder.getUnitAttr() : UnitAttr(), paging);
}

ParameterAttr Importer::makeParameter(const plan::Parameter &parameter) {
  auto bound = kind<BindingKind>(symbolizeBindingKind,
                                 static_cast<uint64_t>(parameter.kind()),
                                 "parameter kind");
  auto access = kind<Access>(
      symbolizeAccess, static_cast<uint64_t>(parameter.access()), "access");
  PageShapeAttr page;
  if (bound == BindingKind::KvCache)
    page = makePage(parameter);
  if (!error.empty())
    return {};
  auto attr = ParameterAttr::getChecked(
      [&] { return emitError(location); }, &context, bound, access,
      parameter.in_place(), int64_t(parameter.bytes()),
      int64_t(parameter.bytes_per_token()),
      int64_t(parameter.bytes_per_logit_row()), page);
  if (!attr)
    fail("a parameter is not valid");
  return attr;
}

static bool isSet(const flatbuffers::String *text) {
  return text && text->size() > 0;
}

lm::BlockSparsityAttr
Importer::makeSparsity(const plan::BlockSparsity *sparsity) {
  if (!sparsity)
    return {};
  auto select = kind<lm::BlockSelect>(lm::symbolizeBlockSelect,
                                      static_cast<uint64_t>(sparsity->select()),
                                      "choice of blocks");
  auto estimate = kind<lm::Estimator>(
      lm::symbolizeEstimator, static_cast<uint64_t>(sparsity->estimate()),
      "estimator");
  if (!error.empty())
    return {};
  auto attr = lm::BlockSparsityAttr::getChecked(
      [&] { return emitError(location); }, &context, int64_t(sparsity->block()),
      int64_t(sparsity->local()), int64_t(sparsity->adjacent()),
      int64_t(sparsity->sink()), select, int64_t(sparsity->top_k()),
      lm::Real(sparsity->top_p()), estimate, int64_t(sparsity->dense()),
      int64_t(sparsity->limit()));
  if (!attr)
    fail("the sparsity of an entry is not valid");
  return attr;
}

void Importer::importEntry(OpBuilder &at, const plan::Entry &entry) {
  SmallVector<Attribute> parameters, immediates;
  for (const plan::Parameter *parameter : *entry.parameters())
    if (ParameterAttr attr = makeParameter(*parameter))
      parameters.push_back(attr);
  if (entry.immediates())
    for (plan::ImmediateKind immediate : *entry.immediates())
      immediates.push_back(ImmediateKindAttr::get(
          &context, kind<ImmediateKind>(symbolizeImmediateKind,
                                        static_cast<uint64_t>(immediate),
                                        "immediate kind")));
  entries.back().push_back(text(entry.symbol()));
  EntryOp::create(
      at, location, entries.back().back(), /*instance=*/nullptr,
      builder.getArrayAttr(parameters), builder.getArrayAttr(immediates),
      integer(entry.token_limit()), integer(entry.scratch_bytes()),
      integer(entry.shared_bytes_per_token()), integer(entry.context_limit()),
      isSet(entry.chosen_by()) ? text(entry.chosen_by()) : StringAttr(),
      makeSparsity(entry.sparsity()));
}

void Importer::importExecutable(const plan::Executable &executable) {
  executables.push_back(symbol(executable.name()));
  entries.emplace_back();
  StringAttr segment = at(ArrayRef(segments), executable.segment(), "segment");
  FlatSymbolRefAttr user = target(executable.target());
  auto format = kind<CodeFormat>(symbolizeCodeFormat,
                                 static_cast<uint64_t>(executable.format()),
                                 "code format");
  if (!error.empty())
    return;
  auto op = ExecutableOp::create(builder, location, executables.back(),
                                 CodeFormatAttr::get(&context, format),
                                 FlatSymbolRefAttr::get(segment), user);
  OpBuilder inside = OpBuilder::atBlockEnd(&op.getBody().emplaceBlock());
  for (const plan::Entry *entry : *executable.entries())
    importEntry(inside, *entry);
}

void Importer::importBuffer(const plan::Buffer &buffer) {
  auto role = kind<BufferRole>(
      symbolizeBufferRole, static_cast<uint64_t>(buffer.role()), "buffer role");
  auto placement = PlacementAttr::getChecked(
      [&] { return emitError(location); }, &context, int64_t(buffer.offset()),
      int64_t(buffer.first_op()), int64_t(buffer.last_op()));
  if (!placement)
    return fail("the place of a buffer is not valid");
  buffers.push_back(BufferOp::create(
      builder, location, BufferType::get(&context), text(buffer.name()),
      BufferRoleAttr::get(&context, role), integer(buffer.max_rows()),
      integer(buffer.row_elements()), placement,
      TypeAttr::get(type(buffer.dtype())), integer(buffer.device()),
      targetUnlessFunctions(buffer.target())));
}

void Importer::importLaunch(const plan::Launch &launch) {
  StringAttr executable =
      at(ArrayRef(executables), launch.executable(), "executable");
  StringAttr entry;
  if (executable)
    entry = at(ArrayRef(entries[launch.executable()]), launch.entry(), "entry");
  SmallVector<Value> operands;
  SmallVector<Attribute> bindings;
  for (const plan::Binding *binding : *launch.bindings()) {
    switch (binding->kind()) {
    case plan::BindingKind::Buffer:
      operands.push_back(buffer(binding->index()));
      bindings.push_back(builder.getUnitAttr());
      continue;
    case plan::BindingKind::Tensor:
      if (StringAttr tensor = at(ArrayRef(tensors), binding->index(), "tensor"))
        bindings.push_back(FlatSymbolRefAttr::get(tensor));
      continue;
    case plan::BindingKind::KvCache:
      bindings.push_back(cache(binding->index()));
      continue;
    }
    fail("a binding's kind is not known");
  }
  if (!error.empty())
    return;
  step<LaunchOp>(
      launch, text(launch.label()),
      SymbolRefAttr::get(executable, {FlatSymbolRefAttr::get(entry)}), operands,
      builder.getArrayAttr(bindings), integers(launch.immediates()),
      integers(launch.grid()), integers(launch.block()),
      integer(launch.shared_bytes()));
}

void Importer::importOp(const plan::Op &op) {
  modelledNs = op.modelled_ns();
  switch (op.body_type()) {
  case plan::OpBody::Launch:
    return importLaunch(*op.body_as_Launch());
  case plan::OpBody::Copy: {
    const plan::Copy &copy = *op.body_as_Copy();
    return step<CopyOp>(copy, buffer(copy.source()), buffer(copy.destination()),
                        integer(copy.length()));
  }
  case plan::OpBody::SelectPages: {
    const plan::SelectPages &select = *op.body_as_SelectPages();
    return step<SelectPagesOp>(
        select, cache(select.cache()), integer(select.layer()),
        buffer(select.selection()), integer(select.slots()));
  }
  case plan::OpBody::PageIn: {
    const plan::PageIn &pages = *op.body_as_PageIn();
    return step<PageInOp>(pages, cache(pages.cache()), integer(pages.layer()),
                          integer(pages.first_slot()), integer(pages.slots()),
                          pages.ahead() ? builder.getUnitAttr() : UnitAttr());
  }
  case plan::OpBody::PageOut: {
    const plan::PageOut &pages = *op.body_as_PageOut();
    return step<PageOutOp>(pages, cache(pages.cache()), integer(pages.layer()),
                           integer(pages.max_pages()));
  }
  case plan::OpBody::Signal:
    return step<SignalOp>(*op.body_as_Signal(),
                          integer(op.body_as_Signal()->event()));
  case plan::OpBody::Wait:
    return step<WaitOp>(*op.body_as_Wait(),
                        integer(op.body_as_Wait()->event()));
  case plan::OpBody::Collective: {
    const plan::Collective &collective = *op.body_as_Collective();
    auto how = kind<CollectiveKind>(symbolizeCollectiveKind,
                                    static_cast<uint64_t>(collective.kind()),
                                    "collective kind");
    return step<CollectiveOp>(collective,
                              CollectiveKindAttr::get(&context, how),
                              buffer(collective.buffer()));
  }
  case plan::OpBody::NONE:
    break;
  }
  fail("an operation is of a kind that this compiler does not know");
}

void Importer::importFunction(const plan::Function &function) {
  functionTarget = function.target();
  FlatSymbolRefAttr user = target(functionTarget);
  if (!user)
    return;
  OpBuilder::InsertionGuard guard(builder);
  auto op = FunctionOp::create(
      builder, location, symbol(function.name()), user,
      integer(function.max_tokens()), integer(function.max_sequences()),
      integer(function.max_logit_rows()), integer(function.ranks()),
      integer(function.streams()), integer(function.events()),
      integer(function.arena_bytes()), integer(function.scratch_bytes()),
      integer(function.shared_bytes()));
  builder.setInsertionPointToEnd(&op.getBody().emplaceBlock());
  buffers.clear();
  for (const plan::Buffer *buffer : *function.buffers())
    importBuffer(*buffer);
  for (const plan::Op *each : *function.ops())
    importOp(*each);
  SmallVector<Attribute> names;
  SmallVector<Value> results;
  for (const plan::Output *output : *function.outputs()) {
    names.push_back(text(output->name()));
    results.push_back(buffer(output->buffer()));
  }
  if (error.empty())
    ReturnOp::create(builder, location, builder.getArrayAttr(names), results);
}

llvm::Expected<OwningOpRef<ModuleOp>> Importer::run(const plan::Plan &plan) {
  // Attributes check themselves with diagnostics; the first is the reason.
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      fail(diagnostic.str());
    return success();
  });
  importModel(*plan.model());
  for (const plan::Target *each : *plan.targets())
    importTarget(*each);
  for (const plan::Segment *each : *plan.segments())
    importSegment(*each);
  for (const plan::Tensor *each : *plan.tensors())
    importTensor(*each);
  for (const plan::KvCache *each : *plan.kv_caches())
    importCache(plan, *each);
  for (const plan::Executable *each : *plan.executables())
    importExecutable(*each);
  for (const plan::Function *each : *plan.functions())
    importFunction(*each);
  if (error.empty() && failed(verify(*module)))
    fail("the plan is not valid");
  if (!error.empty())
    return makeError("{0}: {1}", name, error);
  return std::move(module);
}

/// The FlatBuffer inside an artifact; `bytes` itself if it is one.
static llvm::Expected<StringRef> findPlan(StringRef bytes, StringRef name) {
  const StringRef magic(schema::kMagic, sizeof schema::kMagic);
  if (!bytes.starts_with(magic))
    return bytes;
  schema::ArtifactHeader header;
  if (bytes.size() < sizeof header)
    return makeError("{0}: ends inside the header of an artifact", name);
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.endian != schema::kEndianMark ||
      header.major != schema::kFormatMajor)
    return makeError("{0}: format {1}.{2}, this compiler reads {3}.x", name,
                     header.major, header.minor, schema::kFormatMajor);
  bytes = bytes.drop_front(sizeof header);
  if (header.flatbuffer_size > bytes.size())
    return makeError("{0}: ends inside the plan: {1} bytes of {2} are there",
                     name, bytes.size(), header.flatbuffer_size);
  return bytes.take_front(header.flatbuffer_size);
}

llvm::Expected<OwningOpRef<ModuleOp>>
compiler::importPlan(MLIRContext &context, StringRef bytes, StringRef name) {
  llvm::Expected<StringRef> found = findPlan(bytes, name);
  if (!found)
    return found.takeError();
  // FlatBuffers reads integers in place, so they need their alignment.
  std::unique_ptr<llvm::WritableMemoryBuffer> aligned =
      llvm::WritableMemoryBuffer::getNewUninitMemBuffer(found->size(), name,
                                                        llvm::Align(64));
  llvm::copy(*found, aligned->getBufferStart());
  auto *data = reinterpret_cast<const uint8_t *>(aligned->getBufferStart());
  flatbuffers::Verifier verifier(data, found->size(), /*max_depth=*/64,
                                 /*max_tables=*/10'000'000);
  if (found->size() < 8 || !plan::PlanBufferHasIdentifier(data) ||
      !plan::VerifyPlanBuffer(verifier))
    return makeError("{0}: is neither an artifact nor a plan's FlatBuffer",
                     name);
  context.loadDialect<lm::LmDialect, PlanDialect>();
  return Importer(context, name).run(*plan::GetPlan(data));
}
