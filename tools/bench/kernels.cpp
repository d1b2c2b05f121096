// Each host kernel against the machine's limits: bench-kernels.
//
// Shapes are SmolLM2's (hidden 576, 9 / 3 heads of 64, FFN 1536, vocabulary
// 49,152) and, of quantised weights, the FFN of a 1.5B model. An iteration
// takes as long as its slowest worker's CPU time, so that other programs on the
// machine disturb the figures little; reading weights is timed by the wall,
// since workers that run one after the other do not share the memory. Every
// benchmark names the limit that bounds it (products, or bytes read once) and
// prints its share of it. Matrix-vector products go round more matrices than
// the last cache holds.
#include <benchmark/benchmark.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "llvm/Support/raw_ostream.h"
#include "machine_limits.h"
#include "stele/compiler/Codegen/Host/HostCodegen.h"
#include "stele/compiler/Codegen/Host/WeightLayout.h"
#include "stele/compiler/Targets/Targets.h"
#include "stele/runtime/device/host/elf_loader.h"
#include "stele/runtime/device/host/thread_pool.h"
#include "stele/schema/host_abi.h"
#include "stele/schema/kernel_state.h"
#include "stele/schema/key_index.h"
#include "stele/schema/kv_page.h"
#include "stele/schema/quant_format.h"

namespace stele::bench {
namespace {

using compiler::KernelInstance;

constexpr int kHidden = 576, kFfn = 1536, kVocab = 49152;
constexpr int kHeads = 9, kKvHeads = 3, kHeadDim = 64, kBlock = 128;
constexpr int kQkv = (kHeads + 2 * kKvHeads) * kHeadDim;
constexpr size_t kColdBytes = size_t{256} << 20;

template <typename T>
T Require(llvm::Expected<T> value) {
  if (value) return std::move(*value);
  llvm::errs() << llvm::toString(value.takeError()) << "\n";
  std::exit(1);
}

double Seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}
double ThreadSeconds() { return Seconds(CLOCK_THREAD_CPUTIME_ID); }
double WallSeconds() { return Seconds(CLOCK_MONOTONIC); }

// Weights or pages: small normal numbers as f32 and as bf16, in memory of
// 4 KiB pages, as a mapped artifact is.
class Numbers {
 public:
  explicit Numbers(size_t bytes) : bytes_(bytes) {
    data_ = static_cast<uint16_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (data_ == MAP_FAILED) {
      llvm::errs() << "no memory for " << bytes << " bytes of weights\n";
      std::exit(1);
    }
    madvise(data_, bytes, MADV_NOHUGEPAGE);
    std::minstd_rand random(1);
    for (size_t i = 0; i < bytes / 2; ++i)
      data_[i] = static_cast<uint16_t>(0x3c00 | (random() & 0x807f));
  }
  ~Numbers() { munmap(data_, bytes_); }
  Numbers(const Numbers&) = delete;

  void* at(size_t byte) { return data_ + byte / 2; }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_;
  uint16_t* data_;
};

class Kernel {
 public:
  Kernel(const KernelInstance& instance, const compiler::Target& target,
         ThreadPool* pool)
      : pool_(pool) {
    auto codegen =
        Require(compiler::HostCodegen::create(target.isa, target.features));
    if (llvm::Error error = codegen->add(instance)) {
      llvm::errs() << llvm::toString(std::move(error)) << "\n";
      std::exit(1);
    }
    std::vector<char> image = Require(codegen->link());
    auto loaded = ElfImage::Load(
        {reinterpret_cast<const uint8_t*>(image.data()), image.size()});
    if (!loaded.ok()) {
      llvm::errs() << loaded.status().message() << "\n";
      std::exit(1);
    }
    image_ = std::move(*loaded);
    entry_ = reinterpret_cast<SteleHostKernel>(image_->Find(instance.symbol()));
    scratch_bytes_ = codegen->scratchBytes(instance);
    shared_bytes_per_token_ = codegen->sharedBytesPerToken(instance);
    for (uint32_t i = 0; i < pool->workers(); ++i)
      scratch_.emplace_back(
          std::aligned_alloc(64, (scratch_bytes_ / 64 + 1) * 64), std::free);
  }

