// Host memory, host code and the loop that runs a program; see host_device.h.
#include "stele/runtime/device/host/host_device.h"

#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/device/host/cpu_features.h"
#include "stele/runtime/device/host/elf_loader.h"

namespace stele {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = 2 << 20;
constexpr uint64_t kCacheLine = 64;

uint64_t RoundUp(uint64_t n, uint64_t unit) {
  return (n + unit - 1) / unit * unit;
}

class ElfCode : public HostCode {
 public:
  static Result<std::unique_ptr<LoadedCode>> Load(
      const plan::Executable& executable, std::span<const uint8_t> bytes) {
    auto code = std::make_unique<ElfCode>();
    STELE_ASSIGN_OR_RETURN(code->image_, ElfImage::Load(bytes));
    for (const plan::Entry* entry : *executable.entries()) {
      void* address = code->image_->Find(entry->symbol()->string_view());
      if (!address)
        return DataLoss("ELF image: no function named \"" +
                        Printable(entry->symbol()->string_view()) + "\"");
      code->kernels_.push_back(reinterpret_cast<SteleHostKernel>(address));
    }
    return std::unique_ptr<LoadedCode>(std::move(code));
  }

 private:
  std::unique_ptr<ElfImage> image_;
};

// The steps of a function on the thread pool. A function's ops are stored in
// an order that respects its events, so running them one after the other
// needs no streams, signals or waits.
class HostProgram : public Program {
 public:
  // `shared` is all zero, as kernels expect it and leave it.
  HostProgram(ThreadPool* pool, ProgramSpec spec, DeviceMemory scratch,
              uint64_t scratch_stride, DeviceMemory shared)
      : pool_(pool),
        spec_(std::move(spec)),
        scratch_(std::move(scratch)),
        scratch_stride_(scratch_stride),
        shared_(std::move(shared)),
        counters_(spec_.steps.size()) {
    for (const Step& step : spec_.steps) {
      const auto* launch = std::get_if<LaunchStep>(&step);
      kernels_.push_back(launch ? static_cast<const HostCode*>(launch->code)
                                      ->kernel(launch->entry)
                                : nullptr);
    }
  }

  Status Run(const SteleBatch& batch) override {
    batch_ = &batch;
    for (Counter& counter : counters_) counter.next_item = 0;
    pool_->Run(
        [](void* program, uint32_t worker) {
          static_cast<HostProgram*>(program)->RunWorker(worker);
        },
        this);
    return OkStatus();
  }

  SteleAttentionWork work() const override { return work_; }

 private:
  struct alignas(kCacheLine) Counter {
    uint32_t next_item;
  };

  void RunWorker(uint32_t worker) {
    for (size_t i = 0; i < spec_.steps.size(); ++i) {
      if (kernels_[i]) {
        RunLaunch(i, worker);
      } else if (const auto* copy = std::get_if<CopyStep>(&spec_.steps[i])) {
        if (worker == 0)
          std::memcpy(copy->destination, copy->source, copy->bytes);
      } else {
        continue;
      }
      if (i + 1 < spec_.steps.size()) pool_->Barrier();
    }
  }

  void RunLaunch(size_t index, uint32_t worker) {
    const auto& launch = std::get<LaunchStep>(spec_.steps[index]);
    SteleHostArgs args;
    args.bindings = launch.bindings.data();
    args.immediates = launch.immediates.data();
    args.batch = batch_;
    args.scratch = scratch_.data() + worker * scratch_stride_;
    args.worker = worker;
    args.workers = pool_->workers();
    args.next_item = &counters_[index].next_item;
    args.shared = shared_.data();
    args.yield = [] { sched_yield(); };
    args.work = &work_;
    kernels_[index](&args);
  }

  ThreadPool* pool_;
  ProgramSpec spec_;
  DeviceMemory scratch_;
  uint64_t scratch_stride_;
  DeviceMemory shared_;
  std::vector<Counter> counters_;         // one per step
  std::vector<SteleHostKernel> kernels_;  // null where a step is no launch
  const SteleBatch* batch_ = nullptr;
  SteleAttentionWork work_{};
};

uint32_t UsableCpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<uint32_t>(std::max(1, CPU_COUNT(&set)));
}

