// The host as a device: kernels from an ELF image on a thread pool, weights
// where they are mapped.
#ifndef STELE_RUNTIME_DEVICE_HOST_HOST_DEVICE_H_
#define STELE_RUNTIME_DEVICE_HOST_HOST_DEVICE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "stele/runtime/device/device.h"
#include "stele/runtime/device/host/thread_pool.h"
#include "stele/runtime/device/host/transfer_thread.h"

namespace stele {

// Code of the host: one function per entry of the plan's Executable.
class HostCode : public LoadedCode {
 public:
  SteleHostKernel kernel(uint32_t entry) const { return kernels_[entry]; }

 protected:
  std::vector<SteleHostKernel> kernels_;
};

class HostDevice : public Device {
 public:
  // `threads` 0: one per CPU that the process may use.
  static Result<std::unique_ptr<HostDevice>> Create(uint32_t threads);

  uint32_t threads() const { return pool_->workers(); }

  std::string_view name() const override { return "host"; }
  Status Supports(const plan::Target& target) const override;
  uint64_t ScratchTotal(uint64_t scratch_bytes) const override;
  Result<DeviceMemory> Allocate(uint64_t bytes, std::string_view what) override;
  Result<DeviceMemory> AllocateHost(uint64_t bytes,
                                    std::string_view what) override {
    return Allocate(bytes, what);
  }
  Result<const std::byte*> MapWeights(std::span<const uint8_t> bytes) override;
  Result<std::unique_ptr<LoadedCode>> LoadCode(
      const plan::Executable& executable,
      std::span<const uint8_t> bytes) override;
  Result<std::unique_ptr<Program>> Prepare(ProgramSpec spec) override;
  Result<PageTransform> Transform(const LoadedCode& code,
                                  uint32_t entry) override;
  Status Zero(std::byte* destination, uint64_t bytes) override;
  Status CopyFromHost(std::byte* destination,
                      std::span<const std::byte> source) override;
  Status CopyToHost(std::span<std::byte> destination,
                    const std::byte* source) override;

 protected:
  explicit HostDevice(std::unique_ptr<ThreadPool> pool)
      : pool_(std::move(pool)) {}

 private:
  Result<TransferThread*> StartedTransfer();

  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<TransferThread> transfer_;  // null until a program needs it
};

}  // namespace stele

#endif  // STELE_RUNTIME_DEVICE_HOST_HOST_DEVICE_H_
