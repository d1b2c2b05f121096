// See Dequantise.h.
#include "stele/compiler/Import/Dequantise.h"
#include "stele/compiler/Import/GgufBlocks.h"
#include <bit>
#include <cstring>

using namespace stele::checkpoint;

static uint16_t loadU16(const uint8_t *in) {
  uint16_t value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

// Exact for every half, subnormals too: the half's exponent and mantissa moved
// to their places in a float make a number 2^112 too small.
static float halfToFloat(uint16_t half) {
  uint32_t magnitude = uint32_t(half & 0x7fff) << 13;
  uint32_t bits =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  if ((half & 0x7c00) == 0x7c00) // infinity, NaN
    bits = magnitude | 0x7f800000;
  return std::bit_cast<float>(bits | uint32_t(half & 0x8000) << 16);
}

float stele::checkpoint::loadHalf(const uint8_t *in) {
  return halfToFloat(loadU16(in));
}

static void convertF16(const uint8_t *in, int64_t count, float *out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = loadHalf(in + 2 * i);
}

static void convertBF16(const uint8_t *in, int64_t count, float *out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = std::bit_cast<float>(uint32_t(loadU16(in + 2 * i)) << 16);
}

static void convertBlocks(ElementType type, const uint8_t *in, int64_t count,
                          float *out) {
  stele::schema::QuantFormat format = *quantFormatOf(type);
  QuantRows row;
  row.resize(format, 1, count);
  splitBlocks(type, in, 1, count, 0, row);
  dequantise(format, row, count, out);
}

void stele::checkpoint::dequantise(ElementType type, const uint8_t *in,
                                   int64_t count, float *out) {
  switch (type) {
  case ElementType::F32:
    std::memcpy(out, in, count * sizeof(float));
    return;
  case ElementType::F16:
    return convertF16(in, count, out);
  case ElementType::BF16:
    return convertBF16(in, count, out);
  default:
    return convertBlocks(type, in, count, out);
  }
}
