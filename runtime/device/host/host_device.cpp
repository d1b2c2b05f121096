// Host memory and host code; see host_device.h.
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
#include "stele/runtime/device/host/host_program.h"

namespace stele {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = 2 << 20;
constexpr uint64_t kCacheLine = 64;

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

uint32_t UsableCpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<uint32_t>(std::max(1, CPU_COUNT(&set)));
}

// Workers touch their own cache lines only.
uint64_t ScratchStride(uint64_t scratch_bytes) {
  return RoundUp(scratch_bytes, kCacheLine);
}

// The pool computes, the transfer thread moves.
Status CheckStreams(const ProgramSpec& spec) {
  for (const Step& step : spec.steps)
    if (const auto* launch = std::get_if<LaunchStep>(&step);
        launch && launch->stream != 0)
      return Unsupported("function " + Printable(spec.name) + " launches " +
                         Printable(launch->label) + " on stream " +
                         std::to_string(launch->stream) +
                         " beside paging steps; the host launches on stream 0");
  return OkStatus();
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
  TransferThread* transfer = nullptr;
  if (HasPagingSteps(spec)) {
    STELE_RETURN_IF_ERROR(CheckStreams(spec));
    STELE_ASSIGN_OR_RETURN(transfer, StartedTransfer());
  }
  HostMemory memory;
  memory.scratch_stride = ScratchStride(spec.scratch_bytes);
  STELE_ASSIGN_OR_RETURN(
      memory.scratch,
      Allocate(ScratchTotal(spec.scratch_bytes), "scratch of " + spec.name));
  STELE_ASSIGN_OR_RETURN(
      memory.shared,
      Allocate(spec.shared_bytes, "shared memory of " + spec.name));
  std::memset(memory.shared.data(), 0, spec.shared_bytes);
  return std::unique_ptr<Program>(std::make_unique<HostProgram>(
      pool_.get(), transfer, std::move(spec), std::move(memory)));
}

Result<TransferThread*> HostDevice::StartedTransfer() {
  if (!transfer_) {
    STELE_ASSIGN_OR_RETURN(transfer_, TransferThread::Create());
  }
  return transfer_.get();
}

Result<PageTransform> HostDevice::Transform(const LoadedCode& code,
                                            uint32_t entry) {
  const SteleHostKernel kernel =
      static_cast<const HostCode&>(code).kernel(entry);
  return PageTransform([kernel](const std::byte* from, std::byte* to) {
    void* const bindings[] = {const_cast<std::byte*>(from), to};
    const SteleBatch batch{};
    uint32_t next_item = 0;
    SteleAttentionWork work{};
    SteleHostArgs args{};
    args.bindings = bindings;
    args.batch = &batch;
    args.workers = 1;
    args.next_item = &next_item;
    args.yield = [] { sched_yield(); };
    args.work = &work;
    kernel(&args);
  });
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
