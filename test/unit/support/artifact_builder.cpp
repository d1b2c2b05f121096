// The toy artifact; see artifact_builder.h.
#include "artifact_builder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/hash.h"
#include "test_kernels.h"

namespace stele::test {
namespace {

constexpr uint64_t kFloat = sizeof(float);
constexpr uint64_t kRowBytes = kHidden * kFloat;
constexpr uint64_t kTableBytes = kVocabulary * kRowBytes;

uint64_t RoundUp(uint64_t n, uint64_t unit) {
  return (n + unit - 1) / unit * unit;
}

std::unique_ptr<plan::ParameterT> Buffer(plan::Access access,
                                         uint64_t bytes_per_token) {
  auto parameter = std::make_unique<plan::ParameterT>();
  parameter->kind = plan::BindingKind::Buffer;
  parameter->access = access;
  parameter->bytes_per_token = bytes_per_token;
  return parameter;
}

std::unique_ptr<plan::ParameterT> Weight(uint64_t bytes) {
  auto parameter = std::make_unique<plan::ParameterT>();
  parameter->kind = plan::BindingKind::Tensor;
  parameter->bytes = bytes;
  return parameter;
}

std::unique_ptr<plan::ParameterT> Cache(plan::Access access) {
  auto parameter = std::make_unique<plan::ParameterT>();
  parameter->kind = plan::BindingKind::KvCache;
  parameter->access = access;
  parameter->kv_heads = kKvHeads;
  parameter->head_dim = kHeadDim;
  parameter->block_tokens = kBlock;
  parameter->dtype = plan::DType::F32;
  parameter->page_bytes = kPageBytes;
  return parameter;
}

std::unique_ptr<plan::ParameterT> States() {
  auto parameter = Cache(plan::Access::ReadWrite);
  parameter->block_tokens = 0;
  parameter->features = 1;
  parameter->page_bytes = kStateBytes;
  return parameter;
}

template <typename... Parameters>
std::unique_ptr<plan::EntryT> Entry(const char *symbol,
                                    Parameters... parameters) {
  auto entry = std::make_unique<plan::EntryT>();
  entry->symbol = symbol;
  (entry->parameters.push_back(std::move(parameters)), ...);
  return entry;
}

std::unique_ptr<plan::ExecutableT> Executable() {
  using plan::Access;
  auto executable = std::make_unique<plan::ExecutableT>();
  executable->name = "kernels";
  executable->segment = 1;
  auto &entries = executable->entries;
  entries.push_back(Entry("test_embed", Weight(kTableBytes),
                          Buffer(Access::Write, kRowBytes)));
  entries.back()->token_limit = kVocabulary;
  entries.push_back(Entry("test_append", Buffer(Access::Read, kRowBytes),
                          Cache(Access::Write)));
  entries.back()->immediates = {plan::ImmediateKind::Layer};
  entries.push_back(Entry("test_attend", Buffer(Access::Read, kRowBytes),
                          Cache(Access::Read),
                          Buffer(Access::Write, kRowBytes)));
  entries.back()->immediates = {plan::ImmediateKind::Layer};
  entries.back()->scratch_bytes = kRowBytes;
  entries.back()->parameters[0]->in_place = true;
  entries.push_back(Entry("test_logits", Buffer(Access::Read, kRowBytes),
                          Weight(kTableBytes), Buffer(Access::Write, 0)));
  entries.back()->parameters[2]->bytes_per_logit_row = kVocabulary * kFloat;
  return executable;
}

std::unique_ptr<plan::BufferT> Activation(const char *name, uint64_t elements,
                                          uint64_t rows, uint64_t offset,
                                          uint32_t first, uint32_t last) {
  auto buffer = std::make_unique<plan::BufferT>();
  buffer->name = name;
  buffer->row_elements = elements;
  buffer->max_rows = rows;
  buffer->offset = offset;
  buffer->length = elements * rows * kFloat;
  buffer->first_op = first;
  buffer->last_op = last;
  return buffer;
}

struct Use {
  plan::BindingKind kind;
  uint32_t index;
};
constexpr Use OfBuffer(uint32_t i) { return {plan::BindingKind::Buffer, i}; }
constexpr Use OfTensor(uint32_t i) { return {plan::BindingKind::Tensor, i}; }
constexpr Use OfCache() { return {plan::BindingKind::KvCache, 0}; }

std::unique_ptr<plan::OpT> Launch(const char *label, uint32_t entry,
                                  std::vector<Use> uses,
                                  std::vector<int64_t> immediates = {}) {
  auto launch = std::make_unique<plan::LaunchT>();
  launch->label = label;
  launch->entry = entry;
  launch->immediates = std::move(immediates);
  for (const Use &use : uses) {
    auto binding = std::make_unique<plan::BindingT>();
    binding->kind = use.kind;
    binding->index = use.index;
    launch->bindings.push_back(std::move(binding));
  }
  auto op = std::make_unique<plan::OpT>();
  op->body.type = plan::OpBody::Launch;
  op->body.value = launch.release();
  return op;
}

std::unique_ptr<plan::OutputT> Output(const char *name, uint32_t buffer) {
  auto output = std::make_unique<plan::OutputT>();
  output->name = name;
  output->buffer = buffer;
  return output;
}

std::unique_ptr<plan::FunctionT> Function(const char *name, uint32_t tokens) {
  auto function = std::make_unique<plan::FunctionT>();
  function->name = name;
  function->max_tokens = tokens;
  function->max_sequences = 4;
  function->max_logit_rows = tokens;
  function->scratch_bytes = kRowBytes;
  const uint64_t rows = RoundUp(tokens * kRowBytes, 64);
  auto &buffers = function->buffers;
  buffers.push_back(Activation("x", kHidden, tokens, 0, 0, 4));
  buffers.push_back(Activation("y", kHidden, tokens, rows, 2, 5));
  buffers.back()->role = plan::BufferRole::Output;
  // x is dead when the logits are written, but they need more than its room.
  buffers.push_back(Activation("logits", kVocabulary, tokens, 2 * rows, 5, 5));
  buffers.back()->role = plan::BufferRole::Output;
  function->arena_bytes = 2 * rows + RoundUp(tokens * kVocabulary * kFloat, 64);
  auto &ops = function->ops;
  ops.push_back(Launch("embed", 0, {OfTensor(0), OfBuffer(0)}));
  ops.push_back(Launch("append 0", 1, {OfBuffer(0), OfCache()}, {0}));
  ops.push_back(
      Launch("attend 0", 2, {OfBuffer(0), OfCache(), OfBuffer(1)}, {0}));
  ops.push_back(Launch("append 1", 1, {OfBuffer(1), OfCache()}, {1}));
  ops.push_back(
      Launch("attend 1", 2, {OfBuffer(1), OfCache(), OfBuffer(1)}, {1}));
  ops.push_back(Launch("logits", 3, {OfBuffer(1), OfTensor(1), OfBuffer(2)}));
  function->outputs.push_back(Output("logits", 2));
  function->outputs.push_back(Output("stream", 1));
  return function;
}

std::unique_ptr<plan::SegmentT> Segment(const char *name,
                                        plan::SegmentKind kind) {
  auto segment = std::make_unique<plan::SegmentT>();
  segment->name = name;
  segment->kind = kind;
  segment->targets = {0};
  return segment;
}

std::unique_ptr<plan::TensorT> Matrix(const char *name, uint64_t offset) {
  auto tensor = std::make_unique<plan::TensorT>();
  tensor->name = name;
  tensor->shape = {kVocabulary, kHidden};
  tensor->layout = "rows";
  tensor->offset = offset;
  tensor->length = kTableBytes;
  return tensor;
}

std::unique_ptr<plan::ModelInfoT> Info() {
  auto info = std::make_unique<plan::ModelInfoT>();
  info->architecture = "toy";
  info->name = "toy";
  info->vocab_size = kVocabulary;
  info->hidden_size = kHidden;
  info->layers = kLayers;
  info->heads = kKvHeads;
  info->kv_heads = kKvHeads;
  info->head_dim = kHeadDim;
  info->context = 64;
  info->trained_context = 64;
  info->eos_ids = {0};
  info->arithmetic = "f32";
  return info;
}

// Weights without a pattern that could hide a swapped index.
std::vector<uint8_t> ToyWeights(uint64_t bytes) {
  std::vector<uint8_t> out(bytes);
  uint32_t state = 1;
  for (uint64_t i = 0; i < bytes; i += kFloat) {
    state = state * 1664525u + 1013904223u;
    const float value = static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
    std::memcpy(&out[i], &value, kFloat);
  }
  return out;
}

std::vector<uint8_t> ToyElf() {
  Result<std::string> elf = ReadFile(STELE_TEST_KERNELS_ELF, 1 << 24);
  EXPECT_TRUE(elf.ok()) << elf.status().message();
  return {elf->begin(), elf->end()};
}

// What a toy kernel takes: a letter for each binding (a tensor, a buffer, or a
// cache: plain, with an index or of states), and how many immediates.
std::string TakenBy(const plan::Entry &entry) {
  std::string taken;
  for (const plan::Parameter *parameter : *entry.parameters())
    taken += parameter->kind() == plan::BindingKind::Tensor    ? 't'
             : parameter->kind() == plan::BindingKind::Buffer  ? 'b'
             : parameter->kind() != plan::BindingKind::KvCache ? '?'
             : parameter->features() > 0                       ? 's'
             : parameter->key_index()                          ? 'i'
                                                               : 'c';
  const size_t immediates = entry.immediates() ? entry.immediates()->size() : 0;
  return taken + std::to_string(immediates);
}

struct ToyKernel {
  std::string_view symbol, taken;
  SteleHostKernel kernel;
};
constexpr ToyKernel kToyKernels[] = {
    {"test_embed", "tb0", test_embed},     {"test_append", "bc1", test_append},
    {"test_append", "bi1", test_append},   {"test_pack", "bb0", test_pack},
    {"test_attend", "bcb1", test_attend},  {"test_select", "bb0", test_select},
    {"test_sparse", "bbcb1", test_sparse}, {"test_sum", "bcsb1", test_sum},
    {"test_search", "bib1", test_search},  {"test_logits", "btb0", test_logits},
};

// The toy kernels linked into this program, found by symbol. Code is what its
// entry says, as it is in any artifact that was compiled; the fuzzer finds it
// easy to make one symbol of another.
class BuiltinCode : public HostCode {
public:
  static Result<std::unique_ptr<LoadedCode>>
  Load(const plan::Executable &executable) {
    auto code = std::make_unique<BuiltinCode>();
    for (const plan::Entry *entry : *executable.entries()) {
      SteleHostKernel kernel = Find(*entry);
      if (!kernel)
        return NotFound("no toy kernel of this name takes that");
      code->kernels_.push_back(kernel);
    }
    return std::unique_ptr<LoadedCode>(std::move(code));
  }

private:
  static SteleHostKernel Find(const plan::Entry &entry) {
    const std::string taken = TakenBy(entry);
    for (const ToyKernel &toy : kToyKernels)
      if (toy.symbol == entry.symbol()->string_view() && toy.taken == taken)
        return toy.kernel;
    return nullptr;
  }
};

class BuiltinDevice : public HostDevice {
public:
  explicit BuiltinDevice(std::unique_ptr<ThreadPool> pool)
      : HostDevice(std::move(pool)) {}
  Result<std::unique_ptr<LoadedCode>>
  LoadCode(const plan::Executable &executable,
           std::span<const uint8_t> bytes) override {
    return BuiltinCode::Load(executable);
  }
};

// Builds the operations of a function in order.
class Ops {
public:
  explicit Ops(plan::FunctionT &function) : function_(function) {
    function_.ops.clear();
    function_.streams = 2;
  }

