// The frequencies that #lm.rope describes, against transformers' own
// (test/data/rope) and against the reference's double-precision formulas.

#include "stele/dialects/Lm/LmAttrs.h"
#include "mlir/IR/MLIRContext.h"
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

} // namespace
