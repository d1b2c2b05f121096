// stele inspect: what was compiled and what it will cost, from the plan alone.
//
// Nothing is loaded: an artifact can be looked at on a machine that cannot run
// it.
#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "calibration.h"
#include "cli.h"
#include "prompts.h"
#include "show_timeline.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/base/hash.h"
#include "stele/runtime/context/page_pool.h"
#include "stele/schema/artifact_header.h"
#include "tiers.h"
#include "verbs.h"

namespace stele::cli {
namespace {

using nlohmann::ordered_json;

unsigned long long Ull(uint64_t value) { return value; }

template <typename Vector>
ordered_json Numbers(const Vector* vector) {
  ordered_json list = ordered_json::array();
  if (vector)
    for (const auto value : *vector) list.push_back(value);
  return list;
}

std::string Shape(const flatbuffers::Vector<uint64_t>& shape) {
  return Numbers(&shape).dump();
}

// Bytes of all layers' K and V pages for one more token; 0 where memory does
// not grow with the context.
uint64_t BytesPerToken(const plan::KvCache& cache) {
  if (cache.features() || cache.transient()) return 0;
  return uint64_t{cache.layers()} * cache.kv_heads() * cache.page_bytes() /
         cache.block_tokens();
}

// Blocks of a sequence of the longest context, or those of a step where no more
// are held.
uint64_t BlocksAtContext(const plan::Plan& plan, const plan::KvCache& cache) {
  if (cache.features()) return 1;
  uint64_t step = 0;
  for (const plan::Function* function : *plan.functions())
    if (function->target() == cache.target())
      step = std::max<uint64_t>(step, function->max_tokens());
  const CacheShape shape = CacheShape::Of(cache);
  return shape.BlocksHeld(plan.model()->context(), step);
}

// Pages of all layers for the longest context.
uint64_t BytesAtContext(const plan::Plan& plan, const plan::KvCache& cache) {
  return BlocksAtContext(plan, cache) * cache.layers() * cache.kv_heads() *
         cache.page_bytes();
}

uint64_t KeyIndexBytes(const plan::Plan& plan, const plan::KvCache& cache) {
  return CacheShape::Of(cache).KeyIndexBytes(BlocksAtContext(plan, cache));
}

// "F32, pages of 128 tokens, 33.8 KiB a token"
std::string DescribeCache(const plan::KvCache& cache) {
  const std::string type = plan::EnumNameDType(cache.dtype());
  if (cache.features())
    return type + Format(", states of %u features", cache.features());
  const std::string pages =
      type + Format(", pages of %u tokens, ", cache.block_tokens());
  return pages + (cache.transient()
                      ? "of a step only"
                      : FormatBytes(BytesPerToken(cache)) + " a token");
}

uint64_t BytesOfTarget(const plan::Plan& plan, uint16_t target) {
  uint64_t bytes = 0;
  for (const plan::Segment* segment : *plan.segments()) {
    const auto& targets = *segment->targets();
    if (std::find(targets.begin(), targets.end(), target) != targets.end())
      bytes += segment->length();
  }
  return bytes;
}

// ---- formats of weights

const char* NameOf(plan::QuantReal real) {
  return real == plan::QuantReal::F16 ? "f16" : "f32";
}

// "int4 g32 f16+f16": groups of 32 with a scale and an offset; or the dtype.
std::string FormatOf(const plan::Tensor& tensor) {
  const plan::QuantFormat* quant = tensor.quant();
  if (quant == nullptr) return plan::EnumNameDType(tensor.dtype());
  std::string text = Format("int%u g%u %s", quant->bits(), quant->group(),
                            NameOf(quant->scale()));
  if (quant->offset() != plan::QuantReal::None)
    text += std::string("+") + NameOf(quant->offset());
  return text;
}

uint64_t ElementsOf(const plan::Tensor& tensor) {
  uint64_t elements = 1;
  for (const uint64_t size : *tensor.shape()) elements *= size;
  return elements;
}

// Weights of one format.
struct FormatTotals {
  uint64_t tensors = 0, elements = 0, bytes = 0;