// Workers touch their own cache lines only.
uint64_t ScratchStride(uint64_t scratch_bytes) {
  return RoundUp(scratch_bytes, kCacheLine);
}

}  // namespace

Result<std::unique_ptr<HostDevice>> HostDevice::Create(uint32_t threads) {
  constexpr uint32_t kMaxThreads = 1024;
  if (threads > kMaxThreads)
    return InvalidArgument("--threads " + std::to_string(threads) +
                           " is beyond 1024");
  STELE_ASSIGN_OR_RETURN(auto pool,
                         ThreadPool::Create(threads ? threads : UsableCpus()));
  return std::unique_ptr<HostDevice>(new HostDevice(std::move(pool)));
}

Status HostDevice::Supports(const plan::Target& target) const {
  const std::string name = Printable(target.name()->string_view());
  std::string missing;
  const auto need = [&](std::string_view feature) {
    if (!CpuHas(feature)) missing += " " + Printable(feature);
  };
  need(target.isa()->string_view());
  for (const auto* feature : *target.features()) need(feature->string_view());
  if (missing.empty()) return OkStatus();
  return Unsupported("target " + name + " needs" + missing +
                     ", which this CPU does not have");
}

uint64_t HostDevice::ScratchTotal(uint64_t scratch_bytes) const {
  return ScratchStride(scratch_bytes) * threads();
}

Result<DeviceMemory> HostDevice::Allocate(uint64_t bytes,
                                          std::string_view what) {
  const uint64_t alignment = bytes >= kHugePage ? kHugePage : kPage;
  if (bytes > UINT64_MAX - alignment)
    return ResourceExhausted("cannot allocate " + FormatBytes(bytes) + " for " +
                             std::string(what));
  const uint64_t rounded = RoundUp(std::max<uint64_t>(bytes, 1), kPage);
  void* data = nullptr;
  if (posix_memalign(&data, alignment, rounded) != 0)
    return ResourceExhausted("cannot allocate " + FormatBytes(bytes) + " for " +
                             std::string(what));
  // Only a hint: fewer TLB misses where the system grants it.
  if (bytes >= kHugePage) madvise(data, rounded, MADV_HUGEPAGE);
  return DeviceMemory(data, bytes, [](void* p) { std::free(p); });
}

Result<const std::byte*> HostDevice::MapWeights(
    std::span<const uint8_t> bytes) {
  return reinterpret_cast<const std::byte*>(bytes.data());
}

Result<std::unique_ptr<LoadedCode>> HostDevice::LoadCode(
    const plan::Executable& executable, std::span<const uint8_t> bytes) {
  if (executable.format() != plan::CodeFormat::Elf)
    return Unsupported("executable \"" +
                       Printable(executable.name()->string_view()) + "\" is " +
                       plan::EnumNameCodeFormat(executable.format()) +
                       ", the host runs Elf");
  return ElfCode::Load(executable, bytes);
}

Result<std::unique_ptr<Program>> HostDevice::Prepare(ProgramSpec spec) {
  STELE_ASSIGN_OR_RETURN(
      DeviceMemory scratch,
      Allocate(ScratchTotal(spec.scratch_bytes), "scratch of " + spec.name));
  const uint64_t stride = ScratchStride(spec.scratch_bytes);
  STELE_ASSIGN_OR_RETURN(
      DeviceMemory shared,
      Allocate(spec.shared_bytes, "shared memory of " + spec.name));
  std::memset(shared.data(), 0, spec.shared_bytes);
  return std::unique_ptr<Program>(std::make_unique<HostProgram>(
      pool_.get(), std::move(spec), std::move(scratch), stride,
      std::move(shared)));
}

Status HostDevice::Zero(std::byte* destination, uint64_t bytes) {
  std::memset(destination, 0, bytes);
  return OkStatus();
}

Status HostDevice::CopyFromHost(std::byte* destination,
                                std::span<const std::byte> source) {
  std::ranges::copy(source, destination);
  return OkStatus();
}

Status HostDevice::CopyToHost(std::span<std::byte> destination,
                              const std::byte* source) {
  std::copy_n(source, destination.size(), destination.data());
  return OkStatus();
}

}  // namespace stele
