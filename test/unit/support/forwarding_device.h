// A device that does all by another one, for tests that change one thing of it.
#ifndef STELE_TEST_UNIT_SUPPORT_FORWARDING_DEVICE_H_
#define STELE_TEST_UNIT_SUPPORT_FORWARDING_DEVICE_H_

#include <memory>
#include <utility>

#include "stele/runtime/device/device.h"

namespace stele::test {

class ForwardingDevice : public Device {
public:
  explicit ForwardingDevice(std::unique_ptr<Device> device)
      : device_(std::move(device)) {}
  std::string_view name() const override { return device_->name(); }
  Status Supports(const plan::Target &target) const override {
    return device_->Supports(target);
  }
  uint64_t ScratchTotal(uint64_t bytes) const override {
    return device_->ScratchTotal(bytes);
  }
  Result<DeviceMemory> Allocate(uint64_t bytes,
                                std::string_view what) override {
    return device_->Allocate(bytes, what);
  }
  Result<DeviceMemory> AllocateHost(uint64_t bytes,
                                    std::string_view what) override {
    return device_->AllocateHost(bytes, what);
  }
  Result<const std::byte *>
  MapWeights(std::span<const uint8_t> bytes) override {
    return device_->MapWeights(bytes);
  }
  Result<std::unique_ptr<LoadedCode>>
  LoadCode(const plan::Executable &executable,
           std::span<const uint8_t> bytes) override {
    return device_->LoadCode(executable, bytes);
  }
  Result<std::unique_ptr<Program>> Prepare(ProgramSpec spec) override {
    return device_->Prepare(std::move(spec));
  }
  Result<PageTransform> Transform(const LoadedCode &code,
                                  uint32_t entry) override {
    return device_->Transform(code, entry);
  }
  Status Zero(std::byte *destination, uint64_t bytes) override {
    return device_->Zero(destination, bytes);
  }
  Status CopyFromHost(std::byte *destination,
                      std::span<const std::byte> source) override {
    return device_->CopyFromHost(destination, source);
  }
  Status CopyToHost(std::span<std::byte> destination,
                    const std::byte *source) override {
    return device_->CopyToHost(destination, source);
  }

private:
  std::unique_ptr<Device> device_;
};

} // namespace stele::test

#endif // STELE_TEST_UNIT_SUPPORT_FORWARDING_DEVICE_H_
