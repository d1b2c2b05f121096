// One Function of a plan: are its buffers apart while they live, does every op
// touch only what exists, is written and is large enough. See verify.h.
#include "stele/runtime/plan/verify_function.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/plan/verify.h"
#include "stele/runtime/plan/verify_internal.h"
#include "stele/schema/page_schedule.h"

namespace stele {
namespace {

using plan_check::Bad;
using plan_check::CheckAligned;
using plan_check::CheckEnum;
using plan_check::CheckIndex;
using plan_check::CheckPositive;
using plan_check::Where;

constexpr uint64_t kMaxTokens = 1u << 20;
constexpr uint64_t kMaxBuffers = 1u << 14;  // bounds the pairwise check
constexpr uint64_t kMaxStreams = 64;
constexpr uint64_t kMaxSlots = 1u << 24;
// Far more memory than a machine has, far less than would wrap in a sum.
constexpr uint64_t kMaxArena = 1ull << 48;
constexpr uint64_t kMaxScratch = 1ull << 32;
constexpr uint64_t kMaxShared = 1ull << 40;
constexpr uint64_t kMaxModelled = (1ull << 40) - 1;  // sums must not wrap

bool Reads(plan::Access access) { return access != plan::Access::Write; }
bool Writes(plan::Access access) { return access != plan::Access::Read; }

class FunctionVerifier {
 public:
  FunctionVerifier(const plan::Plan& plan, uint32_t index)
      : plan_(plan),
        function_(*plan.functions()->Get(index)),
        where_(Where("plan.functions", index, function_.name())),
        written_(function_.buffers()->size(), false),
        order_(static_cast<uint32_t>(
            std::min<uint64_t>(function_.streams(), kMaxStreams))),
        pages_(order_) {}

  Status Run();

 private:
  Status CheckSizes() const;
  Status CheckBuffer(uint32_t index) const;
  Status CheckBuffersApart() const;
  Status CheckOp(uint32_t index);
  template <typename Body>
  Status CheckPlace(const std::string& where, const Body& body) const;
  Status CheckLaunch(const std::string& where, const plan::Launch& launch);
  Status CheckBinding(const std::string& where, const plan::Binding& binding,
                      const plan::Parameter& parameter) const;
  Status CheckTensorBinding(const std::string& where, uint32_t index,
                            const plan::Parameter& parameter) const;
  Status CheckBufferBinding(const std::string& where, uint32_t index,
                            const plan::Parameter& parameter) const;
  Status CheckCacheBinding(const std::string& where, uint32_t index,
                           const plan::Parameter& parameter) const;
  Status CheckSize(const std::string& where, uint64_t length,
                   const plan::Parameter& parameter) const;
  Status CheckAliases(const std::string& where, const plan::Launch& launch,
                      const plan::Entry& entry) const;
  Status CheckImmediates(const std::string& where, const plan::Launch& launch,
                         const plan::Entry& entry) const;
  void MarkWritten(const plan::Launch& launch, const plan::Entry& entry);
  Status CheckCopy(const std::string& where, const plan::Copy& copy);
  Status CheckSignal(const std::string& where, const plan::Signal& signal);
  Status CheckWait(const std::string& where, const plan::Wait& wait);
  Status CheckSelectPages(const std::string& where,
                          const plan::SelectPages& select);
  Status CheckPageIn(const std::string& where, const plan::PageIn& move);
  Status CheckPageOut(const std::string& where, const plan::PageOut& move);
  Status CheckPages(const std::string& where, const plan::Launch& launch,
                    const plan::Entry& entry);
  Status CheckLayer(const std::string& where, uint32_t cache,
                    uint32_t layer) const;
  Status CheckStreams() const;
  Status CheckRuns() const;
  schema::StreamPoint PointAt(uint16_t stream) const { return {stream, op_}; }
  Status CheckUse(const std::string& where, uint32_t buffer) const;
  Status CheckOutputs() const;
  Status CheckLogits(const std::string& where, const plan::Buffer& b) const;

