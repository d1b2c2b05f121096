// The semantic checks of a plan, table by table; see verify.h.
//
// Each Verify... function checks one table and may rely on what the ones
// called before it established. Functions are checked op by op in
// verify_function.cpp.
#include "stele/runtime/plan/verify.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/hash.h"
#include "stele/runtime/plan/verify_function.h"
#include "stele/runtime/plan/verify_internal.h"
#include "stele/schema/artifact_header.h"
#include "stele/schema/kernel_state.h"
#include "stele/schema/kv_page.h"
#include "stele/schema/weight_layout.h"

namespace stele {

using plan_check::Bad;
using plan_check::CheckAligned;
using plan_check::CheckEnum;
using plan_check::CheckIndex;
using plan_check::CheckPositive;
using plan_check::Where;

namespace {

// Counts of layers, heads, dims and tokens stay far below what their products
// could overflow.
constexpr uint64_t kMaxCount = 1u << 24;
// Of a kernel: far more than any has. Tables may share vectors, so that what is
// compared in pairs must be short.
constexpr uint64_t kMaxParameters = 64;
constexpr uint64_t kMaxImmediates = 16;
constexpr uint64_t kMaxContext = (1ull << 31) - 1;  // positions are int32

Status CheckFinite(const std::string& where, float value, float low,
                   float high) {
  if (std::isfinite(value) && value >= low && value <= high) return OkStatus();
  return Bad(where, Format("%g is not in [%g, %g]", value, low, high));
}

Status VerifyModel(const plan::ModelInfo& model) {
  const std::string at = "plan.model.";
  for (const auto& [name, value] :
       {std::pair("vocab_size", model.vocab_size()),
        std::pair("hidden_size", model.hidden_size()),
        std::pair("layers", model.layers()), std::pair("heads", model.heads()),
        std::pair("kv_heads", model.kv_heads()),
        std::pair("head_dim", model.head_dim())})
    STELE_RETURN_IF_ERROR(CheckPositive(at + name, value, kMaxCount));
  STELE_RETURN_IF_ERROR(
      CheckPositive(at + "context", model.context(), kMaxContext));
  const auto& eos = *model.eos_ids();
  for (uint32_t i = 0; i < eos.size(); ++i)
    STELE_RETURN_IF_ERROR(CheckIndex(Where(at + "eos_ids", i), eos[i],
                                     model.vocab_size(), "vocab_size"));
  STELE_RETURN_IF_ERROR(
      CheckFinite(at + "temperature", model.temperature(), 0, 1e6f));
  STELE_RETURN_IF_ERROR(CheckFinite(at + "top_p", model.top_p(), 0, 1));
  STELE_RETURN_IF_ERROR(CheckFinite(at + "min_p", model.min_p(), 0, 1));
  return CheckFinite(at + "repetition_penalty", model.repetition_penalty(),
                     1e-6f, 1e6f);
}

Status VerifyExternal(const std::string& where, const plan::Segment& segment) {
  if (!segment.external_path())
    return Bad(where + ".external_path", "missing for external storage");
  const std::string_view name = segment.external_path()->string_view();
  if (name.empty() || name == "." || name == ".." ||
      name.find('/') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos)
    return Bad(where + ".external_path",
               "\"" + Printable(name) + "\" is not a plain file name");
  const uint32_t digest = LengthOf(segment.sha256());
  if (digest != 0 && digest != sizeof(Sha256Digest))
    return Bad(where + ".sha256", digest, "bytes; a SHA-256 has 32");
  return OkStatus();
}

Status VerifySegment(const plan::Plan& plan, const PlanFile& file,
                     uint32_t index) {
  const plan::Segment& segment = *plan.segments()->Get(index);
  const std::string where = Where("plan.segments", index, segment.name());
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".kind", segment.kind(), plan::SegmentKind::MAX));
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".storage", segment.storage(), plan::Storage::MAX));
  if (segment.targets()->size() > plan.targets()->size())
    return Bad(where + ".targets", segment.targets()->size(),
               "targets, the plan has fewer");
  for (uint16_t target : *segment.targets())
    STELE_RETURN_IF_ERROR(CheckIndex(where + ".targets", target,
                                     plan.targets()->size(), "targets"));
  if (segment.storage() != plan::Storage::Inline &&
      segment.kind() != plan::SegmentKind::Weights)
    return Bad(where + ".storage", "only weights may live outside the file");
  if (segment.storage() == plan::Storage::Synthetic) return OkStatus();
  if (segment.offset() % schema::kSegmentAlignment != 0)
    return Bad(where + ".offset", segment.offset(),
               "is not a multiple of 4096");
  if (segment.storage() == plan::Storage::External)
    return VerifyExternal(where, segment);
  if (segment.offset() < file.payload_begin)
    return Bad(where + ".offset", segment.offset(),
               "lies inside the header or the FlatBuffer");
  if (!RangeFits(segment.offset(), segment.length(), file.size))
    return Bad(where + ".length", segment.length(),
               Format("at offset %llu passes the end of the file at %llu",
                      static_cast<unsigned long long>(segment.offset()),
                      static_cast<unsigned long long>(file.size)));
  return OkStatus();
}

