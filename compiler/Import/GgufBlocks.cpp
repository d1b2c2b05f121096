// See GgufBlocks.h. The layouts are ggml's. Codes are unsigned, so a type whose
// values lie around zero has its codes moved up to the middle of 4 or 8 bits.
#include "stele/compiler/Import/GgufBlocks.h"
#include "stele/compiler/Import/Dequantise.h"
#include <cstring>

using namespace stele::checkpoint;
using stele::schema::QuantFormat;

namespace {
// Where a block's parts go: one code an element, one scale (and offset) a
// group.
struct Block {
  uint8_t *codes;
  float *scales;
  float *offsets; // null for the symmetric types
};
} // namespace

static uint32_t loadU32(const uint8_t *in) {
  uint32_t value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

// The nibbles of 16 bytes: the low ones are elements 0-15, the high ones 16-31.
static void splitNibbles(const uint8_t *q, uint8_t *codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = q[i] & 15;
    codes[i + 16] = q[i] >> 4;
  }
}

// As splitNibbles, with bit i of `high` above element i.
static void splitFiveBits(const uint8_t *q, uint32_t high, uint8_t *codes) {
  splitNibbles(q, codes);
  for (int i = 0; i < 32; ++i)
    codes[i] |= (high >> i & 1) << 4;
}

// {half d; int8 q[32]}: d * q
static void blockQ8_0(const uint8_t *in, Block out) {
  out.scales[0] = loadHalf(in);
  for (int i = 0; i < 32; ++i)
    out.codes[i] = in[2 + i] ^ 0x80; // + 128
}

// {half d; uint8 q[16]}: d * (q - 8)
static void blockQ4_0(const uint8_t *in, Block out) {
  out.scales[0] = loadHalf(in);
  splitNibbles(in + 2, out.codes);
}

// {half d; half m; uint8 q[16]}: d * q + m
static void blockQ4_1(const uint8_t *in, Block out) {
  out.scales[0] = loadHalf(in);
  out.offsets[0] = loadHalf(in + 2);
  splitNibbles(in + 4, out.codes);
}

// {half d; uint32 high; uint8 q[16]}: d * (q - 16)
static void blockQ5_0(const uint8_t *in, Block out) {
  out.scales[0] = loadHalf(in);
  splitFiveBits(in + 6, loadU32(in + 2), out.codes);
  for (int i = 0; i < 32; ++i)
    out.codes[i] += 128 - 16;
}

// {half d; half m; uint32 high; uint8 q[16]}: d * q + m
static void blockQ5_1(const uint8_t *in, Block out) {
  out.scales[0] = loadHalf(in);
  out.offsets[0] = loadHalf(in + 2);
  splitFiveBits(in + 8, loadU32(in + 4), out.codes);
}

// The scales and offsets of eight sub-blocks: six bits each of a scale and a
// minimum in 12 packed bytes, times the block's d and dmin.
static void splitScales(const uint8_t *in, Block out) {
  float d = loadHalf(in), dmin = loadHalf(in + 2);
  const uint8_t *packed = in + 4;
  for (int j = 0; j < 8; ++j) {
    int scale = packed[j] & 63, min = packed[j + 4] & 63;
    if (j >= 4) {
      scale = (packed[j + 4] & 15) | (packed[j - 4] >> 2 & 48);
      min = packed[j + 4] >> 4 | (packed[j] >> 2 & 48);
    }
    out.scales[j] = d * float(scale);
    out.offsets[j] = -(dmin * float(min));
  }
}

// {half d; half dmin; uint8 scales[12]; uint8 q[128]}: eight sub-blocks of 32,
// two of them share 32 bytes of q.
static void blockQ4_K(const uint8_t *in, Block out) {
  splitScales(in, out);
  for (int j = 0; j < 8; ++j)
    for (int i = 0; i < 32; ++i)
      out.codes[j * 32 + i] = in[16 + j / 2 * 32 + i] >> (j % 2 * 4) & 15;
}

