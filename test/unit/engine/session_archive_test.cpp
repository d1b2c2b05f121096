// Sessions in a store: loaded ones go on bit for bit, equal prefixes share
// pages, and what another artifact saved is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "saved_sessions.h"

namespace stele::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Saved behind every length, so that it is before, at and behind the ends of
// blocks (of 4 tokens), and each goes on as if nothing had happened.
TEST_F(SavedSessions, GoOnBitForBit) {
  for (int length = 1; length <= 21; ++length) {
    Alone first(model_);
    first.Feed(Tokens(3, length));
    first.RunAll();
    ASSERT_TRUE(Save(first, "a").ok());

    Alone second(ToyModel(2));
    auto archive = Archive(second);
    const Status status = archive->Load(second.session.get(), "a");
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(second.session->tokens(), first.session->tokens());
    EXPECT_EQ(second.session->pending(), 0u);
    EXPECT_EQ(second.Logits(), first.Logits());
    EXPECT_EQ(archive->counters().tokens_reused, static_cast<uint64_t>(length));
    EXPECT_EQ(second.RunAll(), 0u); // nothing is computed
    EXPECT_EQ(second.Answer(5, 12), first.Answer(5, 12));
    EXPECT_EQ(second.session->next_seed(), first.session->next_seed());
  }
}

TEST_F(SavedSessions, KeepPendingTokensAndNoLogits) {
  Alone first(model_);
  Archive(first); // an archive alone writes nothing
  EXPECT_FALSE(std::filesystem::exists(PathOf("")));
  first.Feed(Tokens(1, 6));
  first.RunAll();
  first.Feed(Tokens(2, 5));
  ASSERT_TRUE(Save(first, "a").ok());
  Alone second(model_);
  ASSERT_TRUE(Archive(second)->Load(second.session.get(), "a").ok());
  EXPECT_EQ(second.session->position(), 6u);
  EXPECT_EQ(second.session->pending(), 5u);
  first.RunAll();
  EXPECT_EQ(second.RunAll(), 5u);
  EXPECT_EQ(second.Logits(), first.Logits());
}

// The draws of a cut answer go on: 5 + 9 tokens are the 14 of one answer.
TEST_F(SavedSessions, GoOnWithTheDrawsOfAnAnswer) {
  Alone whole(model_);
  whole.Feed(Tokens(4, 7));
  const auto expected = whole.Answer(11, 14);

  Alone first(model_);
  first.Feed(Tokens(4, 7));
  auto tokens = first.Answer(11, 5);
  ASSERT_TRUE(Save(first, "a").ok());
  Alone second(model_);
  ASSERT_TRUE(Archive(second)->Load(second.session.get(), "a").ok());
  const auto rest = second.Answer(second.session->next_seed(), 9);
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  EXPECT_EQ(tokens, expected);
}

// A session is saved in the middle of an answer, between the steps, when
// guesses are fed: they are no part of it.
TEST_F(SavedSessions, LeaveGuessesOut) {
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3};
  bool guessed = false;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Alone plain(model_);
    plain.Feed(prompt);
    const auto expected = plain.Answer(seed, 16);
    Alone first(model_, 4);
    first.Feed(prompt);
    auto generation = first.Start(seed, 16, 4);
    while (!generation->done()) {
      ASSERT_TRUE(first.engine->Step().ok());
      for (const bool advanced : {false, true}) {
        if (advanced)
          ASSERT_TRUE(generation->Advance().ok());
        const size_t taken = generation->tokens().size();
        if (taken == 0 || generation->done())
          continue;
        guessed |= first.session->tokens().size() > prompt.size() + taken;
        ASSERT_TRUE(Save(first, "a").ok());
        Alone second(model_);
        ASSERT_TRUE(Archive(second)->Load(second.session.get(), "a").ok());
        EXPECT_EQ(second.session->tokens().size(), prompt.size() + taken);
        const auto rest = second.Answer(second.session->next_seed(),
                                        static_cast<int>(16 - taken));
        EXPECT_EQ(rest, std::vector<int32_t>(expected.begin() + taken,
                                             expected.end()));
      }
    }
  }
  EXPECT_TRUE(guessed);
}

TEST_F(SavedSessions, ShareThePagesOfEqualPrefixes) {
  Alone first(model_);
  first.Feed(Tokens(1, 14));
  first.RunAll();
  auto archive = Archive(first);
  ASSERT_TRUE(archive->Save(*first.session, "a").ok());
  EXPECT_EQ(archive->counters().pages_written, 4u); // 3 blocks and a partial
  EXPECT_THAT(Files("pages"), SizeIs(3));

  // Parts from the first within its third block.
  std::vector<int32_t> tokens = Tokens(1, 10);
  tokens.insert(tokens.end(), {7, 7, 7, 7});
  Alone second(model_);
  second.Feed(tokens);
  auto other = Archive(second);
  ASSERT_TRUE(other->LoadPrefix(second.session.get()).ok());
  EXPECT_EQ(second.session->position(), 8u);
  EXPECT_EQ(other->counters().tokens_reused, 8u);
  EXPECT_EQ(other->counters().pages_read, 2u);
  EXPECT_EQ(second.RunAll(), 6u);
  Alone alone(model_);
  alone.Feed(tokens);
  alone.RunAll();
  EXPECT_EQ(second.Logits(), alone.Logits());
  ASSERT_TRUE(other->Save(*second.session, "b").ok());
  EXPECT_EQ(other->counters().pages_found, 2u);
  EXPECT_EQ(other->counters().pages_written, 2u);
  EXPECT_THAT(Files("pages"), SizeIs(4));
}

