// The kernel tests' harness (Harness.h).
#include "Harness.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "stele/compiler/Codegen/Host/WeightLayout.h"
#include "stele/compiler/Targets/Targets.h"
#include "llvm/Support/raw_ostream.h"
#include "gmock/gmock.h"

namespace stele::test {
namespace {

void Require(llvm::Error error) {
  if (!error)
    return;
  llvm::errs() << llvm::toString(std::move(error)) << "\n";
  std::abort();
}

template <typename T> T Require(llvm::Expected<T> value) {
  if (!value)
    Require(value.takeError());
  return std::move(*value);
}

std::unique_ptr<ElfImage> load(const std::vector<char> &image) {
  Result<std::unique_ptr<ElfImage>> loaded = ElfImage::Load(
      {reinterpret_cast<const uint8_t *>(image.data()), image.size()});
  if (loaded.ok())
    return std::move(*loaded);
  llvm::errs() << loaded.status().message() << "\n";
  std::abort();
}

} // namespace

Kernel::Kernel(const KernelInstance &instance, const std::string &name) {
  compiler::Target target = Require(compiler::findTarget(name));
  auto codegen =
      Require(compiler::HostCodegen::create(target.isa, target.features));
  Require(codegen->add(instance));
  scratch_bytes_ = codegen->scratchBytes(instance);
  shared_bytes_per_token_ = codegen->sharedBytesPerToken(instance);
  image_ = load(Require(codegen->link()));
  entry_ = reinterpret_cast<SteleHostKernel>(image_->Find(instance.symbol()));
  if (!entry_)
    std::abort();
}

Kernel::~Kernel() = default;

void Kernel::Run(const std::vector<void *> &bindings,
                 const std::vector<int64_t> &immediates,
                 const SteleBatch &batch, int workers) const {
  uint32_t next_item = 0;
  SteleAttentionWork attention_work{};
  const size_t shared_bytes = shared_bytes_per_token_ * batch.tokens;
  std::unique_ptr<uint8_t, decltype(&std::free)> shared(
      static_cast<uint8_t *>(std::aligned_alloc(64, shared_bytes + 64)),
      std::free);
  std::memset(shared.get(), 0, shared_bytes + 64);
  auto work = [&](int worker) {
    // Never clean, and with a guard behind what was asked for.
    size_t bytes = (scratch_bytes_ + 63) / 64 * 64 + 4096;
    auto *scratch = static_cast<uint8_t *>(std::aligned_alloc(64, bytes));
    std::memset(scratch, 0xff, bytes);
    SteleHostArgs args{
        bindings.data(),       immediates.data(), &batch,     scratch,
        uint32_t(worker),      uint32_t(workers), &next_item, shared.get(),
        [] { sched_yield(); }, &attention_work};
    entry_(&args);
    EXPECT_TRUE(std::all_of(scratch + scratch_bytes_, scratch + bytes,
                            [](uint8_t byte) { return byte == 0xff; }))
        << "the kernel wrote behind its scratch";
    std::free(scratch);
  };
  std::vector<std::thread> threads;
  for (int worker = 1; worker < workers; ++worker)
    threads.emplace_back(work, worker);
  work(0);
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_TRUE(std::all_of(shared.get(), shared.get() + shared_bytes + 64,
                          [](uint8_t byte) { return byte == 0; }))
      << "the kernel did not leave its shared memory zero";
}

Batch::Batch(const std::vector<int> &counts, const std::vector<int> &pasts,
             int layers, int kv_heads, int block, uint32_t seed) {
  int longest = 1;
  for (size_t s = 0; s < counts.size(); ++s)
    longest = std::max(longest, counts[s] + pasts[s]);
  int blocks = (longest + block - 1) / block;
  int rows = layers * kv_heads;
  pages_ = static_cast<int>(counts.size()) * rows * blocks;
  std::vector<int32_t> order(pages_);
  for (int i = 0; i < pages_; ++i)
    order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(seed));
  for (size_t s = 0; s < counts.size(); ++s)
    tables_.emplace_back(order.begin() + s * rows * blocks,
                         order.begin() + (s + 1) * rows * blocks);
  for (auto &table : tables_)
    table_pointers_.push_back(table.data());
  view_.page_table_blocks = blocks;
  SetTokens(counts, pasts);
}

void Batch::SetTokens(const std::vector<int> &counts,
                      const std::vector<int> &pasts) {
  positions.clear();
  sequence.clear();
  kv_lengths.clear();
  logit_rows.clear();
  q_offsets = {0};
  for (size_t s = 0; s < counts.size(); ++s) {
    for (int i = 0; i < counts[s]; ++i) {
      positions.push_back(pasts[s] + i);
      sequence.push_back(static_cast<int32_t>(s));
    }
    q_offsets.push_back(static_cast<int32_t>(positions.size()));
    kv_lengths.push_back(pasts[s] + counts[s]);
    if (counts[s] > 0)
      logit_rows.push_back(q_offsets.back() - 1);
  }
  token_ids.assign(positions.size(), 0);
  Refresh();
}

void Batch::Refresh() {
  view_.tokens = static_cast<int32_t>(positions.size());
  view_.sequences = static_cast<int32_t>(kv_lengths.size());
  view_.logit_count = static_cast<int32_t>(logit_rows.size());
  view_.token_ids = token_ids.data();
  view_.positions = positions.data();
  view_.sequence = sequence.data();
  view_.q_offsets = q_offsets.data();
  view_.kv_lengths = kv_lengths.data();
  view_.logit_rows = logit_rows.data();
  view_.page_tables = table_pointers_.data();
}

std::vector<float> Random(size_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

float RoundBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
  std::memcpy(&x, &bits, 4);
  return x;
}

void RoundBf16(std::vector<float> &values) {
  for (float &value : values)
    value = RoundBf16(value);
}

std::vector<char> Pack(const std::string &layout, bool bf16,
                       const std::vector<float> &values, int64_t rows,
                       int64_t columns) {
  auto type = bf16 ? compiler::PackedType::BF16 : compiler::PackedType::F32;
  std::string bytes;
  llvm::raw_string_ostream stream(bytes);
  auto read = [&](int64_t begin, int64_t end, float *out) -> llvm::Error {
    std::copy(values.begin() + begin * columns, values.begin() + end * columns,
              out);
    return llvm::Error::success();
  };
  Require(compiler::packWeight(layout, type, rows, columns, read, stream));
  uint64_t expected =
      Require(compiler::packedBytes(layout, type, rows, columns));
  if (bytes.size() != expected)
    std::abort();
  return {bytes.begin(), bytes.end()};
}

std::vector<std::string> RunnableTargets() {
  std::vector<std::string> names;
  std::string newest = Require(compiler::findTarget("host")).name;
  for (llvm::StringRef name : compiler::targetNames()) {
    names.push_back(name.str());
    if (name == newest)
      break;
  }
  return names;
}

} // namespace stele::test
