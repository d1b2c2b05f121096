// Answers: where they stop, and what of a stop string is shown.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "artifact_builder.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/generation.h"
#include "stele/runtime/engine/stop_matcher.h"

namespace stele::test {
namespace {

TEST(StopMatcher, HoldsBackWhatMayBeAStop) {
  StopMatcher matcher({"END", "\n\n"});
  EXPECT_EQ(matcher.Push("one E"), "one ");
  EXPECT_EQ(matcher.Push("N"), "");
  EXPECT_EQ(matcher.Push("T"), "ENT");
  EXPECT_EQ(matcher.Push("\n"), "");
  EXPECT_EQ(matcher.Push("xEND more"), "\nx");
  EXPECT_TRUE(matcher.matched());
  EXPECT_EQ(matcher.Push("after"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, TheEarliestWinsAndEmptyNeverMatches) {
  StopMatcher matcher({"", "bc", "abcd"});
  EXPECT_EQ(matcher.Push("xabcd"), "x");
  StopMatcher none({""});
  EXPECT_EQ(none.Push("text"), "text");
  EXPECT_FALSE(none.matched());
}

TEST(StopMatcher, FinishShowsWhatWasHeld) {
  StopMatcher matcher({"aab"});
  EXPECT_EQ(matcher.Push("xaa"), "x");
  EXPECT_EQ(matcher.Push("a"), "a");
  EXPECT_EQ(matcher.Finish(), "aa");
}

class GenerationTest : public testing::Test {
protected:
  void MakeSession(uint64_t tokens) {
    session_.reset(); // before its engine
    engine_ = *Engine::Create(model_, {});
    session_ = *engine_->NewSession(tokens);
  }

  // Runs the toy on a prompt; `max_tokens` of the session.
  std::unique_ptr<Generation> Run(GenerationOptions options,
                                  uint64_t session_tokens = 32) {
    MakeSession(session_tokens);
    const std::vector<int32_t> prompt = {5, 3, 1};
    EXPECT_TRUE(session_->Feed(prompt).ok());
    auto generation =
        *Generation::Create(*model_, nullptr, session_.get(), options);
    for (int step = 0; step < 100 && !generation->done(); ++step) {
      EXPECT_TRUE(engine_->Step().ok());
      EXPECT_TRUE(generation->Advance().ok());
    }
    return generation;
  }

  std::shared_ptr<Model> model_ = ToyModel(1);
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Session> session_;
};

TEST_F(GenerationTest, StopsAtItsLength) {
  GenerationOptions options;
  options.ignore_eos = true;
  options.max_tokens = 6;
  auto generation = Run(options);
  EXPECT_EQ(generation->finish_reason(), FinishReason::kLength);
  EXPECT_EQ(generation->tokens().size(), 6u);
  options.max_tokens = 0;
  EXPECT_EQ(Run(options)->finish_reason(), FinishReason::kLength);
}

TEST_F(GenerationTest, StopsWhereTheSessionIsFull) {
  GenerationOptions options;
  options.ignore_eos = true;
  auto generation = Run(options, 5);
  EXPECT_EQ(generation->finish_reason(), FinishReason::kLength);
  EXPECT_EQ(generation->tokens().size(), 3u); // two fed, one that is not
}

TEST_F(GenerationTest, StopsAtAnEndToken) {
  GenerationOptions options;
  options.sampling.temperature = 50; // sooner or later token 0, the toy's end
  auto generation = Run(options, 0);
  ASSERT_EQ(generation->finish_reason(), FinishReason::kEos);
  EXPECT_EQ(generation->tokens().back(), 0);
}

TEST_F(GenerationTest, CancelledSaysSo) {
  GenerationOptions options;
  options.ignore_eos = true;
  MakeSession(32);
  auto generation =
      *Generation::Create(*model_, nullptr, session_.get(), options);
  session_->Cancel();
  EXPECT_TRUE(generation->Advance().ok());
  EXPECT_EQ(generation->finish_reason(), FinishReason::kCancelled);
}

TEST_F(GenerationTest, ChecksItsOptions) {
  MakeSession(32);
  GenerationOptions options;
  options.sampling.temperature = -1;
  EXPECT_FALSE(
      Generation::Create(*model_, nullptr, session_.get(), options).ok());
  options = {};
  options.stop = {"x"};
  EXPECT_THAT(Generation::Create(*model_, nullptr, session_.get(), options)
                  .status()
                  .message(),
              testing::HasSubstr("has no tokenizer"));
}

} // namespace
} // namespace stele::test
