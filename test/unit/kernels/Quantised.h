// Random quantised weights for the kernel tests: codes, scales and offsets, the
// exact values they stand for, and the packed form that kernels read.
#ifndef STELE_TEST_UNIT_KERNELS_QUANTISED_H_
#define STELE_TEST_UNIT_KERNELS_QUANTISED_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "stele/compiler/Import/Quantised.h"
#include "stele/schema/quant_format.h"

namespace stele::test {

// Any format: bits, group and types of scale and offset.
schema::QuantFormat RandomFormat(std::mt19937 &random);
// For SCOPED_TRACE.
std::string Name(const schema::QuantFormat &format);

struct QuantisedMatrix {
  // Codes over their whole range, scales of both signs and some zeros; values
  // of about 1 / sqrt(columns).
  QuantisedMatrix(const schema::QuantFormat &format, int64_t rows,
                  int64_t columns, std::mt19937 &random);

  double Value(int64_t row, int64_t column) const;
  // In panel_q4 or panel_q8, by the bits, or their form for gate and up.
  std::vector<char> Pack(bool glu) const;

  schema::QuantFormat format;
  int64_t rows, columns, groups;
  checkpoint::QuantRows data;
};

} // namespace stele::test

#endif // STELE_TEST_UNIT_KERNELS_QUANTISED_H_