  // Seconds of the slowest worker.
  double Run(std::vector<void*> bindings, const SteleBatch& batch) {
    shared_.resize(std::max<size_t>(
        shared_.size(), shared_bytes_per_token_ * batch.tokens / 64 + 1));
    bindings_ = std::move(bindings);
    batch_ = &batch;
    next_item_ = 0;
    seconds_.assign(pool_->workers(), 0);
    pool_->Run(&Kernel::Task, this);
    return *std::max_element(seconds_.begin(), seconds_.end());
  }

 private:
  static void Task(void* context, uint32_t worker) {
    auto* self = static_cast<Kernel*>(context);
    const int64_t layer = 0;
    SteleHostArgs args{self->bindings_.data(),
                       &layer,
                       self->batch_,
                       self->scratch_[worker].get(),
                       worker,
                       self->pool_->workers(),
                       &self->next_item_,
                       self->shared_.data(),
                       [] { sched_yield(); },
                       &self->work_};
    const double begin = ThreadSeconds();
    self->entry_(&args);
    self->seconds_[worker] = ThreadSeconds() - begin;
  }

  ThreadPool* pool_;
  std::unique_ptr<ElfImage> image_;
  SteleHostKernel entry_;
  uint64_t scratch_bytes_, shared_bytes_per_token_;
  std::vector<std::unique_ptr<void, decltype(&std::free)>> scratch_;
  struct alignas(64) Line {
    char bytes[64];
  };
  std::vector<Line> shared_;  // zero before and after a run
  std::vector<void*> bindings_;
  const SteleBatch* batch_ = nullptr;
  uint32_t next_item_ = 0;
  SteleAttentionWork work_{};
  std::vector<double> seconds_;
};

// `tokens` tokens of one sequence after `past`, with pages in order.
struct Sequence {
  Sequence(int tokens, int past) {
    for (int i = 0; i < tokens; ++i) {
      positions.push_back(past + i);
      sequence.push_back(0);
    }
    q_offsets = {0, tokens};
    length = past + tokens;
    const int blocks = (length + kBlock - 1) / kBlock;
    for (int i = 0; i < blocks * kKvHeads; ++i) table.push_back(i);
    table_pointer = table.data();
    view.tokens = tokens;
    view.sequences = 1;
    view.logit_count = 1;
    view.page_table_blocks = blocks;
    view.positions = positions.data();
    view.sequence = sequence.data();
    view.q_offsets = q_offsets.data();
    view.kv_lengths = &length;
    view.logit_rows = &logit_row;
    view.page_tables = &table_pointer;
    view.states = &first_state;
  }
  std::vector<int32_t> positions, sequence, q_offsets, table;
  int32_t length = 0, logit_row = 0, first_state = 0;
  const int32_t* table_pointer = nullptr;
  SteleBatch view{};
};

struct Machine {
  compiler::Target target;
  std::unique_ptr<ThreadPool> pool;
  Limits limits;
};

// `ops_per_byte`: where the kernel stands in a roofline, if it is known.
void Report(benchmark::State& state, double best, double work, double limit,
            const char* unit, double ops_per_byte = 0) {
  state.counters[unit] = work / best / 1e9;
  if (ops_per_byte > 0) state.counters["ops_per_byte"] = ops_per_byte;
  if (limit > 0) state.counters["share"] = work / best / 1e9 / limit;
}

// The limit for reading these weights, measured between rounds of a kernel over
// all of them: what else the machine does slows both alike.
class ReadLimit {
 public:
  ReadLimit(ThreadPool* pool, Numbers& memory) : pool_(pool), memory_(memory) {}

  void Read() {
    const double begin = WallSeconds();
    pool_->Run(&ReadLimit::Task, this);
    const double seconds = WallSeconds() - begin;
    best_ = std::max(best_, double(memory_.bytes()) / seconds / 1e9);
  }
  double gbs() const { return best_; }