// The last token is computed even where its page is there.
TEST_F(SavedSessions, LoadPrefixLeavesALastToken) {
  Alone first(model_);
  first.Feed(Tokens(1, 8));
  first.RunAll();
  ASSERT_TRUE(Archive(first)->SavePages(*first.session).ok());
  EXPECT_THAT(Files("sessions"), IsEmpty());
  Alone second(model_);
  second.Feed(Tokens(1, 8));
  ASSERT_TRUE(Archive(second)->LoadPrefix(second.session.get()).ok());
  EXPECT_EQ(second.session->pending(), 1u);
  second.RunAll();
  EXPECT_EQ(second.Logits(), first.Logits());
  // What a session has already is not read again.
  auto again = Archive(second);
  second.Feed(Tokens(1, 9));
  ASSERT_TRUE(again->LoadPrefix(second.session.get()).ok());
  EXPECT_EQ(again->counters().pages_read, 0u);
}

TEST_F(SavedSessions, UseAPartialBlockOnlyOfTheirOwnTokens) {
  Alone first(model_);
  first.Feed(Tokens(1, 6));
  first.RunAll();
  ASSERT_TRUE(Save(first, "a").ok());
  const SessionManifest saved = *ReadSession(*OpenFolder(), "a");
  for (const bool same : {true, false}) {
    std::vector<int32_t> tokens = Tokens(1, 6);
    if (!same)
      tokens[5] = (tokens[5] + 1) % kVocabulary;
    tokens.push_back(3);
    Alone second(model_);
    second.Feed(tokens);
    ASSERT_TRUE(
        Archive(second)->LoadPrefix(second.session.get(), "a", &saved).ok());
    EXPECT_EQ(second.session->position(), same ? 6u : 4u);
    second.RunAll();
    Alone alone(model_);
    alone.Feed(tokens);
    alone.RunAll();
    EXPECT_EQ(second.Logits(), alone.Logits());
  }
}

TEST_F(SavedSessions, AreReplacedAndRemovedByName) {
  Alone first(model_);
  first.Feed(Tokens(1, 9));
  first.RunAll();
  ASSERT_TRUE(Save(first, "a").ok());
  ASSERT_TRUE(Save(first, "b").ok());
  first.Feed(Tokens(5, 9));
  first.RunAll();
  ASSERT_TRUE(Save(first, "b").ok());
  EXPECT_THAT(*ListSessions(*OpenFolder()), ElementsAre("a", "b"));
  EXPECT_EQ(ReadSession(*OpenFolder(), "b")->tokens.size(), 18u);
  EXPECT_THAT(Files("pages"), SizeIs(4));
  ASSERT_TRUE(RemoveSession(*OpenFolder(), "b").ok());
  EXPECT_THAT(*ListSessions(*OpenFolder()), ElementsAre("a"));
  EXPECT_THAT(Files("pages"), SizeIs(2)); // those of a
  EXPECT_THAT(Files("tails"), ElementsAre("a"));
  EXPECT_EQ(RemoveSession(*OpenFolder(), "b").code(), StatusCode::kNotFound);
  ASSERT_TRUE(RemoveSession(*OpenFolder(), "a").ok());
  EXPECT_THAT(Files("pages"), IsEmpty());
}

TEST_F(SavedSessions, OfAnotherArtifactAreRefusedByName) {
  Alone first(model_);
  first.Feed(Tokens(1, 6));
  first.RunAll();
  ASSERT_TRUE(Save(first, "mine").ok());
  ArtifactBuilder builder = ArtifactBuilder::Toy();
  builder.plan.producer = "another";
  const AlignedBytes bytes = builder.Build();
  auto artifact = Artifact::FromBytes(bytes, "other.stele");
  ASSERT_TRUE(artifact.ok());
  auto model = Model::Load(*artifact, *ToyDevice(1));
  ASSERT_TRUE(model.ok()) << model.status().message();
  Alone second(*model);
  const Status status = Archive(second)->Load(second.session.get(), "mine");
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("'mine'"));
  EXPECT_THAT(status.message(), HasSubstr("'other.stele'"));
  EXPECT_THAT(second.session->tokens(), IsEmpty());
  // Nor does it find the pages of the same tokens.
  second.Feed(Tokens(1, 6));
  ASSERT_TRUE(Archive(second)->LoadPrefix(second.session.get()).ok());
  EXPECT_EQ(second.session->position(), 0u);
}

TEST_F(SavedSessions, RefuseNamesAndStates) {
  Alone alone(model_);
  alone.Feed(Tokens(1, 3));
  EXPECT_EQ(Save(alone, "../x").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Save(alone, "").code(), StatusCode::kInvalidArgument);
  Status status = Archive(alone)->Load(alone.session.get(), "a");
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  Alone empty(model_);
  status = Archive(empty)->Load(empty.session.get(), "a");
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("never saved"));
  ASSERT_TRUE(Save(alone, "a").ok());
  EngineOptions small;
  small.session_tokens = 2;
  auto engine = *Engine::Create(model_, small);
  auto session = *engine->NewSession();
  auto archive = *SessionArchive::Create(engine.get(), OpenFolder());
  status = archive->Load(session.get(), "a");
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(session->tokens(), IsEmpty());
}

// What a block holds behind its last token is not another session's.
TEST_F(SavedSessions, HoldNothingOfOtherSessions) {
  ExpectNothingOfOthers(model_);
}

} // namespace
} // namespace stele::test