// {half d; half dmin; uint8 scales[12]; uint8 high[32]; uint8 q[128]}: as Q4_K,
// with bit j of high[i] above element i of sub-block j.
static void blockQ5_K(const uint8_t *in, Block out) {
  splitScales(in, out);
  const uint8_t *high = in + 16, *q = in + 48;
  for (int j = 0; j < 8; ++j)
    for (int i = 0; i < 32; ++i)
      out.codes[j * 32 + i] =
          (q[j / 2 * 32 + i] >> (j % 2 * 4) & 15) | (high[i] >> j & 1) << 4;
}

// {uint8 low[128]; uint8 high[64]; int8 scales[16]; half d}: d * scale *
// (q - 32). Two halves of 128; in each, four runs of 32 share 64 bytes of low
// and 32 bytes of high.
static void blockQ6_K(const uint8_t *in, Block out) {
  float d = loadHalf(in + 208);
  for (int group = 0; group < 16; ++group)
    out.scales[group] = d * float(int8_t(in[192 + group]));
  for (int run = 0; run < 8; ++run) {
    const uint8_t *low = in + run / 4 * 64 + run % 2 * 32;
    const uint8_t *high = in + 128 + run / 4 * 32;
    int lowShift = run % 4 / 2 * 4, highShift = run % 4 * 2;
    for (int i = 0; i < 32; ++i) {
      int q = (low[i] >> lowShift & 15) | (high[i] >> highShift & 3) << 4;
      out.codes[run * 32 + i] = q + 128 - 32;
    }
  }
}

using SplitBlock = void (*)(const uint8_t *, Block);

static SplitBlock splitOf(ElementType type) {
  switch (type) {
  case ElementType::Q8_0:
    return blockQ8_0;
  case ElementType::Q4_0:
    return blockQ4_0;
  case ElementType::Q4_1:
    return blockQ4_1;
  case ElementType::Q5_0:
    return blockQ5_0;
  case ElementType::Q5_1:
    return blockQ5_1;
  case ElementType::Q4_K:
    return blockQ4_K;
  case ElementType::Q5_K:
    return blockQ5_K;
  case ElementType::Q6_K:
    return blockQ6_K;
  default:
    return nullptr;
  }
}

std::optional<QuantFormat> stele::checkpoint::quantFormatOf(ElementType type) {
  constexpr QuantFormat::Real none = QuantFormat::Real::kNone;
  constexpr QuantFormat::Real f16 = QuantFormat::Real::kF16;
  constexpr QuantFormat::Real f32 = QuantFormat::Real::kF32;
  switch (type) {
  case ElementType::Q8_0:
  case ElementType::Q5_0:
    return QuantFormat{8, 32, f16, none};
  case ElementType::Q4_0:
    return QuantFormat{4, 32, f16, none};
  case ElementType::Q4_1:
    return QuantFormat{4, 32, f16, f16};
  case ElementType::Q5_1:
    return QuantFormat{8, 32, f16, f16};
  case ElementType::Q4_K:
    return QuantFormat{4, 32, f32, f32};
  case ElementType::Q5_K:
    return QuantFormat{8, 32, f32, f32};
  case ElementType::Q6_K:
    return QuantFormat{8, 16, f32, none};
  default:
    return std::nullopt;
  }
}

void stele::checkpoint::splitBlocks(ElementType type, const uint8_t *in,
                                    int64_t rows, int64_t columns, int64_t row,
                                    QuantRows &out) {
  SplitBlock split = splitOf(type);
  int64_t elements = blockElements(type), bytes = blockBytes(type);
  int64_t groups = elements / quantFormatOf(type)->group;
  int64_t first = row * columns / elements;
  for (int64_t i = 0; i < rows * columns / elements; ++i) {
    int64_t block = first + i;
    float *offsets =
        out.offsets.empty() ? nullptr : &out.offsets[block * groups];
    split(in + i * bytes,
          {&out.codes[block * elements], &out.scales[block * groups], offsets});
  }
}