  Ops &Launch(std::unique_ptr<plan::OpT> launch) {
    function_.ops.push_back(std::move(launch));
    return *this;
  }
  Ops &Out(uint32_t layer) {
    plan::PageOutT out;
    out.layer = layer;
    out.max_pages = 2 * kKvHeads;
    out.stream = 1;
    return Add(out, plan::OpBody::PageOut);
  }
  Ops &In(uint32_t layer, uint32_t slots, bool ahead) {
    plan::PageInT in;
    in.layer = layer;
    in.first_slot = layer * slots;
    in.slots = slots;
    in.ahead = ahead;
    in.stream = 1;
    return Add(in, plan::OpBody::PageIn);
  }
  Ops &Select(uint32_t layer, uint32_t selection, uint32_t slots) {
    plan::SelectPagesT select;
    select.layer = layer;
    select.selection = selection;
    select.slots = slots;
    return Add(select, plan::OpBody::SelectPages);
  }
  Ops &Signal(uint16_t stream) {
    plan::SignalT signal;
    signal.stream = stream;
    signal.event = function_.events++;
    return Add(signal, plan::OpBody::Signal);
  }
  // For the event that was signalled last.
  Ops &Wait(uint16_t stream) {
    plan::WaitT wait;
    wait.stream = stream;
    wait.event = function_.events - 1;
    return Add(wait, plan::OpBody::Wait);
  }

private:
  template <typename Body> Ops &Add(Body body, plan::OpBody type) {
    auto op = std::make_unique<plan::OpT>();
    op->body.type = type;
    op->body.value = new Body(std::move(body));
    function_.ops.push_back(std::move(op));
    return *this;
  }