  const plan::Plan& plan_;
  const plan::Function& function_;
  std::string where_;
  uint32_t op_ = 0;            // the op being checked
  std::vector<bool> written_;  // by an op before op_
  schema::StreamOrder order_;
  schema::PageSchedule pages_;
};

Status AsStatus(const std::string& where,
                const schema::PageSchedule::Fault& fault) {
  return fault ? Bad(where, fault->text) : OkStatus();
}

Status FunctionVerifier::Run() {
  STELE_RETURN_IF_ERROR(CheckSizes());
  for (uint32_t i = 0; i < function_.buffers()->size(); ++i)
    STELE_RETURN_IF_ERROR(CheckBuffer(i));
  STELE_RETURN_IF_ERROR(CheckBuffersApart());
  for (uint32_t i = 0; i < function_.ops()->size(); ++i)
    STELE_RETURN_IF_ERROR(CheckOp(i));
  STELE_RETURN_IF_ERROR(AsStatus(where_ + ".ops", pages_.End()));
  STELE_RETURN_IF_ERROR(CheckOutputs());
  return CheckRuns();
}

Status FunctionVerifier::CheckSizes() const {
  STELE_RETURN_IF_ERROR(CheckIndex(where_ + ".target", function_.target(),
                                   plan_.targets()->size(), "targets"));
  STELE_RETURN_IF_ERROR(CheckPositive(where_ + ".max_tokens",
                                      function_.max_tokens(), kMaxTokens));
  STELE_RETURN_IF_ERROR(CheckPositive(where_ + ".max_sequences",
                                      function_.max_sequences(),
                                      function_.max_tokens()));
  STELE_RETURN_IF_ERROR(CheckPositive(where_ + ".max_logit_rows",
                                      function_.max_logit_rows(),
                                      function_.max_tokens()));
  STELE_RETURN_IF_ERROR(
      CheckPositive(where_ + ".streams", function_.streams(), kMaxStreams));
  if (function_.ranks() != 1)
    return Unsupported(where_ + ".ranks: " + std::to_string(function_.ranks()) +
                       " ranks, this runtime runs one");
  if (function_.events() > function_.ops()->size())
    return Bad(where_ + ".events", function_.events(), "events, fewer ops");
  if (function_.arena_bytes() > kMaxArena)
    return Bad(where_ + ".arena_bytes", function_.arena_bytes(),
               "is beyond any memory");
  if (function_.scratch_bytes() > kMaxScratch)
    return Bad(where_ + ".scratch_bytes", function_.scratch_bytes(),
               "is beyond any memory");
  if (function_.shared_bytes() > kMaxShared)
    return Bad(where_ + ".shared_bytes", function_.shared_bytes(),
               "is beyond any memory");
  if (function_.ops()->size() == 0) return Bad(where_ + ".ops", "is empty");
  if (function_.buffers()->size() > kMaxBuffers)
    return Bad(where_ + ".buffers", function_.buffers()->size(),
               "buffers, 16384 allowed");
  return OkStatus();
}

Status FunctionVerifier::CheckBuffer(uint32_t index) const {
  const plan::Buffer& buffer = *function_.buffers()->Get(index);
  const std::string where = Where(where_ + ".buffers", index, buffer.name());
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".role", buffer.role(), plan::BufferRole::MAX));
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".dtype", buffer.dtype(), plan::DType::MAX));
  STELE_RETURN_IF_ERROR(CheckPlace(where, buffer));
  const auto elements = CheckedMul(buffer.max_rows(), buffer.row_elements());
  const auto bytes =
      elements ? BytesOf(buffer.dtype(), *elements) : std::nullopt;
  if (!bytes || *bytes != buffer.length())
    return Bad(where + ".length", buffer.length(),
               "is not max_rows * row_elements * size(dtype)");
  if (buffer.offset() % 64 != 0)
    return Bad(where + ".offset", buffer.offset(), "is not a multiple of 64");
  if (!RangeFits(buffer.offset(), buffer.length(), function_.arena_bytes()))
    return Bad(
        where + ".offset", buffer.offset(),
        Format("with length %llu passes the arena's end at %llu",
               static_cast<unsigned long long>(buffer.length()),
               static_cast<unsigned long long>(function_.arena_bytes())));
  if (buffer.first_op() > buffer.last_op())
    return Bad(where + ".first_op", buffer.first_op(), "is after last_op");
  return CheckIndex(where + ".last_op", buffer.last_op(),
                    function_.ops()->size(), "ops");
}

