// The layouts of stored weights: the one table that the compiler packs by and
// the runtime checks stored sizes against.
//
// Place on the road: compiler/Codegen/Host packs a checkpoint's [out, in]
// matrices into panels that its kernels stream; runtime/plan refuses a tensor
// whose length is not what its shape, dtype and layout require.
#ifndef STELE_SCHEMA_WEIGHT_LAYOUT_H_
#define STELE_SCHEMA_WEIGHT_LAYOUT_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "stele/schema/quant_format.h"

namespace stele::schema {

// [ceil(rows / panel_rows)][ceil(columns / depth)][panel_rows][depth], zero
// padded. `halves` 2: the rows are two equal stacked matrices (gate, up), each
// padded to whole panels by itself, whose panels alternate.
//
// With `bits` the elements are codes of a QuantFormat of as many bits, in the
// order that quant_format.h describes; its panels of 32 rows are one panel of
// the matrix, or one of gate and one of up.
struct WeightLayout {
  std::string_view name;  // Tensor.layout of plan.fbs
  uint32_t panel_rows;
  uint32_t depth;
  uint32_t halves;
  uint32_t bits = 0;  // 0: elements of the tensor's dtype
};

inline constexpr WeightLayout kWeightLayouts[] = {
    {"rows", 1, 1, 1},            // any dtype, any rank, row-major
    {"panel_f32", 16, 1, 1},      // f32 linears
    {"panel_f32_glu", 16, 1, 2},  // f32 gate and up
    {"panel_bf16", 16, 2, 1},     // bf16 linears, pairs for vdpbf16ps
    {"panel_bf16_glu", 16, 2, 2},
    {"panel_q4", 32, 8, 1, 4},  // quantised linears, any arithmetic
    {"panel_q4_glu", 16, 8, 2, 4},
    {"panel_q8", 32, 4, 1, 8},
    {"panel_q8_glu", 16, 4, 2, 8},
};

inline const WeightLayout* FindWeightLayout(std::string_view name) {
  for (const WeightLayout& layout : kWeightLayouts)
    if (layout.name == name) return &layout;
  return nullptr;
}

// Rows stored for `rows`; nothing when they do not split into the halves.
inline std::optional<uint64_t> PaddedRows(const WeightLayout& layout,
                                          uint64_t rows) {
  if (rows % layout.halves != 0) return std::nullopt;
  const uint64_t half = rows / layout.halves, unit = layout.panel_rows;
  uint64_t padded;
  if (__builtin_mul_overflow((half / unit + (half % unit != 0)),
                             unit * layout.halves, &padded))
    return std::nullopt;
  return padded;
}

// Elements stored for a [rows, columns] matrix that is not quantised; nothing
// when that overflows, `rows` does not split, or the layout holds codes.
inline std::optional<uint64_t> PackedElements(const WeightLayout& layout,
                                              uint64_t rows, uint64_t columns) {
  const auto padded_rows = PaddedRows(layout, rows);
  if (!padded_rows || layout.bits != 0) return std::nullopt;
  const uint64_t steps = columns / layout.depth + (columns % layout.depth != 0);
  uint64_t elements;
  if (__builtin_mul_overflow(*padded_rows, steps * layout.depth, &elements))
    return std::nullopt;
  return elements;
}

// Bytes stored for a quantised [rows, columns] matrix; nothing when that
// overflows, `rows` does not split, or layout and format do not go together.
inline std::optional<uint64_t> PackedBytes(const WeightLayout& layout,
                                           const QuantFormat& format,
                                           uint64_t rows, uint64_t columns) {
  const auto padded_rows = PaddedRows(layout, rows);
  if (!padded_rows || !IsValid(format) || layout.bits != format.bits ||
      columns > uint64_t{1} << 40)
    return std::nullopt;
  uint64_t bytes;
  if (__builtin_mul_overflow(*padded_rows / kQuantPanelRows,
                             QuantPanelBytes(format, columns), &bytes))
    return std::nullopt;
  return bytes;
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_WEIGHT_LAYOUT_H_
