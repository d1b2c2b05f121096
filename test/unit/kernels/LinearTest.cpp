// linear and logits against sums in double, and bit for bit against themselves
// under other workers, rows and batches.
#include <cmath>

#include "LinearCase.h"
#include "gmock/gmock.h"

namespace stele::test {
namespace {

const char *TypeName(bool bf16) { return bf16 ? "bf16" : "f32"; }

// A random float weight and what comes out with it.
struct Data {
  Data(const LinearCase &c, bool bf16, std::mt19937 &random)
      : in(c, random),
        weight(Random(size_t(c.n) * c.k, random(), 1 / std::sqrt(float(c.k)))) {
    if (bf16)
      RoundBf16(weight);
    packed =
        Pack(std::string("panel_") + TypeName(bf16) + (c.glu ? "_glu" : ""),
             bf16, weight, c.n, c.k);
    std::vector<float> rows = NormalisedRows(c, in);
    if (bf16)
      RoundBf16(rows);
    expected = Epilogue(c, in,
                        Product(c, {rows.begin(), rows.end()},
                                [&](int64_t row, int64_t column) {
                                  return weight[row * c.k + column];
                                }));
  }
  LinearInputs in;
  std::vector<float> weight, expected;
  std::vector<char> packed;
};

// bf16: normalised rows may round the other way than the reference's.
double Tolerance(bool bf16) { return bf16 ? 4e-3 : 5e-6; }

void Check(const LinearCase &c, bool bf16, std::mt19937 &random) {
  Data d(c, bf16, random);
  for (const std::string &target : RunnableTargets()) {
    SCOPED_TRACE(target + " " + TypeName(bf16) + " " + c.Name());
    Kernel kernel(LinearInstance(c, TypeName(bf16)), target);
    EXPECT_LE(Difference(RunAllWays(kernel, c, d.in, d.packed), d.expected),
              Tolerance(bf16));
  }
}

TEST(Linear, AgreesWithTheReferenceOnEveryKindOfShape) {
  const LinearCase cases[] = {
      {.k = 1, .n = 1, .rows = 1},
      {.k = 100, .n = 31, .rows = 29, .bias = true, .residual = true},
      {.k = 576, .n = 96, .rows = 130, .norm = true, .bias = true},
      {.k = 47, .n = 2 * 35, .rows = 14, .norm = true, .glu = 1},
      {.k = 64, .n = 2 * 16, .rows = 101, .glu = 3},
  };
  std::mt19937 random(1);
  for (const LinearCase &c : cases)
    for (bool bf16 : {false, true})
      Check(c, bf16, random);
}

TEST(Linear, AgreesWithTheReferenceOnRandomShapes) {
  for (uint32_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Check(RandomLinear(random), seed % 2, random);
  }
}

TEST(Linear, WritesOverItsResidual) {
  LinearCase c{.k = 40, .n = 40, .rows = 20, .residual = true};
  std::mt19937 random(1);
  Data d(c, false, random);
  Kernel kernel(LinearInstance(c, "f32"), RunnableTargets().back());
  std::vector<float> expected = RunRows(kernel, c, d.in, d.packed, 0, 20, 1);
  SteleBatch batch{};
  batch.tokens = c.rows;
  kernel.Run({d.in.x.data(), d.packed.data(), d.in.residual.data(),
              d.in.residual.data()},
             {}, batch, 2);
  EXPECT_EQ(d.in.residual, expected);
}

void CheckLogits(LinearCase c, bool bf16, std::mt19937 &random) {
  c.glu = 0;
  c.residual = false;
  Data d(c, bf16, random);
  for (const std::string &target : RunnableTargets()) {
    SCOPED_TRACE(target + " " + TypeName(bf16) + " " + c.Name());
    Kernel kernel(LinearInstance(c, TypeName(bf16), true), target);
    std::vector<int32_t> wanted;
    for (int row = 0; row < c.rows; ++row)
      if (row + 1 == c.rows || random() % 3 == 0)
        wanted.push_back(row);
    EXPECT_LE(Difference(RunLogits(kernel, c, d.in, d.packed, wanted),
                         RowsOf(d.expected, c.n, wanted)),
              Tolerance(bf16));
    RunLogits(kernel, c, d.in, d.packed, {}); // writes nothing, nowhere
  }
}

TEST(Logits, ComputesTheRowsAskedFor) {
  for (uint32_t seed = 100; seed < 104; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    CheckLogits(RandomLinear(random), seed % 2, random);
  }
}

} // namespace
} // namespace stele::test
