// Random linears and their reference (LinearCase.h).
#include "LinearCase.h"

#include <algorithm>
#include <cmath>

#include "gmock/gmock.h"

namespace stele::test {
namespace {

double Activate(int kind, double x) {
  if (kind == 1)
    return x / (1 + std::exp(-x));
  if (kind == 2)
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  return 0.5 * x *
         (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

// 1 to `most`, small numbers as likely as large ones; now and then a multiple
// of 32, which leaves no tail.
int Size(int most, std::mt19937 &random) {
  double bits = std::uniform_real_distribution<>(0, std::log2(most))(random);
  int size = int(std::exp2(bits));
  return random() % 4 == 0 ? std::max(32, size / 32 * 32) : size;
}

} // namespace

std::string LinearCase::Name() const {
  return "k " + std::to_string(k) + " n " + std::to_string(n) + " rows " +
         std::to_string(rows) + (norm ? " norm" : "") + (bias ? " bias" : "") +
         (residual ? " residual" : "") + (permuted ? " permuted" : "") +
         " glu " + std::to_string(glu);
}

LinearCase RandomLinear(std::mt19937 &random) {
  LinearCase c{.k = Size(900, random), .n = Size(150, random), .rows = 1};
  c.rows = Size(std::clamp(20'000'000 / (c.k * c.n), 1, 600), random);
  c.norm = random() % 2;
  c.bias = random() % 2;
  if (random() % 3 == 0) {
    c.glu = 1 + random() % 3;
    c.n *= 2;
  } else {
    c.residual = random() % 2;
  }
  return c;
}

LinearInputs::LinearInputs(const LinearCase &c, std::mt19937 &random)
    : x(Random(size_t(c.rows) * c.k, random())), norm(Random(c.k, random())),
      bias(Random(c.n, random())),
      residual(Random(size_t(c.rows) * c.n, random())), order(c.k) {
  for (int i = 0; i < c.k; ++i)
    order[i] = i;
  if (c.permuted)
    std::shuffle(order.begin(), order.end(), random);
}

std::vector<float> NormalisedRows(const LinearCase &c, const LinearInputs &in) {
  std::vector<float> rows;
  for (int r = 0; r < c.rows; ++r) {
    const float *x = in.x.data() + size_t(r) * c.k;
    double squares = 0;
    for (int i = 0; i < c.k; ++i)
      squares += double(x[i]) * x[i];
    double inverse = 1 / std::sqrt(squares / c.k + kLinearEps);
    for (int i : in.order)
      rows.push_back(c.norm ? float(x[i] * inverse * in.norm[i]) : x[i]);
  }
  return rows;
}

std::vector<double> Product(const LinearCase &c,
                            const std::vector<double> &rows,
                            const Value &weight) {
  std::vector<double> product(size_t(c.rows) * c.n), column(c.k);
  for (int j = 0; j < c.n; ++j) {
    for (int i = 0; i < c.k; ++i)
      column[i] = weight(j, i);
    for (int r = 0; r < c.rows; ++r) {
      double sum = 0;
      for (int i = 0; i < c.k; ++i)
        sum += rows[size_t(r) * c.k + i] * column[i];
      product[size_t(r) * c.n + j] = sum;
    }
  }
  return product;
}

std::vector<float> Epilogue(const LinearCase &c, const LinearInputs &in,
                            std::vector<double> product) {
  std::vector<float> out;
  for (int r = 0; r < c.rows; ++r) {
    double *row = product.data() + size_t(r) * c.n;
    for (int j = 0; j < c.n && c.bias; ++j)
      row[j] += in.bias[j];
    for (int j = 0; j < c.Width(); ++j) {
      double y = c.glu ? Activate(c.glu, row[j]) * row[c.Width() + j] : row[j];
      out.push_back(
          float(y + (c.residual ? in.residual[size_t(r) * c.n + j] : 0)));
    }
  }
  return out;
}

KernelInstance LinearInstance(const LinearCase &c, const std::string &name,
                              bool logits) {
  KernelInstance instance;
  instance.templateName = (logits ? "logits_" : "linear_") + name;
  instance.ints = {{"k", c.k}, {"n", c.n}, {"norm", c.norm}, {"bias", c.bias}};
  instance.floats = {{"eps", kLinearEps}};
  if (!logits) {
    instance.ints["residual"] = c.residual;
    instance.ints["glu"] = c.glu;
  }
  return instance;
}

std::vector<float> RunRows(const Kernel &kernel, const LinearCase &c,
                           LinearInputs &in, std::vector<char> &weight,
                           int first, int rows, int workers) {
  std::vector<float> out(size_t(rows) * c.Width(), NAN);
  std::vector<void *> bindings = {in.x.data() + size_t(first) * c.k,
                                  weight.data()};
  if (c.norm)
    bindings.push_back(in.norm.data());
  if (c.bias)
    bindings.push_back(in.bias.data());
  if (c.residual)
    bindings.push_back(in.residual.data() + size_t(first) * c.n);
  if (c.permuted)
    bindings.push_back(in.order.data());
  bindings.push_back(out.data());
  SteleBatch batch{};
  batch.tokens = rows;
  kernel.Run(bindings, {}, batch, workers);
  return out;
}

std::vector<float> RunAllWays(const Kernel &kernel, const LinearCase &c,
                              LinearInputs &in, std::vector<char> &weight) {
  std::vector<float> one = RunRows(kernel, c, in, weight, 0, c.rows, 1);
  for (int workers : {2, 3})
    EXPECT_EQ(one, RunRows(kernel, c, in, weight, 0, c.rows, workers))
        << workers << " workers";
  // Parts of 1, 2, 3, .. rows; after 13 again of 1.
  for (int first = 0, part = 1; first < c.rows; part = part % 13 + 1) {
    int rows = std::min(part, c.rows - first);
    std::vector<float> same(one.begin() + size_t(first) * c.Width(),
                            one.begin() + size_t(first + rows) * c.Width());
    EXPECT_EQ(same, RunRows(kernel, c, in, weight, first, rows, 2))
        << rows << " rows from " << first;
    first += rows;
  }
  return one;
}

std::vector<float> RunLogits(const Kernel &kernel, const LinearCase &c,
                             LinearInputs &in, std::vector<char> &weight,
                             const std::vector<int32_t> &wanted) {
  std::vector<float> out(wanted.size() * c.n, NAN);
  std::vector<void *> bindings = {in.x.data(), weight.data()};
  if (c.norm)
    bindings.push_back(in.norm.data());
  if (c.bias)
    bindings.push_back(in.bias.data());
  bindings.push_back(out.data());
  SteleBatch batch{};
  batch.tokens = c.rows;
  batch.logit_count = int32_t(wanted.size());
  batch.logit_rows = wanted.data();
  kernel.Run(bindings, {}, batch, 2);
  return out;
}

std::vector<float> RowsOf(const std::vector<float> &matrix, int n,
                          const std::vector<int32_t> &wanted) {
  std::vector<float> rows;
  for (int32_t row : wanted)
    rows.insert(rows.end(), matrix.begin() + size_t(row) * n,
                matrix.begin() + size_t(row + 1) * n);
  return rows;
}

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

} // namespace stele::test