// Buffers that share bytes of the arena must not live at the same time.
Status FunctionVerifier::CheckBuffersApart() const {
  std::vector<const plan::Buffer*> buffers(function_.buffers()->begin(),
                                           function_.buffers()->end());
  std::sort(buffers.begin(), buffers.end(), [](const auto* a, const auto* b) {
    return a->offset() < b->offset();
  });
  for (size_t i = 0; i < buffers.size(); ++i) {
    const plan::Buffer& a = *buffers[i];
    for (size_t j = i + 1; j < buffers.size(); ++j) {
      const plan::Buffer& b = *buffers[j];
      if (b.offset() >= a.offset() + a.length()) break;
      if (a.first_op() <= b.last_op() && b.first_op() <= a.last_op())
        return Bad(where_ + ".buffers",
                   "\"" + Printable(a.name()->string_view()) + "\" and \"" +
                       Printable(b.name()->string_view()) +
                       "\" overlap while both are live");
    }
  }
  return OkStatus();
}

// Device, target: as the function's.
template <typename Body>
Status FunctionVerifier::CheckPlace(const std::string& where,
                                    const Body& body) const {
  if (body.device() != 0)
    return Unsupported(where + ".device: ordinal " +
                       std::to_string(body.device()) +
                       ", this runtime drives one device");
  if (body.target() != function_.target())
    return Bad(where + ".target", body.target(), "is not its function's");
  return OkStatus();
}

Status FunctionVerifier::CheckOp(uint32_t index) {
  op_ = index;
  const plan::Op& op = *function_.ops()->Get(index);
  const std::string where = Where(where_ + ".ops", index);
  if (op.modelled_ns() > kMaxModelled)
    return Bad(where + ".modelled_ns", op.modelled_ns(),
               "is longer than any step");
  const auto check = [&](const auto& body, auto method) -> Status {
    STELE_RETURN_IF_ERROR(CheckPlace(where, body));
    STELE_RETURN_IF_ERROR(CheckIndex(where + ".stream", body.stream(),
                                     function_.streams(), "streams"));
    STELE_RETURN_IF_ERROR((this->*method)(where, body));
    order_.Issue(PointAt(body.stream()));
    return OkStatus();
  };
  switch (op.body_type()) {
    case plan::OpBody::Launch:
      return check(*op.body_as_Launch(), &FunctionVerifier::CheckLaunch);
    case plan::OpBody::Copy:
      return check(*op.body_as_Copy(), &FunctionVerifier::CheckCopy);
    case plan::OpBody::Signal:
      return check(*op.body_as_Signal(), &FunctionVerifier::CheckSignal);
    case plan::OpBody::Wait:
      return check(*op.body_as_Wait(), &FunctionVerifier::CheckWait);
    case plan::OpBody::SelectPages:
      return check(*op.body_as_SelectPages(),
                   &FunctionVerifier::CheckSelectPages);
    case plan::OpBody::PageIn:
      return check(*op.body_as_PageIn(), &FunctionVerifier::CheckPageIn);
    case plan::OpBody::PageOut:
      return check(*op.body_as_PageOut(), &FunctionVerifier::CheckPageOut);
    case plan::OpBody::Collective:
      return OkStatus();  // CheckRuns refuses it
    case plan::OpBody::NONE:
      break;
  }
  return Bad(where + ".body_type", static_cast<uint64_t>(op.body_type()),
             "is not a known op");
}

