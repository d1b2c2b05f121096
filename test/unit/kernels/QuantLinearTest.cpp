// linear_q and logits_q over random formats and shapes: against sums in double
// of the exact weights, for int8 also of activations quantised here by the
// stated rule, and bit for bit against themselves under other workers and rows.
#include <cmath>
#include <optional>

#include "LinearCase.h"
#include "Quantised.h"
#include "gmock/gmock.h"

namespace stele::test {
namespace {

using schema::QuantFormat;

constexpr const char *kArithmetics[] = {"f32", "bf16", "int8"};

constexpr int kRefine = 50;

// Root mean square of the k numbers at x.
double Rms(const float *x, int k) {
  double squares = 0;
  for (int i = 0; i < k; ++i)
    squares += double(x[i]) * x[i];
  return std::sqrt(squares / k);
}

// The stated rule: in blocks of a group, at most 128 columns, each with the
// scale largest / 127, rounded to the nearest code; where the scale is above
// `refine` thousandths of the row's root mean square, what that leaves to the
// nearest 128th of it. `steps` gets what each number is rounded to multiples
// of.
std::vector<double> QuantiseRows(const std::vector<float> &rows, int k,
                                 const QuantFormat &format, int refine,
                                 std::vector<double> &steps) {
  std::vector<double> result;
  int width = std::min<int>(format.group, 128);
  for (size_t row = 0; row < rows.size(); row += k) {
    double coarse = refine * 1e-3 * Rms(&rows[row], k);
    for (int begin = 0; begin < k; begin += width) {
      int end = std::min(begin + width, k);
      float largest = 0;
      for (int i = begin; i < end; ++i)
        largest = std::max(largest, std::fabs(rows[row + i]));
      float inverse = largest > 0 ? 127.0f / largest : 0.0f;
      float scale = largest / 127.0f;
      bool refined = refine && scale > coarse;
      for (int i = begin; i < end; ++i) {
        float codes = rows[row + i] * inverse, code = std::nearbyint(codes);
        double low = refined ? std::nearbyint((codes - code) * 128) / 128 : 0;
        steps.push_back(refined ? scale / 128 : scale);
        result.push_back((code + low) * scale);
      }
    }
  }
  return result;
}

class Data {
public:
  Data(const LinearCase &c, const QuantFormat &format, std::mt19937 &random)
      : c(c), in(c, random), weight(format, c.n, c.k, random),
        packed(weight.Pack(c.glu != 0)), rows(NormalisedRows(c, in)) {}

  // What an arithmetic has to give, but for the order of its sums.
  std::vector<float> Expected(const std::string &arithmetic) const {
    std::vector<float> x = rows;
    if (arithmetic == "bf16")
      RoundBf16(x);
    std::vector<double> exact(x.begin(), x.end()), steps;
    if (arithmetic == "int8")
      exact = QuantiseRows(x, c.k, weight.format, refine, steps);
    return Epilogue(c, in, Product(c, exact, Values()));
  }

  // How far an int8 product may be from the exact one: half a step for every
  // column. Of a linear without gate.
  std::vector<double> Bound() const {
    std::vector<double> steps;
    QuantiseRows(rows, c.k, weight.format, refine, steps);
    return Product(c, steps, [&](int64_t row, int64_t column) {
      return 0.5 * std::abs(weight.Value(row, column));
    });
  }

