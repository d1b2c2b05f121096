// Artifacts of every format version, made once and never again: this runtime
// loads them all and computes what it did then (docs/artifact-format.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "stele/runtime/device/host/host_device.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/model.h"

namespace stele::test {
namespace {

struct Golden {
  const char *file;
  std::vector<int32_t> prompt;
  std::vector<int32_t> greedy; // what transformers says
};

// In f32 for x86-64-v3, prompt and tokens of their goldens.json: 1.0 of
// models/tiny/llama-yarn-factor, 1.1 of models/tiny/gguf/llama-q4_1, whose
// linears stay 4-bit codes.
const Golden kGoldens[] = {
    {"format-1.0.stele",
     {1,  45, 27, 12, 46, 30, 64, 63, 28, 54, 28, 16, 49, 43, 60, 57, 15,
      46, 20, 54, 32, 38, 39, 62, 58, 61, 40, 48, 13, 48, 24, 56, 51},
     {22, 14, 22, 58, 54, 6, 27, 53}},
    {"format-1.1.stele",
     {1,  65, 18, 3,  43, 44, 53, 59, 20, 35, 3,  45, 20,
      50, 38, 3,  19, 14, 58, 64, 38, 32, 66, 62, 23, 5,
      52, 32, 31, 43, 38, 10, 52, 39, 15, 55, 27},
     {0, 8, 25, 38, 52, 12, 37, 0}},
};

std::vector<int32_t> Generate(Engine &engine, std::vector<int32_t> feed,
                              size_t count) {
  auto session = engine.NewSession();
  EXPECT_TRUE(session.ok()) << session.status().message();
  std::vector<int32_t> tokens;
  while (tokens.size() < count) {
    EXPECT_TRUE((*session)->Feed(feed).ok());
    for (;;) {
      auto report = engine.Step();
      EXPECT_TRUE(report.ok()) << report.status().message();
      if (!report.ok() || report->tokens == 0)
        break;
    }
    const auto logits = (*session)->logits();
    if (logits.empty())
      return tokens;
    const auto best = std::max_element(logits.begin(), logits.end());
    tokens.push_back(static_cast<int32_t>(best - logits.begin()));
    feed = {tokens.back()};
  }
  return tokens;
}

TEST(Golden, EveryFormatVersionLoadsAndRuns) {
  for (const Golden &golden : kGoldens) {
    SCOPED_TRACE(golden.file);
    const std::string path =
        std::string(STELE_SOURCE_DIR "/test/data/golden/") + golden.file;
    ArtifactOptions options;
    options.verify_weights = true;
    auto artifact = Artifact::Open(path, options);
    ASSERT_TRUE(artifact.ok()) << artifact.status().message();
    auto device = HostDevice::Create(2);
    ASSERT_TRUE(device.ok()) << device.status().message();
    auto model = Model::Load(*artifact, *std::move(device));
    ASSERT_TRUE(model.ok()) << model.status().message();
    auto engine = Engine::Create(*model, {});
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    EXPECT_EQ(Generate(**engine, golden.prompt, golden.greedy.size()),
              golden.greedy);
  }
}

} // namespace
} // namespace stele::test