Status FunctionVerifier::CheckUse(const std::string& where,
                                  uint32_t buffer) const {
  STELE_RETURN_IF_ERROR(
      CheckIndex(where, buffer, function_.buffers()->size(), "buffers"));
  const plan::Buffer& b = *function_.buffers()->Get(buffer);
  if (op_ < b.first_op() || op_ > b.last_op())
    return Bad(where,
               Format("buffer \"%s\" is used by op %u outside its lifetime "
                      "%u..%u",
                      Printable(b.name()->string_view()).c_str(), op_,
                      b.first_op(), b.last_op()));
  return OkStatus();
}

Status FunctionVerifier::CheckLaunch(const std::string& op_where,
                                     const plan::Launch& launch) {
  const std::string where =
      op_where + " \"" + Printable(launch.label()->string_view()) + "\"";
  STELE_RETURN_IF_ERROR(CheckIndex(where + ".executable", launch.executable(),
                                   plan_.executables()->size(), "executables"));
  const plan::Executable& executable =
      *plan_.executables()->Get(launch.executable());
  if (executable.target() != function_.target())
    return Bad(where + ".executable", launch.executable(),
               "is code of another target");
  STELE_RETURN_IF_ERROR(CheckIndex(where + ".entry", launch.entry(),
                                   executable.entries()->size(), "entries"));
  const plan::Entry& entry = *executable.entries()->Get(launch.entry());
  if (launch.bindings()->size() != entry.parameters()->size())
    return Bad(where + ".bindings", launch.bindings()->size(),
               Format("bindings, kernel %s takes %u",
                      Printable(entry.symbol()->string_view()).c_str(),
                      entry.parameters()->size()));
  for (uint32_t i = 0; i < launch.bindings()->size(); ++i)
    STELE_RETURN_IF_ERROR(CheckBinding(Where(where + ".bindings", i),
                                       *launch.bindings()->Get(i),
                                       *entry.parameters()->Get(i)));
  STELE_RETURN_IF_ERROR(CheckAliases(where, launch, entry));
  STELE_RETURN_IF_ERROR(CheckImmediates(where, launch, entry));
  STELE_RETURN_IF_ERROR(CheckPages(where, launch, entry));
  if (entry.scratch_bytes() > function_.scratch_bytes())
    return Bad(where_ + ".scratch_bytes", function_.scratch_bytes(),
               Format("but kernel %s needs %llu",
                      Printable(entry.symbol()->string_view()).c_str(),
                      static_cast<unsigned long long>(entry.scratch_bytes())));
  const auto shared =
      CheckedMul(entry.shared_bytes_per_token(), function_.max_tokens());
  if (!shared || *shared > function_.shared_bytes())
    return Bad(
        where_ + ".shared_bytes", function_.shared_bytes(),
        Format("but kernel %s needs %llu for each of %u tokens",
               Printable(entry.symbol()->string_view()).c_str(),
               static_cast<unsigned long long>(entry.shared_bytes_per_token()),
               function_.max_tokens()));
  MarkWritten(launch, entry);
  return OkStatus();
}

Status FunctionVerifier::CheckBinding(const std::string& where,
                                      const plan::Binding& binding,
                                      const plan::Parameter& parameter) const {
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".kind", binding.kind(), plan::BindingKind::MAX));
  if (binding.kind() != parameter.kind())
    return Bad(where + ".kind",
               Format("%s, but the kernel's parameter is a %s",
                      plan::EnumNameBindingKind(binding.kind()),
                      plan::EnumNameBindingKind(parameter.kind())));
  switch (binding.kind()) {
    case plan::BindingKind::Buffer:
      return CheckBufferBinding(where + ".index", binding.index(), parameter);
    case plan::BindingKind::KvCache:
      return CheckCacheBinding(where + ".index", binding.index(), parameter);
    case plan::BindingKind::Tensor:
      break;
  }
  return CheckTensorBinding(where + ".index", binding.index(), parameter);
}

