// Flips bits of an artifact's header and FlatBuffer, one at a time, recomputes
// sizes and digest as somebody who edits an artifact would, and opens and runs
// the result: each must be refused or run without a memory error.
//
//     flip_artifact ARTIFACT [STRIDE [FIRST]]
//
// Kernels are machine code that no sanitizer sees, so each allocation that they
// get ends at a page that cannot be touched. Flips are made in children, so
// that one that crashes or hangs is counted, named and passed by.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "artifact_builder.h"
#include "open_and_run.h"

namespace stele::test {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kBitsOfAChild = 4096;
constexpr unsigned kSecondsOfABit = 20;

uint64_t RoundUp(uint64_t n, uint64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// The host, with a page behind every allocation that faults when touched, and
// with copies of the weights in such allocations.
class FencedDevice : public HostDevice {
public:
  static std::unique_ptr<Device> Create() {
    auto pool = ThreadPool::Create(1);
    if (!pool.ok())
      std::abort();
    return std::unique_ptr<Device>(new FencedDevice(*std::move(pool)));
  }

  Result<DeviceMemory> Allocate(uint64_t bytes, std::string_view) override {
    const uint64_t used = RoundUp(std::max<uint64_t>(bytes, 1), 64);
    const uint64_t pages = RoundUp(used, kPage);
    void *const begin = mmap(nullptr, pages + kPage, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (begin == MAP_FAILED)
      return ResourceExhausted("no memory");
    auto *const fence = static_cast<std::byte *>(begin) + pages;
    mprotect(fence, kPage, PROT_NONE);
    return DeviceMemory(fence - used, bytes, [begin, pages](void *) {
      munmap(begin, pages + kPage);
    });
  }

  Result<const std::byte *>
  MapWeights(std::span<const uint8_t> bytes) override {
    STELE_ASSIGN_OR_RETURN(DeviceMemory copy, Allocate(bytes.size(), ""));
    std::memcpy(copy.data(), bytes.data(), bytes.size());
    weights_.push_back(std::move(copy));
    return weights_.back().data();
  }

private:
  using HostDevice::HostDevice;
  std::vector<DeviceMemory> weights_;
};

// What the children write and the parent reads.
struct Progress {
  uint64_t next; // bit
  uint64_t ran, refused;
};

class Flipper {
public:
  Flipper(std::span<const uint8_t> good, uint64_t stride)
      : good_(good), bytes_(good), stride_(stride),
        end_(8 *
             (sizeof(schema::ArtifactHeader) + HeaderOf(good).flatbuffer_size)),
        progress_(static_cast<Progress *>(
            mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}

  // Returns how many flips ended their process.
  uint64_t Run(uint64_t first) {
    uint64_t crashes = 0;
    progress_->next = first;
    while (progress_->next < end_) {
      const pid_t child = fork();
      if (child == 0) {
        FlipSome();
        std::exit(0); // with the check for leaks
      }
      int status = 0;
      waitpid(child, &status, 0);
      if (status == 0)
        continue;
      ++crashes;
      std::printf("bit %llu of byte %llu: status 0x%x\n",
                  static_cast<unsigned long long>(progress_->next % 8),
                  static_cast<unsigned long long>(progress_->next / 8),
                  static_cast<unsigned>(status));
      progress_->next += stride_;
    }
    std::printf("%llu bits of %llu flipped and resealed: %llu refused, %llu "
                "ran, %llu ended the process\n",
                static_cast<unsigned long long>(progress_->ran) +
                    progress_->refused + crashes,
                static_cast<unsigned long long>(end_),
                static_cast<unsigned long long>(progress_->refused),
                static_cast<unsigned long long>(progress_->ran),
                static_cast<unsigned long long>(crashes));
    return crashes;
  }

private:
  void FlipSome() {
    for (uint64_t i = 0; i < kBitsOfAChild && progress_->next < end_; ++i) {
      alarm(kSecondsOfABit);
      const uint64_t bit = progress_->next;
      bytes_[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      Reseal({bytes_.data(), bytes_.size()});
      ++(OpenAndRun(bytes_, FencedDevice::Create()) ? progress_->ran
                                                    : progress_->refused);
      std::memcpy(bytes_.data(), good_.data(), end_ / 8);
      progress_->next += stride_;
    }
  }

  std::span<const uint8_t> good_;
  AlignedBytes bytes_;
  const uint64_t stride_;
  const uint64_t end_;
  Progress *const progress_;
};

int Main(int argc, char **argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: flip_artifact ARTIFACT [STRIDE [FIRST]]\n");
    return 2;
  }
  const uint64_t stride = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const uint64_t first = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<char> content(std::istreambuf_iterator<char>(file), {});
  const AlignedBytes good(std::span(
      reinterpret_cast<const uint8_t *>(content.data()), content.size()));
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (!OpenAndRun(good, FencedDevice::Create())) {
    std::printf("%s does not run as it is\n", argv[1]);
    return 1;
  }
  return Flipper(good, std::max<uint64_t>(stride, 1)).Run(first) == 0 ? 0 : 1;
}

} // namespace
} // namespace stele::test

int main(int argc, char **argv) { return stele::test::Main(argc, argv); }