Status VerifySegmentsApart(const plan::Plan& plan) {
  std::vector<const plan::Segment*> inside;
  for (const plan::Segment* segment : *plan.segments())
    if (segment->storage() == plan::Storage::Inline && segment->length() > 0)
      inside.push_back(segment);
  std::sort(inside.begin(), inside.end(), [](const auto* a, const auto* b) {
    return a->offset() < b->offset();
  });
  for (size_t i = 1; i < inside.size(); ++i)
    if (inside[i]->offset() < inside[i - 1]->offset() + inside[i - 1]->length())
      return Bad("plan.segments",
                 "\"" + Printable(inside[i - 1]->name()->string_view()) +
                     "\" and \"" + Printable(inside[i]->name()->string_view()) +
                     "\" overlap");
  return OkStatus();
}

Status VerifySegments(const plan::Plan& plan, const PlanFile& file) {
  for (uint32_t i = 0; i < plan.segments()->size(); ++i)
    STELE_RETURN_IF_ERROR(VerifySegment(plan, file, i));
  STELE_RETURN_IF_ERROR(VerifySegmentsApart(plan));
  size_t executables = 0, tokenizers = 0;
  for (const plan::Segment* segment : *plan.segments()) {
    executables += segment->kind() == plan::SegmentKind::Executable &&
                   segment->length() > 0;
    tokenizers += segment->kind() == plan::SegmentKind::Tokenizer;
  }
  if (executables == 0)
    return Bad("plan.segments",
               "no executable segment; the runtime holds no kernels of its "
               "own and cannot run without the artifact's");
  if (tokenizers > 1) return Bad("plan.segments", "more than one tokenizer");
  return OkStatus();
}

schema::QuantFormat FormatOf(const plan::QuantFormat& quant) {
  using Real = schema::QuantFormat::Real;
  return {quant.bits(), quant.group(), static_cast<Real>(quant.scale()),
          static_cast<Real>(quant.offset())};
}

Status VerifyQuant(const std::string& where, const plan::QuantFormat* quant) {
  if (quant == nullptr) return OkStatus();
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".scale", quant->scale(), plan::QuantReal::MAX));
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".offset", quant->offset(), plan::QuantReal::MAX));
  if (schema::IsValid(FormatOf(*quant))) return OkStatus();
  return Unsupported(where + Format(": %u bits in groups of %u are not known "
                                    "to this runtime; update stele",
                                    quant->bits(), quant->group()));
}

// Bytes that a tensor must have: a matrix is [shape[0], product of the rest].
std::optional<uint64_t> StoredBytes(const plan::Tensor& tensor,
                                    const schema::WeightLayout& layout) {
  uint64_t columns = 1;
  for (uint32_t i = 1; i < tensor.shape()->size(); ++i) {
    const auto product = CheckedMul(columns, tensor.shape()->Get(i));
    if (!product) return std::nullopt;
    columns = *product;
  }
  if (tensor.quant() != nullptr)
    return schema::PackedBytes(layout, FormatOf(*tensor.quant()),
                               tensor.shape()->Get(0), columns);
  const auto elements =
      schema::PackedElements(layout, tensor.shape()->Get(0), columns);
  return elements ? BytesOf(tensor.dtype(), *elements) : std::nullopt;
}