Status FunctionVerifier::CheckTensorBinding(
    const std::string& where, uint32_t index,
    const plan::Parameter& parameter) const {
  STELE_RETURN_IF_ERROR(
      CheckIndex(where, index, plan_.tensors()->size(), "tensors"));
  const plan::Tensor& tensor = *plan_.tensors()->Get(index);
  const auto& targets = *plan_.segments()->Get(tensor.segment())->targets();
  if (std::find(targets.begin(), targets.end(), function_.target()) ==
      targets.end())
    return Bad(where, index, "is a weight of another target");
  return CheckSize(where, tensor.length(), parameter);
}

Status FunctionVerifier::CheckBufferBinding(
    const std::string& where, uint32_t index,
    const plan::Parameter& parameter) const {
  STELE_RETURN_IF_ERROR(CheckUse(where, index));
  const plan::Buffer& buffer = *function_.buffers()->Get(index);
  if (Reads(parameter.access()) && !written_[index])
    return Bad(where, "buffer \"" + Printable(buffer.name()->string_view()) +
                          "\" is read before it is written");
  return CheckSize(where, buffer.length(), parameter);
}

Status FunctionVerifier::CheckCacheBinding(
    const std::string& where, uint32_t index,
    const plan::Parameter& parameter) const {
  STELE_RETURN_IF_ERROR(
      CheckIndex(where, index, plan_.kv_caches()->size(), "kv_caches"));
  const plan::KvCache& cache = *plan_.kv_caches()->Get(index);
  if (cache.target() != function_.target())
    return Bad(where, index, "is a cache of another target");
  const auto same = [&](const char* field, uint64_t has, uint64_t needs) {
    if (has == needs) return OkStatus();
    return Bad(where, Format("the cache's %s is %llu, the kernel was compiled "
                             "for %llu",
                             field, static_cast<unsigned long long>(has),
                             static_cast<unsigned long long>(needs)));
  };
  STELE_RETURN_IF_ERROR(
      same("kv_heads", cache.kv_heads(), parameter.kv_heads()));
  STELE_RETURN_IF_ERROR(
      same("head_dim", cache.head_dim(), parameter.head_dim()));
  STELE_RETURN_IF_ERROR(
      same("block_tokens", cache.block_tokens(), parameter.block_tokens()));
  STELE_RETURN_IF_ERROR(
      same("features", cache.features(), parameter.features()));
  STELE_RETURN_IF_ERROR(same("dtype", static_cast<uint64_t>(cache.dtype()),
                             static_cast<uint64_t>(parameter.dtype())));
  STELE_RETURN_IF_ERROR(
      same("key_index", cache.key_index(), parameter.key_index()));
  STELE_RETURN_IF_ERROR(
      same("value_index", cache.value_index(), parameter.value_index()));
  return same("page_bytes", cache.page_bytes(), parameter.page_bytes());
}

Status FunctionVerifier::CheckSize(const std::string& where, uint64_t length,
                                   const plan::Parameter& parameter) const {
  const auto tokens =
      CheckedMul(parameter.bytes_per_token(), function_.max_tokens());
  const auto rows =
      CheckedMul(parameter.bytes_per_logit_row(), function_.max_logit_rows());
  const auto sum = tokens && rows ? CheckedAdd(*tokens, *rows) : std::nullopt;
  const auto needed = sum ? CheckedAdd(*sum, parameter.bytes()) : std::nullopt;
  if (needed && *needed <= length) return OkStatus();
  return Bad(where, needed ? Format("has %llu bytes, the kernel needs %llu",
                                    static_cast<unsigned long long>(length),
                                    static_cast<unsigned long long>(*needed))
                           : "the bytes that the kernel needs overflow");
}

