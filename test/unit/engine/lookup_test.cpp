// Drafts from the context: the answer is the one without them, whatever the
// sampling, the batch and the end, in fewer steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "artifact_builder.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/generation.h"
#include "stele/runtime/engine/prompt_lookup.h"
#include "test_kernels.h"

namespace stele::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int32_t> Draft(std::vector<int32_t> tokens, size_t most) {
  std::vector<int32_t> draft(most);
  draft.resize(PromptLookup(tokens, draft));
  return draft;
}

TEST(PromptLookup, GoesOnWhereTheLastTokensStoodBefore) {
  EXPECT_THAT(Draft({1, 2, 3, 4, 5, 9, 1, 2, 3}, 2), ElementsAre(4, 5));
  // Three tokens before two, the later place before the earlier.
  EXPECT_THAT(Draft({1, 2, 3, 4, 7, 2, 3, 5, 1, 2, 3}, 1), ElementsAre(4));
  EXPECT_THAT(Draft({2, 3, 4, 7, 2, 3, 5, 1, 2, 3}, 1), ElementsAre(5));
  EXPECT_THAT(Draft({1, 2, 3, 4, 5, 3, 4}, 9),
              ElementsAre(5, 3, 4, 5, 3, 4, 5, 3, 4));
  EXPECT_THAT(Draft({7, 7, 7, 7}, 3), ElementsAre(7, 7, 7));
  EXPECT_THAT(Draft({1, 2, 3, 4}, 3), ElementsAre());
  EXPECT_THAT(Draft({1, 1}, 3), ElementsAre());
  EXPECT_THAT(Draft({}, 3), ElementsAre());
  EXPECT_THAT(Draft({1, 2, 1, 2}, 0), ElementsAre());
}

struct Answer {
  std::vector<int32_t> tokens;
  FinishReason reason;
  std::vector<int32_t> fed; // what the session holds afterwards
  bool operator==(const Answer &) const = default;
};

struct Batch {
  std::vector<Answer> answers;
  int steps = 0;
  Session::Drafts drafts;
};

// Prompts that repeat themselves, as many as `count`.
std::vector<int32_t> Prompt(int seed) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 9 + seed; ++i)
    tokens.push_back((seed + i % 4 * 3) % kVocabulary);
  return tokens;
}

// Answers of `count` sessions in one batch.
Batch Answers(const std::shared_ptr<Model> &model, GenerationOptions options,
              int count = 1, uint32_t chunk = 0, uint64_t session_tokens = 40) {
  EngineOptions engine_options;
  engine_options.max_sessions = count;
  engine_options.chunk = chunk;
  engine_options.draft_tokens = options.lookup;
  auto engine = *Engine::Create(model, engine_options);
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<std::unique_ptr<Generation>> generations;
  for (int i = 0; i < count; ++i) {
    sessions.push_back(*engine->NewSession(session_tokens));
    EXPECT_TRUE(sessions.back()->Feed(Prompt(i)).ok());
    generations.push_back(
        *Generation::Create(*model, nullptr, sessions.back().get(), options));
    options.sampling.seed += 1000;
  }
  Batch batch;
  for (;; ++batch.steps) {
    auto report = engine->Step();
    EXPECT_TRUE(report.ok()) << report.status().message();
    if (!report.ok() || report->tokens == 0)
      break;
    for (auto &generation : generations)
      EXPECT_TRUE(generation->Advance().ok());
  }
  for (int i = 0; i < count; ++i) {
    batch.answers.push_back({generations[i]->tokens(),
                             generations[i]->finish_reason(),
                             sessions[i]->tokens()});
    batch.drafts.drafted += sessions[i]->drafts().drafted;
    batch.drafts.accepted += sessions[i]->drafts().accepted;
  }
  return batch;
}

std::vector<SamplingOptions> Samplings() {
  SamplingOptions greedy, warm, filtered, penalised;
  warm.temperature = 0.8f;
  filtered.temperature = 1.5f;
  filtered.top_k = 9;
  filtered.top_p = 0.9f;
  filtered.min_p = 0.02f;
  penalised.temperature = 0.6f;
  penalised.repetition_penalty = 1.3f;
  return {greedy, warm, filtered, penalised};
}

TEST(Lookup, ChangesNoToken) {
  auto model = ToyModel(2);
  Session::Drafts drafts;
  for (SamplingOptions sampling : Samplings())
    for (uint64_t seed = 0; seed < 12; ++seed)
      for (uint32_t lookup : {1u, 2u, 3u}) {
        GenerationOptions options;
        options.sampling = sampling;
        options.sampling.seed = seed;
        options.max_tokens = 24;
        const Batch plain = Answers(model, options);
        options.lookup = lookup;
        const Batch drafting = Answers(model, options);
        ASSERT_EQ(drafting.answers[0], plain.answers[0])
            << "temperature " << sampling.temperature << " seed " << seed;
        EXPECT_LE(drafting.steps, plain.steps);
        drafts.drafted += drafting.drafts.drafted;
        drafts.accepted += drafting.drafts.accepted;
      }
  // Both ways were gone.
  EXPECT_GT(drafts.accepted, 0u);
  EXPECT_LT(drafts.accepted, drafts.drafted);
}

TEST(Lookup, ChangesNoTokenInABatchHoweverItIsChunked) {
  auto model = ToyModel(2);
  uint64_t accepted = 0;
  for (float temperature : {0.0f, 0.7f}) {
    GenerationOptions options;
    options.ignore_eos = true;
    options.max_tokens = 20;
    options.sampling.temperature = temperature;
    const Batch plain = Answers(model, options, 5);
    options.lookup = 3;
    for (uint32_t chunk : {0u, 1u, 2u, 5u}) {
      const Batch drafting = Answers(model, options, 5, chunk);
      EXPECT_EQ(drafting.answers, plain.answers) << "chunk " << chunk;
      accepted += drafting.drafts.accepted;
    }
  }
  EXPECT_GT(accepted, 0u);
}

