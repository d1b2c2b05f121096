// The public API, through the shared library: statuses and messages, sessions
// that share steps, and eight threads on one engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <thread>

#include "stele/stele.hpp"
#include "toy_artifact.h"

namespace {

using stele::Options;
using testing::HasSubstr;

constexpr uint32_t kVocabulary = 17;

class Api : public testing::Test {
protected:
  static void SetUpTestSuite() {
    path_ = testing::TempDir() + std::to_string(getpid()) + "api.stele";
    ASSERT_TRUE(stele::test::WriteToyArtifact(path_));
    paged_path_ = testing::TempDir() + std::to_string(getpid()) + "paged.stele";
    ASSERT_TRUE(stele::test::WritePagedToyArtifact(paged_path_));
  }
  static void TearDownTestSuite() {
    unlink(path_.c_str());
    unlink(paged_path_.c_str());
  }

  static stele_engine_options Sessions(uint32_t count) {
    auto options = Options<stele_engine_options>();
    options.max_sessions = count;
    options.session_tokens = 48;
    return options;
  }

  static std::vector<int32_t> Prompt(int seed) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < 3 + seed; ++i)
      tokens.push_back((seed * 5 + i * 7) % static_cast<int>(kVocabulary));
    return tokens;
  }

  // A sampled answer, which depends on every bit of the logits.
  static std::vector<int32_t> Answer(stele::Engine &engine, int seed) {
    stele::Session session(engine);
    session.Feed(Prompt(seed));
    auto sampling = Options<stele_sampling>();
    sampling.temperature = 2;
    sampling.seed = static_cast<uint64_t>(seed);
    auto options = Options<stele_generate_options>();
    options.max_tokens = 20;
    options.sampling = &sampling;
    options.ignore_eos = 1;
    std::vector<int32_t> tokens;
    const auto reason = session.Generate(
        [&](int32_t token, std::string_view) {
          tokens.push_back(token);
          return true;
        },
        options);
    EXPECT_EQ(reason, STELE_FINISH_LENGTH);
    return tokens;
  }

  static std::string path_, paged_path_;
};

std::string Api::path_, Api::paged_path_;

TEST_F(Api, Versions) {
  EXPECT_EQ(stele_abi_version(), STELE_ABI_VERSION);
  EXPECT_STREQ(stele_version(), "0.1.0");
}

TEST_F(Api, ErrorsHaveMessages) {
  stele_model *model = nullptr;
  EXPECT_EQ(stele_model_open("/nonexistent.stele", nullptr, &model),
            STELE_NOT_FOUND);
  EXPECT_THAT(stele_last_error(), HasSubstr("'/nonexistent.stele'"));
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(stele_model_open(nullptr, nullptr, &model), STELE_INVALID_ARGUMENT);
  stele_model_options options = {}; // struct_size is missing
  EXPECT_EQ(stele_model_open(path_.c_str(), &options, &model),
            STELE_INVALID_ARGUMENT);
  EXPECT_THAT(stele_last_error(), HasSubstr("struct_size is 0"));
  options.struct_size = sizeof options;
  options.device = "abacus";
  EXPECT_EQ(stele_model_open(path_.c_str(), &options, &model),
            STELE_UNSUPPORTED);
  EXPECT_THROW(stele::Model("/nonexistent.stele"), stele::Error);
}