Status VerifyTensor(const plan::Plan& plan, uint32_t index) {
  const plan::Tensor& tensor = *plan.tensors()->Get(index);
  const std::string where = Where("plan.tensors", index, tensor.name());
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".dtype", tensor.dtype(), plan::DType::MAX));
  const auto& shape = *tensor.shape();
  STELE_RETURN_IF_ERROR(CheckAligned(where + ".shape", &shape));
  if (shape.size() == 0 || shape.size() > 4)
    return Bad(where + ".shape", shape.size(), "dimensions; 1 to 4 allowed");
  for (uint32_t i = 0; i < shape.size(); ++i)
    STELE_RETURN_IF_ERROR(
        CheckPositive(Where(where + ".shape", i), shape[i], 1ull << 40));
  const auto* layout = schema::FindWeightLayout(tensor.layout()->string_view());
  if (!layout)
    return Unsupported(where + ".layout: \"" +
                       Printable(tensor.layout()->string_view()) +
                       "\" is not known to this runtime; update stele");
  STELE_RETURN_IF_ERROR(VerifyQuant(where + ".quant", tensor.quant()));
  const auto stored = StoredBytes(tensor, *layout);
  if (!stored || *stored != tensor.length())
    return Bad(where + ".length", tensor.length(),
               stored ? Format("but shape, dtype and layout require %llu",
                               static_cast<unsigned long long>(*stored))
               : tensor.quant() != nullptr
                   ? "but shape, layout and quant do not go together"
                   : "but the size that shape requires overflows");
  STELE_RETURN_IF_ERROR(CheckIndex(where + ".segment", tensor.segment(),
                                   plan.segments()->size(), "segments"));
  const plan::Segment& segment = *plan.segments()->Get(tensor.segment());
  if (segment.kind() != plan::SegmentKind::Weights)
    return Bad(where + ".segment", tensor.segment(), "holds no weights");
  if (tensor.offset() % 64 != 0)
    return Bad(where + ".offset", tensor.offset(), "is not a multiple of 64");
  if (!RangeFits(tensor.offset(), tensor.length(), segment.length()))
    return Bad(where + ".offset", tensor.offset(),
               Format("with length %llu passes the segment's end at %llu",
                      static_cast<unsigned long long>(tensor.length()),
                      static_cast<unsigned long long>(segment.length())));
  return OkStatus();
}

// Tensors of a segment are apart, or the very same bytes (tied weights).
Status VerifyTensorsApart(const plan::Plan& plan) {
  std::vector<const plan::Tensor*> tensors(plan.tensors()->begin(),
                                           plan.tensors()->end());
  const auto key = [](const plan::Tensor* t) {
    return std::tuple(t->segment(), t->offset(), t->length());
  };
  std::sort(tensors.begin(), tensors.end(),
            [&](const auto* a, const auto* b) { return key(a) < key(b); });
  for (size_t i = 1; i < tensors.size(); ++i) {
    const plan::Tensor &a = *tensors[i - 1], &b = *tensors[i];
    if (a.segment() == b.segment() && b.offset() < a.offset() + a.length() &&
        key(&a) != key(&b))
      return Bad("plan.tensors",
                 "\"" + Printable(a.name()->string_view()) + "\" and \"" +
                     Printable(b.name()->string_view()) + "\" overlap");
  }
  return OkStatus();
}

static_assert(static_cast<int>(plan::DType::I8) ==
                  static_cast<int>(schema::KvElement::kInt8) &&
              static_cast<int>(plan::DType::BF16) ==
                  static_cast<int>(schema::KvElement::kBf16));

// Bytes of a page of K and V.
Result<uint64_t> PageBytesOf(const std::string& where,
                             const plan::KvCache& cache) {
  STELE_RETURN_IF_ERROR(
      CheckPositive(where + ".block_tokens", cache.block_tokens(), 1u << 16));
  if (cache.dtype() != plan::DType::F32 && cache.dtype() != plan::DType::F16 &&
      cache.dtype() != plan::DType::BF16 && cache.dtype() != plan::DType::I8)
    return Unsupported(where + ".dtype: " + plan::EnumNameDType(cache.dtype()) +
                       " pages are not known to this runtime; update stele");
  return schema::KvPageBytes(static_cast<schema::KvElement>(cache.dtype()),
                             cache.block_tokens(), cache.head_dim());
}