// A buffer is written through one parameter, and read by the same launch only
// where the kernel says that it may be.
Status FunctionVerifier::CheckAliases(const std::string& where,
                                      const plan::Launch& launch,
                                      const plan::Entry& entry) const {
  const uint32_t count = launch.bindings()->size();
  for (uint32_t w = 0; w < count; ++w) {
    const plan::Binding& written = *launch.bindings()->Get(w);
    if (written.kind() != plan::BindingKind::Buffer ||
        !Writes(entry.parameters()->Get(w)->access()))
      continue;
    for (uint32_t r = 0; r < count; ++r) {
      const plan::Binding& other = *launch.bindings()->Get(r);
      if (r == w || other.kind() != plan::BindingKind::Buffer ||
          other.index() != written.index())
        continue;
      const plan::Parameter& parameter = *entry.parameters()->Get(r);
      if (Writes(parameter.access()) || !parameter.in_place())
        return Bad(Where(where + ".bindings", r),
                   Format("is the buffer that bindings[%u] writes, which this "
                          "kernel does not allow",
                          w));
    }
  }
  return OkStatus();
}

Status FunctionVerifier::CheckImmediates(const std::string& where,
                                         const plan::Launch& launch,
                                         const plan::Entry& entry) const {
  STELE_RETURN_IF_ERROR(
      CheckAligned(where + ".immediates", launch.immediates()));
  const uint32_t count = LengthOf(launch.immediates());
  if (count != LengthOf(entry.immediates()))
    return Bad(where + ".immediates", count,
               Format("immediates, kernel %s takes %u",
                      Printable(entry.symbol()->string_view()).c_str(),
                      LengthOf(entry.immediates())));
  // Layer is the only kind: it indexes every cache that the launch binds.
  for (uint32_t i = 0; i < count; ++i)
    for (const plan::Binding* binding : *launch.bindings()) {
      if (binding->kind() != plan::BindingKind::KvCache) continue;
      const uint32_t layers =
          plan_.kv_caches()->Get(binding->index())->layers();
      const int64_t layer = launch.immediates()->Get(i);
      if (layer < 0 || layer >= layers)
        return Bad(Where(where + ".immediates", i),
                   Format("layer %lld is not below %u, the cache's layers",
                          static_cast<long long>(layer), layers));
    }
  return OkStatus();
}

void FunctionVerifier::MarkWritten(const plan::Launch& launch,
                                   const plan::Entry& entry) {
  for (uint32_t i = 0; i < launch.bindings()->size(); ++i) {
    const plan::Binding& binding = *launch.bindings()->Get(i);
    if (binding.kind() == plan::BindingKind::Buffer &&
        Writes(entry.parameters()->Get(i)->access()))
      written_[binding.index()] = true;
  }
}

Status FunctionVerifier::CheckCopy(const std::string& where,
                                   const plan::Copy& copy) {
  STELE_RETURN_IF_ERROR(CheckUse(where + ".source", copy.source()));
  STELE_RETURN_IF_ERROR(CheckUse(where + ".destination", copy.destination()));
  if (copy.source() == copy.destination())
    return Bad(where + ".destination", copy.destination(), "is the source");
  if (!written_[copy.source()])
    return Bad(where + ".source", copy.source(),
               "is read before it is written");
  for (uint32_t buffer : {copy.source(), copy.destination()})
    if (copy.length() > function_.buffers()->Get(buffer)->length())
      return Bad(where + ".length", copy.length(),
                 Format("passes the end of buffer %u", buffer));
  written_[copy.destination()] = true;
  return OkStatus();
}

Status FunctionVerifier::CheckSignal(const std::string& where,
                                     const plan::Signal& signal) {
  STELE_RETURN_IF_ERROR(CheckIndex(where + ".event", signal.event(),
                                   function_.events(), "events"));
  if (order_.IsSignalled(signal.event()))
    return Bad(where + ".event", signal.event(), "is signalled twice");
  order_.Signal(signal.stream(), signal.event());
  return OkStatus();
}

// Ops are stored in an order in which they can be issued, so a signal comes
// before its waits.
Status FunctionVerifier::CheckWait(const std::string& where,
                                   const plan::Wait& wait) {
  STELE_RETURN_IF_ERROR(
      CheckIndex(where + ".event", wait.event(), function_.events(), "events"));
  if (order_.Wait(wait.stream(), wait.event())) return OkStatus();
  return Bad(where + ".event", wait.event(),
             "is waited for before it is signalled");
}

