// Planning an engine's memory, and the batched step; see engine.h.
#include "stele/runtime/engine/engine.h"

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/clock.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/base/memory.h"

namespace stele {
namespace {

constexpr uint32_t kMaxSessions = 1u << 16;
constexpr uint32_t kMaxDrafts = 256;

constexpr std::string_view kLogits = "logits";

// Null when no output has the name; verification saw to it that logits are
// there.
const plan::Buffer* FindOutput(const plan::Function& function,
                               std::string_view name) {
  for (const plan::Output* output : *function.outputs())
    if (output->name()->string_view() == name)
      return function.buffers()->Get(output->buffer());
  return nullptr;
}

}  // namespace

Engine::Engine(std::shared_ptr<Model> model, const EngineOptions& options)
    : model_(std::move(model)), options_(options) {}

Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Create(std::shared_ptr<Model> model,
                                               const EngineOptions& options) {
  std::unique_ptr<Engine> engine(new Engine(std::move(model), options));
  try {
    std::lock_guard lock(engine->model_->device_mutex());
    STELE_RETURN_IF_ERROR(engine->CheckOptions());
    STELE_RETURN_IF_ERROR(engine->PlanMemory());
    STELE_RETURN_IF_ERROR(engine->CheckAvailable());
    STELE_RETURN_IF_ERROR(engine->Allocate());
    STELE_RETURN_IF_ERROR(engine->PrepareBuckets());
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("out of memory while allocating the plan of " +
                             FormatBytes(engine->memory_.allocated()) +
                             "; plan fewer sessions or tokens");
  }
  return engine;
}

// What to do about `tokens` that are more than an artifact was compiled for.
static std::string LongerContext(uint64_t tokens, uint64_t trained) {
  if (tokens <= trained)
    return "compile with --context " + std::to_string(tokens);
  return "the model is made for " + std::to_string(trained) +
         "; compile with --context " + std::to_string(tokens) +
         " --positions dca";
}

Status Engine::CheckOptions() {
  const uint64_t context = model_->info().context();
  if (options_.max_sessions == 0 || options_.max_sessions > kMaxSessions)
    return InvalidArgument(std::to_string(options_.max_sessions) +
                           " sessions; 1 to 65536 can be planned");
  if (options_.draft_tokens > kMaxDrafts)
    return InvalidArgument(std::to_string(options_.draft_tokens) +
                           " drafted tokens; at most 256 can be planned");
  if (options_.session_tokens == 0) options_.session_tokens = context;
  if (options_.session_tokens > context)
    return InvalidArgument(
        Format("%llu tokens are more than the context of %llu that the "
               "artifact was compiled for; ",
               static_cast<unsigned long long>(options_.session_tokens),
               static_cast<unsigned long long>(context)) +
        LongerContext(options_.session_tokens,
                      model_->info().trained_context()));
  const uint64_t longest = options_.max_sessions * options_.session_tokens;
  if (options_.total_tokens == 0 || options_.total_tokens > longest)
    options_.total_tokens = longest;
  options_.session_tokens =
      std::min(options_.session_tokens, options_.total_tokens);
  const uint32_t largest = model_->functions().back()->max_tokens();
  if (options_.chunk == 0 || options_.chunk > largest) options_.chunk = largest;
  STELE_RETURN_IF_ERROR(CheckAttention());
  STELE_RETURN_IF_ERROR(CheckMeasure());
  return CheckDrafts();
}

Status Engine::CheckMeasure() const {
  if (!options_.measure_mass || !model_->IsPaged()) return OkStatus();
  return Unsupported(
      "the kept mass (measure_mass) is known from all keys, and context paging "
      "moves most of them out of device memory; measure the model compiled "
      "without --device-memory");
}

// Makes `density` say all that is asked for.
Status Engine::CheckAttention() {
  float& density = options_.density;
  const bool dense = options_.attention == AttentionKind::kDense;
  if (!(density >= 0 && density <= 1) || (dense && density != 0))
    return InvalidArgument(
        Format("a density of %g; it is a share of the blocks, above 0 and up "
               "to 1, and for sparse attention only",
               static_cast<double>(density)));
  const plan::BlockSparsity* compiled = model_->sparsity();
  if (compiled && compiled->select() == plan::BlockSelect::None && density != 0)
    return Unsupported(
        "the artifact was compiled with --density 0: nothing in it chooses "
        "blocks; run without --density, or compile with another one");
  if (compiled) {
    if (dense) density = 1;
    batch_.density = density;
    return OkStatus();
  }
  if (dense && model_->states())
    return Unsupported(
        "the artifact was compiled with --attention kernelized, which keeps "
        "sums in place of keys; compile with --attention dense");
  if (options_.attention == AttentionKind::kSparse || density != 0)
    return Unsupported(
        std::string("the artifact was compiled with ") +
        (model_->states() ? "kernelized" : "dense") +
        " attention, which chooses no blocks; compile with --attention sparse, "
        "or run without --attention sparse and --density");
  return OkStatus();
}

Status Engine::CheckDrafts() const {
  if (options_.draft_tokens == 0 || !model_->states()) return OkStatus();
  return Unsupported(
      "prompt lookup takes back tokens that were guessed wrong, which the sums "
      "of kernelized attention cannot; run without --lookup (draft_tokens)");
}

Status Engine::PlanMemory() {
  uint64_t arena = 0, scratch = 0;
  for (const plan::Function* function : model_->functions()) {
    arena = std::max(arena, function->arena_bytes());
    scratch += model_->device().ScratchTotal(function->scratch_bytes()) +
               function->shared_bytes();
  }
  STELE_RETURN_IF_ERROR(PlanPages());
  STELE_RETURN_IF_ERROR(PlanKeyIndex());
  STELE_RETURN_IF_ERROR(PlanStates());
  for (uint32_t place = options_.max_sessions; place-- > 0;)
    free_places_.push_back(place);
  const uint64_t blocks = pool_ ? pool_->blocks() : 0;
  const uint64_t tables = shape_.pages_per_block() * sizeof(int32_t) *
                              (blocks + max_blocks_ * options_.max_sessions) +
                          (paged_ ? paged_->table_bytes() : 0);
  const uint32_t vocabulary = model_->info().vocab_size();
  const uint64_t rows =
      options_.max_sessions * (uint64_t{options_.draft_tokens} + 1);
  const uint64_t sessions = rows * vocabulary * sizeof(float) +
                            options_.total_tokens * sizeof(int32_t);
  memory_.items = {
      {"weights", model_->mapped_weight_bytes(), true, true},
      {"synthetic weights", model_->synthetic_weight_bytes(), false, true},
      {"activations", arena, false, true},
      {"kernel scratch", scratch, false, true},
      {PagesName(), blocks * shape_.block_bytes(), false, true},
      {"KV pages, staging slots", paged_ ? paged_->slot_bytes() : 0, false,
       true},
      {"KV pages, older as " + (paged_ ? paged_->record_format() : ""),
       paged_ ? paged_->record_bytes() : 0, false},
      {Format("key index, %u sessions", options_.max_sessions),
       KeyIndexBytes() * options_.max_sessions, false, true},
      {Format("attention states, %u sessions", options_.max_sessions),
       StateBytes() * options_.max_sessions, false, true},
      {"page tables", tables, false},
      {"kept mass of heads", MeasuredHeads() * sizeof(SteleHeadWork), false},
      {"sessions, tokens and logits", sessions, false},
      {"sampling", SamplerScratch::Bytes(vocabulary), false},
  };
  std::erase_if(memory_.items,
                [](const auto& item) { return item.bytes == 0; });
  return OkStatus();
}

std::string Engine::PagesName() const {
  if (shape_.transient)
    return Format("KV pages of a step, %u sessions", options_.max_sessions);
  if (paged_)
    return Format("KV pages, last %llu tokens",
                  static_cast<unsigned long long>(paged_->shape().hot_tokens));
  return Format("KV pages, %llu tokens",
                static_cast<unsigned long long>(options_.total_tokens));
}

uint64_t Engine::BlocksHeld(uint64_t tokens) const {
  return paged_ ? paged_->shape().HotBlocks(tokens)
                : shape_.BlocksHeld(tokens, options_.chunk);
}

Status Engine::PlanPages() {
  if (!model_->cache()) return OkStatus();
  shape_ = CacheShape::Of(*model_->cache());
  if (model_->IsPaged()) {
    STELE_ASSIGN_OR_RETURN(paged_, PagedMemory::Plan(*model_, options_));
  }
  max_blocks_ = shape_.BlocksFor(options_.session_tokens);
  // Each session may leave a part of its last block unused.
  const uint64_t blocks = std::min(
      shape_.BlocksFor(options_.total_tokens) + options_.max_sessions - 1,
      BlocksHeld(options_.session_tokens) * options_.max_sessions);
  STELE_ASSIGN_OR_RETURN(pool_, PagePool::Create(shape_, blocks));
  const auto bytes = CheckedMul(blocks, shape_.block_bytes());
  if (!bytes || !CheckedAdd(*bytes, paged_ ? paged_->slot_bytes() : 0))
    return ResourceExhausted(
        "the KV cache's size overflows; plan fewer tokens");
  return OkStatus();
}

Status Engine::PlanKeyIndex() {
  if (CheckedMul(KeyIndexBytes(), options_.max_sessions)) return OkStatus();
  return ResourceExhausted(
      "the key index's size overflows; plan fewer sessions or tokens");
}

Status Engine::PlanStates() {
  if (!model_->states()) return OkStatus();
  state_shape_ = CacheShape::Of(*model_->states());
  const uint64_t each = state_shape_.pages_per_block();
  const auto states = CheckedMul(each, options_.max_sessions);
  if (!states || *states > std::numeric_limits<int32_t>::max() ||
      !CheckedMul(*states, state_shape_.page_bytes))
    return ResourceExhausted(
        "the states of " + std::to_string(options_.max_sessions) +
        " sessions are more than can be numbered; plan fewer sessions");
  return OkStatus();
}

uint64_t Engine::MeasuredHeads() const {
  if (!options_.measure_mass || !model_->cache()) return 0;
  return uint64_t{model_->cache()->layers()} * model_->info().heads();
}

uint64_t Engine::StateBytes() const { return state_shape_.block_bytes(); }

Status Engine::CheckAvailable() const {
  STELE_RETURN_IF_ERROR(CheckDeviceMemory());
  const uint64_t planned =
      memory_.allocated() - model_->synthetic_weight_bytes();
  const bool given = options_.host_memory != 0 && !paged_;
  const uint64_t limit = given ? options_.host_memory : AvailableMemory();
  if (limit == 0 || planned <= limit) return OkStatus();
  return ResourceExhausted(
      "the plan needs " + FormatBytes(planned) + ", " +
      (given ? "--host-memory allows " : "the machine has ") +
      FormatBytes(limit) + "; plan fewer sessions or tokens" +
      (paged_ ? ", or give older pages less --host-memory and a file" : ""));
}

Status Engine::CheckDeviceMemory() const {
  const uint64_t needed = memory_.on_device();
  if (options_.device_memory == 0 || needed <= options_.device_memory)
    return OkStatus();
  return ResourceExhausted(
      memory_.DeviceSum() + " = " + FormatBytes(needed) +
      ", --device-memory allows " + FormatBytes(options_.device_memory) +
      (paged_ ? "; plan fewer sessions or tokens, or compile with less "
                "--device-memory"
              : "; plan fewer sessions or tokens, or compile with "
                "--device-memory, so that older pages leave it"));
}

Status Engine::AllocatePages() {
  const uint64_t slots = paged_ ? paged_->slot_bytes() : 0;
  STELE_ASSIGN_OR_RETURN(
      pages_, model_->device().Allocate(
                  pool_->blocks() * shape_.block_bytes() + slots, "KV pages"));
  if (!paged_) return OkStatus();
  paged_parts_.reserve(options_.max_sessions);
  return paged_->Allocate(model_.get(), &*pool_, pages_.data(),
                          options_.max_sessions);
}

Status Engine::Allocate() {
  uint64_t arena = 0;
  uint32_t tokens = 0, sequences = 0;
  for (const plan::Function* function : model_->functions()) {
    arena = std::max(arena, function->arena_bytes());
    tokens = std::max(tokens, function->max_tokens());
    sequences = std::max(sequences, function->max_sequences());
  }
  Device& device = model_->device();
  STELE_ASSIGN_OR_RETURN(arena_, device.Allocate(arena, "activations"));
  if (pool_) STELE_RETURN_IF_ERROR(AllocatePages());
  if (shape_.key_index) {
    STELE_ASSIGN_OR_RETURN(
        key_index_,
        device.Allocate(KeyIndexBytes() * options_.max_sessions, "key index"));
  }
  if (model_->states()) {
    STELE_ASSIGN_OR_RETURN(states_,
                           device.Allocate(StateBytes() * options_.max_sessions,
                                           "attention states"));
  }
  arrays_.Allocate(tokens, sequences);
  head_work_.resize(MeasuredHeads());
  sampler_scratch_.emplace(model_->info().vocab_size());
  row_.resize(model_->info().vocab_size());
  sessions_.reserve(options_.max_sessions);
  parts_.reserve(sequences);
  return OkStatus();
}

Status Engine::PrepareBuckets() {
  for (const plan::Function* function : model_->functions()) {
    STELE_ASSIGN_OR_RETURN(ProgramSpec spec, Resolve(*function));
    STELE_ASSIGN_OR_RETURN(auto program,
                           model_->device().Prepare(std::move(spec)));
    const auto* logits = reinterpret_cast<const float*>(
        arena_.data() + FindOutput(*function, kLogits)->offset());
    buckets_.push_back({function, std::move(program), logits});
  }
  return OkStatus();
}

Result<ProgramSpec> Engine::Resolve(const plan::Function& function) const {
  ProgramSpec spec;
  spec.name = function.name()->str();
  spec.streams = function.streams();
  spec.events = function.events();
  spec.scratch_bytes = function.scratch_bytes();
  spec.shared_bytes = function.shared_bytes();
  const auto buffer = [&](uint32_t index) {
    return arena_.data() + function.buffers()->Get(index)->offset();
  };
  for (const plan::Op* op : *function.ops()) {
    if (const auto* launch = op->body_as_Launch()) {
      STELE_ASSIGN_OR_RETURN(LaunchStep step, ResolveLaunch(function, *launch));
      spec.steps.push_back(std::move(step));
    } else if (const auto* copy = op->body_as_Copy()) {
      spec.steps.push_back(CopyStep{buffer(copy->destination()),
                                    buffer(copy->source()), copy->length(),
                                    copy->stream()});
    } else if (const auto* signal = op->body_as_Signal()) {
      spec.steps.push_back(SignalStep{signal->event(), signal->stream()});
    } else if (const auto* wait = op->body_as_Wait()) {
      spec.steps.push_back(WaitStep{wait->event(), wait->stream()});
    } else if (op->body_type() == plan::OpBody::Collective) {
      return Internal("a collective was verified but cannot run");
    } else {
      ResolvePaging(function, *op, &spec);
    }
  }
  return spec;
}

void Engine::ResolvePaging(const plan::Function& function, const plan::Op& op,
                           ProgramSpec* spec) const {
  spec->mover = &paged_->pager();
  if (const auto* select = op.body_as_SelectPages()) {
    const std::byte* selection =
        arena_.data() + function.buffers()->Get(select->selection())->offset();
    spec->steps.push_back(SelectPagesStep{
        select->layer(), reinterpret_cast<const uint32_t*>(selection),
        select->slots(), select->stream()});
  } else if (const auto* in = op.body_as_PageIn()) {
    spec->steps.push_back(PageInStep{in->layer(), in->first_slot(), in->slots(),
                                     in->ahead(), in->stream()});
  } else if (const auto* out = op.body_as_PageOut()) {
    spec->steps.push_back(
        PageOutStep{out->layer(), out->max_pages(), out->stream()});
  }
}

Result<LaunchStep> Engine::ResolveLaunch(const plan::Function& function,
                                         const plan::Launch& launch) const {
  LaunchStep step;
  step.code = model_->code(launch.executable());
  step.entry = launch.entry();
  step.label = launch.label()->str();
  step.stream = launch.stream();
  for (const plan::Binding* binding : *launch.bindings())
    step.bindings.push_back(Address(function, *binding));
  if (launch.immediates())
    step.immediates.assign(launch.immediates()->begin(),
                           launch.immediates()->end());
  return step;
}

void* Engine::Address(const plan::Function& function,
                      const plan::Binding& binding) const {
  switch (binding.kind()) {
    case plan::BindingKind::Buffer:
      return arena_.data() + function.buffers()->Get(binding.index())->offset();
    case plan::BindingKind::Tensor:
      // Verified: no kernel writes through a Tensor parameter.
      return const_cast<std::byte*>(model_->tensor(binding.index()));
    case plan::BindingKind::KvCache: {
      const auto& caches = *model_->artifact().plan().kv_caches();
      return caches[binding.index()]->features() ? states_.data()
                                                 : pages_.data();
    }
  }
  std::abort();
}

Result<std::unique_ptr<Session>> Engine::NewSession(uint64_t max_tokens) try {
  if (max_tokens == 0) max_tokens = options_.session_tokens;
  if (max_tokens > options_.session_tokens)
    return InvalidArgument("a session of " + std::to_string(max_tokens) +
                           " tokens, but the engine plans for at most " +
                           std::to_string(options_.session_tokens) + " each");
  if (sessions_.size() == options_.max_sessions)
    return ResourceExhausted("all " + std::to_string(options_.max_sessions) +
                             " planned sessions are taken; end one first");
  std::unique_ptr<PageTable> pages;
  if (pool_) {
    const uint64_t blocks = BlocksHeld(max_tokens);
    if (pool_->free_blocks() < blocks)
      return ResourceExhausted(Format(
          "a session of %llu tokens needs %llu KV blocks, %llu of %llu are "
          "free; end a session or plan more tokens",
          static_cast<unsigned long long>(max_tokens),
          static_cast<unsigned long long>(blocks),
          static_cast<unsigned long long>(pool_->free_blocks()),
          static_cast<unsigned long long>(pool_->blocks())));
    pages = std::make_unique<PageTable>(&*pool_, max_blocks_, blocks);
  }
  std::unique_ptr<PagedContext> paged;
  if (paged_) {
    STELE_ASSIGN_OR_RETURN(paged, paged_->Admit(pages.get(), max_tokens));
  }
  const uint32_t place = free_places_.back();
  const int32_t states =
      model_->states()
          ? static_cast<int32_t>(place * state_shape_.pages_per_block())
          : -1;
  std::unique_ptr<Session> session(new Session(
      this, place, max_tokens, std::move(pages), std::move(paged), states,
      model_->info().vocab_size(), options_.draft_tokens + 1));
  free_places_.pop_back();
  sessions_.push_back(session.get());
  return session;
} catch (const std::bad_alloc&) {
  return ResourceExhausted("out of memory for a session");
}

void Engine::Remove(Session* session) {
  free_places_.push_back(session->place_);
  if (session->paged_) paged_->Release(*session->paged_);
  std::erase(sessions_, session);
}

Result<StepReport> Engine::Step() {
  std::lock_guard lock(model_->device_mutex());
  Gather();
  if (parts_.empty()) return StepReport();
  for (const Part& part : parts_) STELE_RETURN_IF_ERROR(PreparePart(part));
  FillBatch();
  const Bucket& bucket = ChooseBucket();
  last_ = nullptr;
  BeginPaging();
  const Status status = RunBatch(bucket);
  if (paged_) paged_->pager().EndStep(status.ok());
  if (!status.ok()) {
    // States may hold this step's keys already.
    for (const Part& part : parts_)
      if (part.session->states_ >= 0) part.session->GoBack(0);
    return status;
  }
  ++first_;
  return StepReport{static_cast<uint32_t>(batch_.tokens),
                    static_cast<uint32_t>(batch_.sequences),
                    bucket.function->name()->c_str()};
}

void Engine::BeginPaging() {
  if (!paged_) return;
  paged_parts_.clear();
  for (const Part& part : parts_)
    paged_parts_.push_back(
        {part.session->paged_.get(), part.session->position_});
  paged_->pager().BeginStep(paged_parts_);
}

Status Engine::RunBatch(const Bucket& bucket) {
  // Before, since without the mapping guard a read of lost weights ends the
  // process; afterwards, since only then it is known what the step has read.
  STELE_RETURN_IF_ERROR(model_->artifact().CheckUnchanged());
  STELE_RETURN_IF_ERROR(RunProgram(bucket));
  STELE_RETURN_IF_ERROR(model_->artifact().CheckUnchanged());
  last_ = &bucket;
  return Deliver(bucket);
}

void Engine::OnEveryStep(Trace trace) {
  std::lock_guard lock(model_->device_mutex());
  trace_ = std::move(trace);
  for (const Bucket& bucket : buckets_) bucket.program->KeepTimes();
}

Status Engine::RunProgram(const Bucket& bucket) {
  if (!trace_) return bucket.program->Run(batch_);
  StepTrace trace{};
  trace.time.begin_ns = NowNs();
  STELE_RETURN_IF_ERROR(bucket.program->Run(batch_));
  trace.time.end_ns = NowNs();
  trace.function = bucket.function;
  trace.tokens = static_cast<uint32_t>(batch_.tokens);
  trace.ops = bucket.program->times();
  if (paged_) {
    trace.moves = paged_->pager().last_moves();
    trace.record_bytes = paged_->shape().record_bytes;
  }
  trace_(trace);
  return OkStatus();
}

SteleAttentionWork Engine::attention_work() const {
  std::lock_guard lock(model_->device_mutex());
  SteleAttentionWork sum{};
  for (const Bucket& bucket : buckets_) {
    const SteleAttentionWork work = bucket.program->work();
    sum.queries += work.queries;
    sum.causal_pairs += work.causal_pairs;
    sum.kept_pairs += work.kept_pairs;
    sum.estimated_pairs += work.estimated_pairs;
  }
  return sum;
}

Result<SteleHeadWork> Engine::HeadWork(uint32_t layer, uint32_t head) const {
  std::lock_guard lock(model_->device_mutex());
  if (!options_.measure_mass)
    return FailedPrecondition(
        "the engine was made without measure_mass and keeps no sums of heads");
  const uint32_t heads = model_->info().heads();
  const size_t index = size_t{layer} * heads + head;
  if (head >= heads || index >= head_work_.size())
    return InvalidArgument(
        Format("there is no head %u of layer %u", head, layer));
  return head_work_[index];
}

SteleHeadWork Engine::head_work() const {
  std::lock_guard lock(model_->device_mutex());
  SteleHeadWork sum{};
  for (const SteleHeadWork& work : head_work_) {
    sum.queries += work.queries;
    sum.causal_keys += work.causal_keys;
    sum.kept_keys += work.kept_keys;
    sum.kept_mass += work.kept_mass;
  }
  return sum;
}

PagingWork Engine::paging_work() const {
  std::lock_guard lock(model_->device_mutex());
  if (!paged_) return {};
  PagingWork work = paged_->pager().work();
  for (const Bucket& bucket : buckets_)
    work.waited_ns += bucket.program->waited_ns();
  return work;
}

Result<OutputShape> Engine::ReadOutput(std::string_view name,
                                       std::span<float> values) const {
  std::lock_guard lock(model_->device_mutex());
  if (!last_) return FailedPrecondition("no step left outputs to read");
  const plan::Buffer* buffer = FindOutput(*last_->function, name);
  if (!buffer)
    return NotFound("the model has no output '" + std::string(name) +
                    "'; 'logits' is always there");
  if (buffer->dtype() != plan::DType::F32)
    return Unsupported("output '" + std::string(name) + "' is " +
                       plan::EnumNameDType(buffer->dtype()) +
                       "; only F32 can be read");
  const auto rows = static_cast<uint32_t>(name == kLogits ? batch_.logit_count
                                                          : batch_.tokens);
  const auto width = static_cast<uint32_t>(buffer->row_elements());
  const size_t count = std::min(values.size(), size_t{rows} * width);
  STELE_RETURN_IF_ERROR(
      model_->device().CopyToHost(std::as_writable_bytes(values.first(count)),
                                  arena_.data() + buffer->offset()));
  return OutputShape{rows, width};
}

// Decodes first: a waiting reader notices a late token more than a late first
// one. Then prompts fill what is left, the first of them in turn.
void Engine::Gather() {
  parts_.clear();
  uint32_t tokens = 0, rows = 0;
  const size_t count = sessions_.size();
  for (const bool prompts : {false, true})
    for (size_t i = 0; i < count; ++i) {
      Session* session = sessions_[(first_ + i) % count];
      if (session->IsDecode() != prompts) GatherFrom(session, &tokens, &rows);
    }
}

void Engine::GatherFrom(Session* session, uint32_t* tokens, uint32_t* rows) {
  const plan::Function& largest = *buckets_.back().function;
  if (session->cancelled() || session->pending() == 0 ||
      parts_.size() == largest.max_sequences())
    return;
  // Tokens for whose logits there is no room are left to the next step.
  const uint64_t before_rows = session->FirstRow() - session->position_;
  const uint64_t room = std::min<uint64_t>(
      {options_.chunk - *tokens, before_rows + largest.max_logit_rows() - *rows,
       RoomInCell(*session)});
  const uint64_t count = CountFitting(*session, room, /*first=*/*tokens == 0);
  if (count == 0) return;
  *tokens += static_cast<uint32_t>(count);
  if (count > before_rows) *rows += static_cast<uint32_t>(count - before_rows);
  parts_.push_back({session, static_cast<uint32_t>(count)});
}

uint64_t Engine::RoomInCell(const Session& session) const {
  if (!paged_) return std::numeric_limits<uint64_t>::max();
  const uint64_t grid = paged_->shape().grid_tokens;
  return grid - session.position_ % grid;
}

// Where the queries of a block choose its keys together, a prompt is cut
// between blocks, so that the choice is the same in any company; it rather
// waits for the next step, unless a step may have room for no more than one
// block.
uint64_t Engine::CountFitting(const Session& session, uint64_t room,
                              bool first) const {
  if (session.pending() <= room) return session.pending();
  if (!shape_.key_index) return room;
  const uint64_t block = shape_.block_tokens;
  const uint64_t cut = (session.position_ + room) / block * block;
  if (cut > session.position_) return cut - session.position_;
  return first || options_.chunk < 2 * block ? room : 0;
}

void Engine::BatchArrays::Allocate(uint32_t tokens, uint32_t sequences) {
  for (auto* array : {&token_ids, &positions, &sequence, &logit_rows})
    array->reserve(tokens);
  q_offsets.reserve(sequences + 1);
  kv_lengths.reserve(sequences);
  states.reserve(sequences);
  page_tables.reserve(sequences);
  key_indices.reserve(sequences);
}

void Engine::BatchArrays::Clear() {
  for (auto* array : {&token_ids, &positions, &sequence, &q_offsets,
                      &kv_lengths, &logit_rows, &states})
    array->clear();
  page_tables.clear();
  key_indices.clear();
}

Status Engine::PreparePart(const Part& part) {
  if (part.session->position_ == 0)
    STELE_RETURN_IF_ERROR(ClearStates(*part.session));
  if (shape_.transient) part.session->pages_->Forget(part.session->position_);
  return GrowPages(part.session, part.session->position_ + part.tokens);
}

void Engine::FillBatch() {
  arrays_.Clear();
  arrays_.q_offsets.push_back(0);
  for (size_t i = 0; i < parts_.size(); ++i)
    FillPart(static_cast<int32_t>(i), parts_[i]);
  batch_.tokens = static_cast<int32_t>(arrays_.token_ids.size());
  batch_.sequences = static_cast<int32_t>(parts_.size());
  batch_.logit_count = static_cast<int32_t>(arrays_.logit_rows.size());
  batch_.page_table_blocks = static_cast<int32_t>(max_blocks_);
  batch_.token_ids = arrays_.token_ids.data();
  batch_.positions = arrays_.positions.data();
  batch_.sequence = arrays_.sequence.data();
  batch_.q_offsets = arrays_.q_offsets.data();
  batch_.kv_lengths = arrays_.kv_lengths.data();
  batch_.logit_rows = arrays_.logit_rows.data();
  batch_.page_tables = arrays_.page_tables.data();
  batch_.states = model_->states() ? arrays_.states.data() : nullptr;
  batch_.key_indices = shape_.key_index ? arrays_.key_indices.data() : nullptr;
  batch_.head_work = head_work_.empty() ? nullptr : head_work_.data();
  batch_.heads = static_cast<int32_t>(model_->info().heads());
}

void Engine::FillPart(int32_t index, const Part& part) {
  Session& session = *part.session;
  const uint64_t end = session.position_ + part.tokens;
  for (uint64_t position = session.position_; position < end; ++position) {
    if (position >= session.FirstRow())
      arrays_.logit_rows.push_back(
          static_cast<int32_t>(arrays_.token_ids.size()));
    arrays_.token_ids.push_back(session.tokens_[position]);
    arrays_.positions.push_back(static_cast<int32_t>(position));
    arrays_.sequence.push_back(index);
  }
  arrays_.q_offsets.push_back(static_cast<int32_t>(arrays_.token_ids.size()));
  arrays_.kv_lengths.push_back(static_cast<int32_t>(end));
  arrays_.page_tables.push_back(session.pages_ ? session.pages_->data()
                                               : nullptr);
  arrays_.states.push_back(session.states_);
  arrays_.key_indices.push_back(KeyIndexOf(session));
}

const Engine::Bucket& Engine::ChooseBucket() const {
  const auto fits = [&](const Bucket& bucket) {
    const auto below = [](int32_t n, uint32_t limit) {
      return static_cast<uint32_t>(n) <= limit;
    };
    return below(batch_.tokens, bucket.function->max_tokens()) &&
           below(batch_.sequences, bucket.function->max_sequences()) &&
           below(batch_.logit_count, bucket.function->max_logit_rows());
  };
  // Gather stays within the largest one.
  const auto found = std::find_if(buckets_.begin(), buckets_.end(), fits);
  return found == buckets_.end() ? buckets_.back() : *found;
}

Status Engine::Deliver(const Bucket& bucket) {
  uint32_t row = 0;
  for (const Part& part : parts_) {
    Session& session = *part.session;
    const uint64_t end = session.position_ + part.tokens;
    for (uint64_t position = session.FirstRow(); position < end; ++position)
      STELE_RETURN_IF_ERROR(DeliverRow(bucket, row++, &session, position));
  }
  for (const Part& part : parts_) {
    part.session->position_ += part.tokens;
    part.session->has_logits_ = part.session->pending() == 0;
  }
  return OkStatus();
}

Status Engine::DeliverRow(const Bucket& bucket, uint32_t row, Session* session,
                          uint64_t position) {
  const float* source = bucket.logits + uint64_t{row} * row_.size();
  const auto copy_to = [&](std::span<float> to) {
    return model_->device().CopyToHost(
        std::as_writable_bytes(to), reinterpret_cast<const std::byte*>(source));
  };
  const uint64_t kept = session->tokens_.size() - session->rows_;
  if (position >= kept)
    STELE_RETURN_IF_ERROR(
        copy_to(std::span(session->logits_)
                    .subspan((position - kept) * row_.size(), row_.size())));
  if (!session->every_logits_) return OkStatus();
  STELE_RETURN_IF_ERROR(copy_to(row_));
  session->every_logits_(position, row_);
  return OkStatus();
}

}  // namespace stele