// Bytes of a state of kernelized attention.
Result<uint64_t> StateBytesOf(const std::string& where,
                              const plan::KvCache& cache) {
  STELE_RETURN_IF_ERROR(
      CheckPositive(where + ".features", cache.features(), 1u << 16));
  if (cache.block_tokens() != 0)
    return Bad(where + ".block_tokens", cache.block_tokens(),
               "but a state is of a whole sequence, which 0 stands for");
  if (cache.key_index()) return Bad(where + ".key_index", "a state has none");
  if (cache.transient())
    return Bad(where + ".transient", "a state is all that is kept of a past");
  if (cache.dtype() != plan::DType::F32)
    return Unsupported(where + ".dtype: " + plan::EnumNameDType(cache.dtype()) +
                       " states are not known to this runtime; update stele");
  return schema::KernelStateBytes(cache.features(), cache.head_dim());
}

Status VerifyCache(const plan::Plan& plan, uint32_t index) {
  const plan::KvCache& cache = *plan.kv_caches()->Get(index);
  const std::string where = Where("plan.kv_caches", index, cache.name());
  for (const auto& [name, value] : {std::pair(".layers", cache.layers()),
                                    std::pair(".kv_heads", cache.kv_heads()),
                                    std::pair(".head_dim", cache.head_dim())})
    STELE_RETURN_IF_ERROR(CheckPositive(where + name, value, 1u << 16));
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".dtype", cache.dtype(), plan::DType::MAX));
  if (cache.slots() > kMaxCount)
    return Bad(where + ".slots", cache.slots(), "is beyond any memory");
  STELE_ASSIGN_OR_RETURN(const uint64_t needed,
                         cache.features() ? StateBytesOf(where, cache)
                                          : PageBytesOf(where, cache));
  if (cache.value_index() && !cache.key_index())
    return Bad(where + ".value_index", "there is no key_index");
  if (cache.page_bytes() != needed)
    return Bad(where + ".page_bytes", cache.page_bytes(),
               Format("but a %s needs %llu",
                      cache.features() ? "state" : "page of K and V",
                      static_cast<unsigned long long>(needed)));
  return CheckIndex(where + ".target", cache.target(), plan.targets()->size(),
                    "targets");
}

// What becomes of pages that fell out of a cache in device memory.
Status VerifyWarmPages(const std::string& where, const plan::KvCache& cache) {
  const plan::Paging& paging = *cache.paging();
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".warm_dtype", paging.warm_dtype(), plan::DType::MAX));
  const auto hot = static_cast<schema::KvElement>(cache.dtype());
  const auto warm = static_cast<schema::KvElement>(paging.warm_dtype());
  if (!schema::KvCanPack(hot, warm))
    return Unsupported(
        where + ".warm_dtype: " + plan::EnumNameDType(paging.warm_dtype()) +
        " for " + plan::EnumNameDType(cache.dtype()) +
        " pages is not known to this runtime; update stele");
  const uint64_t needed =
      schema::KvRecordBytes(hot, warm, cache.block_tokens(), cache.head_dim());
  if (paging.warm_page_bytes() == needed) return OkStatus();
  return Bad(where + ".warm_page_bytes", paging.warm_page_bytes(),
             Format("but a record needs %llu",
                    static_cast<unsigned long long>(needed)));
}

// An entry that makes `to` bytes of `from` bytes.
Status VerifyCodec(const std::string& where, const plan::Executable& executable,
                   uint32_t index, uint64_t from, uint64_t to) {
  STELE_RETURN_IF_ERROR(
      CheckIndex(where, index, executable.entries()->size(), "entries"));
  const plan::Entry& entry = *executable.entries()->Get(index);
  const auto takes = [&](uint32_t i, plan::Access access, uint64_t bytes) {
    const plan::Parameter& p = *entry.parameters()->Get(i);
    return p.kind() == plan::BindingKind::Buffer && p.access() == access &&
           p.bytes() == bytes && p.bytes_per_token() == 0 &&
           p.bytes_per_logit_row() == 0 && !p.in_place();
  };
  if (entry.parameters()->size() == 2 && takes(0, plan::Access::Read, from) &&
      takes(1, plan::Access::Write, to) && LengthOf(entry.immediates()) == 0 &&
      entry.scratch_bytes() == 0 && entry.shared_bytes_per_token() == 0)
    return OkStatus();
  return Bad(where, Format("kernel %s does not take a buffer of %llu bytes and "
                           "write one of %llu, and nothing else",
                           Printable(entry.symbol()->string_view()).c_str(),
                           static_cast<unsigned long long>(from),
                           static_cast<unsigned long long>(to)));
}

