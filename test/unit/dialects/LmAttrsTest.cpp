// The numbers that attributes describe: rotary frequencies against
// transformers' own (test/data/rope) and the reference's formulas, random
// features by the laws that FAVOR+ rests on.

#include "mlir/IR/MLIRContext.h"
#include "stele/dialects/Lm/LmConstants.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "stele/dialects/Lm/reference/Reference.h"
#include "gmock/gmock.h"
#include <fstream>
#include <nlohmann/json.hpp>

using namespace stele::lm;
using nlohmann::json;

namespace {

class LmAttrs : public testing::Test {
protected:
  LmAttrs() { context.loadDialect<LmDialect>(); }

  /// The scaling of one golden case in both forms. transformers resolves YaRN's
  /// attention factor; the goldens carry it.
  mlir::Attribute makeScaling(const json &golden,
                              reference::RopeScaling &plain) {
    const json &p = golden["parameters"];
    std::string kind = p["rope_type"];
    plain.factor = p.value("factor", 1.0);
    plain.original = p.value("original_max_position_embeddings",
                             golden["context"].get<double>());
    plain.lowFreqFactor = p.value("low_freq_factor", 1.0);
    plain.highFreqFactor = p.value("high_freq_factor", 4.0);
    plain.betaFast = p.value("beta_fast", 32.0);
    plain.betaSlow = p.value("beta_slow", 1.0);
    plain.truncate = p.value("truncate", true);
    int64_t original = static_cast<int64_t>(plain.original);
    if (kind == "linear") {
      plain.kind = reference::RopeScaling::Linear;
      return LinearScalingAttr::get(&context, plain.factor);
    }
    if (kind == "llama3") {
      plain.kind = reference::RopeScaling::Llama3;
      return Llama3ScalingAttr::get(&context, plain.factor, plain.lowFreqFactor,
                                    plain.highFreqFactor, original);
    }
    if (kind == "yarn") {
      plain.kind = reference::RopeScaling::Yarn;
      return YarnScalingAttr::get(&context, plain.factor, original,
                                  golden["attention_factor"].get<double>(),
                                  plain.betaFast, plain.betaSlow,
                                  plain.truncate);
    }
    EXPECT_EQ(kind, "default");
    return {};
  }

  mlir::MLIRContext context;
};

TEST_F(LmAttrs, FrequenciesAreThoseOfTransformers) {
  std::ifstream file(STELE_SOURCE_DIR "/test/data/rope/goldens.json");
  json goldens = json::parse(file);
  std::set<std::string> kinds;
  for (const json &golden : goldens["cases"]) {
    reference::RopeScaling plain;
    mlir::Attribute scaling = makeScaling(golden, plain);
    const json &p = golden["parameters"];
    kinds.insert(p["rope_type"].get<std::string>());
    SCOPED_TRACE(p.dump());
    double theta = p["rope_theta"];
    int64_t dims = golden["head_dim"];
    auto rope = RopeAttr::get(&context, theta, dims, scaling, DualChunkAttr());
    auto frequencies = inverseFrequencies(rope);
    auto formula = reference::ropeFrequencies(theta, dims, plain);
    std::vector<float> expected = golden["inv_freq"];
    ASSERT_EQ(frequencies.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      // Two units in the last place: torch's pow is not correctly rounded.
      EXPECT_NEAR(frequencies[i], expected[i], 2.5e-7 * expected[i]) << i;
      EXPECT_NEAR(formula[i], expected[i], 1e-6 * expected[i]) << i;
    }
    EXPECT_DOUBLE_EQ(attentionFactor(rope),
                     golden["attention_factor"].get<double>());
  }
  EXPECT_THAT(kinds, testing::UnorderedElementsAre("default", "linear",
                                                   "llama3", "yarn"));
}

TEST_F(LmAttrs, FactorsDivideEachFrequency) {
  auto factors = FactorScalingAttr::get(&context, {Real(1.0), Real(8.0)});
  auto plain =
      inverseFrequencies(RopeAttr::get(&context, 1e4, 4, {}, DualChunkAttr()));
  auto scaled = inverseFrequencies(
      RopeAttr::get(&context, 1e4, 4, factors, DualChunkAttr()));
  EXPECT_EQ(scaled[0], plain[0]);
  EXPECT_EQ(scaled[1], plain[1] / 8);
}

//===----------------------------------------------------------------------===//
// Random features
//===----------------------------------------------------------------------===//

TEST_F(LmAttrs, OrthogonalFeaturesAreOrthogonalAndGaussianLong) {
  constexpr int64_t kDim = 16, kFeatures = 4096;
  auto features = randomFeatures(
      FeatureMapAttr::get(&context, FeatureMapKind::FavorPlus, kFeatures,
                          /*orthogonal=*/true, /*seed=*/3),
      kDim);
  auto dot = [&](int64_t a, int64_t b) {
    double sum = 0;
    for (int64_t d = 0; d < kDim; ++d)
      sum += double(features[a * kDim + d]) * features[b * kDim + d];
    return sum;
  };
  double squares = 0;
  for (int64_t f = 0; f < kFeatures; ++f) {
    squares += dot(f, f);
    for (int64_t other = f / kDim * kDim; other < f; ++other)
      EXPECT_NEAR(dot(f, other), 0, 1e-4);
  }
  // |w|^2 is chi-squared with kDim degrees: mean kDim, here within 4
  // deviations.
  EXPECT_NEAR(squares / kFeatures, kDim, 4 * std::sqrt(2.0 * kDim / kFeatures));
}

TEST_F(LmAttrs, FeaturesFollowTheSeed) {
  auto make = [&](uint64_t seed) {
    return randomFeatures(FeatureMapAttr::get(&context,
                                              FeatureMapKind::FavorPlus, 8,
                                              /*orthogonal=*/false, seed),
                          4);
  };
  EXPECT_EQ(make(1), make(1));
  EXPECT_NE(make(1), make(2));
  // Frozen: an artifact compiled anywhere has these.
  EXPECT_FLOAT_EQ(make(0)[0], -0.45275774f);
}

/// E[phi(q) . phi(k)] = exp(q . k), which is why the features work at all.
TEST_F(LmAttrs, FeaturesEstimateTheExponential) {
  constexpr int64_t kDim = 8, kFeatures = 16384;
  std::vector<double> q = {.3, -.2, .5, .1, 0, .4, -.6, .2};
  std::vector<double> k = {.1, .2, .3, -.5, .6, .2, -.1, -.3};
  double product = 0, norms = 0;
  for (int64_t d = 0; d < kDim; ++d) {
    product += q[d] * k[d];
    norms += (q[d] * q[d] + k[d] * k[d]) / 2;
  }
  for (bool orthogonal : {false, true}) {
    auto features =
        randomFeatures(FeatureMapAttr::get(&context, FeatureMapKind::FavorPlus,
                                           kFeatures, orthogonal, /*seed=*/5),
                       kDim);
    double sum = 0;
    for (int64_t f = 0; f < kFeatures; ++f) {
      double exponent = -norms;
      for (int64_t d = 0; d < kDim; ++d)
        exponent += features[f * kDim + d] * (q[d] + k[d]);
      sum += std::exp(exponent);
    }
    EXPECT_NEAR(sum / kFeatures, std::exp(product), 0.05) << orthogonal;
  }
}

} // namespace