  LinearCase c;
  LinearInputs in;
  QuantisedMatrix weight;
  std::vector<char> packed;
  std::vector<float> rows;
  int refine = kRefine;

private:
  Value Values() const {
    return
        [&](int64_t row, int64_t column) { return weight.Value(row, column); };
  }
};

KernelInstance Instance(const LinearCase &c, const QuantFormat &format,
                        const std::string &arithmetic, bool logits = false,
                        int refine = kRefine) {
  KernelInstance instance = LinearInstance(c, "q_" + arithmetic, logits);
  instance.ints["bits"] = format.bits;
  instance.ints["group"] = format.group;
  instance.ints["scale_f32"] = format.scale == QuantFormat::Real::kF32;
  instance.ints["offset"] = int(format.offset);
  instance.ints["permuted"] = c.permuted;
  if (arithmetic == "int8")
    instance.ints["refine"] = refine;
  return instance;
}

// Rows that the kernel normalised itself may round the other way here and
// there, to another bf16 or another code.
double Tolerance(const LinearCase &c, const std::string &arithmetic) {
  if (arithmetic == "f32" || !c.norm)
    return 1e-5;
  return arithmetic == "bf16" ? 4e-3 : 1e-2;
}

// Each arithmetic on every target, or on one that follows from `only`.
void Check(const LinearCase &c, const QuantFormat &format, std::mt19937 &random,
           std::optional<size_t> only = {}) {
  Data d(c, format, random);
  for (const std::string arithmetic : kArithmetics) {
    std::vector<float> expected = d.Expected(arithmetic);
    std::vector<std::string> targets = RunnableTargets();
    if (only)
      targets = {targets[(*only)++ % targets.size()]};
    for (const std::string &target : targets) {
      SCOPED_TRACE(target + " " + arithmetic + " " + Name(format) + " " +
                   c.Name());
      Kernel kernel(Instance(c, format, arithmetic), target);
      std::vector<float> out = RunAllWays(kernel, c, d.in, d.packed);
      EXPECT_LE(Difference(out, expected), Tolerance(c, arithmetic));
      if (arithmetic != "int8" || c.glu)
        continue;
      std::vector<float> exact = d.Expected("f32");
      std::vector<double> bound = d.Bound();
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_LE(std::abs(double(out[i]) - exact[i]),
                  bound[i] * 1.001 + 1e-5 * (1 + std::abs(exact[i])))
            << "element " << i;
    }
  }
}

TEST(QuantLinear, AgreesWithTheReferenceOnEveryKindOfFormat) {
  using Real = QuantFormat::Real;
  const QuantFormat formats[] = {
      {4, 32, Real::kF16, Real::kF16},   // Q4_1
      {8, 32, Real::kF16, Real::kNone},  // Q8_0
      {4, 256, Real::kF32, Real::kF32},  // groups of two blocks
      {8, 16, Real::kF32, Real::kNone},  // Q6_K
      {4, 128, Real::kF16, Real::kNone}, // a ragged last group of 64
  };
  std::mt19937 random(1);
  const LinearCase cases[] = {
      {.k = 576, .n = 80, .rows = 13, .bias = true},
      {.k = 331, .n = 2 * 35, .rows = 2, .norm = true, .glu = 1},
  };
  for (size_t i = 0; i < std::size(formats); ++i)
    Check(cases[i % 2], formats[i], random);
}

TEST(QuantLinear, AgreesWithTheReferenceOnRandomShapes) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    LinearCase c = RandomLinear(random);
    c.permuted = random() % 3 == 0;
    Check(c, RandomFormat(random), random, seed + seed / 3);
  }
}

// Runs int8 rows with one value put into column 40 of row 1.
std::vector<float> RunWith(float value, Data &d, const Kernel &kernel) {
  float &at = d.in.x[d.c.k + 40];
  float before = at;
  at = value;
  std::vector<float> out = RunRows(kernel, d.c, d.in, d.packed, 0, d.c.rows, 1);
  at = before;
  return out;
}

TEST(QuantLinear, HandsOnWhatIsNotFinite) {
  LinearCase c{.k = 100, .n = 37, .rows = 3, .bias = true};
  for (QuantFormat format :
       {QuantFormat{.bits = 4, .group = 32},
        QuantFormat{.bits = 8, .group = 64, .offset = QuantFormat::Real::kF16}})
    for (const std::string &target : RunnableTargets()) {
      SCOPED_TRACE(target + " " + Name(format));
      std::mt19937 random(1);
      Data d(c, format, random);
      Kernel kernel(Instance(c, format, "int8"), target);
      std::vector<float> clean = RunWith(0, d, kernel);
      for (float value : {NAN, -NAN, INFINITY, -INFINITY}) {
        std::vector<float> out = RunWith(value, d, kernel);
        for (int i = 0; i < c.rows * c.n; ++i)
          if (i / c.n == 1)
            EXPECT_FALSE(std::isfinite(out[i])) << value << " column " << i;
          else
            EXPECT_EQ(out[i], clean[i]) << "another row";
      }
      EXPECT_EQ(RunWith(-0.0f, d, kernel), clean);
      // So small that its code is 0 beside the block's largest.
      EXPECT_EQ(RunWith(1e-40f, d, kernel), clean);
    }
}

