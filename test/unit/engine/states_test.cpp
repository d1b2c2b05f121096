// A model that keeps states: they follow their sessions through batches, steps
// that fail, truncation and stores, and its pages are those of a step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "forwarding_device.h"
#include "saved_sessions.h"

namespace stele::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Computes, and then fails as often as `armed` is set.
class FailingProgram : public Program {
public:
  FailingProgram(std::unique_ptr<Program> program, const bool *armed)
      : program_(std::move(program)), armed_(armed) {}
  Status Run(const SteleBatch &batch) override {
    STELE_RETURN_IF_ERROR(program_->Run(batch));
    return *armed_ ? Internal("failed as told") : OkStatus();
  }

private:
  std::unique_ptr<Program> program_;
  const bool *armed_;
};

class FailingDevice : public ForwardingDevice {
public:
  FailingDevice(std::unique_ptr<Device> device, const bool *armed)
      : ForwardingDevice(std::move(device)), armed_(armed) {}
  Result<std::unique_ptr<Program>> Prepare(ProgramSpec spec) override {
    STELE_ASSIGN_OR_RETURN(auto program,
                           ForwardingDevice::Prepare(std::move(spec)));
    return std::unique_ptr<Program>(
        std::make_unique<FailingProgram>(std::move(program), armed_));
  }

private:
  const bool *armed_;
};

// Logits behind `tokens`, processed alone, one at a time.
std::vector<float> Expected(const std::vector<int32_t> &tokens) {
  Alone alone(ToyModelWithStates(1));
  for (int32_t token : tokens) {
    alone.Feed({token});
    alone.RunAll();
  }
  return alone.Logits();
}

TEST(States, ChunksAndThreadsChangeNothing) {
  const auto tokens = Tokens(1, 30);
  const auto expected = Expected(tokens);
  for (uint32_t threads : {1u, 3u})
    for (uint32_t chunk : {1u, 3u, 4u, 7u, 8u}) {
      EngineOptions options;
      options.chunk = chunk;
      auto engine = *Engine::Create(ToyModelWithStates(threads), options);
      auto session = *engine->NewSession();
      ASSERT_TRUE(session->Feed(tokens).ok());
      while (session->pending() > 0)
        ASSERT_TRUE(engine->Step().ok());
      const auto row = session->logits();
      EXPECT_EQ(std::vector<float>(row.begin(), row.end()), expected)
          << "chunk " << chunk;
    }
}

// Each has states of its own, and those of one that ended go to the next.
TEST(States, BelongToOneSession) {
  EngineOptions options;
  options.max_sessions = 3;
  auto engine = *Engine::Create(ToyModelWithStates(2), options);
  const auto sessions = RunTogether(engine.get());
  EXPECT_THAT(engine->NewSession().status().message(),
              HasSubstr("all 3 planned sessions are taken"));
  for (const auto &session : sessions) {
    const auto row = session->logits();
    EXPECT_EQ(std::vector<float>(row.begin(), row.end()),
              Expected(session->tokens()));
  }
}

// Sums that a failed step may have changed are computed again.
TEST(States, AreComputedAgainAfterAStepThatFailed) {
  bool armed = false;
  ArtifactBuilder builder = ArtifactBuilder::ToyWithStates();
  const AlignedBytes bytes = builder.Build();
  auto artifact = *Artifact::FromBytes(bytes, "toy.stele");
  Alone alone(*Model::Load(
      artifact, std::make_unique<FailingDevice>(*ToyDevice(1), &armed)));
  alone.Feed(Tokens(1, 13));
  alone.RunAll();
  alone.Feed(Tokens(2, 3));
  armed = true;
  EXPECT_THAT(alone.engine->Step().status().message(),
              HasSubstr("failed as told"));
  EXPECT_EQ(alone.session->pending(), 16u);
  armed = false;
  EXPECT_EQ(alone.RunAll(), 16u);
  EXPECT_EQ(alone.Logits(), Expected(alone.session->tokens()));
}

TEST(States, AreComputedAgainBehindATruncation) {
  Alone alone(ToyModelWithStates(1));
  alone.Feed(Tokens(1, 14));
  alone.RunAll();
  ASSERT_TRUE(alone.session->Truncate(14).ok()); // takes nothing away
  EXPECT_EQ(alone.session->pending(), 0u);
  ASSERT_TRUE(alone.session->Truncate(9).ok());
  EXPECT_EQ(alone.session->pending(), 9u);
  alone.Feed(Tokens(2, 6));
  alone.RunAll();
  EXPECT_EQ(alone.Logits(), Expected(alone.session->tokens()));
  // A pending token goes without the others.
  alone.Feed(Tokens(3, 2));
  ASSERT_TRUE(alone.session->Truncate(15).ok());
  EXPECT_EQ(alone.session->position(), 15u);
}