// Behind executables, whose entries it names.
Status VerifyPaging(const plan::Plan& plan, uint32_t index) {
  const plan::KvCache& cache = *plan.kv_caches()->Get(index);
  if (!cache.paging()) return OkStatus();
  const plan::Paging& paging = *cache.paging();
  const std::string where =
      Where("plan.kv_caches", index, cache.name()) + ".paging";
  if (cache.features() || cache.transient())
    return Bad(where,
               "only pages of keys and values that later steps read can "
               "fall out");
  STELE_RETURN_IF_ERROR(
      CheckPositive(where + ".grid_tokens", paging.grid_tokens(), kMaxCount));
  if (paging.grid_tokens() % cache.block_tokens() != 0)
    return Bad(
        where + ".grid_tokens", paging.grid_tokens(),
        Format("is not a multiple of the block of %u", cache.block_tokens()));
  STELE_RETURN_IF_ERROR(
      CheckPositive(where + ".hot_tokens", paging.hot_tokens(), kMaxContext));
  if (paging.hot_tokens() % paging.grid_tokens() != 0)
    return Bad(
        where + ".hot_tokens", paging.hot_tokens(),
        Format("is not a multiple of the grid of %u", paging.grid_tokens()));
  if (paging.sink_blocks() > kMaxCount)
    return Bad(where + ".sink_blocks", paging.sink_blocks(),
               "is beyond any context");
  if (paging.warm_tokens() > kMaxContext)
    return Bad(where + ".warm_tokens", paging.warm_tokens(),
               "is beyond any context");
  STELE_RETURN_IF_ERROR(VerifyWarmPages(where, cache));
  STELE_RETURN_IF_ERROR(CheckIndex(where + ".executable", paging.executable(),
                                   plan.executables()->size(), "executables"));
  const plan::Executable& executable =
      *plan.executables()->Get(paging.executable());
  if (executable.target() != cache.target())
    return Bad(where + ".executable", paging.executable(),
               "is code of another target");
  STELE_RETURN_IF_ERROR(VerifyCodec(where + ".pack", executable, paging.pack(),
                                    cache.page_bytes(),
                                    paging.warm_page_bytes()));
  return VerifyCodec(where + ".unpack", executable, paging.unpack(),
                     paging.warm_page_bytes(), cache.page_bytes());
}

Status VerifyParameter(const std::string& where, const plan::Parameter& p) {
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".kind", p.kind(), plan::BindingKind::MAX));
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".dtype", p.dtype(), plan::DType::MAX));
  if (p.access() < plan::Access::MIN || p.access() > plan::Access::MAX)
    return Bad(where + ".access", static_cast<uint64_t>(p.access()),
               "is not a known value");
  if (p.kind() == plan::BindingKind::Tensor && p.access() != plan::Access::Read)
    return Bad(where + ".access", "weights are never written");
  return OkStatus();
}

Status VerifySparsity(const std::string& where,
                      const plan::BlockSparsity* sparsity) {
  if (!sparsity) return OkStatus();
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".select", sparsity->select(), plan::BlockSelect::MAX));
  return CheckEnum(where + ".estimate", sparsity->estimate(),
                   plan::Estimator::MAX);
}

