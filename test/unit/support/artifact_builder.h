// Builds artifacts in memory, right ones and wrong ones, without the compiler.
#ifndef STELE_TEST_UNIT_SUPPORT_ARTIFACT_BUILDER_H_
#define STELE_TEST_UNIT_SUPPORT_ARTIFACT_BUILDER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "stele/runtime/device/host/host_device.h"
#include "stele/runtime/engine/model.h"
#include "stele/schema/artifact_header.h"
#include "stele/schema/plan_generated.h"

namespace stele::test {

// Bytes aligned as a mapped file's.
class AlignedBytes {
public:
  AlignedBytes() = default;
  explicit AlignedBytes(size_t size);
  explicit AlignedBytes(std::span<const uint8_t> bytes);
  explicit AlignedBytes(const AlignedBytes &other)
      : AlignedBytes(std::span<const uint8_t>(other)) {}
  AlignedBytes(AlignedBytes &&) = default;
  uint8_t *data() const { return data_.get(); }
  size_t size() const { return size_; }
  operator std::span<const uint8_t>() const { return {data_.get(), size_}; }
  uint8_t &operator[](size_t i) const { return data_.get()[i]; }

private:
  struct Free {
    void operator()(uint8_t *p) const { free(p); }
  };
  std::unique_ptr<uint8_t[], Free> data_;
  size_t size_ = 0;
};

// A plan and the bytes of its segments (empty for synthetic ones). Change
// `plan` as you like, then Build.
struct ArtifactBuilder {
  plan::PlanT plan;
  std::vector<std::vector<uint8_t>> segments; // one per plan.segments

  // The toy model of test_kernels.h: functions "decode" (4 tokens) and
  // "prefill" (8 tokens, 4 sequences).
  static ArtifactBuilder Toy();
  // The one with states; its pages are those of a step.
  static ArtifactBuilder ToyWithStates();
  // The one that attends to chosen blocks. With paging, in cells of 8 tokens
  // and a window of as many, blocks that fell out are copied back into staging
  // slots, each layer's its own; layer 1's move while layer 0 computes.
  static ArtifactBuilder ToySparse(bool paging);
  // The one with a key index.
  static ArtifactBuilder ToyWithKeyIndex();
  // Gives the toy's cache Paging, in cells of 8 tokens whose pages are copied;
  // a schedule that moves them is yet to come.
  void AddPaging();

  // Lays the segments out, sets their offsets, lengths and checksums, and
  // writes header and FlatBuffer.
  AlignedBytes Build();
  // Build into a file of the test's temporary folder; returns its path.
  std::string Write(const std::string &name);
};

// Sets the header's sizes and digest to what the bytes are: what somebody
// who edits an artifact does.
void Reseal(std::span<uint8_t> artifact);

// `artifact` with another plan, behind the same segments; empty when it is
// longer than the room in front of them.
AlignedBytes WithPlan(const AlignedBytes &artifact,
                      std::span<const uint8_t> flatbuffer);

schema::ArtifactHeader HeaderOf(std::span<const uint8_t> artifact);

// A host device whose code is this program's own copy of the toy kernels, so
// that sanitizers see what they do.
Result<std::unique_ptr<Device>> ToyDevice(uint32_t threads);

// A toy model on such a device.
std::shared_ptr<Model> LoadToy(ArtifactBuilder builder, uint32_t threads);
std::shared_ptr<Model> ToyModel(uint32_t threads);
std::shared_ptr<Model> ToyModelWithStates(uint32_t threads);
std::shared_ptr<Model> ToySparseModel(uint32_t threads, bool paging);
std::shared_ptr<Model> ToyModelWithKeyIndex(uint32_t threads);

} // namespace stele::test

#endif // STELE_TEST_UNIT_SUPPORT_ARTIFACT_BUILDER_H_