Status FunctionVerifier::CheckLayer(const std::string& where, uint32_t cache,
                                    uint32_t layer) const {
  STELE_RETURN_IF_ERROR(CheckIndex(where + ".cache", cache,
                                   plan_.kv_caches()->size(), "kv_caches"));
  if (!plan_.kv_caches()->Get(cache)->paging())
    return Bad(where + ".cache", cache, "is not paged");
  return CheckIndex(where + ".layer", layer,
                    plan_.kv_caches()->Get(cache)->layers(),
                    "the cache's layers");
}

Status FunctionVerifier::CheckSelectPages(const std::string& where,
                                          const plan::SelectPages& select) {
  STELE_RETURN_IF_ERROR(CheckLayer(where, select.cache(), select.layer()));
  STELE_RETURN_IF_ERROR(
      CheckPositive(where + ".slots", select.slots(), kMaxSlots));
  STELE_RETURN_IF_ERROR(CheckUse(where + ".selection", select.selection()));
  if (!written_[select.selection()])
    return Bad(where + ".selection", select.selection(),
               "is read before it is written");
  pages_.Select({select.cache(), select.layer()}, select.slots(),
                PointAt(select.stream()));
  return OkStatus();
}

Status FunctionVerifier::CheckPageIn(const std::string& where,
                                     const plan::PageIn& move) {
  STELE_RETURN_IF_ERROR(CheckLayer(where, move.cache(), move.layer()));
  STELE_RETURN_IF_ERROR(
      CheckPositive(where + ".slots", move.slots(), kMaxSlots));
  return AsStatus(where,
                  pages_.PageIn({move.cache(), move.layer()},
                                {move.first_slot(), move.slots()}, move.ahead(),
                                plan_.kv_caches()->Get(move.cache())->slots(),
                                PointAt(move.stream())));
}

Status FunctionVerifier::CheckPageOut(const std::string& where,
                                      const plan::PageOut& move) {
  STELE_RETURN_IF_ERROR(CheckLayer(where, move.cache(), move.layer()));
  const plan::KvCache& cache = *plan_.kv_caches()->Get(move.cache());
  const uint64_t pages = uint64_t{cache.kv_heads()} *
                         (cache.paging()->grid_tokens() / cache.block_tokens());
  if (move.max_pages() < pages)
    return Bad(where + ".max_pages", move.max_pages(),
               Format("but %llu fall out at a time",
                      static_cast<unsigned long long>(pages)));
  return AsStatus(where, pages_.PageOut({move.cache(), move.layer()},
                                        PointAt(move.stream())));
}

// Pages of the layers that a launch's immediates name.
Status FunctionVerifier::CheckPages(const std::string& where,
                                    const plan::Launch& launch,
                                    const plan::Entry& entry) {
  for (uint32_t i = 0; i < launch.bindings()->size(); ++i) {
    const plan::Binding& binding = *launch.bindings()->Get(i);
    if (binding.kind() != plan::BindingKind::KvCache) continue;
    const bool only_reads = !Writes(entry.parameters()->Get(i)->access());
    const bool is_paged =
        plan_.kv_caches()->Get(binding.index())->paging() != nullptr;
    for (uint32_t j = 0; j < LengthOf(launch.immediates()); ++j)
      STELE_RETURN_IF_ERROR(AsStatus(
          where,
          pages_.Launch({binding.index(), launch.immediates()->Get(j)},
                        only_reads, is_paged, PointAt(launch.stream()))));
  }
  return OkStatus();
}

