// Sampling: each filter alone, determinism, and the law of the draws.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "stele/runtime/engine/sampler.h"

namespace stele {
namespace {

const std::vector<float> kLogits = {1, 3, 2, 0, 3};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::map<int32_t, int> Draws(const SamplingOptions &options, int count = 4000) {
  Sampler sampler(options);
  SamplerScratch scratch(kLogits.size());
  std::map<int32_t, int> counts;
  for (int i = 0; i < count; ++i)
    ++counts[sampler.Sample(kLogits, {}, scratch)];
  return counts;
}

int32_t Once(const SamplingOptions &options, std::span<const float> logits,
             std::span<const int32_t> history) {
  SamplerScratch scratch(logits.size());
  return Sampler(options).Sample(logits, history, scratch);
}

SamplingOptions Warm() {
  SamplingOptions options;
  options.temperature = 1;
  return options;
}

TEST(Sampler, GreedyTakesTheFirstLargest) {
  EXPECT_EQ(Once({}, kLogits, {}), 1);
  EXPECT_EQ(ArgMax(std::vector<float>{kNan, 1, kNan, 2}), 3);
  EXPECT_EQ(ArgMax(std::vector<float>{kNan, kNan}), 0);
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  const auto counts = Draws(Warm(), 40000);
  double sum = 0;
  for (float logit : kLogits)
    sum += std::exp(logit);
  for (size_t i = 0; i < kLogits.size(); ++i) {
    const double expected = std::exp(kLogits[i]) / sum;
    const double deviation = std::sqrt(expected * (1 - expected) / 40000);
    EXPECT_NEAR(counts.at(static_cast<int32_t>(i)) / 40000.0, expected,
                5 * deviation);
  }
}

TEST(Sampler, TheSeedDecides) {
  SamplingOptions options = Warm();
  const auto draw = [&](uint64_t seed) {
    options.seed = seed;
    Sampler sampler(options);
    SamplerScratch scratch(kLogits.size());
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i)
      tokens.push_back(sampler.Sample(kLogits, {}, scratch));
    return tokens;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

TEST(Sampler, TopKKeepsTheBest) {
  SamplingOptions options = Warm();
  options.top_k = 3;
  const auto counts = Draws(options);
  EXPECT_EQ(counts.size(), 3u);
  EXPECT_TRUE(counts.count(1) && counts.count(2) && counts.count(4));
  options.top_k = 1;
  EXPECT_EQ(Draws(options).size(), 1u);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  SamplingOptions options = Warm();
  options.top_p = 0.5f; // token 1 has 0.40, tokens 1 and 4 have 0.80
  const auto counts = Draws(options);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts.count(1) && counts.count(4));
  options.top_p = 1e-6f;
  EXPECT_EQ(Draws(options).size(), 1u);
}

TEST(Sampler, MinPKeepsWhatIsLikelyEnough) {
  SamplingOptions options = Warm();
  options.min_p = 0.3f; // e^-1 = 0.37 of the best stays, e^-2 = 0.14 goes
  const auto counts = Draws(options);
  EXPECT_EQ(counts.size(), 3u);
  EXPECT_FALSE(counts.count(0) || counts.count(3));
}

TEST(Sampler, RepetitionPenaltyCountsATokenOnce) {
  SamplingOptions options;
  options.repetition_penalty = 1.2f;
  const std::vector<int32_t> history = {1, 1, 1};
  EXPECT_EQ(Once(options, kLogits, history), 4);
  // 3 / 1.2 = 2.5 stays above 2; three times over it would not.
  const std::vector<int32_t> both = {1, 1, 1, 4};
  EXPECT_EQ(Once(options, kLogits, both), 1);
  const std::vector<float> negative = {-1, -1.1f};
  const std::vector<int32_t> first = {0};
  EXPECT_EQ(Once(options, negative, first), 1);
}

TEST(Sampler, OptionsAreChecked) {
  EXPECT_TRUE(SamplingOptions().Validate().ok());
  SamplingOptions options;
  options.temperature = kNan;
  EXPECT_THAT(options.Validate().message(), testing::HasSubstr("temperature"));
  options = {};
  options.top_p = 0;
  EXPECT_FALSE(options.Validate().ok());
  options = {};
  options.min_p = 2;
  EXPECT_FALSE(options.Validate().ok());
  options = {};
  options.repetition_penalty = -1;
  EXPECT_FALSE(options.Validate().ok());
}

} // namespace
} // namespace stele