 private:
  static void Task(void* context, uint32_t worker) {
    auto* self = static_cast<ReadLimit*>(context);
    const size_t share = self->memory_.bytes() / self->pool_->workers();
    ReadBytes(static_cast<const char*>(self->memory_.at(worker * share)),
              share);
  }

  ThreadPool* pool_;
  Numbers& memory_;
  double best_ = 0;
};

struct LinearShape {
  const char* name;
  int k, n;
  bool norm, residual;
  int glu;
};

constexpr LinearShape kShapes[] = {
    {"qkv", kHidden, kQkv, true, false, 0},
    {"attention_out", kHidden, kHidden, false, true, 0},
    {"gate_up", kHidden, 2 * kFfn, true, false, 1},
    {"down", kFfn, kHidden, false, true, 0},
    {"vocabulary", kHidden, kVocab, true, false, 0},
};

// The FFN of a model of 1.5B parameters, as the peers' figures are for.
constexpr LinearShape kLargeShapes[] = {
    {"up_1.5b", 1536, 8960, false, false, 0},
    {"down_1.5b", 8960, 1536, false, true, 0},
};

// How a linear multiplies, and how its weight is stored.
struct Variant {
  std::string name;        // "int8/q4_1"
  std::string arithmetic;  // f32, bf16 or int8
  std::optional<schema::QuantFormat> quant;
};

// Rows of one value have no coarse blocks, so that this only costs the look.
constexpr int kRefine = 40;

using Real = schema::QuantFormat::Real;
constexpr schema::QuantFormat kQ4_1{4, 32, Real::kF16, Real::kF16};
constexpr schema::QuantFormat kQ4_0{4, 32, Real::kF16, Real::kNone};
constexpr schema::QuantFormat kInt4Group128{4, 128, Real::kF16, Real::kF32};
constexpr schema::QuantFormat kQ8_0{8, 32, Real::kF16, Real::kNone};

std::vector<Variant> QuantisedVariants() {
  return {{"int8/q4_1", "int8", kQ4_1},
          {"int8/q4_0", "int8", kQ4_0},
          {"int8/q4_g128", "int8", kInt4Group128},
          {"int8/q8_0", "int8", kQ8_0},
          {"bf16/q4_1", "bf16", kQ4_1},
          {"f32/q4_1", "f32", kQ4_1}};
}

size_t PackedBytes(const Variant& variant, const LinearShape& shape) {
  const std::string glu = shape.glu ? "_glu" : "";
  if (variant.quant)
    return Require(compiler::packedBytes(
        (variant.quant->bits == 4 ? "panel_q4" : "panel_q8") + glu,
        *variant.quant, shape.n, shape.k));
  return Require(compiler::packedBytes("panel_" + variant.arithmetic + glu,
                                       variant.arithmetic == "bf16"
                                           ? compiler::PackedType::BF16
                                           : compiler::PackedType::F32,
                                       shape.n, shape.k));
}

KernelInstance InstanceOf(const Variant& variant, const LinearShape& shape) {
  KernelInstance instance;
  instance.templateName =
      (variant.quant ? "linear_q_" : "linear_") + variant.arithmetic;
  instance.ints = {{"k", shape.k},
                   {"n", shape.n},
                   {"norm", shape.norm},
                   {"bias", 0},
                   {"residual", shape.residual},
                   {"glu", shape.glu}};
  instance.floats = {{"eps", 1e-5}};
  if (variant.quant) {
    instance.ints["bits"] = variant.quant->bits;
    instance.ints["group"] = variant.quant->group;
    instance.ints["scale_f32"] = variant.quant->scale == Real::kF32;
    instance.ints["offset"] = int(variant.quant->offset);
    instance.ints["permuted"] = 0;
    if (variant.arithmetic == "int8") instance.ints["refine"] = kRefine;
  }
  return instance;
}

double ProductLimit(const Limits& limits, const std::string& arithmetic) {
  return arithmetic == "int8"   ? limits.int8_gops
         : arithmetic == "bf16" ? limits.bf16_gflops
                                : limits.f32_gflops;
}

// Iterates; seconds of the fastest iteration, where `run` returns those of one.
template <typename Run>
double Fastest(benchmark::State& state, Run run) {
  double best = 1e9;
  for (auto _ : state) {
    const double seconds = run();
    state.SetIterationTime(seconds);
    best = std::min(best, seconds);
  }
  return best;
}

void Linear(benchmark::State& state, const Machine& machine,
            const LinearShape& shape, const Variant& variant, int rows) {
  Kernel kernel(InstanceOf(variant, shape), machine.target, machine.pool.get());
  const size_t bytes = PackedBytes(variant, shape);
  // Few rows wait for the weights: no matrix may still be in a cache.
  const size_t copies = rows < 16 ? kColdBytes / bytes + 1 : 1;
  Numbers weights(copies * bytes);
  std::vector<float> x(size_t(rows) * shape.k, 0.5f), norm(shape.k, 1.0f);
  std::vector<float> residual(size_t(rows) * shape.n);
  std::vector<float> out(size_t(rows) * shape.n);
  Sequence batch(rows, 0);
  double best = 1e9, pass = 0;
  ReadLimit reads(machine.pool.get(), weights);
  size_t copy = 0;
  for (auto _ : state) {
    std::vector<void*> bindings = {x.data(), weights.at(copy * bytes)};
    if (shape.norm) bindings.push_back(norm.data());
    if (shape.residual) bindings.push_back(residual.data());
    bindings.push_back(out.data());
    const double begin = WallSeconds();
    double seconds = kernel.Run(bindings, batch.view);
    if (rows < 16) seconds = WallSeconds() - begin;
    state.SetIterationTime(seconds);
    pass += seconds;
    if (++copy < copies) continue;
    best = std::min(best, pass / copies);
    copy = 0;
    pass = 0;
    if (rows < 16) reads.Read();
  }
  const double ops_per_byte = 2.0 * rows * shape.k * shape.n / double(bytes);
  if (rows < 16)
    Report(state, best, double(bytes), reads.gbs(), "GB/s", ops_per_byte);
  else
    Report(state, best, 2.0 * rows * shape.k * shape.n,
           ProductLimit(machine.limits, variant.arithmetic), "GFLOP/s",
           ops_per_byte);
}

std::vector<float> RandomRows(size_t count) {
  std::minstd_rand random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// What pages store, and how products are computed.
struct KvFormat {
  const char* name;
  bool bf16;
  schema::KvElement stored;

  size_t page_bytes() const {
    return schema::KvPageBytes(stored, kBlock, kHeadDim);
  }
};

constexpr KvFormat kKvFormats[] = {{"bf16", true, schema::KvElement::kBf16},
                                   {"f32", false, schema::KvElement::kF32},
                                   {"f16", false, schema::KvElement::kF16},
                                   {"int8", true, schema::KvElement::kInt8}};

// Which key blocks are kept: all, or the query's own and every `spread`th.
struct Kept {
  int spread = 1;

  bool keeps(int query_block, int block) const {
    return block == query_block || block % spread == 0;
  }
  // A bit for each block, for each token and KV head.
  std::vector<uint32_t> Selection(const Sequence& batch, int words) const {
    std::vector<uint32_t> selection(batch.positions.size() * kKvHeads * words);
    for (size_t row = 0; row < batch.positions.size() * kKvHeads; ++row) {
      const int own = batch.positions[row / kKvHeads] / kBlock;
      for (int b = 0; b <= own; ++b)
        if (keeps(own, b)) selection[row * words + b / 32] |= 1u << b % 32;
    }
    return selection;
  }
  // Keys that the batch's queries see together.
  double Keys(const Sequence& batch) const {
    double keys = 0;
    for (const int position : batch.positions)
      for (int b = 0; b <= position / kBlock; ++b)
        if (keeps(position / kBlock, b))
          keys += std::min(kBlock, position + 1 - b * kBlock);
    return keys;
  }
};

void Attention(benchmark::State& state, const Machine& machine,
               const KvFormat& kv, int tokens, int past, Kept kept = {}) {
  const bool bf16 = kv.bf16, sparse = kept.spread > 1;
  KernelInstance instance;
  instance.templateName = (sparse ? "block_sparse_" : "attention_") +
                          std::string(bf16 ? "bf16" : "f32");
  instance.ints = {{"heads", kHeads},
                   {"kv_heads", kKvHeads},
                   {"head_dim", kHeadDim},
                   {"block", kBlock},
                   {"kv", static_cast<int64_t>(kv.stored)},
                   {"q_offset", 0},
                   {"q_stride", kQkv},
                   {"rotary", 1},
                   {"rotary_dims", kHeadDim},
                   {"parts", 1},
                   {"chunk_keys", 0},
                   {"norm", 0},
                   {"lse", 0}};
  instance.floats = {{"scale", 0.125}, {"eps", 0}, {"original", 0}};
  Sequence batch(tokens, past);
  const int blocks = batch.view.page_table_blocks;
  if (sparse)
    for (const auto& [name, value] : {std::pair("blocks", blocks),
                                      {"select", 1},
                                      {"local", 1},
                                      {"adjacent", 0},
                                      {"sink", 0},
                                      {"dense", 0},
                                      {"bias_width", 0}})
      instance.ints[name] = value;
  else
    instance.ints["window"] = 0;
  Kernel kernel(instance, machine.target, machine.pool.get());
  std::vector<uint32_t> selection = kept.Selection(batch, (blocks + 31) / 32);
  const size_t bytes = batch.table.size() * kv.page_bytes();
  // One token waits for keys and values: none may still be in a cache, as those
  // of a model's other layers push them out.
  const size_t copies = tokens == 1 ? kColdBytes / bytes + 1 : 1;
  Numbers cache(copies * bytes);
  std::vector<float> q(size_t(tokens) * kQkv, 0.1f);
  std::vector<float> rotary(size_t(tokens) * kHeadDim, 0.5f);
  std::vector<float> out(size_t(tokens) * kHeads * kHeadDim);
  size_t copy = 0;
  const double best = Fastest(state, [&] {
    std::vector<void*> bindings{q.data(), rotary.data()};
    if (sparse) bindings.push_back(selection.data());
    bindings.push_back(cache.at(copy++ % copies * bytes));
    bindings.push_back(out.data());
    return kernel.Run(bindings, batch.view);
  });
  const double keys = kept.Keys(batch);
  const double ops = keys * kHeads * kHeadDim * 4;
  const double ops_per_byte = ops / double(bytes);
  if (tokens == 1)
    Report(state, best, double(bytes), machine.limits.read_gbs, "GB/s",
           ops_per_byte);
  else
    Report(state, best, ops,
           bf16 ? machine.limits.bf16_gflops : machine.limits.f32_gflops,
           "GFLOP/s", ops_per_byte);
}

// Chooses 32 blocks for the last of `past` + `tokens` tokens.
void SelectBlocks(benchmark::State& state, const Machine& machine, int tokens,
                  int past) {
  Sequence batch(tokens, past);
  const int blocks = batch.view.page_table_blocks;
  KernelInstance instance;
  instance.templateName = "select_blocks_bf16";
  instance.ints = {{"heads", kHeads},
                   {"kv_heads", kKvHeads},
                   {"head_dim", kHeadDim},
                   {"block", kBlock},
                   {"blocks", blocks},
                   {"kv", static_cast<int64_t>(schema::KvElement::kBf16)},
                   {"q_offset", 0},
                   {"q_stride", kQkv},
                   {"rotary", 1},
                   {"rotary_dims", kHeadDim},
                   {"parts", 1},
                   {"chunk_keys", 0},
                   {"norm", 0},
                   {"select", 1},
                   {"top_k", 32},
                   {"limit", 0},
                   {"targets", 0},
                   {"local", 1},
                   {"adjacent", 1},
                   {"sink", 1},
                   {"dense", 0},
                   {"value_index", 0}};
  instance.floats = {
      {"scale", 0.125}, {"eps", 0}, {"original", 0}, {"top_p", 0}};
  Kernel kernel(instance, machine.target, machine.pool.get());
  // Only the query blocks' own pages are read.
  std::fill(batch.table.begin(), batch.table.end(), 0);
  Numbers cache(
      schema::KvPageBytes(schema::KvElement::kBf16, kBlock, kHeadDim));
  // As many layers' indices as no cache holds.
  const size_t bytes =
      kKvHeads * schema::KeyIndexRowBytes(blocks, kHeadDim, false);
  const size_t copies = kColdBytes / bytes + 1;
  Numbers indices(copies * bytes);
  std::vector<uint32_t> selection(size_t(tokens) * kKvHeads *
                                  ((blocks + 31) / 32));
  const std::vector<float> q = RandomRows(size_t(tokens) * kQkv);
  std::vector<float> rotary(size_t(tokens) * kHeadDim, 0.5f);
  ReadLimit reads(machine.pool.get(), indices);
  size_t copy = 0;
  const double best = Fastest(state, [&] {
    void* index = indices.at(copy * bytes);
    batch.view.key_indices = &index;
    const double seconds =
        kernel.Run({const_cast<float*>(q.data()), rotary.data(), cache.at(0),
                    selection.data()},
                   batch.view);
    copy = (copy + 1) % copies;
    if (copy == 0 && tokens == 1) reads.Read();
    return seconds;
  });
  const int query_blocks = kKvHeads * ((tokens + kBlock - 1) / kBlock);
  state.counters["ns_per_query_block"] = best * 1e9 / query_blocks;
  const double ops = 2.0 * tokens * kHeads * blocks * kHeadDim;
  if (tokens == 1)
    Report(state, best, double(bytes), reads.gbs(), "GB/s",
           ops / double(bytes));
  else
    Report(state, best, ops, machine.limits.int8_gops, "GOP/s");
}

void KvAppend(benchmark::State& state, const Machine& machine,
              const KvFormat& kv, int tokens) {
  KernelInstance instance;
  instance.templateName = kv.bf16 ? "kv_append_bf16" : "kv_append_f32";
  instance.ints = {{"kv_heads", kKvHeads},
                   {"head_dim", kHeadDim},
                   {"block", kBlock},
                   {"kv", static_cast<int64_t>(kv.stored)},
                   {"key_offset", kHeads * kHeadDim},
                   {"key_stride", kQkv},
                   {"value_offset", (kHeads + kKvHeads) * kHeadDim},
                   {"value_stride", kQkv},
                   {"rotary", 1},
                   {"rotary_dims", kHeadDim},
                   {"parts", 1},
                   {"key_index", 0},
                   {"value_index", 0},
                   {"reference", 0},
                   {"norm", 0}};
  instance.floats = {{"eps", 0}};
  Kernel kernel(instance, machine.target, machine.pool.get());
  Sequence batch(tokens, 0);
  Numbers cache(batch.table.size() * kv.page_bytes());
  std::vector<float> qkv(size_t(tokens) * kQkv, 0.1f);
  std::vector<float> rotary(size_t(tokens) * kHeadDim, 0.5f);
  const double best = Fastest(state, [&] {
    return kernel.Run({qkv.data(), qkv.data(), rotary.data(), cache.at(0)},
                      batch.view);
  });
  Report(state, best, double(tokens) * 2 * kKvHeads * kHeadDim * sizeof(float),
         machine.limits.read_gbs, "GB/s");
}

// One page after the other, more of them than the last cache holds, by one
// worker as in a transfer thread. Bytes are those of the page: what attention
// gets for the move.
void PageCodec(benchmark::State& state, const Machine& machine,
               const KvFormat& kv, schema::KvElement warm, bool unpack) {
  KernelInstance instance;
  instance.templateName = kv.bf16 ? "page_codec_bf16" : "page_codec_f32";
  instance.ints = {{"block", kBlock},
                   {"head_dim", kHeadDim},
                   {"kv", static_cast<int64_t>(kv.stored)},
                   {"warm", static_cast<int64_t>(warm)},
                   {"unpack", unpack}};
  auto pool = ThreadPool::Create(1);
  Kernel kernel(instance, machine.target, pool->get());
  const size_t page_bytes = kv.page_bytes();
  const size_t record_bytes =
      schema::KvRecordBytes(kv.stored, warm, kBlock, kHeadDim);
  const size_t pages = kColdBytes / page_bytes;
  Numbers hot(pages * page_bytes), records(pages * record_bytes);
  const SteleBatch batch{};
  size_t page = 0;
  constexpr int kPages = 64;  // an iteration
  const double best = Fastest(state, [&] {
    double seconds = 0;
    for (int i = 0; i < kPages; ++i, ++page) {
      void* from = hot.at(page % pages * page_bytes);
      void* to = records.at(page % pages * record_bytes);
      if (unpack) std::swap(from, to);
      seconds += kernel.Run({from, to}, batch);
    }
    return seconds;
  });
  Report(state, best, double(kPages * page_bytes), machine.limits.read_gbs,
         "GB/s");
}

template <typename Function>
void Register(const std::string& name, Function function) {
  benchmark::RegisterBenchmark(name.c_str(), function)
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond)
      ->MinTime(0.2);
}

void RegisterLinear(const Machine& machine, const Variant& variant,
                    const LinearShape& shape) {
  for (int rows : {1, 8, 512})
    Register("linear/" + variant.name + "/" + shape.name + "/" +
                 std::to_string(rows),
             [&machine, &shape, variant, rows](benchmark::State& state) {
               Linear(state, machine, shape, variant, rows);
             });
}

// Its work does not depend on what came before.
void Kernelized(benchmark::State& state, const Machine& machine, int tokens) {
  constexpr int kFeatures = 256;
  KernelInstance instance;
  instance.templateName = "kernelized_attention_f32";
  instance.ints = {{"heads", kHeads},
                   {"kv_heads", kKvHeads},
                   {"head_dim", kHeadDim},
                   {"block", kBlock},
                   {"features", kFeatures},
                   {"kv", static_cast<int64_t>(schema::KvElement::kF32)},
                   {"q_offset", 0},
                   {"q_stride", kQkv},
                   {"rotary", 1},
                   {"rotary_dims", kHeadDim},
                   {"parts", 1},
                   {"norm", 0},
                   {"lse", 0}};
  instance.floats = {{"scale", 0.125}, {"eps", 0}};
  Kernel kernel(instance, machine.target, machine.pool.get());
  Sequence batch(tokens, 0);
  const size_t bytes = kKvHeads * schema::KernelStateBytes(kFeatures, kHeadDim);
  const size_t copies = tokens == 1 ? kColdBytes / bytes + 1 : 1;
  std::vector<char> states(copies * bytes);
  Numbers features(size_t(kFeatures) * kHeadDim * sizeof(float));
  Numbers cache(batch.table.size() *
                schema::KvPageBytes(schema::KvElement::kF32, kBlock, kHeadDim));
  std::vector<float> q(size_t(tokens) * kQkv, 0.1f);
  std::vector<float> rotary(size_t(tokens) * kHeadDim, 0.5f);
  std::vector<float> out(size_t(tokens) * kHeads * kHeadDim);
  size_t copy = 0;
  const double best = Fastest(state, [&] {
    return kernel.Run({q.data(), rotary.data(), features.at(0), cache.at(0),
                       states.data() + copy++ % copies * bytes, out.data()},
                      batch.view);
  });
  // Features of a key and of its queries, and the state by both; what a block's
  // tokens mean to each other is not counted.
  const double ops = 4.0 * tokens * (kHeads + kKvHeads) * kFeatures * kHeadDim;
  const double moved = 2.0 * double(bytes);  // read and written
  if (tokens == 1)
    Report(state, best, moved, machine.limits.read_gbs, "GB/s", ops / moved);
  else
    Report(state, best, ops, machine.limits.f32_gflops, "GFLOP/s", ops / moved);
}

void RegisterAll(const Machine& machine) {
  for (const Variant& variant : QuantisedVariants()) {
    for (const LinearShape& shape : kShapes)
      RegisterLinear(machine, variant, shape);
    for (const LinearShape& shape : kLargeShapes)
      RegisterLinear(machine, variant, shape);
  }
  for (bool bf16 : {true, false}) {
    for (const LinearShape& shape : kShapes)
      RegisterLinear(machine,
                     {bf16 ? "bf16" : "f32", bf16 ? "bf16" : "f32", {}}, shape);
  }
  for (const KvFormat& kv : kKvFormats) {
    const std::string name = kv.name;
    Register("kv_append/" + name + "/512",
             [&machine, &kv](benchmark::State& state) {
               KvAppend(state, machine, kv, 512);
             });
    for (auto [tokens, past] : {std::pair{512, 0}, {512, 7680}, {1, 8191}})
      Register("attention/" + name + "/" + std::to_string(tokens) + "_after_" +
                   std::to_string(past),
               [&machine, &kv, tokens, past](benchmark::State& state) {
                 Attention(state, machine, kv, tokens, past);
               });
    // One block in eight, half of what dense attention does after 512 tokens.
    Register("block_sparse_attention/" + name + "/512_after_7680",
             [&machine, &kv](benchmark::State& state) {
               Attention(state, machine, kv, 512, 7680, {8});
             });
  }
  for (const KvFormat& kv : {kKvFormats[0], kKvFormats[1]})
    for (auto [warm, format] : {std::pair{kv.stored, "copy"},
                                {schema::KvElement::kInt8, "int8"},
                                {schema::KvElement::kInt4, "int4"}})
      for (bool unpack : {false, true})
        Register(std::string("page_codec/") + kv.name + "/" + format +
                     (unpack ? "/unpack" : "/pack"),
                 [&machine, kv, warm, unpack](benchmark::State& state) {
                   PageCodec(state, machine, kv, warm, unpack);
                 });
  for (int past : {64 << 10, 256 << 10, 1 << 20})
    for (int tokens : {512, 1})
      Register("select_blocks/" + std::to_string(tokens) + "_after_" +
                   std::to_string(past >> 10) + "K",
               [&machine, tokens, past](benchmark::State& state) {
                 SelectBlocks(state, machine, tokens, past - tokens);
               });
  for (int tokens : {512, 1})
    Register("kernelized_attention/f32/" + std::to_string(tokens),
             [&machine, tokens](benchmark::State& state) {
               Kernelized(state, machine, tokens);
             });
}

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  // What is left: [target [threads]].
  Machine machine;
  machine.target = Require(compiler::findTarget(argc > 1 ? argv[1] : "host"));
  const unsigned threads = argc > 2 ? std::max(1, std::atoi(argv[2]))
                                    : std::thread::hardware_concurrency();
  auto pool = ThreadPool::Create(threads);
  if (!pool.ok()) {
    llvm::errs() << pool.status().message() << "\n";
    return 1;
  }
  machine.pool = std::move(*pool);
  machine.limits = MeasureLimits(threads);
  llvm::outs() << "target " << machine.target.name << ", threads " << threads
               << ", limits: int8 " << int(machine.limits.int8_gops)
               << " GOP/s, bf16 " << int(machine.limits.bf16_gflops)
               << " GFLOP/s, f32 " << int(machine.limits.f32_gflops)
               << " GFLOP/s, read " << int(machine.limits.read_gbs)
               << " GB/s\n";
  RegisterAll(machine);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace stele::bench

int main(int argc, char** argv) { return stele::bench::Main(argc, argv); }