  plan::FunctionT &function_;
};

// Query blocks of a step times heads times chosen blocks.
constexpr uint32_t kLayerSlots = 2 * kKvHeads * kChosen;

// A toy function with entry 2 as test_sparse, which takes the selection that
// entry `select` makes into buffer 3.
void MakeSparse(plan::FunctionT &function, uint32_t select, bool paging) {
  auto launches = std::move(function.ops);
  function.buffers.push_back(Activation(
      "selection", kKvHeads, function.max_tokens, function.arena_bytes, 0, 0));
  function.buffers.back()->dtype = plan::DType::I32;
  function.arena_bytes += RoundUp(function.buffers.back()->length, 64);
  const auto choose = [&](uint32_t layer) {
    return Launch(layer ? "select 1" : "select 0", select,
                  {OfBuffer(layer), OfBuffer(3)});
  };
  for (const uint32_t layer : {0, 1}) {
    auto &bindings = launches[2 + 2 * layer]->body.AsLaunch()->bindings;
    auto binding = std::make_unique<plan::BindingT>();
    binding->index = 3;
    bindings.insert(bindings.begin() + 1, std::move(binding));
  }
  Ops ops(function);
  if (paging)
    ops.Out(0).In(0, kLayerSlots, true).Signal(1);
  ops.Launch(std::move(launches[0]));
  for (const uint32_t layer : {0, 1}) {
    if (paging)
      ops.Wait(0);
    ops.Launch(std::move(launches[1 + 2 * layer])).Launch(choose(layer));
    if (paging) {
      ops.Select(layer, 3, kLayerSlots).Signal(0).Wait(1);
      ops.In(layer, kLayerSlots, false).Signal(1).Wait(0);
    }
    // While layer 0 attends.
    if (paging && layer == 0)
      ops.Out(1).In(1, kLayerSlots, true).Signal(1);
    ops.Launch(std::move(launches[2 + 2 * layer]));
  }
  ops.Launch(std::move(launches[5]));
  for (auto &buffer : function.buffers) {
    buffer->first_op = 0;
    buffer->last_op = function.ops.size() - 1;
  }
}

} // namespace

AlignedBytes::AlignedBytes(size_t size)
    : data_(static_cast<uint8_t *>(
          aligned_alloc(4096, RoundUp(std::max<size_t>(size, 1), 4096)))),
      size_(size) {
  std::memset(data_.get(), 0, size);
}

AlignedBytes::AlignedBytes(std::span<const uint8_t> bytes)
    : AlignedBytes(bytes.size()) {
  std::memcpy(data_.get(), bytes.data(), bytes.size());
}

ArtifactBuilder ArtifactBuilder::Toy() {
  ArtifactBuilder builder;
  plan::PlanT &plan = builder.plan;
  plan.producer = "artifact_builder 1";
  plan.model = Info();
  plan.targets.push_back(std::make_unique<plan::TargetT>());
  plan.targets[0]->name = "x86-64-v2";
  plan.targets[0]->isa = "x86-64-v2";
  plan.segments.push_back(Segment("weights", plan::SegmentKind::Weights));
  plan.segments.push_back(Segment("code", plan::SegmentKind::Executable));
  const uint64_t second = RoundUp(kTableBytes, 64);
  plan.tensors.push_back(Matrix("embedding", 0));
  plan.tensors.push_back(Matrix("output", second));
  builder.segments = {ToyWeights(second + kTableBytes), ToyElf()};
  auto cache = std::make_unique<plan::KvCacheT>();
  cache->name = "kv";
  cache->layers = kLayers;
  cache->kv_heads = kKvHeads;
  cache->head_dim = kHeadDim;
  cache->block_tokens = kBlock;
  cache->page_bytes = kPageBytes;
  plan.kv_caches.push_back(std::move(cache));
  plan.executables.push_back(Executable());
  plan.functions.push_back(Function("decode", 4));
  plan.functions.push_back(Function("prefill", 8));
  return builder;
}

void ArtifactBuilder::AddPaging() {
  plan::KvCacheT &cache = *plan.kv_caches[0];
  cache.paging = std::make_unique<plan::PagingT>();
  cache.paging->hot_tokens = cache.paging->grid_tokens = 2 * kBlock;
  cache.paging->warm_page_bytes = kPageBytes;
  auto &entries = plan.executables[0]->entries;
  cache.paging->pack = cache.paging->unpack = entries.size();
  entries.push_back(Entry("test_pack", Buffer(plan::Access::Read, 0),
                          Buffer(plan::Access::Write, 0)));
  for (auto &parameter : entries.back()->parameters)
    parameter->bytes = kPageBytes;
}

ArtifactBuilder ArtifactBuilder::ToySparse(bool paging) {
  ArtifactBuilder builder = Toy();
  plan::PlanT &plan = builder.plan;
  if (paging) {
    builder.AddPaging();
    plan.kv_caches[0]->slots = kLayers * kLayerSlots;
  }
  auto &entries = plan.executables[0]->entries;
  const uint64_t row = kKvHeads * sizeof(uint32_t);
  entries[2]->symbol = "test_sparse";
  entries[2]->parameters.insert(entries[2]->parameters.begin() + 1,
                                Buffer(plan::Access::Read, row));
  const auto select = static_cast<uint32_t>(entries.size());
  entries.push_back(Entry("test_select", Buffer(plan::Access::Read, kRowBytes),
                          Buffer(plan::Access::Write, row)));
  for (auto &function : plan.functions)
    MakeSparse(*function, select, paging);
  return builder;
}

ArtifactBuilder ArtifactBuilder::ToyWithStates() {
  ArtifactBuilder builder = Toy();
  plan::PlanT &plan = builder.plan;
  plan.kv_caches[0]->transient = true;
  auto states = std::make_unique<plan::KvCacheT>(*plan.kv_caches[0]);
  states->name = "states";
  states->transient = false;
  states->block_tokens = 0;
  states->features = 1;
  states->page_bytes = kStateBytes;
  plan.kv_caches.push_back(std::move(states));
  auto &entry = plan.executables[0]->entries[2];
  entry->symbol = "test_sum";
  auto &parameters = entry->parameters;
  parameters.insert(parameters.begin() + 2, States());
  for (auto &function : plan.functions)
    for (auto &op : function->ops) {
      plan::LaunchT &launch = *op->body.AsLaunch();
      if (launch.entry != 2)
        continue;
      auto binding = std::make_unique<plan::BindingT>(*launch.bindings[1]);
      binding->index = 1;
      launch.bindings.insert(launch.bindings.begin() + 2, std::move(binding));
    }
  return builder;
}

ArtifactBuilder ArtifactBuilder::ToyWithKeyIndex() {
  ArtifactBuilder builder = Toy();
  plan::PlanT &plan = builder.plan;
  plan.kv_caches[0]->key_index = true;
  plan.kv_caches[0]->value_index = true;
  for (auto &entry : plan.executables[0]->entries)
    for (auto &parameter : entry->parameters)
      parameter->key_index = parameter->value_index =
          parameter->kind == plan::BindingKind::KvCache;
  plan.executables[0]->entries[2]->symbol = "test_search";
  return builder;
}

AlignedBytes ArtifactBuilder::Build() {
  // Offsets depend on the FlatBuffer's size, which does not depend on their
  // values once no field has its default: so pack twice.
  std::span<const uint8_t> flatbuffer;
  flatbuffers::FlatBufferBuilder builder;
  uint64_t begin = 1 << 20, end = 0;
  for (int pass = 0; pass < 2; ++pass) {
    end = begin;
    for (size_t i = 0; i < plan.segments.size(); ++i) {
      plan::SegmentT &segment = *plan.segments[i];
      if (segment.storage != plan::Storage::Inline)
        continue;
      segment.offset = RoundUp(end, schema::kSegmentAlignment);
      segment.length = segments[i].size();
      segment.xxh3 = Xxh3(segments[i]);
      end = segment.offset + segment.length;
    }
    builder.Clear();
    plan::FinishPlanBuffer(builder, plan::Plan::Pack(builder, &plan));
    flatbuffer = {builder.GetBufferPointer(), builder.GetSize()};
    begin = sizeof(schema::ArtifactHeader) + flatbuffer.size();
  }
  AlignedBytes bytes(std::max<uint64_t>(end, begin));
  schema::ArtifactHeader header = {};
  std::memcpy(header.magic, schema::kMagic, sizeof header.magic);
  header.major = schema::kFormatMajor;
  header.minor = schema::kFormatMinor;
  header.endian = schema::kEndianMark;
  header.flatbuffer_size = flatbuffer.size();
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, flatbuffer.data(),
              flatbuffer.size());
  for (size_t i = 0; i < plan.segments.size(); ++i)
    if (plan.segments[i]->storage == plan::Storage::Inline)
      std::memcpy(bytes.data() + plan.segments[i]->offset, segments[i].data(),
                  segments[i].size());
  Reseal({bytes.data(), bytes.size()});
  return bytes;
}

