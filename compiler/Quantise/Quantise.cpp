// Round to nearest, and the search for a narrower span (Quantise.h).
//
// Scales and offsets are rounded to their stored type first and outwards, so
// that the span still covers the group; codes are then made for what is stored.

#include "stele/compiler/Quantise/Quantise.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace llvm;

namespace stele::compiler {
namespace {

using schema::QuantFormat;
using Stored = QuantFormat::Real;

/// Narrower spans tried, as shares of the whole one.
constexpr float kShares[] = {0.96f, 0.92f, 0.88f, 0.84f, 0.80f,
                             0.76f, 0.72f, 0.66f, 0.60f, 0.50f};

/// The least scale: codes of a group without spread need one that is not 0.
constexpr float kLeastScale = 0x1p-24f;

/// The least number of the type that is at least `x`.
float roundUp(Stored type, float x) {
  constexpr uint32_t kDropped = 0x1fff; // mantissa bits that f16 has not
  if (type != Stored::kF16)
    return x;
  if (std::fabs(x) < 0x1p-14f) // multiples of the least f16
    return std::ceil(x * 0x1p24f) * 0x1p-24f;
  uint32_t bits = bit_cast<uint32_t>(x);
  return bit_cast<float>((x > 0 ? bits + kDropped : bits) & ~kDropped);
}

float roundDown(Stored type, float x) { return -roundUp(type, -x); }

bool holds(Stored type, float x) {
  return std::fabs(x) <=
         (type == Stored::kF16 ? 65504.0f : std::numeric_limits<float>::max());
}

/// The numbers that a group can stand for: scale * code + offset.
struct Span {
  float scale, offset;
};

/// Chooses spans for groups of one format.
class Quantiser {
public:
  Quantiser(const QuantFormat &format, bool clipped)
      : format(format), clipped(clipped), most((1 << format.bits) - 1),
        middle(1 << (format.bits - 1)) {}

  Span choose(ArrayRef<float> values, ArrayRef<float> importance) const {
    auto [low, high] = std::minmax_element(values.begin(), values.end());
    Span best = isSymmetric() ? spanOf(std::max(std::fabs(*low), *high))
                              : spanOf(*low, *high);
    if (!clipped || !fits(best))
      return best;
    float least = squaredError(values, importance, best);
    auto consider = [&](Span span) {
      float error = squaredError(values, importance, span);
      if (error < least) {
        least = error;
        best = span;
      }
    };
    if (isSymmetric())
      considerSymmetric(*low, *high, consider);
    else
      considerRanges(*low, *high, consider);
    return best;
  }

  bool fits(Span span) const {
    return holds(format.scale, span.scale) &&
           (isSymmetric() || holds(format.offset, span.offset));
  }

  uint8_t encode(float value, float inverse, Span span) const {
    float code = (value - span.offset) * inverse + 0.5f;
    return uint8_t(std::clamp(code, 0.0f, most));
  }

private:
  bool isSymmetric() const { return format.offset == Stored::kNone; }

  Span symmetric(float scale) const { return {scale, -middle * scale}; }

  /// From -magnitude to magnitude.
  Span spanOf(float magnitude) const {
    return symmetric(
        std::max(kLeastScale, roundUp(format.scale, magnitude / (middle - 1))));
  }

  Span spanOf(float low, float high) const {
    float offset = roundDown(format.offset, low);
    float scale = roundUp(format.scale, (high - offset) / most);
    return {std::max(kLeastScale, scale), offset};
  }

  /// There is one code more on one side of 0: with a scale of either sign it
  /// serves the side that reaches further.
  template <typename ConsiderT>
  void considerSymmetric(float low, float high, ConsiderT consider) const {
    float extreme = -low > high ? low : high;
    auto considerShare = [&](float share) {
      float scale = roundUp(format.scale, share * std::fabs(extreme) / middle);
      scale = std::max(kLeastScale, scale);
      consider(symmetric(extreme > 0 ? -scale : scale));
    };
    considerShare(1);
    for (float share : kShares) {
      considerShare(share);
      consider(spanOf(share * std::fabs(extreme)));
    }
  }

  /// Gives up some of the low end, of the high end, or of both.
  template <typename ConsiderT>
  void considerRanges(float low, float high, ConsiderT consider) const {
    for (float share : kShares) {
      float cut = (1 - share) * (high - low);
      consider(spanOf(low + cut, high));
      consider(spanOf(low, high - cut));
      consider(spanOf(low + cut / 2, high - cut / 2));
    }
  }

  float squaredError(ArrayRef<float> values, ArrayRef<float> importance,
                     Span span) const {
    // Eight sums, for the vector unit; always the same order.
    constexpr size_t kSums = 8;
    float sums[kSums] = {};
    const float inverse = 1 / span.scale;
    auto add = [&](size_t i, float weight) {
      float code = float(int(
          std::clamp((values[i] - span.offset) * inverse + 0.5f, 0.0f, most)));
      float error = values[i] - (span.scale * code + span.offset);
      sums[i % kSums] += weight * error * error;
    };
    if (importance.empty())
      for (size_t i = 0; i < values.size(); ++i)
        add(i, 1);
    else
      for (size_t i = 0; i < values.size(); ++i)
        add(i, importance[i]);
    float sum = 0;
    for (float part : sums)
      sum += part;
    return sum;
  }

  QuantFormat format;
  bool clipped;
  float most, middle; // code
};

} // namespace

char ScaleOverflow::ID;

/// For the group of `row` that begins at column `begin`.
static Error overflow(const QuantFormat &format, ArrayRef<float> group,
                      int64_t row, int64_t begin) {
  const float largest =
      *std::max_element(group.begin(), group.end(), [](float a, float b) {
        return std::fabs(a) < std::fabs(b);
      });
  std::string message =
      formatv("row {0}, columns {1} to {2}: numbers up to {3:e3} need a scale "
              "beyond the type that the format stores",
              row, begin, begin + int64_t(group.size()) - 1, largest);
  const bool isHalf =
      format.scale == Stored::kF16 || format.offset == Stored::kF16;
  return isHalf ? make_error<ScaleOverflow>(std::move(message))
                : createStringError(message);
}

Error quantise(const QuantFormat &format, const RoundingOptions &options,
               int64_t rows, int64_t columns, const float *values,
               checkpoint::QuantRows &out) {
  out.resize(format, rows, columns);
  const int64_t groups = checkpoint::groupsOf(format, columns);
  const int64_t width = options.perChannel ? columns : format.group;
  const bool hasOffsets = format.offset != Stored::kNone;
  Quantiser quantiser(format, options.clipped);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t begin = 0; begin < columns; begin += width) {
      const int64_t count = std::min(width, columns - begin);
      ArrayRef<float> group(values + row * columns + begin, count);
      ArrayRef<float> importance = options.importance.empty()
                                       ? ArrayRef<float>()
                                       : options.importance.slice(begin, count);
      Span span = quantiser.choose(group, importance);
      if (!quantiser.fits(span))
        return overflow(format, group, row, begin);
      const float inverse = 1 / span.scale;
      for (int64_t i = 0; i < count; ++i)
        out.codes[row * columns + begin + i] =
            quantiser.encode(group[i], inverse, span);
      const int64_t first = row * groups + begin / format.group;
      const int64_t last = first + (count + format.group - 1) / format.group;
      std::fill(out.scales.begin() + first, out.scales.begin() + last,
                span.scale);
      if (hasOffsets)
        std::fill(out.offsets.begin() + first, out.offsets.begin() + last,
                  span.offset);
    }
  return Error::success();
}

} // namespace stele::compiler
