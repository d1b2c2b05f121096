// linear and logits against sums in double, and bit for bit against themselves
// under other workers, rows and batches.
#include <cmath>
#include <map>

#include "Harness.h"
#include "gmock/gmock.h"

namespace stele::test {
namespace {

struct Case {
  int k, n, rows;
  bool norm = false, bias = false, residual = false;
  int glu = 0;
};

constexpr double kEps = 1e-5;

double Activate(int kind, double x) {
  if (kind == 1)
    return x / (1 + std::exp(-x));
  if (kind == 2)
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  return 0.5 * x *
         (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

struct Data {
  explicit Data(const Case &c, bool bf16)
      : x(Random(size_t(c.rows) * c.k, 1)),
        weight(Random(size_t(c.n) * c.k, 2, 1 / std::sqrt(float(c.k)))),
        norm(Random(c.k, 3)), bias(Random(c.n, 4)),
        residual(Random(size_t(c.rows) * c.n, 5)) {
    if (bf16)
      RoundBf16(weight);
    packed = Pack((bf16 ? "panel_bf16" : "panel_f32") +
                      std::string(c.glu ? "_glu" : ""),
                  bf16, weight, c.n, c.k);
  }
  std::vector<float> x, weight, norm, bias, residual;
  std::vector<char> packed;
};

std::vector<float> Reference(const Case &c, const Data &d, bool bf16) {
  int width = c.glu ? c.n / 2 : c.n;
  std::vector<float> out(size_t(c.rows) * width);
  std::vector<double> row(c.n);
  std::vector<float> x(c.k);
  for (int r = 0; r < c.rows; ++r) {
    double squares = 0;
    for (int i = 0; i < c.k; ++i)
      squares += double(d.x[r * c.k + i]) * d.x[r * c.k + i];
    double inverse = 1 / std::sqrt(squares / c.k + kEps);
    for (int i = 0; i < c.k; ++i) {
      x[i] = d.x[r * c.k + i];
      if (c.norm)
        x[i] = float(x[i] * inverse * d.norm[i]);
      if (bf16)
        x[i] = RoundBf16(x[i]);
    }
    for (int j = 0; j < c.n; ++j) {
      row[j] = c.bias ? d.bias[j] : 0;
      for (int i = 0; i < c.k; ++i)
        row[j] += double(x[i]) * d.weight[size_t(j) * c.k + i];
    }
    for (int j = 0; j < width; ++j) {
      double y = c.glu ? Activate(c.glu, row[j]) * row[width + j] : row[j];
      out[size_t(r) * width + j] =
          float(y + (c.residual ? d.residual[r * c.n + j] : 0));
    }
  }
  return out;
}

KernelInstance Instance(const Case &c, bool bf16, bool logits = false) {
  KernelInstance instance;
  instance.templateName =
      (logits ? "logits_" : "linear_") + std::string(bf16 ? "bf16" : "f32");
  instance.ints = {{"k", c.k}, {"n", c.n}, {"norm", c.norm}, {"bias", c.bias}};
  instance.floats = {{"eps", kEps}};
  if (!logits) {
    instance.ints["residual"] = c.residual;
    instance.ints["glu"] = c.glu;
  }
  return instance;
}

std::vector<float> RunRows(const Kernel &kernel, const Case &c, Data &d,
                           int first, int rows, int workers) {
  int width = c.glu ? c.n / 2 : c.n;
  std::vector<float> out(size_t(rows) * width, NAN);
  std::vector<void *> bindings = {d.x.data() + size_t(first) * c.k,
                                  d.packed.data()};
  if (c.norm)
    bindings.push_back(d.norm.data());
  if (c.bias)
    bindings.push_back(d.bias.data());
  if (c.residual)
    bindings.push_back(d.residual.data() + size_t(first) * c.n);
  bindings.push_back(out.data());
  SteleBatch batch{};
  batch.tokens = rows;
  kernel.Run(bindings, {}, batch, workers);
  return out;
}

// Largest difference in units of the largest value.
double Difference(const std::vector<float> &a, const std::vector<float> &b) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(double(b[i])));
    // A NaN must not compare as small.
    double here = std::abs(double(a[i]) - b[i]);
    difference = here > difference || here != here ? here : difference;
  }
  return difference / largest;
}

void Check(const Case &c, bool bf16, const std::string &target) {
  SCOPED_TRACE(target + (bf16 ? " bf16" : " f32") + " k " +
               std::to_string(c.k) + " n " + std::to_string(c.n) + " rows " +
               std::to_string(c.rows));
  Data d(c, bf16);
  Kernel kernel(Instance(c, bf16), target);
  std::vector<float> one = RunRows(kernel, c, d, 0, c.rows, 1);
  // bf16: normalised rows may round the other way than the reference's.
  EXPECT_LE(Difference(one, Reference(c, d, bf16)), bf16 ? 3e-3 : 3e-6);
  for (int workers : {2, 3})
    EXPECT_EQ(one, RunRows(kernel, c, d, 0, c.rows, workers)) << workers;
  int width = c.glu ? c.n / 2 : c.n;
  for (int first = 0; first < c.rows; first += 7) {
    int rows = std::min(7, c.rows - first);
    std::vector<float> part = RunRows(kernel, c, d, first, rows, 2);
    std::vector<float> same(one.begin() + size_t(first) * width,
                            one.begin() + size_t(first + rows) * width);
    EXPECT_EQ(part, same) << "rows from " << first;
  }
}

TEST(Linear, AgreesWithTheReferenceOnEveryShape) {
  const Case cases[] = {
      {.k = 64, .n = 48, .rows = 1},
      {.k = 1, .n = 1, .rows = 1},
      {.k = 33, .n = 17, .rows = 5, .norm = true},
      {.k = 100, .n = 31, .rows = 29, .bias = true, .residual = true},
      {.k = 576, .n = 96, .rows = 130, .norm = true, .bias = true},
      {.k = 47, .n = 2 * 35, .rows = 14, .norm = true, .glu = 1},
      {.k = 64, .n = 2 * 40, .rows = 3, .bias = true, .glu = 2},
      {.k = 64, .n = 2 * 16, .rows = 101, .glu = 3},
  };
  for (const std::string &target : RunnableTargets())
    for (const Case &c : cases)
      for (bool bf16 : {false, true})
        Check(c, bf16, target);
}

TEST(Linear, WritesOverItsResidual) {
  Case c{.k = 40, .n = 40, .rows = 20, .residual = true};
  Data d(c, false);
  Kernel kernel(Instance(c, false), RunnableTargets().back());
  std::vector<float> expected = RunRows(kernel, c, d, 0, c.rows, 1);
  SteleBatch batch{};
  batch.tokens = c.rows;
  kernel.Run(
      {d.x.data(), d.packed.data(), d.residual.data(), d.residual.data()}, {},
      batch, 2);
  EXPECT_EQ(d.residual, expected);
}

TEST(Logits, ComputesTheRowsAskedFor) {
  Case c{.k = 50, .n = 77, .rows = 9, .norm = true};
  for (const std::string &target : RunnableTargets()) {
    Data d(c, false);
    std::vector<float> whole = Reference(c, d, false);
    Kernel kernel(Instance(c, false, true), target);
    std::vector<int32_t> wanted = {0, 3, 8};
    SteleBatch batch{};
    batch.tokens = c.rows;
    batch.logit_count = 3;
    batch.logit_rows = wanted.data();
    std::vector<float> out(3 * c.n), expected;
    kernel.Run({d.x.data(), d.packed.data(), d.norm.data(), out.data()}, {},
               batch, 2);
    for (int row : wanted)
      expected.insert(expected.end(), whole.begin() + row * c.n,
                      whole.begin() + (row + 1) * c.n);
    EXPECT_LE(Difference(out, expected), 3e-6);
    batch.logit_count = 0;
    kernel.Run({d.x.data(), d.packed.data(), d.norm.data(), nullptr}, {}, batch,
               2);
  }
}

} // namespace
} // namespace stele::test