Status VerifyEntry(const plan::Plan& plan, const std::string& where,
                   const plan::Entry& entry) {
  if (entry.parameters()->size() > kMaxParameters)
    return Bad(where + ".parameters", entry.parameters()->size(),
               "parameters, 64 allowed");
  if (LengthOf(entry.immediates()) > kMaxImmediates)
    return Bad(where + ".immediates", LengthOf(entry.immediates()),
               "immediates, 16 allowed");
  for (uint32_t i = 0; i < entry.parameters()->size(); ++i)
    STELE_RETURN_IF_ERROR(VerifyParameter(Where(where + ".parameters", i),
                                          *entry.parameters()->Get(i)));
  for (uint32_t i = 0; i < LengthOf(entry.immediates()); ++i)
    STELE_RETURN_IF_ERROR(
        CheckEnum(Where(where + ".immediates", i),
                  static_cast<plan::ImmediateKind>(entry.immediates()->Get(i)),
                  plan::ImmediateKind::MAX));
  if (entry.token_limit() != 0 &&
      entry.token_limit() < plan.model()->vocab_size())
    return Bad(
        where + ".token_limit", entry.token_limit(),
        Format("is below the vocabulary of %u", plan.model()->vocab_size()));
  if (entry.context_limit() != 0 &&
      entry.context_limit() < plan.model()->context())
    return Bad(
        where + ".context_limit", entry.context_limit(),
        Format("is below the context of %llu",
               static_cast<unsigned long long>(plan.model()->context())));
  return VerifySparsity(where + ".sparsity", entry.sparsity());
}

Status VerifyExecutable(const plan::Plan& plan, uint32_t index) {
  const plan::Executable& executable = *plan.executables()->Get(index);
  const std::string where = Where("plan.executables", index, executable.name());
  STELE_RETURN_IF_ERROR(
      CheckEnum(where + ".format", executable.format(), plan::CodeFormat::MAX));
  STELE_RETURN_IF_ERROR(CheckIndex(where + ".target", executable.target(),
                                   plan.targets()->size(), "targets"));
  STELE_RETURN_IF_ERROR(CheckIndex(where + ".segment", executable.segment(),
                                   plan.segments()->size(), "segments"));
  if (plan.segments()->Get(executable.segment())->kind() !=
      plan::SegmentKind::Executable)
    return Bad(where + ".segment", executable.segment(), "holds no code");
  std::set<std::string_view> symbols;
  for (uint32_t i = 0; i < executable.entries()->size(); ++i) {
    const plan::Entry& entry = *executable.entries()->Get(i);
    const std::string entry_where =
        Where(where + ".entries", i, entry.symbol());
    STELE_RETURN_IF_ERROR(VerifyEntry(plan, entry_where, entry));
    if (!symbols.insert(entry.symbol()->string_view()).second)
      return Bad(entry_where + ".symbol", "is there twice");
  }
  return OkStatus();
}

}  // namespace

std::optional<uint64_t> BytesOf(plan::DType dtype, uint64_t elements) {
  switch (dtype) {
    case plan::DType::I4:
      return elements / 2 + elements % 2;
    case plan::DType::I8:
    case plan::DType::U8:
      return elements;
    case plan::DType::F16:
    case plan::DType::BF16:
      return CheckedMul(elements, 2);
    case plan::DType::F32:
    case plan::DType::I32:
      return CheckedMul(elements, 4);
    case plan::DType::I64:
      return CheckedMul(elements, 8);
  }
  return std::nullopt;
}

Status VerifyPlan(const plan::Plan& plan, const PlanFile& file) {
  STELE_RETURN_IF_ERROR(VerifyModel(*plan.model()));
  if (plan.targets()->size() == 0) return Bad("plan.targets", "is empty");
  STELE_RETURN_IF_ERROR(VerifySegments(plan, file));
  for (uint32_t i = 0; i < plan.tensors()->size(); ++i)
    STELE_RETURN_IF_ERROR(VerifyTensor(plan, i));
  STELE_RETURN_IF_ERROR(VerifyTensorsApart(plan));
  for (uint32_t i = 0; i < plan.kv_caches()->size(); ++i)
    STELE_RETURN_IF_ERROR(VerifyCache(plan, i));
  for (uint32_t i = 0; i < plan.executables()->size(); ++i)
    STELE_RETURN_IF_ERROR(VerifyExecutable(plan, i));
  for (uint32_t i = 0; i < plan.kv_caches()->size(); ++i)
    STELE_RETURN_IF_ERROR(VerifyPaging(plan, i));
  if (plan.functions()->size() == 0) return Bad("plan.functions", "is empty");
  for (uint32_t i = 0; i < plan.functions()->size(); ++i)
    STELE_RETURN_IF_ERROR(VerifyFunction(plan, i));
  return OkStatus();
}

}  // namespace stele
