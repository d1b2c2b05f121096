// Rotary frequencies and random features.

#include "stele/dialects/Lm/LmConstants.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace stele::lm;

//===----------------------------------------------------------------------===//
// Rotary frequencies
//===----------------------------------------------------------------------===//

/// Llama 3.1: stretches long wavelengths, keeps short ones, blends between.
static float scaleLlama3(Llama3ScalingAttr scaling, float frequency) {
  float original = static_cast<float>(scaling.getOriginal());
  float factor = static_cast<float>(scaling.getFactor());
  float low = static_cast<float>(scaling.getLowFreqFactor());
  float high = static_cast<float>(scaling.getHighFreqFactor());
  float wavelength = static_cast<float>(2 * M_PI) / frequency;
  if (wavelength > original / low)
    return frequency / factor;
  if (wavelength < original / high)
    return frequency;
  float smooth = (original / wavelength - low) / (high - low);
  return (1 - smooth) * (frequency / factor) + smooth * frequency;
}

/// The dimension that turns `turns` times in the original context.
static double yarnDimension(RopeAttr rope, YarnScalingAttr scaling,
                            double turns) {
  return rope.getDims() * std::log(scaling.getOriginal() / (turns * 2 * M_PI)) /
         (2 * std::log(double(rope.getTheta())));
}

static void scaleYarn(RopeAttr rope, YarnScalingAttr scaling,
                      MutableArrayRef<float> frequencies) {
  double low = yarnDimension(rope, scaling, scaling.getBetaFast());
  double high = yarnDimension(rope, scaling, scaling.getBetaSlow());
  if (scaling.getTruncate()) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, double(rope.getDims() - 1));
  if (low == high)
    high += 0.001; // a step instead of a ramp
  for (auto [i, frequency] : llvm::enumerate(frequencies)) {
    float ramp = std::clamp(
        static_cast<float>((double(i) - low) / (high - low)), 0.0f, 1.0f);
    float stretched = frequency / static_cast<float>(scaling.getFactor());
    frequency = stretched * ramp + frequency * (1 - ramp);
  }
}

SmallVector<float> stele::lm::inverseFrequencies(RopeAttr rope) {
  SmallVector<float> frequencies;
  float dims = static_cast<float>(rope.getDims());
  for (int64_t i = 0; i < rope.getDims(); i += 2) {
    float exponent = static_cast<float>(i) / dims;
    float power =
        static_cast<float>(std::pow(double(rope.getTheta()), double(exponent)));
    frequencies.push_back(1.0f / power);
  }
  if (auto linear = dyn_cast_or_null<LinearScalingAttr>(rope.getScaling()))
    for (float &frequency : frequencies)
      frequency /= static_cast<float>(linear.getFactor());
  if (auto llama3 = dyn_cast_or_null<Llama3ScalingAttr>(rope.getScaling()))
    for (float &frequency : frequencies)
      frequency = scaleLlama3(llama3, frequency);
  if (auto yarn = dyn_cast_or_null<YarnScalingAttr>(rope.getScaling()))
    scaleYarn(rope, yarn, frequencies);
  if (auto factors = dyn_cast_or_null<FactorScalingAttr>(rope.getScaling()))
    for (auto [frequency, factor] :
         llvm::zip_equal(frequencies, factors.getValues()))
      frequency /= static_cast<float>(factor);
  return frequencies;
}

double stele::lm::attentionFactor(RopeAttr rope) {
  auto yarn = dyn_cast_or_null<YarnScalingAttr>(rope.getScaling());
  return yarn ? double(yarn.getAttentionFactor()) : 1.0;
}

//===----------------------------------------------------------------------===//
// Random features
//===----------------------------------------------------------------------===//

namespace {

/// Gaussian numbers from a counter: SplitMix64 and the Box-Muller transform,
/// written out because the standard library's differ from machine to machine.
class Gaussian {
public:
  explicit Gaussian(uint64_t seed) : state(seed) {}

  double next() {
    double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * M_PI * uniform());
  }

  std::vector<double> vector(int64_t size) {
    std::vector<double> result(size);
    for (double &element : result)
      element = next();
    return result;
  }

private:
  /// In (0, 1].
  double uniform() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return (static_cast<double>(z >> 11) + 1) * 0x1p-53;
  }

  uint64_t state;
};

} // namespace

static double dot(ArrayRef<double> a, ArrayRef<double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// Takes from `row` what it shares with the rows before it, and makes it as
/// long as `length`.
static void orthogonalise(MutableArrayRef<double> row,
                          ArrayRef<std::vector<double>> before, double length) {
  for (const std::vector<double> &other : before) {
    double share = dot(row, other) / dot(other, other);
    for (auto [element, part] : llvm::zip_equal(row, other))
      element -= share * part;
  }
  double factor = length / std::sqrt(dot(row, row));
  for (double &element : row)
    element *= factor;
}

SmallVector<float> stele::lm::randomFeatures(FeatureMapAttr map,
                                             int64_t headDim) {
  Gaussian gaussian(map.getSeed());
  std::vector<std::vector<double>> group;
  SmallVector<float> result;
  for (int64_t f = 0; f < map.getFeatures(); ++f) {
    std::vector<double> row = gaussian.vector(headDim);
    if (map.getOrthogonal()) {
      if (f % headDim == 0)
        group.clear();
      std::vector<double> other = gaussian.vector(headDim);
      orthogonalise(row, group, std::sqrt(dot(other, other)));
      group.push_back(row);
    }
    llvm::append_range(result, row);
  }
  return result;
}