  void Add(const plan::Tensor& tensor) {
    ++tensors;
    elements += ElementsOf(tensor);
    bytes += tensor.length();
  }
  // Scales, offsets and padding count.
  double Bits() const {
    return 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
  }
};

// Of matrices; all of a model's vectors weigh nothing.
std::map<std::string, FormatTotals> TotalsByFormat(const plan::Plan& plan) {
  std::map<std::string, FormatTotals> totals;
  for (const plan::Tensor* tensor : *plan.tensors())
    if (tensor->shape()->size() > 1) totals[FormatOf(*tensor)].Add(*tensor);
  return totals;
}

// ---- the default: one screen

void PrintModel(const Artifact& artifact) {
  const plan::Plan& plan = artifact.plan();
  const plan::ModelInfo& model = *plan.model();
  std::printf("model       %s, %s, %s arithmetic\n", model.name()->c_str(),
              model.architecture()->c_str(), model.arithmetic()->c_str());
  std::printf(
      "            %llu parameters, %u layers, hidden %u, %u heads, %u KV "
      "heads "
      "of %u, vocabulary %u\n",
      Ull(model.parameters()), model.layers(), model.hidden_size(),
      model.heads(), model.kv_heads(), model.head_dim(), model.vocab_size());
  std::printf("context     %llu tokens planned, %llu trained",
              Ull(model.context()), Ull(model.trained_context()));
  if (model.sliding_window())
    std::printf(", sliding window %llu", Ull(model.sliding_window()));
  std::printf("\nproducer    %s, format %u.%u, SHA-256 %.16s...\n",
              plan.producer()->c_str(), schema::kFormatMajor,
              artifact.format_minor(), ToHex(artifact.digest()).c_str());
}

void PrintWeights(const plan::Plan& plan) {
  for (const auto& [format, totals] : TotalsByFormat(plan))
    std::printf(
        "weights     %s: %llu matrices of %.1f M weights, %s, %.2f "
        "bits each\n",
        format.c_str(), Ull(totals.tensors),
        static_cast<double>(totals.elements) / 1e6,
        FormatBytes(totals.bytes).c_str(), totals.Bits());
}

void PrintTargets(const plan::Plan& plan) {
  for (uint16_t i = 0; i < plan.targets()->size(); ++i) {
    const plan::Target& target = *plan.targets()->Get(i);
    std::string features;
    for (const auto* feature : *target.features())
      features += " +" + feature->str();
    std::printf("target      %s (%s%s), %s\n", target.name()->c_str(),
                target.isa()->c_str(), features.c_str(),
                FormatBytes(BytesOfTarget(plan, i)).c_str());
  }
}

void PrintSegments(const plan::Plan& plan) {
  for (const plan::Segment* segment : *plan.segments()) {
    std::string where = plan::EnumNameStorage(segment->storage());
    if (segment->storage() == plan::Storage::External)
      where += " " + segment->external_path()->str();
    if (segment->storage() == plan::Storage::Synthetic)
      where += " seed " + std::to_string(segment->seed());
    std::printf("segment     %s '%s', %s, %s\n",
                plan::EnumNameSegmentKind(segment->kind()),
                segment->name()->c_str(),
                FormatBytes(segment->length()).c_str(), where.c_str());
  }
}

void PrintFunctions(const plan::Plan& plan) {
  for (const plan::Function* function : *plan.functions())
    std::printf(
        "function    %s on %s: up to %u tokens of %u sequences, %u ops, arena "
        "%s\n",
        function->name()->c_str(),
        plan.targets()->Get(function->target())->name()->c_str(),
        function->max_tokens(), function->max_sequences(),
        function->ops()->size(), FormatBytes(function->arena_bytes()).c_str());
}

Status PrintText(const Artifact& artifact) {
  STELE_ASSIGN_OR_RETURN(const auto tokenizer, LoadTokenizer(artifact));
  if (!tokenizer) {
    std::printf("tokenizer   none\n");
    return OkStatus();
  }
  std::printf("tokenizer   %u ids, %zu chat templates\n",
              tokenizer->vocab_size(), tokenizer->chat_templates().size());
  return OkStatus();
}

Status PrintOverview(const Artifact& artifact) {
  PrintModel(artifact);
  PrintWeights(artifact.plan());
  PrintTargets(artifact.plan());
  PrintSegments(artifact.plan());
  PrintFunctions(artifact.plan());
  for (const plan::KvCache* cache : *artifact.plan().kv_caches()) {
    std::printf("KV cache    %s: %s\n", cache->name()->c_str(),
                DescribeCache(*cache).c_str());
    if (!cache->paging()) continue;
    for (const Tier& tier : TiersOf(*cache, artifact.plan().model()->context()))
      std::printf("            %-5s %10s, %s\n", tier.name.c_str(),
                  FormatBytes(tier.bytes).c_str(), tier.note.c_str());
  }
  return PrintText(artifact);
}

// ---- --memory

void PrintRow(const std::string& name, uint64_t bytes,
              const std::string& note) {
  std::printf("%-28s %12s  %s\n", name.c_str(), FormatBytes(bytes).c_str(),
              note.c_str());
}

void PrintMemory(const plan::Plan& plan) {
  for (const plan::Segment* segment : *plan.segments())
    PrintRow(segment->name()->str(), segment->length(),
             segment->storage() == plan::Storage::Synthetic
                 ? "made up when loaded"
                 : "mapped");
  for (const plan::Function* function : *plan.functions()) {
    PrintRow(function->name()->str() + " arena", function->arena_bytes(),
             "the largest arena of a target is allocated");
    PrintRow(function->name()->str() + " scratch", function->scratch_bytes(),
             "for each worker");
    if (function->shared_bytes() > 0)
      PrintRow(function->name()->str() + " shared", function->shared_bytes(),
               "for all workers together");
  }
  const uint64_t context = plan.model()->context();
  for (const plan::KvCache* cache : *plan.kv_caches()) {
    if (const uint64_t bytes = BytesPerToken(*cache); bytes > 0)
      PrintRow(cache->name()->str() + " a token", bytes, "");
    if (cache->paging()) {
      for (const Tier& tier : TiersOf(*cache, context))
        PrintRow(cache->name()->str() + " " + tier.name, tier.bytes, tier.note);
      continue;
    }
    PrintRow(cache->name()->str() + " at full context",
             BytesAtContext(plan, *cache),
             std::to_string(context) + " tokens of one sequence");
    if (const uint64_t bytes = KeyIndexBytes(plan, *cache); bytes > 0)
      PrintRow(cache->name()->str() + " key index", bytes, "of one sequence");
  }
}

// ---- --kernels

// What is known of an entry of an executable from its launches in all
// functions.
struct EntryUse {
  uint32_t launches = 0;
  std::string weight;  // format and bits of the matrix; all launches' are alike
};
using EntryUses = std::map<std::pair<uint32_t, uint32_t>, EntryUse>;

std::string DescribeMatrix(const plan::Plan& plan, const plan::Launch& launch) {
  for (const plan::Binding* binding : *launch.bindings()) {
    if (binding->kind() != plan::BindingKind::Tensor) continue;
    const plan::Tensor& tensor = *plan.tensors()->Get(binding->index());
    if (tensor.shape()->size() < 2) continue;
    FormatTotals totals;
    totals.Add(tensor);
    return FormatOf(tensor) + Format(", %.2f bits", totals.Bits());
  }
  return "";
}

EntryUses UsesOfEntries(const plan::Plan& plan) {
  EntryUses uses;
  for (const plan::Function* function : *plan.functions())
    for (const plan::Op* op : *function->ops())
      if (const auto* launch = op->body_as_Launch()) {
        EntryUse& use = uses[{launch->executable(), launch->entry()}];
        if (use.launches++ == 0) use.weight = DescribeMatrix(plan, *launch);
      }
  return uses;
}

std::string ChoiceOf(const plan::Entry& entry) {
  return entry.chosen_by() ? entry.chosen_by()->str() : "";
}

void PrintKernels(const plan::Plan& plan) {
  auto uses = UsesOfEntries(plan);
  size_t width = 10;
  for (const plan::Target* target : *plan.targets())
    width = std::max<size_t>(width, target->name()->size());
  const int column = static_cast<int>(width);
  std::printf("%-*s %8s %12s  %-28s  %-30s  %s\n", column, "target", "launches",
              "scratch", "weight", "chosen by", "kernel");
  for (uint32_t i = 0; i < plan.executables()->size(); ++i) {
    const plan::Executable& code = *plan.executables()->Get(i);
    const char* target = plan.targets()->Get(code.target())->name()->c_str();
    for (uint32_t j = 0; j < code.entries()->size(); ++j) {
      const plan::Entry& entry = *code.entries()->Get(j);
      const EntryUse& use = uses[{i, j}];
      std::printf("%-*s %8u %12s  %-28s  %-30s  %s\n", column, target,
                  use.launches, FormatBytes(entry.scratch_bytes()).c_str(),
                  use.weight.c_str(), ChoiceOf(entry).c_str(),
                  entry.symbol()->c_str());
    }
  }
}

// ---- --plan

std::string NameOf(const plan::Plan& plan, const plan::Function& function,
                   const plan::Binding& binding) {
  switch (binding.kind()) {
    case plan::BindingKind::Buffer:
      return "%" + function.buffers()->Get(binding.index())->name()->str();
    case plan::BindingKind::Tensor:
      return "@" + plan.tensors()->Get(binding.index())->name()->str();
    case plan::BindingKind::KvCache:
      return "#" + plan.kv_caches()->Get(binding.index())->name()->str();
  }
  return "?";
}

std::string DescribeLaunch(const plan::Plan& plan,
                           const plan::Function& function,
                           const plan::Launch& launch) {
  const plan::Entry& entry = *plan.executables()
                                  ->Get(launch.executable())
                                  ->entries()
                                  ->Get(launch.entry());
  std::string text = "launch " + entry.symbol()->str() + "(";
  for (uint32_t i = 0; i < launch.bindings()->size(); ++i) {
    const auto access = entry.parameters()->Get(i)->access();
    text += i ? ", " : "";
    text += access == plan::Access::Read    ? ""
            : access == plan::Access::Write ? "out "
                                            : "inout ";
    text += NameOf(plan, function, *launch.bindings()->Get(i));
  }
  text += ")";
  if (launch.immediates() && launch.immediates()->size())
    text += " " + Numbers(launch.immediates()).dump();
  return text + "  ; " + launch.label()->str();
}

std::string DescribeOp(const plan::Plan& plan, const plan::Function& function,
                       const plan::Op& op) {
  if (const auto* launch = op.body_as_Launch())
    return DescribeLaunch(plan, function, *launch);
  if (const auto* copy = op.body_as_Copy())
    return Format("copy %%%s to %%%s, %llu bytes",
                  function.buffers()->Get(copy->source())->name()->c_str(),
                  function.buffers()->Get(copy->destination())->name()->c_str(),
                  Ull(copy->length()));
  if (const auto* select = op.body_as_SelectPages())
    return Format(
        "select pages of layer %u of #%s by %%%s for %u slots on stream %u",
        select->layer(),
        plan.kv_caches()->Get(select->cache())->name()->c_str(),
        function.buffers()->Get(select->selection())->name()->c_str(),
        select->slots(), select->stream());
  if (const auto* in = op.body_as_PageIn())
    return Format(
        "page in layer %u of #%s into slots %u to %llu%s on stream %u",
        in->layer(), plan.kv_caches()->Get(in->cache())->name()->c_str(),
        in->first_slot(), Ull(in->first_slot()) + in->slots() - 1,
        in->ahead() ? " ahead" : "", in->stream());
  if (const auto* out = op.body_as_PageOut())
    return Format("page out layer %u of #%s, up to %u pages, on stream %u",
                  out->layer(),
                  plan.kv_caches()->Get(out->cache())->name()->c_str(),
                  out->max_pages(), out->stream());
  if (const auto* signal = op.body_as_Signal())
    return Format("signal %u on stream %u", signal->event(), signal->stream());
  if (const auto* wait = op.body_as_Wait())
    return Format("wait %u on stream %u", wait->event(), wait->stream());
  return plan::EnumNameOpBody(op.body_type());
}

void PrintFunctionPlan(const plan::Plan& plan, const plan::Function& function) {
  std::printf(
      "function %s: %u tokens, %u sequences, %u logit rows, arena %llu "
      "bytes\n",
      function.name()->c_str(), function.max_tokens(), function.max_sequences(),
      function.max_logit_rows(), Ull(function.arena_bytes()));
  for (const plan::Buffer* buffer : *function.buffers())
    std::printf("  buffer %%%s: %s [%llu, %llu] at %llu, ops %u to %u%s\n",
                buffer->name()->c_str(), plan::EnumNameDType(buffer->dtype()),
                Ull(buffer->max_rows()), Ull(buffer->row_elements()),
                Ull(buffer->offset()), buffer->first_op(), buffer->last_op(),
                buffer->role() == plan::BufferRole::Output ? ", output" : "");
  for (uint32_t i = 0; i < function.ops()->size(); ++i)
    std::printf("  %4u  %s\n", i,
                DescribeOp(plan, function, *function.ops()->Get(i)).c_str());
}

void PrintPlan(const plan::Plan& plan) {
  for (const plan::Tensor* tensor : *plan.tensors())
    std::printf("tensor @%s: %s %s %s in '%s' at %llu, %llu bytes\n",
                tensor->name()->c_str(), plan::EnumNameDType(tensor->dtype()),
                Shape(*tensor->shape()).c_str(), tensor->layout()->c_str(),
                plan.segments()->Get(tensor->segment())->name()->c_str(),
                Ull(tensor->offset()), Ull(tensor->length()));
  for (const plan::Function* function : *plan.functions())
    PrintFunctionPlan(plan, *function);
}

// ---- --json

ordered_json ModelJson(const plan::ModelInfo& model) {
  return {{"architecture", model.architecture()->str()},
          {"name", model.name()->str()},
          {"parameters", model.parameters()},
          {"vocab_size", model.vocab_size()},
          {"hidden_size", model.hidden_size()},
          {"layers", model.layers()},
          {"heads", model.heads()},
          {"kv_heads", model.kv_heads()},
          {"head_dim", model.head_dim()},
          {"context", model.context()},
          {"trained_context", model.trained_context()},
          {"sliding_window", model.sliding_window()},
          {"arithmetic", model.arithmetic()->str()},
          {"eos_ids", Numbers(model.eos_ids())}};
}

ordered_json TargetJson(const plan::Plan& plan, uint16_t index) {
  const plan::Target& target = *plan.targets()->Get(index);
  ordered_json features = ordered_json::array();
  for (const auto* feature : *target.features())
    features.push_back(feature->str());
  return {{"name", target.name()->str()},
          {"isa", target.isa()->str()},
          {"features", features},
          {"bytes", BytesOfTarget(plan, index)}};
}

ordered_json SegmentJson(const plan::Segment& segment) {
  return {{"name", segment.name()->str()},
          {"kind", plan::EnumNameSegmentKind(segment.kind())},
          {"storage", plan::EnumNameStorage(segment.storage())},
          {"offset", segment.offset()},
          {"length", segment.length()},
          {"xxh3", Format("%016llx", Ull(segment.xxh3()))},
          {"targets", Numbers(segment.targets())},
          {"device", segment.device()}};
}

ordered_json TensorJson(const plan::Tensor& tensor) {
  return {{"name", tensor.name()->str()},
          {"dtype", plan::EnumNameDType(tensor.dtype())},
          {"shape", Numbers(tensor.shape())},
          {"layout", tensor.layout()->str()},
          {"format", FormatOf(tensor)},
          {"segment", tensor.segment()},
          {"offset", tensor.offset()},
          {"length", tensor.length()}};
}

ordered_json TiersJson(const plan::Plan& plan, const plan::KvCache& cache) {
  ordered_json tiers = ordered_json::object();
  if (cache.paging())
    for (const Tier& tier : TiersOf(cache, plan.model()->context()))
      tiers[tier.name] = tier.bytes;
  return tiers;
}

ordered_json CacheJson(const plan::Plan& plan, const plan::KvCache& cache) {
  return {{"name", cache.name()->str()},
          {"layers", cache.layers()},
          {"kv_heads", cache.kv_heads()},
          {"head_dim", cache.head_dim()},
          {"block_tokens", cache.block_tokens()},
          {"dtype", plan::EnumNameDType(cache.dtype())},
          {"page_bytes", cache.page_bytes()},
          {"features", cache.features()},
          {"transient", cache.transient()},
          {"bytes_per_token", BytesPerToken(cache)},
          {"bytes_at_context", BytesAtContext(plan, cache)},
          {"slots", cache.slots()},
          {"tier_bytes", TiersJson(plan, cache)}};
}

ordered_json KernelsJson(const plan::Plan& plan) {
  auto uses = UsesOfEntries(plan);
  ordered_json kernels = ordered_json::array();
  for (uint32_t i = 0; i < plan.executables()->size(); ++i) {
    const plan::Executable& code = *plan.executables()->Get(i);
    for (uint32_t j = 0; j < code.entries()->size(); ++j) {
      const plan::Entry& entry = *code.entries()->Get(j);
      kernels.push_back(
          {{"symbol", entry.symbol()->str()},
           {"executable", code.name()->str()},
           {"target", code.target()},
           {"launches", uses[{i, j}].launches},
           {"scratch_bytes", entry.scratch_bytes()},
           {"shared_bytes_per_token", entry.shared_bytes_per_token()},
           {"weight", uses[{i, j}].weight},
           {"chosen_by", ChoiceOf(entry)}});
    }
  }
  return kernels;
}

ordered_json FunctionJson(const plan::Plan& plan,
                          const plan::Function& function) {
  ordered_json ops = ordered_json::array();
  for (const plan::Op* op : *function.ops())
    ops.push_back(DescribeOp(plan, function, *op));
  ordered_json buffers = ordered_json::array();
  for (const plan::Buffer* buffer : *function.buffers())
    buffers.push_back({{"name", buffer->name()->str()},
                       {"dtype", plan::EnumNameDType(buffer->dtype())},
                       {"max_rows", buffer->max_rows()},
                       {"row_elements", buffer->row_elements()},
                       {"offset", buffer->offset()},
                       {"length", buffer->length()},
                       {"first_op", buffer->first_op()},
                       {"last_op", buffer->last_op()}});
  return {{"name", function.name()->str()},
          {"target", function.target()},
          {"max_tokens", function.max_tokens()},
          {"max_sequences", function.max_sequences()},
          {"max_logit_rows", function.max_logit_rows()},
          {"ranks", function.ranks()},
          {"arena_bytes", function.arena_bytes()},
          {"scratch_bytes", function.scratch_bytes()},
          {"shared_bytes", function.shared_bytes()},
          {"buffers", buffers},
          {"ops", ops}};
}

void PrintJson(const Artifact& artifact) {
  const plan::Plan& plan = artifact.plan();
  ordered_json document = {{"format", Format("%u.%u", schema::kFormatMajor,
                                             artifact.format_minor())},
                           {"producer", plan.producer()->str()},
                           {"sha256", ToHex(artifact.digest())},
                           {"file_bytes", artifact.file_size()},
                           {"model", ModelJson(*plan.model())}};
  for (const char* list :
       {"targets", "segments", "tensors", "kv_caches", "kernels", "functions"})
    document[list] = ordered_json::array();
  for (uint16_t i = 0; i < plan.targets()->size(); ++i)
    document["targets"].push_back(TargetJson(plan, i));
  for (const plan::Segment* segment : *plan.segments())
    document["segments"].push_back(SegmentJson(*segment));
  for (const plan::Tensor* tensor : *plan.tensors())
    document["tensors"].push_back(TensorJson(*tensor));
  for (const plan::KvCache* cache : *plan.kv_caches())
    document["kv_caches"].push_back(CacheJson(plan, *cache));
  document["kernels"] = KernelsJson(plan);
  for (const plan::Function* function : *plan.functions())
    document["functions"].push_back(FunctionJson(plan, *function));
  std::printf(
      "%s\n",
      document.dump(-1, ' ', false, ordered_json::error_handler_t::replace)
          .c_str());
}

}  // namespace

int RunInspect(int argc, char** argv) {
  CLI::App app("Show what was compiled and what it will cost");
  ModelFlags model;
  bool json = false, memory = false, kernels = false, plan = false,
       calibration = false;
  std::string picture, trace;
  model.AddTo(app, true);
  app.add_flag("--json", json, "Print all of it as one JSON document");
  app.add_flag("--memory", memory, "Print what it will take to run");
  app.add_flag("--kernels", kernels, "Print the kernels and their launches");
  app.add_flag("--plan", plan, "Print tensors, buffers and every op");
  app.add_flag("--calibration", calibration,
               "Print what --quant auto measured; with --json as JSON");
  auto* timeline =
      app.add_option("--timeline", picture,
                     "Draw a step of each function as streams over time, as "
                     "text or into a file that ends in .svg or .html")
          ->expected(0, 1)
          ->type_name("FILE");
  app.add_option("--trace", trace,
                 "With --timeline: draw the run of stele run --trace FILE "
                 "beside it")
      ->needs(timeline)
      ->type_name("FILE");
  if (auto code = Parse(app, argc, argv,
                        "OUT.stele [--json | --memory | --kernels | --plan | "
                        "--calibration [--json] | --timeline [FILE.svg|.html] "
                        "[--trace FILE]]",
                        "stele inspect smollm2.stele --memory"))
    return *code;
  const bool draws = timeline->count() > 0;
  if ((json && !calibration) + memory + kernels + plan + calibration + draws >
      1)
    return WrongUsage(app,
                      "one of --json, --memory, --kernels, --plan, "
                      "--calibration, --timeline");
  if (!picture.empty() && !picture.ends_with(".svg") &&
      !picture.ends_with(".html"))
    return WrongUsage(app,
                      "--timeline " + picture + " must end in .svg or .html");
  const auto artifact = model.Open();
  if (!artifact.ok()) return Fail(artifact.status());
  Status status;
  if (calibration)
    status = PrintCalibration(**artifact, json);
  else if (draws)
    status = ShowTimeline((*artifact)->plan(), picture, trace);
  else if (json)
    PrintJson(**artifact);
  else if (memory)
    PrintMemory((*artifact)->plan());
  else if (kernels)
    PrintKernels((*artifact)->plan());
  else if (plan)
    PrintPlan((*artifact)->plan());
  else
    status = PrintOverview(**artifact);
  return status.ok() ? kDone : Fail(status);
}

}  // namespace stele::cli