std::string ArtifactBuilder::Write(const std::string &name) {
  const AlignedBytes bytes = Build();
  const std::string path = testing::TempDir() + std::to_string(getpid()) + name;
  const Status status =
      WriteFile(path, std::as_bytes(std::span<const uint8_t>(bytes)));
  EXPECT_TRUE(status.ok()) << status.message();
  return path;
}

schema::ArtifactHeader HeaderOf(std::span<const uint8_t> artifact) {
  schema::ArtifactHeader header;
  std::memcpy(&header, artifact.data(), sizeof header);
  return header;
}

void Reseal(std::span<uint8_t> artifact) {
  if (artifact.size() < sizeof(schema::ArtifactHeader))
    return;
  schema::ArtifactHeader header = HeaderOf(artifact);
  header.total_size = artifact.size();
  const uint64_t room = artifact.size() - sizeof header;
  header.flatbuffer_size = std::min(header.flatbuffer_size, room);
  const Sha256Digest digest =
      Sha256(artifact.subspan(sizeof header, header.flatbuffer_size));
  std::memcpy(header.sha256, digest.data(), digest.size());
  std::memcpy(artifact.data(), &header, sizeof header);
}

AlignedBytes WithPlan(const AlignedBytes &artifact,
                      std::span<const uint8_t> flatbuffer) {
  constexpr size_t kBegin = sizeof(schema::ArtifactHeader);
  schema::ArtifactHeader header = HeaderOf(artifact);
  const size_t room =
      RoundUp(kBegin + header.flatbuffer_size, schema::kSegmentAlignment) -
      kBegin;
  if (flatbuffer.size() > room)
    return {};
  AlignedBytes bytes(artifact);
  std::memset(bytes.data() + kBegin, 0, room);
  std::memcpy(bytes.data() + kBegin, flatbuffer.data(), flatbuffer.size());
  header.flatbuffer_size = flatbuffer.size();
  std::memcpy(bytes.data(), &header, sizeof header);
  Reseal({bytes.data(), bytes.size()});
  return bytes;
}

