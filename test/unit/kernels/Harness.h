// What the kernel tests share: an instance compiled, linked, mapped and run by
// several workers, on a ragged batch with shuffled pages.
#ifndef STELE_TEST_UNIT_KERNELS_HARNESS_H_
#define STELE_TEST_UNIT_KERNELS_HARNESS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "stele/compiler/Codegen/Host/HostCodegen.h"
#include "stele/runtime/device/host/elf_loader.h"
#include "stele/schema/host_abi.h"

namespace stele::test {

using compiler::KernelInstance;

// A kernel instance in this process.
class Kernel {
public:
  Kernel(const KernelInstance &instance, const std::string &target);
  ~Kernel();
  Kernel(const Kernel &) = delete;

  // Runs it by `workers` threads.
  void Run(const std::vector<void *> &bindings,
           const std::vector<int64_t> &immediates, const SteleBatch &batch,
           int workers) const;

  uint64_t scratch_bytes() const { return scratch_bytes_; }

private:
  std::unique_ptr<ElfImage> image_;
  SteleHostKernel entry_ = nullptr;
  uint64_t scratch_bytes_ = 0;
  uint64_t shared_bytes_per_token_ = 0;
};

// A batch and the memory behind it. Sequence s has `counts[s]` tokens in this
// step after `pasts[s]` in the cache. Pages are dealt in random order.
class Batch {
public:
  Batch(const std::vector<int> &counts, const std::vector<int> &pasts,
        int layers, int kv_heads, int block, uint32_t seed);

  const SteleBatch &view() const { return view_; }
  int tokens() const { return view_.tokens; }
  int pages() const { return pages_; }

  std::vector<int32_t> token_ids, positions, sequence, q_offsets, kv_lengths,
      logit_rows;

  // The same sequences and pages, other tokens of them: for chunked prefill.
  void SetTokens(const std::vector<int> &counts, const std::vector<int> &pasts);
  // Recomputes view() after a change of the vectors.
  void Refresh();

private:
  SteleBatch view_{};
  int pages_ = 0;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<const int32_t *> table_pointers_;
};

std::vector<float> Random(size_t count, uint32_t seed, float scale = 1.0f);
// Nearest bf16, as a float.
float RoundBf16(float x);
void RoundBf16(std::vector<float> &values);
// A packed weight, ready to bind.
std::vector<char> Pack(const std::string &layout, bool bf16,
                       const std::vector<float> &values, int64_t rows,
                       int64_t columns);

// Names of the embedded targets that this machine runs, oldest first.
std::vector<std::string> RunnableTargets();

} // namespace stele::test

#endif // STELE_TEST_UNIT_KERNELS_HARNESS_H_
