// A verified artifact, loaded onto a device: what all engines of a model share.
//
// Place on the road: Artifact -> Model (weights at device addresses, code
// loaded, target chosen) -> Engine (arena, pages, programs) -> Session.
#ifndef STELE_RUNTIME_ENGINE_MODEL_H_
#define STELE_RUNTIME_ENGINE_MODEL_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/device/device.h"
#include "stele/runtime/plan/artifact.h"

namespace stele {

// Immutable after Load, but for the device, which engines use one at a time:
// they hold device_mutex() while they do.
class Model {
 public:
  static Result<std::shared_ptr<Model>> Load(
      std::shared_ptr<const Artifact> artifact, std::unique_ptr<Device> device);

  const Artifact& artifact() const { return *artifact_; }
  const plan::ModelInfo& info() const { return *artifact_->plan().model(); }
  Device& device() const { return *device_; }
  std::mutex& device_mutex() const { return device_mutex_; }

  const plan::Target& target() const {
    return *artifact_->plan().targets()->Get(target_);
  }
  // The functions of the chosen target, ascending by max_tokens.
  const std::vector<const plan::Function*>& functions() const {
    return functions_;
  }
  // The cache that they use; none for a plan without attention.
  const plan::KvCache* cache() const { return cache_; }
  // Whether older pages of it leave device memory.
  bool IsPaged() const { return cache_ && cache_->paging(); }
  // How they choose blocks of keys; null where they attend to all.
  const plan::BlockSparsity* sparsity() const;
  // The states of kernelized attention that they keep; null without it.
  const plan::KvCache* states() const { return states_; }
  // Addresses that a launch binds.
  const std::byte* tensor(uint32_t index) const { return tensors_[index]; }
  const LoadedCode* code(uint32_t executable) const {
    return code_[executable].get();
  }
  // The tokenizer segment; empty when the artifact has none.
  std::span<const uint8_t> tokenizer() const { return tokenizer_; }

  // Weights in the file, and weights made up at load time.
  uint64_t mapped_weight_bytes() const { return mapped_weight_bytes_; }
  uint64_t synthetic_weight_bytes() const { return synthetic_weight_bytes_; }

 private:
  Model(std::shared_ptr<const Artifact> artifact,
        std::unique_ptr<Device> device)
      : artifact_(std::move(artifact)), device_(std::move(device)) {}

  Status ChooseTarget();
  Status FindCaches();
  Status LoadWeights();
  Result<const std::byte*> LoadSegment(uint32_t index);
  Result<const std::byte*> MakeSynthetic(uint32_t index);
  Status LoadCode();

  std::shared_ptr<const Artifact> artifact_;
  // Before what lives in its memory, so that it is destroyed after it.
  std::unique_ptr<Device> device_;
  mutable std::mutex device_mutex_;
  uint16_t target_ = 0;
  std::vector<const plan::Function*> functions_;
  const plan::KvCache* cache_ = nullptr;
  const plan::KvCache* states_ = nullptr;
  std::vector<const std::byte*> tensors_;          // by plan index
  std::vector<std::unique_ptr<LoadedCode>> code_;  // by plan index
  std::vector<DeviceMemory> synthetic_;
  std::span<const uint8_t> tokenizer_;
  uint64_t mapped_weight_bytes_ = 0;
  uint64_t synthetic_weight_bytes_ = 0;
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_MODEL_H_