// Two far outliers: their blocks are finer for it, the others as they were, and
// without `refine` all are.
TEST(QuantLinear, RefinesTheBlocksThatAreCoarseInTheirRow) {
  LinearCase c{.k = 200, .n = 37, .rows = 8};
  for (QuantFormat format :
       {QuantFormat{.bits = 4, .group = 32},
        QuantFormat{.bits = 8, .group = 64, .offset = QuantFormat::Real::kF16}})
    for (const std::string &target : RunnableTargets())
      for (int refine : {0, kRefine}) {
        SCOPED_TRACE(target + " " + Name(format) + " " +
                     std::to_string(refine));
        std::mt19937 random(1);
        Data d(c, format, random);
        d.in.x[40] = 30;
        d.in.x[3 * c.k + 199] = -50;
        d.rows = NormalisedRows(c, d.in);
        d.refine = refine;
        Kernel kernel(Instance(c, format, "int8", false, refine), target);
        std::vector<float> out = RunAllWays(kernel, c, d.in, d.packed);
        EXPECT_LE(Difference(out, d.Expected("int8")), 1e-5);
        double exact = Difference(out, d.Expected("f32"));
        if (refine)
          EXPECT_LE(exact, 5e-3);
        else
          EXPECT_GT(exact, 5e-3);
      }
}

TEST(QuantLinear, GivesTheBiasForRowsOfZeros) {
  LinearCase c{.k = 100, .n = 37, .rows = 4, .bias = true};
  for (const std::string &target : RunnableTargets())
    for (uint32_t seed = 0; seed < 4; ++seed) {
      std::mt19937 random(seed);
      QuantFormat format = RandomFormat(random);
      SCOPED_TRACE(target + " " + Name(format));
      Data d(c, format, random);
      // Zeros of both signs, and numbers whose scale would underflow.
      for (size_t i = 0; i < d.in.x.size(); ++i)
        d.in.x[i] = i / c.k == 0   ? 0.0f
                    : i / c.k == 1 ? -0.0f
                    : i / c.k == 2 ? 1e-40f
                                   : 1e-31f;
      Kernel kernel(Instance(c, format, "int8"), target);
      std::vector<float> out = RunRows(kernel, c, d.in, d.packed, 0, c.rows, 1);
      for (int i = 0; i < c.rows * c.n; ++i)
        ASSERT_EQ(out[i], d.in.bias[i % c.n]) << "row " << i / c.n;
    }
}

TEST(QuantLogits, ComputesTheRowsAskedFor) {
  std::vector<std::string> targets = RunnableTargets();
  for (uint32_t seed = 0; seed < 9; ++seed) {
    std::mt19937 random(seed);
    const std::string &target = targets[seed / 3 % targets.size()];
    LinearCase c = RandomLinear(random);
    c.glu = 0;
    c.residual = false;
    c.norm = false;
    QuantFormat format = RandomFormat(random);
    std::string arithmetic = kArithmetics[seed % 3];
    SCOPED_TRACE("seed " + std::to_string(seed) + " " + target + " " +
                 arithmetic + " " + Name(format) + " " + c.Name());
    Data d(c, format, random);
    Kernel kernel(Instance(c, format, arithmetic, true), target);
    std::vector<int32_t> wanted;
    for (int row = int(random() % 2); row < c.rows; row += 1 + random() % 4)
      wanted.push_back(row);
    std::vector<float> out = RunLogits(kernel, c, d.in, d.packed, wanted);
    if (!wanted.empty()) {
      EXPECT_LE(Difference(out, RowsOf(d.Expected(arithmetic), c.n, wanted)),
                1e-5);
    }
  }
}

} // namespace
} // namespace stele::test
