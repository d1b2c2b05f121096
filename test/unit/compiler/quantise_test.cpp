// The quantiser against what its formula promises; values are dequantised here,
// from quant_format.h's formula alone.

#include "stele/compiler/Quantise/Quantise.h"
#include "llvm/Support/Error.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>

using namespace stele;
using compiler::RoundingOptions;
using schema::QuantFormat;
using Real = QuantFormat::Real;

namespace {

constexpr QuantFormat kFormats[] = {
    {4, 32, Real::kF16, Real::kNone},  {4, 64, Real::kF16, Real::kF16},
    {4, 128, Real::kF32, Real::kF32},  {8, 32, Real::kF16, Real::kNone},
    {8, 128, Real::kF32, Real::kNone}, {8, 16, Real::kF16, Real::kF32}};

struct Result {
  checkpoint::QuantRows rows;
  std::vector<float> values;
  double squaredError = 0;
  double worstShare = 0; // of half a step
};

Result quantise(const QuantFormat &format, const RoundingOptions &options,
                const std::vector<float> &values, int64_t columns) {
  Result result;
  int64_t count = int64_t(values.size()) / columns;
  int64_t groups = (columns + format.group - 1) / format.group;
  llvm::cantFail(compiler::quantise(format, options, count, columns,
                                    values.data(), result.rows));
  EXPECT_EQ(result.rows.codes.size(), values.size());
  EXPECT_EQ(int64_t(result.rows.scales.size()), count * groups);
  EXPECT_EQ(result.rows.offsets.size(),
            format.offset == Real::kNone ? 0 : result.rows.scales.size());
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t row = i / columns, column = i % columns;
    int64_t group = row * groups + column / format.group;
    double scale = result.rows.scales[group];
    unsigned code = result.rows.codes[i];
    EXPECT_LT(code, 1u << format.bits);
    double value = format.offset == Real::kNone
                       ? scale * (double(code) - (1 << (format.bits - 1)))
                       : scale * code + result.rows.offsets[group];
    double error = std::fabs(value - values[i]);
    result.values.push_back(value);
    result.squaredError += error * error;
    result.worstShare =
        std::max(result.worstShare, error / (std::fabs(scale) / 2));
  }
  return result;
}

