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

}  // namespace stele::schema

#endif  // STELE_SCHEMA_QUANT_FORMAT_H_