// In a function that moves pages: stream 1 for moves, 0 for all else.
Status FunctionVerifier::CheckStreams() const {
  const auto moves = [](const plan::Op* op) {
    return op->body_type() == plan::OpBody::PageIn ||
           op->body_type() == plan::OpBody::PageOut;
  };
  if (std::none_of(function_.ops()->begin(), function_.ops()->end(), moves))
    return OkStatus();
  for (uint32_t i = 0; i < function_.ops()->size(); ++i) {
    const std::string where = Where(where_ + ".ops", i) + ".stream: ";
    const auto check = [&](const auto& body, uint16_t stream) -> Status {
      if (body.stream() == stream) return OkStatus();
      return Unsupported(where + std::to_string(body.stream()) +
                         "; this runtime moves pages on stream 1 and does all "
                         "else on stream 0");
    };
    const plan::Op& op = *function_.ops()->Get(i);
    if (const auto* in = op.body_as_PageIn())
      STELE_RETURN_IF_ERROR(check(*in, 1));
    if (const auto* out = op.body_as_PageOut())
      STELE_RETURN_IF_ERROR(check(*out, 1));
    if (const auto* select = op.body_as_SelectPages())
      STELE_RETURN_IF_ERROR(check(*select, 0));
    if (const auto* launch = op.body_as_Launch())
      STELE_RETURN_IF_ERROR(check(*launch, 0));
    if (const auto* copy = op.body_as_Copy())
      STELE_RETURN_IF_ERROR(check(*copy, 0));
  }
  return OkStatus();
}

// What is a right plan, but not one that this runtime executes.
Status FunctionVerifier::CheckRuns() const {
  STELE_RETURN_IF_ERROR(CheckStreams());
  for (uint32_t i = 0; i < function_.ops()->size(); ++i) {
    const plan::OpBody type = function_.ops()->Get(i)->body_type();
    if (type == plan::OpBody::Collective)
      return Unsupported(Where(where_ + ".ops", i) +
                         ": this runtime does not run " +
                         plan::EnumNameOpBody(type) + "; update stele");
  }
  return OkStatus();
}

Status FunctionVerifier::CheckOutputs() const {
  std::set<std::string_view> names;
  for (uint32_t i = 0; i < function_.outputs()->size(); ++i) {
    const plan::Output& output = *function_.outputs()->Get(i);
    const std::string where = Where(where_ + ".outputs", i, output.name());
    STELE_RETURN_IF_ERROR(CheckIndex(where + ".buffer", output.buffer(),
                                     function_.buffers()->size(), "buffers"));
    const plan::Buffer& buffer = *function_.buffers()->Get(output.buffer());
    if (!names.insert(output.name()->string_view()).second)
      return Bad(where + ".name", "is there twice");
    if (buffer.role() != plan::BufferRole::Output)
      return Bad(where + ".buffer", output.buffer(),
                 "does not have the role Output");
    if (!written_[output.buffer()])
      return Bad(where + ".buffer", output.buffer(), "is never written");
    if (buffer.last_op() != function_.ops()->size() - 1)
      return Bad(where + ".buffer", output.buffer(),
                 "does not live to the end of the step (last_op)");
    if (output.name()->string_view() == "logits")
      STELE_RETURN_IF_ERROR(CheckLogits(where, buffer));
  }
  if (names.count("logits") == 0)
    return Bad(where_ + ".outputs", "no output is named \"logits\"");
  return OkStatus();
}

Status FunctionVerifier::CheckLogits(const std::string& where,
                                     const plan::Buffer& buffer) const {
  if (buffer.dtype() != plan::DType::F32)
    return Bad(where, Format("logits are %s, not F32",
                             plan::EnumNameDType(buffer.dtype())));
  if (buffer.row_elements() != plan_.model()->vocab_size())
    return Bad(where, buffer.row_elements(),
               Format("logits in a row, the vocabulary has %u",
                      plan_.model()->vocab_size()));
  if (buffer.max_rows() < function_.max_logit_rows())
    return Bad(
        where, buffer.max_rows(),
        Format("rows, but max_logit_rows is %u", function_.max_logit_rows()));
  return OkStatus();
}

}  // namespace

Status VerifyFunction(const plan::Plan& plan, uint32_t index) {
  return FunctionVerifier(plan, index).Run();
}

}  // namespace stele
