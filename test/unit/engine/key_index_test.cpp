// A model with a key index: entries follow their session through batches,
// truncation and stores, and what is saved holds nothing of another session.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "saved_sessions.h"
#include "stele/schema/key_index.h"

namespace stele::test {
namespace {

std::shared_ptr<Model> IndexedModel() { return ToyModelWithKeyIndex(1); }

std::vector<float> Expected(const std::vector<int32_t> &tokens) {
  Alone alone(IndexedModel());
  for (int32_t token : tokens) {
    alone.Feed({token});
    alone.RunAll();
  }
  return alone.Logits();
}

TEST(KeyIndex, IsPlanned) {
  EngineOptions options;
  options.max_sessions = 3;
  options.session_tokens = 30;
  auto engine = *Engine::Create(IndexedModel(), options);
  const uint64_t bytes =
      3 * kLayers * kKvHeads * schema::KeyIndexRowBytes(8, kHeadDim, true);
  EXPECT_EQ(bytes,
            3u * kLayers * kKvHeads * (4 * 16 + 2 * 16 * 4 + 8 * (4 + 16)));
  EXPECT_THAT(engine->memory_plan().items,
              testing::Contains(testing::AllOf(
                  testing::Field(&MemoryItem::name, "key index, 3 sessions"),
                  testing::Field(&MemoryItem::bytes, bytes))));
}

TEST(KeyIndex, BelongsToOneSession) {
  EngineOptions options;
  options.max_sessions = 3;
  auto engine = *Engine::Create(ToyModelWithKeyIndex(2), options);
  for (const auto &session : RunTogether(engine.get())) {
    const auto row = session->logits();
    EXPECT_EQ(std::vector<float>(row.begin(), row.end()),
              Expected(session->tokens()));
  }
}

TEST(KeyIndex, IsWrittenAgainBehindATruncation) {
  Alone alone(IndexedModel());
  alone.Feed(Tokens(1, 14));
  alone.RunAll();
  ASSERT_TRUE(alone.session->Truncate(6).ok());
  alone.Feed(Tokens(2, 9));
  alone.RunAll();
  EXPECT_EQ(alone.Logits(), Expected(alone.session->tokens()));
}

// Behind every length, before and behind the ends of blocks (of 4 tokens).
TEST_F(SavedSessions, HaveTheirKeyIndex) {
  for (int length = 1; length <= 21; ++length) {
    Alone first(IndexedModel());
    first.Feed(Tokens(3, length));
    first.RunAll();
    ASSERT_TRUE(Save(first, "a").ok());
    Alone second(ToyModelWithKeyIndex(2));
    auto archive = Archive(second);
    const Status status = archive->Load(second.session.get(), "a");
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(archive->counters().tokens_reused, static_cast<uint64_t>(length));
    EXPECT_EQ(second.Answer(5, 12), first.Answer(5, 12));
    second.RunAll();
    EXPECT_EQ(second.Logits(), Expected(second.session->tokens()));
  }
}

// An entry of a block that is not full holds nothing of another session.
TEST_F(SavedSessions, HoldNoKeysOfOtherSessions) {
  ExpectNothingOfOthers(IndexedModel());
}

} // namespace
} // namespace stele::test