Result<std::unique_ptr<Device>> ToyDevice(uint32_t threads) {
  STELE_ASSIGN_OR_RETURN(auto pool, ThreadPool::Create(threads));
  return std::unique_ptr<Device>(
      std::make_unique<BuiltinDevice>(std::move(pool)));
}

std::shared_ptr<Model> LoadToy(ArtifactBuilder builder, uint32_t threads) {
  const std::string path = builder.Write("toy.stele");
  auto artifact = Artifact::Open(path);
  unlink(path.c_str());
  EXPECT_TRUE(artifact.ok()) << artifact.status().message();
  auto device = ToyDevice(threads);
  EXPECT_TRUE(device.ok()) << device.status().message();
  auto model = Model::Load(*artifact, *std::move(device));
  EXPECT_TRUE(model.ok()) << model.status().message();
  return *model;
}

std::shared_ptr<Model> ToyModel(uint32_t threads) {
  return LoadToy(ArtifactBuilder::Toy(), threads);
}

std::shared_ptr<Model> ToyModelWithStates(uint32_t threads) {
  return LoadToy(ArtifactBuilder::ToyWithStates(), threads);
}

std::shared_ptr<Model> ToySparseModel(uint32_t threads, bool paging) {
  return LoadToy(ArtifactBuilder::ToySparse(paging), threads);
}

std::shared_ptr<Model> ToyModelWithKeyIndex(uint32_t threads) {
  return LoadToy(ArtifactBuilder::ToyWithKeyIndex(), threads);
}

} // namespace stele::test
