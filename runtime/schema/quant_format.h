// How quantised weights are stored: the one description that importers, the
// compiler, kernels and the runtime's checks share.
//
// Place on the road: compiler/Import finds it in a checkpoint (or the quantise
// pass chooses it), `#lm.quant` carries it through the IR, weight_layout.h says
// how many bytes a packed matrix of it has, plan.fbs records it.
#ifndef STELE_SCHEMA_QUANT_FORMAT_H_
#define STELE_SCHEMA_QUANT_FORMAT_H_

#include <cstdint>

namespace stele::schema {

// Element c of a row, in group g = c / group (the last group of a row may be
// shorter), is
//
//   w = scale[g] * q + offset[g]             with an offset
//   w = scale[g] * (q - 2^(bits - 1))        without
//
// with an unsigned code q < 2^bits. One formula serves every scheme: an integer
// zero point z is the offset -z * scale, exact in f32 for scales of 16 bits.
struct QuantFormat {
  enum class Real : uint8_t { kNone, kF16, kF32 };

  uint32_t bits = 4;          // 4 or 8
  uint32_t group = 128;       // power of two in 16..256
  Real scale = Real::kF16;    // f16 or f32, never none
  Real offset = Real::kNone;  // none: symmetric

  bool operator==(const QuantFormat&) const = default;
};

constexpr bool IsValid(const QuantFormat& format) {
  using Real = QuantFormat::Real;
  return (format.bits == 4 || format.bits == 8) && format.group >= 16 &&
         format.group <= 256 && (format.group & (format.group - 1)) == 0 &&
         (format.scale == Real::kF16 || format.scale == Real::kF32) &&
         format.offset <= Real::kF32;
}

// From the constants of a kernel (kernels-templates/host/linear_q.cpp).
constexpr QuantFormat QuantFormatOf(int32_t bits, int32_t group,
                                    int32_t scale_f32, int32_t offset) {
  using Real = QuantFormat::Real;
  return {static_cast<uint32_t>(bits), static_cast<uint32_t>(group),
          scale_f32 ? Real::kF32 : Real::kF16, static_cast<Real>(offset)};
}

// The order of panel_q4 and panel_q8. A matrix is cut into panels of 32 rows
// and a panel into blocks of columns: groups, those longer than 128 halved. A
// block is one piece of
//
//   scales   [32] f16 or f32
//   offsets  [32] f16 or f32, if the format has them
//   codes    8 bits  [steps][2][16 rows][4 columns], 4 columns a step
//            4 bits  [steps][2][16 rows][4 bytes], 8 columns a step: byte i of
//                    a row holds column i below and column 4 + i above
//
// so that one load of 64 bytes feeds 16 rows. The last block of a row is as
// long as its columns need; codes that pad a step are 0.
constexpr uint32_t kQuantPanelRows = 32;
constexpr uint32_t kQuantMaxBlock = 128;

constexpr uint32_t QuantBlockColumns(const QuantFormat& format) {
  return format.group < kQuantMaxBlock ? format.group : kQuantMaxBlock;
}
constexpr uint32_t QuantStepColumns(const QuantFormat& format) {
  return format.bits == 4 ? 8 : 4;
}
constexpr uint64_t QuantRealBytes(QuantFormat::Real real) {
  return real == QuantFormat::Real::kNone  ? 0
         : real == QuantFormat::Real::kF16 ? 2
                                           : 4;
}
// Bytes before a block's codes, and of a block of that many columns.
constexpr uint64_t QuantHeadBytes(const QuantFormat& format) {
  return kQuantPanelRows *
         (QuantRealBytes(format.scale) + QuantRealBytes(format.offset));
}
constexpr uint64_t QuantBlockBytes(const QuantFormat& format,
                                   uint64_t columns) {
  const uint64_t step = QuantStepColumns(format);
  return QuantHeadBytes(format) +
         (columns + step - 1) / step * 4 * kQuantPanelRows;
}
// Bytes of a panel of whole rows, of at most 2^40 columns.
constexpr uint64_t QuantPanelBytes(const QuantFormat& format,
                                   uint64_t columns) {
  const uint64_t block = QuantBlockColumns(format), rest = columns % block;
  return columns / block * QuantBlockBytes(format, block) +
         (rest == 0 ? 0 : QuantBlockBytes(format, rest));
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_QUANT_FORMAT_H_