std::vector<float> gaussian(int64_t count, float scale, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

/// Whether an f16 holds it: 11 significant bits, not below 2^-24.
bool isHalf(float x) {
  if (x == 0)
    return true;
  int exponent;
  float mantissa = std::frexp(std::fabs(x), &exponent);
  int bits = std::min(11, exponent + 24);
  float scaled = std::ldexp(mantissa, bits);
  return std::fabs(x) <= 65504 && scaled == std::floor(scaled);
}

TEST(Quantise, NearestIsWithinHalfAStep) {
  for (const QuantFormat &format : kFormats)
    for (float scale : {1e-3f, 0.02f, 1.0f, 300.0f}) {
      Result result =
          quantise(format, {}, gaussian(7 * 576, scale), /*columns=*/576);
      EXPECT_LE(result.worstShare, 1.001) << format.bits << " " << scale;
      EXPECT_GT(result.worstShare, 0.9); // a step is no wider than it must be
    }
}

TEST(Quantise, RaggedGroupsHaveScalesOfTheirOwn) {
  // 40 columns in groups of 32: the 8 of the last group are 100 times smaller.
  std::vector<float> values = gaussian(3 * 40, 1);
  for (size_t i = 0; i < values.size(); ++i)
    if (i % 40 >= 32)
      values[i] /= 100;
  for (QuantFormat format : kFormats) {
    format.group = 32;
    Result result = quantise(format, {}, values, 40);
    EXPECT_LE(result.worstShare, 1.001);
    for (int row = 0; row < 3; ++row)
      EXPECT_LT(result.rows.scales[2 * row + 1],
                result.rows.scales[2 * row] / 10);
  }
}

TEST(Quantise, ClippingNeverLosesAndMostlyWins) {
  for (QuantFormat format : kFormats)
    for (unsigned seed = 0; seed < 20; ++seed) {
      // One group at a time, so that each must hold.
      std::vector<float> values = gaussian(format.group, 0.02f, seed);
      Result nearest = quantise(format, {}, values, format.group);
      Result clipped =
          quantise(format, {.clipped = true}, values, format.group);
      EXPECT_LE(clipped.squaredError, nearest.squaredError * (1 + 1e-5));
      if (format.bits == 4 && seed == 0)
        EXPECT_LT(clipped.squaredError, nearest.squaredError);
    }
}

TEST(Quantise, ImportanceDrawsPrecision) {
  QuantFormat format{4, 64, Real::kF16, Real::kF16};
  std::vector<float> values = gaussian(64, 1), importance(64, 1.0f);
  for (int i = 0; i < 8; ++i)
    importance[i] = 1000;
  auto errorOfFirst = [&](const Result &result) {
    double sum = 0;
    for (int i = 0; i < 8; ++i)
      sum += std::pow(result.values[i] - values[i], 2);
    return sum;
  };
  Result plain = quantise(format, {.clipped = true}, values, 64);
  Result weighted =
      quantise(format, {.clipped = true, .importance = importance}, values, 64);
  EXPECT_LT(errorOfFirst(weighted), errorOfFirst(plain));
}

TEST(Quantise, PerChannelRepeatsOneScale) {
  QuantFormat format{8, 32, Real::kF16, Real::kNone};
  Result result =
      quantise(format, {.perChannel = true}, gaussian(2 * 100, 1), 100);
  for (int row = 0; row < 2; ++row)
    for (int group = 1; group < 4; ++group)
      EXPECT_EQ(result.rows.scales[4 * row + group],
                result.rows.scales[4 * row]);
  EXPECT_NE(result.rows.scales[0], result.rows.scales[4]);
  EXPECT_LE(result.worstShare, 1.001);
}

TEST(Quantise, ZerosStayZero) {
  for (const QuantFormat &format : kFormats)
    for (bool clipped : {false, true}) {
      Result result = quantise(format, {.clipped = clipped},
                               std::vector<float>(2 * 576, 0.0f), 576);
      for (float value : result.values)
        EXPECT_EQ(value, 0.0f);
    }
}

TEST(Quantise, ConstantGroupsAreKept) {
  for (const QuantFormat &format : kFormats)
    for (float constant : {0.75f, -3.3f, 1e-4f})
      for (bool clipped : {false, true}) {
        Result result = quantise(format, {.clipped = clipped},
                                 std::vector<float>(64, constant), 64);
        for (float value : result.values)
          EXPECT_NEAR(value, constant, std::fabs(constant) * 0.02f)
              << format.bits;
      }
}

TEST(Quantise, ScalesAndOffsetsFitTheirTypes) {
  for (const QuantFormat &format : kFormats)
    for (float scale : {1e-30f, 1e-7f, 1e-5f, 1.0f, 1e4f})
      for (bool clipped : {false, true}) {
        Result result =
            quantise(format, {.clipped = clipped}, gaussian(256, scale), 256);
        for (float each : result.rows.scales) {
          EXPECT_NE(each, 0.0f);
          EXPECT_TRUE(format.scale == Real::kF32 || isHalf(each)) << each;
        }
        for (float each : result.rows.offsets)
          EXPECT_TRUE(format.offset == Real::kF32 || isHalf(each)) << each;
      }
}

TEST(Quantise, TinyNumbersBecomeNoLargerThanTheLeastScale) {
  Result result =
      quantise({8, 32, Real::kF16, Real::kNone}, {}, gaussian(64, 1e-12f), 64);
  for (float value : result.values)
    EXPECT_LE(std::fabs(value), 0x1p-24f);
}

TEST(Quantise, HugeNumbersNeedWideScales) {
  std::vector<float> values(32, 1.0f);
  values[3] = 1e9f;
  checkpoint::QuantRows rows;
  llvm::Error error = compiler::quantise({4, 32, Real::kF16, Real::kNone}, {},
                                         1, 32, values.data(), rows);
  EXPECT_TRUE(error.isA<compiler::ScaleOverflow>());
  EXPECT_EQ(llvm::toString(std::move(error)),
            "row 0, columns 0 to 31: numbers up to 1.000e+09 need a scale "
            "beyond the type that the format stores");
  Result wide = quantise({4, 32, Real::kF32, Real::kNone}, {}, values, 32);
  EXPECT_LE(wide.worstShare, 1.001);
  // What f32 does not hold either is no overflow that somebody could mend.
  values[3] = 3e38f;
  values[4] = -3e38f;
  error = compiler::quantise({4, 32, Real::kF32, Real::kF32}, {}, 1, 32,
                             values.data(), rows);
  EXPECT_TRUE(bool(error));
  EXPECT_FALSE(error.isA<compiler::ScaleOverflow>());
  llvm::consumeError(std::move(error));
}

} // namespace
