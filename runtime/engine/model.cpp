// Loading a model onto a device; see model.h.
#include "stele/runtime/engine/model.h"

#include <algorithm>
#include <string>
#include <utility>

#include "stele/runtime/base/format.h"
#include "stele/runtime/base/memory.h"
#include "stele/runtime/engine/synthetic.h"

namespace stele {

Result<std::shared_ptr<Model>> Model::Load(
    std::shared_ptr<const Artifact> artifact, std::unique_ptr<Device> device) {
  std::shared_ptr<Model> model(
      new Model(std::move(artifact), std::move(device)));
  const auto in_file = [&](Status status) {
    if (status.ok()) return status;
    return Status(status.code(),
                  "'" + model->artifact_->path() + "': " + status.message());
  };
  STELE_RETURN_IF_ERROR(in_file(model->ChooseTarget()));
  STELE_RETURN_IF_ERROR(in_file(model->FindCaches()));
  STELE_RETURN_IF_ERROR(in_file(model->LoadWeights()));
  STELE_RETURN_IF_ERROR(in_file(model->LoadCode()));
  return model;
}

// The last target that the device supports and that has functions: compilers
// list targets from the most portable to the most specific.
Status Model::ChooseTarget() {
  const plan::Plan& plan = artifact_->plan();
  std::string refused;
  for (uint32_t t = plan.targets()->size(); t-- > 0;) {
    Status status = device_->Supports(*plan.targets()->Get(t));
    if (!status.ok()) {
      refused += (refused.empty() ? "" : "; ") + status.message();
      continue;
    }
    for (const plan::Function* function : *plan.functions())
      if (function->target() == t) functions_.push_back(function);
    if (functions_.empty()) continue;
    target_ = static_cast<uint16_t>(t);
    std::sort(functions_.begin(), functions_.end(),
              [](const auto* a, const auto* b) {
                return a->max_tokens() < b->max_tokens();
              });
    return OkStatus();
  }
  return Unsupported("no target of this artifact runs on device " +
                     std::string(device_->name()) + ": " + refused +
                     "; compile with --target host on this machine");
}

Status Model::FindCaches() {
  for (const plan::KvCache* cache : *artifact_->plan().kv_caches()) {
    if (cache->target() != target_) continue;
    const plan::KvCache*& found = cache->features() ? states_ : cache_;
    if (found)
      return Unsupported(
          "the plan has two KV caches of a kind, this runtime keeps one; "
          "update stele");
    found = cache;
  }
  return OkStatus();
}

const plan::BlockSparsity* Model::sparsity() const {
  const auto& executables = *artifact_->plan().executables();
  for (const plan::Op* op : *functions_.back()->ops())
    if (const auto* launch = op->body_as_Launch()) {
      const auto& entries = *executables[launch->executable()]->entries();
      if (const auto* sparsity = entries[launch->entry()]->sparsity())
        return sparsity;
    }
  return nullptr;
}

Status Model::LoadWeights() {
  const plan::Plan& plan = artifact_->plan();
  std::vector<const std::byte*> segments(plan.segments()->size(), nullptr);
  for (uint32_t i = 0; i < segments.size(); ++i) {
    const plan::Segment& segment = *plan.segments()->Get(i);
    const auto& targets = *segment.targets();
    if (segment.kind() == plan::SegmentKind::Tokenizer)
      tokenizer_ = artifact_->segment(i);
    if (segment.kind() != plan::SegmentKind::Weights ||
        std::find(targets.begin(), targets.end(), target_) == targets.end())
      continue;
    STELE_ASSIGN_OR_RETURN(segments[i], LoadSegment(i));
  }
  for (const plan::Tensor* tensor : *plan.tensors()) {
    const std::byte* base = segments[tensor->segment()];
    tensors_.push_back(base ? base + tensor->offset() : nullptr);
  }
  return OkStatus();
}

Result<const std::byte*> Model::LoadSegment(uint32_t index) {
  const plan::Segment& segment = *artifact_->plan().segments()->Get(index);
  if (segment.storage() == plan::Storage::Synthetic)
    return MakeSynthetic(index);
  mapped_weight_bytes_ += segment.length();
  return device_->MapWeights(artifact_->segment(index));
}

Result<const std::byte*> Model::MakeSynthetic(uint32_t index) {
  const plan::Segment& segment = *artifact_->plan().segments()->Get(index);
  const uint64_t available = AvailableMemory();
  if (available != 0 && segment.length() > available)
    return ResourceExhausted("synthetic weights need " +
                             FormatBytes(segment.length()) +
                             ", the machine has " + FormatBytes(available));
  STELE_ASSIGN_OR_RETURN(
      DeviceMemory memory,
      device_->Allocate(segment.length(), "synthetic weights"));
  std::vector<std::byte> piece(1 << 20);
  for (const plan::Tensor* tensor : *artifact_->plan().tensors()) {
    if (tensor->segment() != index) continue;
    SyntheticValues values(*tensor, segment.seed());
    for (uint64_t at = 0; at < tensor->length(); at += piece.size()) {
      const auto next = std::span(piece).first(
          std::min<uint64_t>(piece.size(), tensor->length() - at));
      values.Fill(next);
      STELE_RETURN_IF_ERROR(
          device_->CopyFromHost(memory.data() + tensor->offset() + at, next));
    }
  }
  synthetic_weight_bytes_ += segment.length();
  synthetic_.push_back(std::move(memory));
  return static_cast<const std::byte*>(synthetic_.back().data());
}

Status Model::LoadCode() {
  const plan::Plan& plan = artifact_->plan();
  code_.resize(plan.executables()->size());
  for (uint32_t i = 0; i < code_.size(); ++i) {
    const plan::Executable& executable = *plan.executables()->Get(i);
    if (executable.target() != target_) continue;
    STELE_ASSIGN_OR_RETURN(
        code_[i], device_->LoadCode(executable,
                                    artifact_->segment(executable.segment())));
  }
  return OkStatus();
}

}  // namespace stele
