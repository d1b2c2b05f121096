// See Dequantise.h. Every block type has one function that turns one block into
// its 32 or 256 values; the layouts are ggml's.
#include "stele/compiler/Import/Dequantise.h"
#include <bit>
#include <cstring>

using namespace stele::checkpoint;

// A multiply and an add must round twice, as they do in numpy.
#pragma STDC FP_CONTRACT OFF

static uint16_t loadU16(const uint8_t *in) {
  uint16_t value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

static uint32_t loadU32(const uint8_t *in) {
  uint32_t value;
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

static float loadHalf(const uint8_t *in) { return halfToFloat(loadU16(in)); }

static void convertF16(const uint8_t *in, int64_t count, float *out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = loadHalf(in + 2 * i);
}

static void convertBF16(const uint8_t *in, int64_t count, float *out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = std::bit_cast<float>(uint32_t(loadU16(in + 2 * i)) << 16);
}

// {half d; int8 q[32]}
static void blockQ8_0(const uint8_t *in, float *out) {
  float d = loadHalf(in);
  for (int i = 0; i < 32; ++i)
    out[i] = float(int8_t(in[2 + i])) * d;
}

// {half d; uint8 q[16]}: low nibbles are values 0-15, high ones 16-31.
static void blockQ4_0(const uint8_t *in, float *out) {
  float d = loadHalf(in);
  const uint8_t *q = in + 2;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * float(int(q[i] & 15) - 8);
    out[i + 16] = d * float(int(q[i] >> 4) - 8);
  }
}

// {half d; half m; uint8 q[16]}
static void blockQ4_1(const uint8_t *in, float *out) {
  float d = loadHalf(in), m = loadHalf(in + 2);
  const uint8_t *q = in + 4;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * float(q[i] & 15) + m;
    out[i + 16] = d * float(q[i] >> 4) + m;
  }
}

// Value i of a Q5 block: four bits of q and bit i of `high`.
static int fiveBits(const uint8_t *q, uint32_t high, int i) {
  int low = i < 16 ? q[i] & 15 : q[i - 16] >> 4;
  return low | int(high >> i & 1) << 4;
}

// {half d; uint32 high; uint8 q[16]}
static void blockQ5_0(const uint8_t *in, float *out) {
  float d = loadHalf(in);
  uint32_t high = loadU32(in + 2);
  for (int i = 0; i < 32; ++i)
    out[i] = d * float(fiveBits(in + 6, high, i) - 16);
}

// {half d; half m; uint32 high; uint8 q[16]}
static void blockQ5_1(const uint8_t *in, float *out) {
  float d = loadHalf(in), m = loadHalf(in + 2);
  uint32_t high = loadU32(in + 4);
  for (int i = 0; i < 32; ++i)
    out[i] = d * float(fiveBits(in + 8, high, i)) + m;
}

// The six-bit scale and minimum of sub-block j, from 12 packed bytes.
static void scaleAndMin(const uint8_t *packed, int j, int &scale, int &min) {
  if (j < 4) {
    scale = packed[j] & 63;
    min = packed[j + 4] & 63;
    return;
  }
  scale = (packed[j + 4] & 15) | (packed[j - 4] >> 2 & 48);
  min = packed[j + 4] >> 4 | (packed[j] >> 2 & 48);
}

// {half d; half dmin; uint8 scales[12]; uint8 q[128]}: eight sub-blocks of 32,
// two of them share 32 bytes of q.
static void blockQ4_K(const uint8_t *in, float *out) {
  float d = loadHalf(in), dmin = loadHalf(in + 2);
  for (int j = 0; j < 8; ++j) {
    int scale, min;
    scaleAndMin(in + 4, j, scale, min);
    float ds = d * float(scale), dm = dmin * float(min);
    const uint8_t *q = in + 16 + j / 2 * 32;
    int shift = j % 2 * 4;
    for (int i = 0; i < 32; ++i)
      out[j * 32 + i] = ds * float(q[i] >> shift & 15) - dm;
  }
}

// {half d; half dmin; uint8 scales[12]; uint8 high[32]; uint8 q[128]}: as Q4_K,
// with bit j of high[i] above value i of sub-block j.
static void blockQ5_K(const uint8_t *in, float *out) {
  float d = loadHalf(in), dmin = loadHalf(in + 2);
  const uint8_t *high = in + 16;
  for (int j = 0; j < 8; ++j) {
    int scale, min;
    scaleAndMin(in + 4, j, scale, min);
    float ds = d * float(scale), dm = dmin * float(min);
    const uint8_t *q = in + 48 + j / 2 * 32;
    int shift = j % 2 * 4;
    for (int i = 0; i < 32; ++i)
      out[j * 32 + i] =
          ds * float((q[i] >> shift & 15) | (high[i] >> j & 1) << 4) - dm;
  }
}

// {uint8 low[128]; uint8 high[64]; int8 scales[16]; half d}: two halves of 128;
// in each, four runs of 32 share 64 bytes of low and 32 bytes of high.
static void blockQ6_K(const uint8_t *in, float *out) {
  float d = loadHalf(in + 208);
  for (int run = 0; run < 8; ++run) {
    const uint8_t *low = in + run / 4 * 64 + run % 2 * 32;
    const uint8_t *high = in + 128 + run / 4 * 32;
    int lowShift = run % 4 / 2 * 4, highShift = run % 4 * 2;
    for (int i = 0; i < 32; ++i) {
      int q = (low[i] >> lowShift & 15) | (high[i] >> highShift & 3) << 4;
      float ds = d * float(int8_t(in[192 + run * 2 + i / 16]));
      out[run * 32 + i] = ds * float(q - 32);
    }
  }
}

template <void (*convertBlock)(const uint8_t *, float *)>
static void convertBlocks(ElementType type, const uint8_t *in, int64_t count,
                          float *out) {
  int64_t elements = blockElements(type), bytes = blockBytes(type);
  for (int64_t block = 0; block < count / elements; ++block)
    convertBlock(in + block * bytes, out + block * elements);
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
  case ElementType::Q8_0:
    return convertBlocks<blockQ8_0>(type, in, count, out);
  case ElementType::Q4_0:
    return convertBlocks<blockQ4_0>(type, in, count, out);
  case ElementType::Q4_1:
    return convertBlocks<blockQ4_1>(type, in, count, out);
  case ElementType::Q5_0:
    return convertBlocks<blockQ5_0>(type, in, count, out);
  case ElementType::Q5_1:
    return convertBlocks<blockQ5_1>(type, in, count, out);
  case ElementType::Q4_K:
    return convertBlocks<blockQ4_K>(type, in, count, out);
  case ElementType::Q5_K:
    return convertBlocks<blockQ5_K>(type, in, count, out);
  case ElementType::Q6_K:
    return convertBlocks<blockQ6_K>(type, in, count, out);
  }
}
