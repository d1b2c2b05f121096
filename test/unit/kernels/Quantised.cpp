// Random quantised weights (Quantised.h).
#include "Quantised.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "stele/compiler/Codegen/Host/WeightLayout.h"
#include "llvm/Support/raw_ostream.h"

namespace stele::test {
namespace {

using schema::QuantFormat;

// A value of the type: f16 keeps 11 bits.
float RandomReal(QuantFormat::Real real, float scale, std::mt19937 &random) {
  float value = std::normal_distribution<float>(0, scale)(random);
  if (real == QuantFormat::Real::kF32)
    return value;
  // Rounded to a multiple of 2^-24 and then to 11 bits: an f16 if small.
  int exponent;
  float mantissa = std::frexp(std::round(value * 0x1p24f), &exponent);
  return std::ldexp(std::round(mantissa * 2048), exponent - 11) * 0x1p-24f;
}

const char *Name(QuantFormat::Real real) {
  return real == QuantFormat::Real::kNone  ? "none"
         : real == QuantFormat::Real::kF16 ? "f16"
                                           : "f32";
}

} // namespace

QuantFormat RandomFormat(std::mt19937 &random) {
  QuantFormat format;
  format.bits = random() % 2 ? 4 : 8;
  format.group = 16u << random() % 5;
  format.scale = QuantFormat::Real(1 + random() % 2);
  format.offset = QuantFormat::Real(random() % 3);
  return format;
}

std::string Name(const QuantFormat &format) {
  return "int" + std::to_string(format.bits) + " group " +
         std::to_string(format.group) + " scale " + Name(format.scale) +
         " offset " + Name(format.offset);
}

QuantisedMatrix::QuantisedMatrix(const QuantFormat &format, int64_t rows,
                                 int64_t columns, std::mt19937 &random)
    : format(format), rows(rows), columns(columns),
      groups((columns + format.group - 1) / format.group) {
  float size = 1 / std::sqrt(float(columns));
  float levels = float(1 << format.bits);
  for (int64_t i = 0; i < rows * columns; ++i)
    data.codes.push_back(uint8_t(random() >> 8 & ((1 << format.bits) - 1)));
  for (int64_t i = 0; i < rows * groups; ++i) {
    float scale = RandomReal(format.scale, 3 * size / levels, random);
    data.scales.push_back(random() % 16 == 0 ? 0 : scale);
    if (format.offset != QuantFormat::Real::kNone)
      data.offsets.push_back(RandomReal(format.offset, 2 * size, random));
  }
}

double QuantisedMatrix::Value(int64_t row, int64_t column) const {
  int64_t group = row * groups + column / format.group;
  double code = data.codes[row * columns + column];
  if (data.offsets.empty())
    return data.scales[group] * (code - (1 << (format.bits - 1)));
  return data.scales[group] * code + data.offsets[group];
}

std::vector<char> QuantisedMatrix::Pack(bool glu) const {
  std::string layout = std::string(format.bits == 4 ? "panel_q4" : "panel_q8") +
                       (glu ? "_glu" : "");
  std::string bytes;
  llvm::raw_string_ostream stream(bytes);
  auto read = [&](int64_t begin, int64_t end,
                  checkpoint::QuantRows &out) -> llvm::Error {
    out.codes.assign(data.codes.begin() + begin * columns,
                     data.codes.begin() + end * columns);
    out.scales.assign(data.scales.begin() + begin * groups,
                      data.scales.begin() + end * groups);
    out.offsets.clear();
    if (!data.offsets.empty())
      out.offsets.assign(data.offsets.begin() + begin * groups,
                         data.offsets.begin() + end * groups);
    return llvm::Error::success();
  };
  llvm::Error error =
      compiler::packQuantised(layout, format, rows, columns, read, stream);
  llvm::Expected<uint64_t> expected =
      compiler::packedBytes(layout, format, rows, columns);
  if (error || !expected || *expected != bytes.size()) {
    llvm::errs() << "packing failed\n";
    std::abort();
  }
  return {bytes.begin(), bytes.end()};
}

} // namespace stele::test