TEST(Lookup, TakesFewerStepsWhereTheTextRepeats) {
  GenerationOptions options;
  options.ignore_eos = true; // greedy: the toy falls into a loop
  options.max_tokens = 24;
  const Batch plain = Answers(ToyModel(1), options);
  options.lookup = 3;
  const Batch drafting = Answers(ToyModel(1), options);
  EXPECT_EQ(drafting.answers, plain.answers);
  EXPECT_EQ(drafting.steps, plain.steps - int(drafting.drafts.accepted));
  EXPECT_LT(drafting.steps, plain.steps * 3 / 4);
}

TEST(Lookup, EndsWhereTheSessionIsFull) {
  auto model = ToyModel(1);
  GenerationOptions options;
  options.ignore_eos = true;
  for (uint64_t tokens = 10; tokens < 18; ++tokens) {
    options.lookup = 0;
    const Batch plain = Answers(model, options, 1, 0, tokens);
    options.lookup = 3;
    EXPECT_EQ(Answers(model, options, 1, 0, tokens).answers, plain.answers);
  }
}

// The second token after a fixed prompt has the probabilities that the logits
// give it, when a draft guessed it, too.
TEST(Lookup, KeepsTheDistribution) {
  auto model = ToyModel(1);
  constexpr int kRuns = 4000;
  GenerationOptions options;
  options.ignore_eos = true;
  options.sampling.temperature = 1.2f;
  options.max_tokens = 3;
  const auto count = [&](uint32_t lookup, uint64_t first_seed) {
    EngineOptions engine_options;
    engine_options.draft_tokens = lookup;
    auto engine = *Engine::Create(model, engine_options);
    auto session = *engine->NewSession(20);
    options.lookup = lookup;
    std::vector<double> counts(kVocabulary * kVocabulary);
    for (int run = 0; run < kRuns; ++run) {
      options.sampling.seed = first_seed + run;
      EXPECT_TRUE(session->Truncate(0).ok());
      EXPECT_TRUE(session->Feed(Prompt(0)).ok());
      auto generation =
          *Generation::Create(*model, nullptr, session.get(), options);
      while (!generation->done()) {
        EXPECT_TRUE(engine->Step().ok());
        EXPECT_TRUE(generation->Advance().ok());
      }
      const auto &tokens = generation->tokens();
      ++counts[tokens[1] * kVocabulary + tokens[2]];
    }
    return std::pair(counts, session->drafts());
  };
  const auto [plain, none] = count(0, 0);
  const auto [drafting, drafts] = count(2, 1'000'000); // other draws
  EXPECT_GT(drafts.accepted, 0u);
  EXPECT_LT(drafts.accepted, drafts.drafted);
  // Two samples of one distribution: the statistic is chi-square.
  double statistic = 0;
  int cells = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double sum = plain[i] + drafting[i];
    if (sum < 10)
      continue;
    statistic += (plain[i] - drafting[i]) * (plain[i] - drafting[i]) / sum;
    ++cells;
  }
  ASSERT_GT(cells, 10);
  // Four standard deviations above its mean.
  EXPECT_LT(statistic, cells + 4 * std::sqrt(2.0 * cells));
}

TEST(Lookup, CancelledForgetsDrafts) {
  auto model = ToyModel(1);
  EngineOptions engine_options;
  engine_options.draft_tokens = 3;
  auto engine = *Engine::Create(model, engine_options);
  auto session = *engine->NewSession(40);
  ASSERT_TRUE(session->Feed(Prompt(0)).ok());
  GenerationOptions options;
  options.ignore_eos = true;
  options.lookup = 3;
  auto generation =
      *Generation::Create(*model, nullptr, session.get(), options);
  while (session->pending() != 4) { // a token and three drafts
    ASSERT_FALSE(generation->done());
    ASSERT_TRUE(engine->Step().ok());
    ASSERT_TRUE(generation->Advance().ok());
  }
  session->Cancel();
  ASSERT_TRUE(generation->Advance().ok());
  EXPECT_EQ(generation->finish_reason(), FinishReason::kCancelled);
  EXPECT_EQ(session->pending(), 1u);
  EXPECT_EQ(session->tokens().size(),
            Prompt(0).size() + generation->tokens().size());
  EXPECT_EQ(session->tokens().back(), generation->tokens().back());
}

TEST(Lookup, NeedsThePlannedRows) {
  auto model = ToyModel(1);
  EngineOptions engine_options;
  engine_options.draft_tokens = 2;
  auto engine = *Engine::Create(model, engine_options);
  auto session = *engine->NewSession(40);
  GenerationOptions options;
  options.lookup = 3;
  EXPECT_THAT(Generation::Create(*model, nullptr, session.get(), options)
                  .status()
                  .message(),
              HasSubstr("drafts of 3 tokens, but the engine plans for 2"));
  EXPECT_THAT(session->Feed(Prompt(0), 4).message(),
              HasSubstr("logits of 4 tokens, but 9 are pending and memory is "
                        "planned for 3"));
  engine_options.draft_tokens = 257;
  EXPECT_THAT(Engine::Create(model, engine_options).status().message(),
              HasSubstr("257 drafted tokens; at most 256"));
}

} // namespace
} // namespace stele::test
