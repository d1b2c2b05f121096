// Random linears for the tests of linear.cpp and linear_q.cpp: shapes, inputs,
// the reference in double around the products, and runs over parts of the rows.
#ifndef STELE_TEST_UNIT_KERNELS_LINEARCASE_H_
#define STELE_TEST_UNIT_KERNELS_LINEARCASE_H_

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "Harness.h"

namespace stele::test {

struct LinearCase {
  int k, n, rows;
  bool norm = false, bias = false, residual = false, permuted = false;
  int glu = 0;

  int Width() const { return glu ? n / 2 : n; }
  std::string Name() const;
};

// Widths with every kind of tail, 1 to 600 rows, any variant.
LinearCase RandomLinear(std::mt19937 &random);

struct LinearInputs {
  LinearInputs(const LinearCase &c, std::mt19937 &random);
  std::vector<float> x, norm, bias, residual;
  std::vector<int32_t> order;
};

// The rows that are multiplied: normalised, in the weight's order of columns.
std::vector<float> NormalisedRows(const LinearCase &c, const LinearInputs &in);

using Value = std::function<double(int64_t row, int64_t column)>;
// rows [rows, k] times the weight, as [rows, n].
std::vector<double> Product(const LinearCase &c,
                            const std::vector<double> &rows,
                            const Value &weight);
// Bias, activation and residual.
std::vector<float> Epilogue(const LinearCase &c, const LinearInputs &in,
                            std::vector<double> product);

// The constants that every linear has.
KernelInstance LinearInstance(const LinearCase &c, const std::string &name,
                              bool logits = false);
constexpr float kLinearEps = 1e-5f;

// Runs rows [first, first + rows).
std::vector<float> RunRows(const Kernel &kernel, const LinearCase &c,
                           LinearInputs &in, std::vector<char> &weight,
                           int first, int rows, int workers);
// All rows; fails where other workers or other parts give other bits.
std::vector<float> RunAllWays(const Kernel &kernel, const LinearCase &c,
                              LinearInputs &in, std::vector<char> &weight);

// Runs a logits kernel for the rows `wanted` of the batch: [wanted, n].
std::vector<float> RunLogits(const Kernel &kernel, const LinearCase &c,
                             LinearInputs &in, std::vector<char> &weight,
                             const std::vector<int32_t> &wanted);
// The rows `wanted` of a matrix with n columns.
std::vector<float> RowsOf(const std::vector<float> &matrix, int n,
                          const std::vector<int32_t> &wanted);

// Largest difference in units of the largest value.
double Difference(const std::vector<float> &a, const std::vector<float> &b);

} // namespace stele::test

#endif // STELE_TEST_UNIT_KERNELS_LINEARCASE_H_
