// What tests of saved sessions share: a store in a folder of its own, the toy
// model, and what a session does from here on, to the bit.
#ifndef STELE_TEST_UNIT_ENGINE_SAVED_SESSIONS_H_
#define STELE_TEST_UNIT_ENGINE_SAVED_SESSIONS_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "artifact_builder.h"
#include "stele/runtime/engine/generation.h"
#include "stele/runtime/engine/session_archive.h"
#include "test_kernels.h"

namespace stele::test {

inline std::vector<int32_t> Tokens(int seed, int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back((seed * 7 + i * i * 3 + i) % kVocabulary);
  return tokens;
}

// One session on an engine of its own.
struct Alone {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Session> session;

  explicit Alone(std::shared_ptr<Model> model, uint32_t drafts = 0) {
    EngineOptions options;
    options.draft_tokens = drafts;
    auto made = Engine::Create(std::move(model), options);
    EXPECT_TRUE(made.ok()) << made.status().message();
    engine = *std::move(made);
    session = *engine->NewSession();
  }

  void Feed(const std::vector<int32_t> &tokens) {
    ASSERT_TRUE(session->Feed(tokens).ok());
  }
  // How many tokens it took.
  uint64_t RunAll() {
    uint64_t tokens = 0;
    for (;;) {
      const auto report = engine->Step();
      EXPECT_TRUE(report.ok()) << report.status().message();
      if (!report.ok() || report->tokens == 0)
        return tokens;
      tokens += report->tokens;
    }
  }
  std::vector<float> Logits() const {
    const auto row = session->logits();
    return {row.begin(), row.end()};
  }

  // An answer of `count` sampled tokens, which depend on every bit of the
  // logits.
  std::unique_ptr<Generation> Start(uint64_t seed, int count,
                                    uint32_t lookup = 0) {
    GenerationOptions options;
    options.max_tokens = static_cast<uint64_t>(count);
    options.sampling.temperature = 2;
    options.sampling.repetition_penalty = 0.5f; // repeats itself: is guessed
    options.sampling.seed = seed;
    options.ignore_eos = true;
    options.lookup = lookup;
    auto generation =
        Generation::Create(engine->model(), nullptr, session.get(), options);
    EXPECT_TRUE(generation.ok()) << generation.status().message();
    return *std::move(generation);
  }
  std::vector<int32_t> Answer(uint64_t seed, int count) {
    auto generation = Start(seed, count);
    while (!generation->done()) {
      EXPECT_TRUE(engine->Step().ok());
      EXPECT_TRUE(generation->Advance().ok());
    }
    EXPECT_TRUE(generation->Settle().ok());
    return generation->tokens();
  }
};

// Feeds sessions that come and go at different times, and runs them to the end.
inline std::vector<std::unique_ptr<Session>> RunTogether(Engine *engine) {
  std::vector<std::unique_ptr<Session>> sessions(3);
  for (int round = 0; round < 9; ++round) {
    sessions[round % 3].reset();
    sessions[round % 3] = *engine->NewSession();
    EXPECT_TRUE(sessions[round % 3]->Feed(Tokens(round, 6 + round)).ok());
    EXPECT_TRUE(engine->Step().ok()); // not to the end of all
  }
  for (auto &session : sessions)
    while (session->pending() > 0)
      if (const auto report = engine->Step(); !report.ok()) {
        ADD_FAILURE() << report.status().message();
        return sessions;
      }
  return sessions;
}

class SavedSessions : public testing::Test {
protected:
  SavedSessions() { EXPECT_NE(mkdtemp(folder_.data()), nullptr); }
  ~SavedSessions() override { std::filesystem::remove_all(folder_); }

  std::shared_ptr<Store> OpenFolder() {
    auto store = OpenStore(folder_ + "/store");
    EXPECT_TRUE(store.ok()) << store.status().message();
    return *std::move(store);
  }
  std::unique_ptr<SessionArchive> Archive(Alone &alone) {
    auto archive = SessionArchive::Create(alone.engine.get(), OpenFolder());
    EXPECT_TRUE(archive.ok()) << archive.status().message();
    return *std::move(archive);
  }
  Status Save(Alone &alone, const std::string &name) {
    return Archive(alone)->Save(*alone.session, name);
  }
  // Files of a folder of the store, sorted.
  std::vector<std::string> Files(const std::string &folder) {
    return *OpenFolder()->List(folder);
  }
  std::string PathOf(const std::string &key) {
    return folder_ + "/store/" + key;
  }
  // What a partial block does not use yet holds nothing of a session before.
  void ExpectNothingOfOthers(const std::shared_ptr<Model> &model) {
    const auto tail = [&] { return *OpenFolder()->Get(TailKey("a"), 1 << 20); };
    Alone fresh(model);
    fresh.Feed(Tokens(1, 5));
    fresh.RunAll();
    ASSERT_TRUE(Save(fresh, "a").ok());
    const std::string expected = tail();
    Alone used(model);
    used.Feed(Tokens(2, 30));
    used.RunAll();
    used.session = nullptr;
    used.session = *used.engine->NewSession();
    used.Feed(Tokens(1, 5));
    used.RunAll();
    ASSERT_TRUE(Save(used, "a").ok());
    EXPECT_EQ(tail(), expected);
  }

  std::shared_ptr<Model> model_ = ToyModel(1);
  std::string folder_ = testing::TempDir() + "sessions-XXXXXX";
};

} // namespace stele::test

#endif // STELE_TEST_UNIT_ENGINE_SAVED_SESSIONS_H_
