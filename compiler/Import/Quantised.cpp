// See Quantised.h. The formula of quant_format.h, with the roundings that the
// schemes' own definitions have: a product, and a sum where there is an offset.
#include "stele/compiler/Import/Quantised.h"
#include <algorithm>

using namespace stele::checkpoint;
using stele::schema::QuantFormat;

// A multiply and an add must round twice, as they do in numpy.
#pragma STDC FP_CONTRACT OFF

void QuantRows::resize(const QuantFormat &format, int64_t rows,
                       int64_t columns) {
  int64_t groups = rows * groupsOf(format, columns);
  codes.resize(rows * columns);
  scales.resize(groups);
  offsets.resize(format.offset == QuantFormat::Real::kNone ? 0 : groups);
}

static void symmetricGroup(const uint8_t *codes, int64_t count, float middle,
                           float scale, float *out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = scale * (float(codes[i]) - middle);
}

static void offsetGroup(const uint8_t *codes, int64_t count, float scale,
                        float offset, float *out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = scale * float(codes[i]) + offset;
}

void stele::checkpoint::dequantise(const QuantFormat &format,
                                   const QuantRows &rows, int64_t columns,
                                   float *out) {
  float middle = 1 << (format.bits - 1);
  const uint8_t *codes = rows.codes.data();
  for (size_t group = 0, column = 0; group < rows.scales.size(); ++group) {
    int64_t count = std::min<int64_t>(format.group, columns - column);
    if (rows.offsets.empty())
      symmetricGroup(codes, count, middle, rows.scales[group], out);
    else
      offsetGroup(codes, count, rows.scales[group], rows.offsets[group], out);
    codes += count;
    out += count;
    column = (column + count) % columns;
  }
}
