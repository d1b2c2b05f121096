// The batched step: whatever way tokens come in, chunked, batched, paged, a
// session's logits are those it has alone, bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "artifact_builder.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/sampler.h"
#include "test_kernels.h"

namespace stele::test {
namespace {

using testing::HasSubstr;

std::vector<int32_t> Tokens(int seed, int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back((seed * 7 + i * i * 3 + i) % kVocabulary);
  return tokens;
}

std::unique_ptr<Engine> MakeEngine(std::shared_ptr<Model> model,
                                   EngineOptions options) {
  auto engine = Engine::Create(std::move(model), options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return *std::move(engine);
}

std::unique_ptr<Session> MakeSession(Engine &engine, uint64_t tokens = 0) {
  auto session = engine.NewSession(tokens);
  EXPECT_TRUE(session.ok()) << session.status().message();
  return *std::move(session);
}

void RunAll(Engine &engine) {
  for (;;) {
    auto report = engine.Step();
    ASSERT_TRUE(report.ok()) << report.status().message();
    if (report->tokens == 0)
      return;
  }
}

// Logits of every token of `tokens`, processed alone, one at a time.
std::vector<std::vector<float>> Reference(const std::shared_ptr<Model> &model,
                                          const std::vector<int32_t> &tokens) {
  auto engine = MakeEngine(model, {});
  auto session = MakeSession(*engine);
  std::vector<std::vector<float>> rows;
  for (int32_t token : tokens) {
    EXPECT_TRUE(session->Feed({&token, 1}).ok());
    RunAll(*engine);
    rows.emplace_back(session->logits().begin(), session->logits().end());
  }
  return rows;
}

class EngineThreads : public testing::TestWithParam<uint32_t> {};

TEST_P(EngineThreads, ChunkingChangesNothing) {
  auto model = ToyModel(GetParam());
  const auto tokens = Tokens(1, 30);
  const auto expected = Reference(model, tokens);
  for (uint32_t chunk : {1u, 3u, 4u, 5u, 8u}) {
    EngineOptions options;
    options.chunk = chunk;
    auto engine = MakeEngine(model, options);
    auto session = MakeSession(*engine);
    std::vector<std::vector<float>> rows;
    session->OnEveryLogits([&](uint64_t, std::span<const float> row) {
      rows.emplace_back(row.begin(), row.end());
    });
    ASSERT_TRUE(session->Feed(tokens).ok());
    RunAll(*engine);
    EXPECT_EQ(rows, expected) << "chunk " << chunk;
  }
}

TEST_P(EngineThreads, BatchingChangesNothing) {
  auto model = ToyModel(GetParam());
  EngineOptions options;
  options.max_sessions = 7; // more than a step takes
  options.session_tokens = 40;
  auto engine = MakeEngine(model, options);
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<std::vector<int32_t>> tokens;
  // Sessions come in while others decode, so steps mix both.
  for (int i = 0; i < 7; ++i) {
    sessions.push_back(MakeSession(*engine));
    tokens.push_back(Tokens(i, 5 + 4 * i));
    ASSERT_TRUE(sessions.back()->Feed(tokens.back()).ok());
    ASSERT_TRUE(engine->Step().ok());
    for (int j = 0; j <= i; ++j)
      if (sessions[j]->pending() == 0) {
        const int32_t next = ArgMax(sessions[j]->logits());
        tokens[j].push_back(next);
        ASSERT_TRUE(sessions[j]->Feed({&next, 1}).ok());
      }
  }
  RunAll(*engine);
  for (int i = 0; i < 7; ++i) {
    const auto expected = Reference(model, tokens[i]).back();
    const auto got = sessions[i]->logits();
    EXPECT_EQ(std::vector<float>(got.begin(), got.end()), expected)
        << "session " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, EngineThreads, testing::Values(1, 2, 5));

TEST(Engine, RunsTheCodeOfTheArtifact) {
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  const AlignedBytes bytes = builder.Build();
  auto artifact = Artifact::FromBytes(bytes, "toy.stele");
  ASSERT_TRUE(artifact.ok());
  auto device = HostDevice::Create(2);
  ASSERT_TRUE(device.ok());
  auto model = Model::Load(*artifact, *std::move(device));
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(Reference(*model, Tokens(3, 9)),
            Reference(ToyModel(1), Tokens(3, 9)));
}

TEST(Engine, ReadsNamedOutputsOfTheLastStep) {
  EngineOptions options;
  options.max_sessions = 2;
  options.session_tokens = 20;
  auto model = ToyModel(2);
  auto engine = MakeEngine(model, options);
  EXPECT_EQ(engine->ReadOutput("stream", {}).status().code(),
            StatusCode::kFailedPrecondition);
  auto one = MakeSession(*engine), two = MakeSession(*engine);
  ASSERT_TRUE(one->Feed(Tokens(1, 3)).ok());
  ASSERT_TRUE(two->Feed(Tokens(2, 2)).ok());
  RunAll(*engine);

  std::vector<float> stream(5 * kHidden), logits(2 * kVocabulary);
  auto shape = engine->ReadOutput("stream", stream);
  ASSERT_TRUE(shape.ok()) << shape.status().message();
  EXPECT_EQ(shape->rows, 5u);
  EXPECT_EQ(shape->width, uint32_t{kHidden});
  shape = engine->ReadOutput("logits", logits);
  ASSERT_TRUE(shape.ok()) << shape.status().message();
  EXPECT_EQ(shape->rows, 2u);
  EXPECT_EQ(shape->width, uint32_t{kVocabulary});
  // The toy's logits are the products of the stream with rows of tensor 1.
  const auto *weight = reinterpret_cast<const float *>(model->tensor(1));
  for (int row = 0; row < 2; ++row)
    for (int v = 0; v < kVocabulary; ++v) {
      const int token = row == 0 ? 2 : 4; // each session's last
      double dot = 0;
      for (int i = 0; i < kHidden; ++i)
        dot += double{stream[token * kHidden + i]} * weight[v * kHidden + i];
      EXPECT_NEAR(logits[row * kVocabulary + v], dot, 1e-4);
    }

  std::vector<float> part(kHidden + 3, -1);
  shape = engine->ReadOutput("stream", std::span(part).first(kHidden));
  ASSERT_TRUE(shape.ok());
  EXPECT_EQ(shape->rows, 5u);
  EXPECT_TRUE(std::equal(part.begin(), part.begin() + kHidden, stream.begin()));
  EXPECT_EQ(part[kHidden], -1);
  auto missing = engine->ReadOutput("steam", {});
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("'steam'"));
}

TEST(Engine, DecodesGoBeforePrompts) {
  EngineOptions options;
  options.max_sessions = 2;
  options.session_tokens = 30;
  auto engine = MakeEngine(ToyModel(1), options);
  auto prompt = MakeSession(*engine), decode = MakeSession(*engine);
  ASSERT_TRUE(prompt->Feed(Tokens(1, 20)).ok());
  ASSERT_TRUE(decode->Feed(Tokens(1, 1)).ok());
  auto report = engine->Step();
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->tokens, 8u);
  EXPECT_EQ(decode->pending(), 0u);
  EXPECT_EQ(prompt->pending(), 13u);
  EXPECT_STREQ(report->function, "prefill");
}

TEST(Engine, AdmitsByPlannedMemory) {
  EngineOptions options;
  options.max_sessions = 3;
  options.session_tokens = 32;
  options.total_tokens = 40; // 10 blocks and one spare for each other session
  auto engine = MakeEngine(ToyModel(1), options);
  auto first = MakeSession(*engine, 32);
  EXPECT_THAT(engine->NewSession(32).status().message(),
              HasSubstr("a session of 32 tokens needs 8 KV blocks, 4 of 12 "
                        "are free"));
  auto second = MakeSession(*engine, 8);
  EXPECT_THAT(engine->NewSession(33).status().message(),
              HasSubstr("the engine plans for at most 32 each"));
  first.reset();
  auto third = MakeSession(*engine, 32);
  EXPECT_FALSE(engine->NewSession(32).ok());
}

TEST(Engine, RefusesWhatTheModelOrMemoryCannotTake) {
  auto model = ToyModel(1);
  EngineOptions options;
  options.session_tokens = 65;
  EXPECT_THAT(Engine::Create(model, options).status().message(),
              HasSubstr("more than the context of 64 that the artifact was "
                        "compiled for; the model is made for 64; compile with "
                        "--context 65 --positions dca"));
  options.session_tokens = 64;
  options.host_memory = 1024;
  EXPECT_THAT(Engine::Create(model, options).status().message(),
              HasSubstr("--host-memory allows 1.0 KiB"));
}

TEST(Engine, TakesTheAttentionThatTheModelWasCompiledFor) {
  const auto refused = [](std::shared_ptr<Model> model, AttentionKind attention,
                          float density) {
    EngineOptions options;
    options.attention = attention;
    options.density = density;
    const Status status = Engine::Create(std::move(model), options).status();
    if (!status.ok() && density <= 1)
      EXPECT_EQ(status.code(), StatusCode::kUnsupported);
    return status.message();
  };
  const auto kCompiled = AttentionKind::kCompiled;
  const auto kDense = AttentionKind::kDense, kSparse = AttentionKind::kSparse;
  EXPECT_EQ(refused(ToyModel(1), kDense, 0), "");
  EXPECT_THAT(refused(ToyModel(1), kSparse, 0),
              HasSubstr("compiled with dense attention, which chooses no "
                        "blocks; compile with --attention sparse"));
  EXPECT_THAT(refused(ToyModel(1), kCompiled, 0.5f),
              HasSubstr("compiled with dense attention"));
  EXPECT_THAT(refused(ToyModelWithStates(1), kSparse, 0),
              HasSubstr("compiled with kernelized attention"));
  EXPECT_THAT(refused(ToyModelWithStates(1), kDense, 0),
              HasSubstr("sums in place of keys"));
  EXPECT_THAT(refused(ToyModel(1), kSparse, 1.5f), HasSubstr("above 0 and up"));

  EngineOptions options;
  options.attention = kDense;
  options.density = 0.5f;
  EXPECT_THAT(Engine::Create(ToyModel(1), options).status().message(),
              HasSubstr("for sparse attention only"));

  ArtifactBuilder builder = ArtifactBuilder::ToySparse(/*paging=*/false);
  builder.plan.executables[0]->entries[2]->sparsity =
      std::make_unique<plan::BlockSparsityT>();
  const auto local = LoadToy(std::move(builder), 1);
  EXPECT_EQ(refused(local, kDense, 0), "");
  EXPECT_EQ(refused(local, kSparse, 0), "");
  EXPECT_THAT(refused(local, kSparse, 0.5f),
              HasSubstr("compiled with --density 0"));
}

TEST(Session, RefusesTokensOutsideTheVocabularyAndThePlan) {
  auto engine = MakeEngine(ToyModel(1), {});
  auto session = MakeSession(*engine, 4);
  const std::vector<int32_t> wrong = {1, 17}, negative = {-1};
  EXPECT_THAT(session->Feed(wrong).message(),
              HasSubstr("token 1 is 17, the vocabulary has ids 0 to 16"));
  EXPECT_FALSE(session->Feed(negative).ok());
  EXPECT_EQ(session->tokens().size(), 0u);
  EXPECT_THAT(session->Feed(Tokens(1, 5)).message(),
              HasSubstr("5 tokens, but memory is planned for 4"));
  EXPECT_TRUE(session->Feed(Tokens(1, 4)).ok());
}

TEST(Session, CancelledIsLeftOut) {
  EngineOptions options;
  options.max_sessions = 2;
  auto engine = MakeEngine(ToyModel(1), options);
  auto first = MakeSession(*engine), second = MakeSession(*engine);
  ASSERT_TRUE(first->Feed(Tokens(1, 3)).ok());
  ASSERT_TRUE(second->Feed(Tokens(2, 3)).ok());
  first->Cancel();
  RunAll(*engine);
  EXPECT_EQ(first->position(), 0u);
  EXPECT_EQ(second->position(), 3u);
}

TEST(Session, TruncatesAndGoesOnAsIfNothingWasThere) {
  auto model = ToyModel(1);
  auto engine = MakeEngine(model, {});
  auto session = MakeSession(*engine);
  ASSERT_TRUE(session->Feed(Tokens(1, 14)).ok());
  RunAll(*engine);
  ASSERT_TRUE(session->Truncate(5).ok());
  EXPECT_TRUE(session->logits().empty());
  ASSERT_TRUE(session->Feed(Tokens(2, 6)).ok());
  RunAll(*engine);
  const auto got = session->logits();
  EXPECT_EQ(std::vector<float>(got.begin(), got.end()),
            Reference(model, session->tokens()).back());
  EXPECT_FALSE(session->Truncate(99).ok());
}

TEST(Model, SyntheticWeightsDependOnTheSeedOnly) {
  const auto logits = [](uint64_t seed) {
    ArtifactBuilder builder = ArtifactBuilder::Toy();
    plan::SegmentT &segment = *builder.plan.segments[0];
    segment.storage = plan::Storage::Synthetic;
    segment.seed = seed;
    segment.length = builder.segments[0].size();
    const AlignedBytes bytes = builder.Build();
    auto artifact = Artifact::FromBytes(bytes, "toy.stele");
    EXPECT_TRUE(artifact.ok()) << artifact.status().message();
    auto model = Model::Load(*artifact, *ToyDevice(1));
    EXPECT_TRUE(model.ok()) << model.status().message();
    return Reference(*model, Tokens(1, 5)).back();
  };
  EXPECT_EQ(logits(1), logits(1));
  EXPECT_NE(logits(1), logits(2));
}

TEST(Model, NamesTheMissingCpuFeature) {
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  builder.plan.targets[0]->features = {"avx9000"};
  const AlignedBytes bytes = builder.Build();
  auto artifact = Artifact::FromBytes(bytes, "toy.stele");
  ASSERT_TRUE(artifact.ok());
  EXPECT_THAT(Model::Load(*artifact, *ToyDevice(1)).status().message(),
              HasSubstr("needs avx9000, which this CPU does not have"));
}

} // namespace
} // namespace stele::test