TEST(States, ArePlanned) {
  EngineOptions options;
  options.max_sessions = 2;
  options.chunk = 8;
  auto engine = *Engine::Create(ToyModelWithStates(1), options);
  uint64_t pages = 0, states = 0;
  for (const MemoryItem &item : engine->memory_plan().items) {
    if (item.name == "KV pages of a step, 2 sessions")
      pages = item.bytes;
    if (item.name == "attention states, 2 sessions")
      states = item.bytes;
  }
  // 8 tokens from inside a block on are in 3 blocks of 4.
  EXPECT_EQ(pages, 2u * 3 * kLayers * kKvHeads * kPageBytes);
  EXPECT_EQ(states, 2u * kLayers * kKvHeads * kStateBytes);
}

TEST(States, RefuseDrafts) {
  EngineOptions options;
  options.draft_tokens = 4;
  const Status status = Engine::Create(ToyModelWithStates(1), options).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_THAT(status.message(), HasSubstr("run without --lookup"));
}

class SavedStates : public SavedSessions {
protected:
  SavedStates() { model_ = ToyModelWithStates(1); }
};

TEST_F(SavedStates, GoOnBitForBit) {
  for (int length = 1; length <= 21; ++length) {
    Alone first(model_);
    first.Feed(Tokens(3, length));
    first.RunAll();
    ASSERT_TRUE(Save(first, "a").ok());
    Alone second(model_);
    auto archive = Archive(second);
    const Status status = archive->Load(second.session.get(), "a");
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(second.Logits(), first.Logits());
    EXPECT_EQ(archive->counters().tokens_reused, uint64_t(length));
    EXPECT_EQ(second.RunAll(), 0u);
    EXPECT_EQ(second.Answer(5, 12), first.Answer(5, 12));
  }
  EXPECT_THAT(Files("pages"), IsEmpty());
  EXPECT_THAT(Files("states"), ElementsAre("a"));
  ASSERT_TRUE(RemoveSession(*OpenFolder(), "a").ok());
  EXPECT_THAT(Files("states"), IsEmpty());
}

// A text that goes on where a saved session ended finds its states; one that
// parts from it earlier computes everything.
TEST_F(SavedStates, ServeThePrefixThatTheyAreOf) {
  Alone first(model_);
  first.Feed(Tokens(1, 10));
  first.RunAll();
  ASSERT_TRUE(Save(first, "a").ok());
  const SessionManifest saved = *ReadSession(*OpenFolder(), "a");
  for (const int common : {10, 9}) {
    std::vector<int32_t> tokens = Tokens(1, common);
    tokens.insert(tokens.end(), {7, 7, 7});
    Alone second(model_);
    second.Feed(tokens);
    const Status status =
        Archive(second)->LoadPrefix(second.session.get(), "a", &saved);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(second.session->position(), common == 10 ? 10u : 0u);
    second.RunAll();
    EXPECT_EQ(second.Logits(), Expected(tokens));
  }
  // Its own tokens and no more: the last one's logits are wanted.
  Alone same(model_);
  same.Feed(Tokens(1, 10));
  ASSERT_TRUE(Archive(same)->LoadPrefix(same.session.get(), "a", &saved).ok());
  EXPECT_EQ(same.session->position(), 0u);
}

TEST_F(SavedStates, AreComputedAgainWhereTheyAreLostOrDamaged) {
  Alone first(model_);
  first.Feed(Tokens(1, 10));
  first.RunAll();
  for (const bool damaged : {false, true}) {
    ASSERT_TRUE(Save(first, "a").ok());
    if (damaged) {
      std::string bytes = *OpenFolder()->Get(StatesKey("a"), 1 << 20);
      bytes[bytes.size() / 2] ^= 1;
      ASSERT_TRUE(OpenFolder()
                      ->Put(StatesKey("a"), std::as_bytes(std::span(bytes)))
                      .ok());
    } else {
      ASSERT_TRUE(OpenFolder()->Remove(StatesKey("a")).ok());
    }
    Alone second(model_);
    ASSERT_TRUE(Archive(second)->Load(second.session.get(), "a").ok());
    EXPECT_EQ(second.RunAll(), 10u);
    EXPECT_EQ(second.Logits(), first.Logits());
  }
}

TEST_F(SavedStates, AreSharedByNoOtherPrompt) {
  Alone alone(model_);
  alone.Feed(Tokens(1, 10));
  for (const Status &status : {Archive(alone)->LoadPrefix(alone.session.get()),
                               Archive(alone)->SavePages(*alone.session)}) {
    EXPECT_EQ(status.code(), StatusCode::kUnsupported);
    EXPECT_THAT(status.message(),
                HasSubstr("save the session under a name (--session)"));
  }
}

} // namespace
} // namespace stele::test
