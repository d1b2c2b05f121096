// Robustness cases 50 to 53: an artifact cut at every byte, every bit of its
// header and FlatBuffer flipped, both also with sizes and digest recomputed.
// Each must be refused, or run without a memory error (under the asan preset,
// with the toy kernels compiled into this program, so that it is seen).
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>

#include "artifact_builder.h"
#include "open_and_run.h"
#include "stele/runtime/base/file.h"
#include "stele/runtime/plan/artifact.h"

namespace stele::test {
namespace {

size_t PlanEnd(std::span<const uint8_t> bytes) {
  return sizeof(schema::ArtifactHeader) + HeaderOf(bytes).flatbuffer_size;
}

TEST(Damage, TheToyItselfRuns) {
  EXPECT_TRUE(OpenAndRun(ArtifactBuilder::Toy().Build()));
}

// What fuzz_artifact starts from: plans that pass every check. They name the
// bytes of the toy's code as a plain build makes it: sanitizers change its
// length.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
TEST(Damage, SeedsOfTheFuzzTargetAreRight) {
  const AlignedBytes toy = ArtifactBuilder::Toy().Build();
  size_t seeds = 0;
  for (const auto &entry : std::filesystem::directory_iterator(
           STELE_SOURCE_DIR "/test/fuzz/corpus/artifact")) {
    const std::string name = entry.path().filename();
    if (name == "stub") // makes the target start from the toy as it is now
      continue;
    auto plan = ReadFile(entry.path(), 1 << 20);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    const AlignedBytes bytes = WithPlan(
        toy, {reinterpret_cast<const uint8_t *>(plan->data()), plan->size()});
    ASSERT_GT(bytes.size(), 0u) << name;
    const Status status = Artifact::FromBytes(bytes, name).status();
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(OpenAndRun(bytes)) << name;
    ++seeds;
  }
  EXPECT_GE(seeds, 6u);
}
#endif

TEST(Damage, CutAtEveryByte) {
  const AlignedBytes good = ArtifactBuilder::Toy().Build();
  for (size_t size = 0; size < good.size(); ++size) {
    // A copy of exactly this size, so that a read behind it is seen.
    AlignedBytes cut(std::span<const uint8_t>(good).first(size));
    EXPECT_FALSE(OpenAndRun(cut)) << "cut at " << size;
    Reseal({cut.data(), cut.size()});
    EXPECT_FALSE(OpenAndRun(cut)) << "cut at " << size << ", resealed";
  }
  std::printf("%zu cuts, each also resealed\n", good.size());
}

TEST(Damage, EveryBitOfHeaderAndPlanFlipped) {
  AlignedBytes bytes = ArtifactBuilder::Toy().Build();
  const size_t end = PlanEnd(bytes);
  for (size_t bit = 0; bit < 8 * end; ++bit) {
    bytes[bit / 8] ^= 1 << bit % 8;
    auto artifact = Artifact::FromBytes(bytes, "toy.stele");
    // A format that is older by a bit is read as the same.
    EXPECT_TRUE(!artifact.ok() ||
                (*artifact)->format_minor() < schema::kFormatMinor)
        << "bit " << bit % 8 << " of byte " << bit / 8;
    bytes[bit / 8] ^= 1 << bit % 8;
  }
  std::printf("%zu bits flipped\n", 8 * end);
}

TEST(Damage, EveryBitFlippedAndResealed) {
  const AlignedBytes good = ArtifactBuilder::Toy().Build();
  const size_t end = PlanEnd(good);
  AlignedBytes bytes(good);
  size_t ran = 0;
  for (size_t bit = 0; bit < 8 * end; ++bit) {
    bytes[bit / 8] ^= 1 << bit % 8;
    Reseal({bytes.data(), bytes.size()});
    ran += OpenAndRun(bytes);
    std::memcpy(bytes.data(), good.data(), end);
  }
  std::printf("%zu bits flipped and resealed: %zu refused, %zu ran\n", 8 * end,
              8 * end - ran, ran);
  // Names and labels may change freely; most of a plan may not.
  EXPECT_LT(ran, 8 * end);
}

TEST(Damage, EveryByteOfTheSegmentsFlippedUnderVerify) {
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  AlignedBytes bytes = builder.Build();
  ArtifactOptions options;
  options.verify_weights = true;
  for (size_t at = PlanEnd(bytes); at < bytes.size(); ++at) {
    bytes[at] ^= 1 << at % 8;
    EXPECT_FALSE(Artifact::FromBytes(bytes, "toy.stele", options).ok())
        << "byte " << at;
    bytes[at] ^= 1 << at % 8;
  }
}

} // namespace
} // namespace stele::test