TEST_F(Api, NullIsRefusedEverywhere) {
  EXPECT_EQ(stele_engine_create(nullptr, nullptr, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_engine_step(nullptr, nullptr), STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_create(nullptr, 0, nullptr), STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_feed(nullptr, nullptr, 0), STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_logits(nullptr, nullptr, 0), STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_on_logits(nullptr, nullptr, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_engine_output(nullptr, "x", nullptr, 0, nullptr, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_engine_head_attention(nullptr, 0, 0, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_generate(nullptr, nullptr, nullptr, nullptr, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_tokenize(nullptr, "", 0, nullptr, 0, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_store_open(nullptr, nullptr), STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_store_sessions(nullptr, nullptr, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_store_remove(nullptr, "a"), STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_save(nullptr, nullptr, nullptr, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_load(nullptr, nullptr, nullptr, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_load_prefix(nullptr, nullptr, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_token_ids(nullptr, nullptr, 0, nullptr),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_session_next_seed(nullptr, nullptr), STELE_INVALID_ARGUMENT);
  stele_store_close(nullptr);
  stele_session_cancel(nullptr);
  stele_session_destroy(nullptr);
  stele_engine_destroy(nullptr);
  stele_model_close(nullptr);
}

TEST_F(Api, InfoFillsWhatTheCallerKnows) {
  stele::Model model(path_);
  EXPECT_EQ(model.info().vocabulary, kVocabulary);
  EXPECT_EQ(model.info().context, 64u);
  EXPECT_FALSE(model.info().has_tokenizer);
  stele_model_info older = {};
  older.struct_size = offsetof(stele_model_info, context);
  older.context = 99;
  ASSERT_EQ(stele_model_get_info(model.get(), &older), STELE_OK);
  EXPECT_EQ(older.vocabulary, kVocabulary);
  EXPECT_EQ(older.context, 99u);
  size_t count = 0;
  EXPECT_EQ(stele_tokenize(model.get(), "x", 1, nullptr, 0, &count),
            STELE_FAILED_PRECONDITION);
  EXPECT_THAT(stele_last_error(), HasSubstr("no tokenizer"));
}

TEST_F(Api, StepsServeAllSessions) {
  stele::Model model(path_);
  stele::Engine engine(model, Sessions(2));
  stele::Session first(engine), second(engine);
  first.Feed({1, 2, 3});
  second.Feed({4});
  std::vector<float> early(kVocabulary);
  EXPECT_EQ(stele_session_logits(first.get(), early.data(), early.size()),
            STELE_FAILED_PRECONDITION);
  const auto report = engine.Step();
  EXPECT_EQ(report.tokens, 4u);
  EXPECT_EQ(report.sequences, 2u);
  EXPECT_EQ(first.pending(), 0u);
  EXPECT_EQ(first.Logits(kVocabulary).size(), kVocabulary);
  EXPECT_THROW(first.Logits(5), stele::Error);
  EXPECT_EQ(engine.Step().tokens, 0u);
}

TEST_F(Api, NamedOutputsAndEveryRowOfLogits) {
  stele::Model model(path_);
  stele::Engine engine(model, Sessions(1));
  stele::Session session(engine);
  EXPECT_THROW(engine.ReadOutput("stream"), stele::Error);
  std::vector<uint64_t> positions;
  std::vector<float> rows;
  session.OnLogits([&](uint64_t position, const float *logits, size_t count) {
    positions.push_back(position);
    rows.insert(rows.end(), logits, logits + count);
  });
  session.Feed({1, 2, 3});
  engine.Step();
  EXPECT_THAT(positions, testing::ElementsAre(0, 1, 2));
  const auto logits = engine.ReadOutput("logits");
  EXPECT_EQ(logits.rows, 3u);
  EXPECT_EQ(logits.width, kVocabulary);
  EXPECT_EQ(logits.values, rows);
  const auto stream = engine.ReadOutput("stream");
  EXPECT_EQ(stream.rows, 3u);
  EXPECT_EQ(stream.values.size(), size_t{3} * stream.width);

  session.OnLogits({});
  session.Feed({4, 5});
  engine.Step();
  EXPECT_EQ(positions.size(), 3u);
  EXPECT_EQ(engine.ReadOutput("logits").values, session.Logits(kVocabulary));
  EXPECT_EQ(engine.ReadOutput("stream").rows, 2u);

  uint32_t count = 0, width = 0;
  EXPECT_EQ(
      stele_engine_output(engine.get(), "steam", nullptr, 0, &count, &width),
      STELE_NOT_FOUND);
  EXPECT_EQ(
      stele_engine_output(engine.get(), "stream", nullptr, 1, &count, &width),
      STELE_INVALID_ARGUMENT);
}

// The toy's attention is dense, of which nothing is measured.
TEST_F(Api, HeadsAreMeasuredOnRequest) {
  stele::Model model(path_);
  auto head = Options<stele_head_attention>();
  stele::Engine plain(model, Sessions(1));
  EXPECT_EQ(stele_engine_head_attention(plain.get(), 0, 0, &head),
            STELE_FAILED_PRECONDITION);
  EXPECT_THAT(stele_last_error(), HasSubstr("measure_mass"));
  auto options = Sessions(1);
  options.measure_mass = 1;
  stele::Engine engine(model, options);
  stele::Session session(engine);
  session.Feed({1, 2, 3});
  engine.Step();
  const stele_model_info info = model.info();
  ASSERT_GT(info.heads, 0u);
  head.queries = 99;
  EXPECT_EQ(stele_engine_head_attention(engine.get(), info.layers - 1,
                                        info.heads - 1, &head),
            STELE_OK);
  EXPECT_EQ(head.queries, 0u);
  EXPECT_EQ(head.kept_mass, 0.0);
  EXPECT_EQ(stele_engine_head_attention(engine.get(), 0, info.heads, &head),
            STELE_INVALID_ARGUMENT);
  EXPECT_EQ(stele_engine_head_attention(engine.get(), info.layers, 0, &head),
            STELE_INVALID_ARGUMENT);
  EXPECT_THAT(stele_last_error(), HasSubstr("no head 0 of layer"));
}

TEST_F(Api, AdmissionIsByPlannedMemory) {
  stele::Model model(path_);
  stele::Engine engine(model, Sessions(1));
  uint64_t planned = 0;
  EXPECT_THAT(stele_engine_memory_plan(engine.get(), &planned),
              HasSubstr("KV pages"));
  EXPECT_GT(planned, 0u);
  stele::Session session(engine);
  stele_session *other = nullptr;
  EXPECT_EQ(stele_session_create(engine.get(), 0, &other),
            STELE_RESOURCE_EXHAUSTED);
  EXPECT_EQ(other, nullptr);
}

// As the flags of `stele run`.
TEST_F(Api, MemoryAndAttentionAreEngineOptions) {
  stele::Model model(path_), paged(paged_path_);
  const auto refused = [](const stele::Model &of,
                          const stele_engine_options &options) {
    stele_engine *engine = nullptr;
    const stele_status status =
        stele_engine_create(of.get(), &options, &engine);
    stele_engine_destroy(engine);
    return status;
  };
  auto options = Options<stele_engine_options>();
  options.device_memory = 1024;
  EXPECT_EQ(refused(model, options), STELE_RESOURCE_EXHAUSTED);
  EXPECT_THAT(stele_last_error(), HasSubstr("--device-memory allows 1.0 KiB"));
  options.device_memory = 1 << 20;
  EXPECT_EQ(refused(model, options), STELE_OK);

  options = Options<stele_engine_options>();
  options.memory = 1024;
  EXPECT_EQ(refused(paged, options), STELE_RESOURCE_EXHAUSTED);
  EXPECT_THAT(stele_last_error(), HasSubstr("--host-memory allows 1.0 KiB"));
  options.memory = 2048; // of 6 KiB: the others go to a file
  const std::string folder = path_ + "/pages"; // inside a file
  options.cold_folder = folder.c_str();
  stele::Engine engine(paged, options);
  stele_session *session = nullptr;
  EXPECT_EQ(stele_session_create(engine.get(), 0, &session), STELE_UNAVAILABLE);
  EXPECT_THAT(stele_last_error(), HasSubstr(folder));

  options = Options<stele_engine_options>();
  options.hot_window = 4;
  EXPECT_EQ(refused(paged, options), STELE_INVALID_ARGUMENT);
  options.hot_window = 16;
  EXPECT_THAT(
      stele_engine_memory_plan(stele::Engine(paged, options).get(), nullptr),
      HasSubstr("last 16 tokens"));

  options = Options<stele_engine_options>();
  options.attention = STELE_ATTENTION_DENSE;
  EXPECT_EQ(refused(model, options), STELE_OK);
  options.attention = STELE_ATTENTION_SPARSE;
  EXPECT_EQ(refused(model, options), STELE_UNSUPPORTED);
  options.attention = STELE_ATTENTION_COMPILED;
  options.density = 2;
  EXPECT_EQ(refused(model, options), STELE_INVALID_ARGUMENT);
}

TEST_F(Api, ObjectsMayEndInAnyOrder) {
  auto model = std::make_unique<stele::Model>(path_);
  auto engine = std::make_unique<stele::Engine>(*model, Sessions(1));
  stele::Session session(*engine);
  model.reset();
  engine.reset();
}

TEST_F(Api, GenerateNeedsATokenToStartFrom) {
  stele::Model model(path_);
  stele::Engine engine(model, Sessions(1));
  stele::Session session(engine);
  EXPECT_THROW(session.Generate([](auto...) { return true; }), stele::Error);
}

TEST_F(Api, TheCallbackAndCancelEndAnAnswer) {
  stele::Model model(path_);
  stele::Engine engine(model, Sessions(1));
  stele::Session session(engine);
  session.Feed({5, 3});
  auto options = Options<stele_generate_options>();
  options.ignore_eos = 1;
  int seen = 0;
  EXPECT_EQ(session.Generate([&](auto...) { return ++seen < 3; }, options),
            STELE_FINISH_CALLBACK);
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(session.Generate(
                [&](auto...) {
                  session.Cancel(); // no lock is held
                  return true;
                },
                options),
            STELE_FINISH_CANCELLED);
  session.Resume();
  options.max_tokens = 2;
  EXPECT_EQ(session.Generate([](auto...) { return true; }, options),
            STELE_FINISH_LENGTH);
}

TEST_F(Api, LookupGivesTheSameTokensAndCanBeEndedAnywhere) {
  stele::Model model(path_);
  auto engine_options = Sessions(1);
  engine_options.draft_tokens = 3;
  stele::Engine engine(model, engine_options);
  auto options = Options<stele_generate_options>();
  options.ignore_eos = 1;
  options.max_tokens = 24;
  // Ends after `first` tokens, and goes on to the end from there.
  const auto answer = [&](uint32_t lookup, size_t first) {
    stele::Session session(engine);
    session.Feed({5, 3, 1, 5, 3, 1});
    options.lookup = lookup;
    std::vector<int32_t> tokens;
    const auto take = [&](int32_t token, auto...) {
      tokens.push_back(token);
      return tokens.size() != first;
    };
    if (first < 24) {
      EXPECT_EQ(session.Generate(take, options), STELE_FINISH_CALLBACK);
      uint64_t fed = 0, pending = 0;
      EXPECT_EQ(stele_session_tokens(session.get(), &fed, &pending), STELE_OK);
      EXPECT_EQ(fed, 6 + first);
      EXPECT_LE(pending, 1u); // none when the step behind it was made, too
    }
    while (tokens.size() < 24)
      session.Generate(take, options);
    tokens.resize(24);
    uint64_t drafted = 0, accepted = 0;
    EXPECT_EQ(stele_session_drafts(session.get(), &drafted, &accepted),
              STELE_OK);
    EXPECT_EQ(accepted > 0, lookup > 0);
    EXPECT_LE(accepted, drafted);
    return tokens;
  };
  const auto expected = answer(0, 24);
  for (size_t first = 1; first <= 24; ++first)
    EXPECT_EQ(answer(3, first), expected) << first;
  options.lookup = 4;
  stele::Session session(engine);
  session.Feed({5});
  EXPECT_THROW(session.Generate([](auto...) { return true; }, options),
               stele::Error);
}

TEST_F(Api, EightThreadsGetTheAnswersThatOneGets) {
  constexpr int kThreads = 8;
  stele::Model model(path_);
  std::vector<std::vector<int32_t>> alone;
  for (int i = 0; i < kThreads; ++i) {
    stele::Engine engine(model, Sessions(1));
    alone.push_back(Answer(engine, i));
  }
  stele::Engine engine(model, Sessions(kThreads));
  std::vector<std::vector<int32_t>> together(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] { together[i] = Answer(engine, i); });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(together, alone);
}

TEST_F(Api, EnginesOfOneModelMayRunAtTheSameTime) {
  stele::Model model(path_);
  std::vector<std::vector<int32_t>> alone(3), together(3);
  for (int i = 0; i < 3; ++i) {
    stele::Engine engine(model, Sessions(1));
    alone[i] = Answer(engine, i);
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      stele::Engine engine(model, Sessions(1));
      together[i] = Answer(engine, i);
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(together, alone);
}

TEST_F(Api, ThreadsMayCancelEachOther) {
  stele::Model model(path_);
  stele::Engine engine(model, Sessions(2));
  stele::Session first(engine), second(engine);
  std::atomic<bool> started{false};
  std::thread canceller([&] {
    while (!started)
      std::this_thread::yield();
    first.Cancel();
  });
  first.Feed({1});
  second.Feed({2});
  auto options = Options<stele_generate_options>();
  options.ignore_eos = 1;
  const auto reason = first.Generate(
      [&](auto...) {
        started = true;
        return true;
      },
      options);
  canceller.join();
  EXPECT_TRUE(reason == STELE_FINISH_CANCELLED ||
              reason == STELE_FINISH_LENGTH);
  options.max_tokens = 3;
  EXPECT_EQ(second.Generate([](auto...) { return true; }, options),
            STELE_FINISH_LENGTH);
}

TEST_F(Api, TheLogGoesToTheCallback) {
  stele_set_log(
      STELE_LOG_INFO, [](void *, stele_log_level, const char *) {}, nullptr);
  stele_set_log(STELE_LOG_WARNING, nullptr, nullptr);
}

// A session is saved from the callback, in the middle of an answer; another
// engine loads it and goes on with the rest.
TEST_F(Api, SessionsOutlastTheirEngine) {
  const std::string folder =
      testing::TempDir() + std::to_string(getpid()) + "api-store";
  auto sampling = Options<stele_sampling>();
  sampling.temperature = 2;
  sampling.seed = 5;
  auto options = Options<stele_generate_options>();
  options.max_tokens = 14;
  options.sampling = &sampling;
  options.ignore_eos = 1;
  stele::Model model(path_);
  stele::Store store(folder);
  EXPECT_TRUE(store.Sessions().empty());
  std::vector<int32_t> whole;
  stele_store_report saved = {};
  {
    stele::Engine engine(model, Sessions(1));
    stele::Session session(engine);
    session.Feed(Prompt(4));
    session.Generate(
        [&](int32_t token, std::string_view) {
          whole.push_back(token);
          if (whole.size() == 5)
            saved = session.Save(store, "a");
          return true;
        },
        options);
  }
  EXPECT_EQ(whole.size(), 14u);
  EXPECT_EQ(saved.pages_written, 3u); // 11 tokens in blocks of 4
  EXPECT_EQ(store.Sessions(), std::vector<std::string>{"a"});

  stele::Engine engine(model, Sessions(2));
  stele::Session session(engine);
  const stele_store_report loaded = session.Load(store, "a");
  EXPECT_EQ(loaded.pages_read, 3u);
  EXPECT_EQ(loaded.tokens_reused, 11u);
  EXPECT_EQ(session.pending(), 1u); // the fifth token
  EXPECT_EQ(session.TokenIds().back(), whole[4]);
  std::vector<int32_t> tokens(whole.begin(), whole.begin() + 5);
  sampling.seed = session.next_seed();
  options.max_tokens = 9;
  session.Generate(
      [&](int32_t token, std::string_view) {
        tokens.push_back(token);
        return true;
      },
      options);
  EXPECT_EQ(tokens, whole);

  stele::Session other(engine);
  other.Feed(Prompt(4));
  EXPECT_EQ(other.LoadPrefix(store).tokens_reused, 4u);
  try {
    other.Load(store, "a");
    FAIL() << "loaded into a session with tokens";
  } catch (const stele::Error &error) {
    EXPECT_EQ(error.status(), STELE_FAILED_PRECONDITION);
  }
  store.Remove("a");
  EXPECT_THROW(store.Remove("a"), stele::Error);
  EXPECT_THROW(session.Save(store, "../a"), stele::Error);
  std::filesystem::remove_all(folder);
}

} // namespace
