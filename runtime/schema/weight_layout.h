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

namespace stele::schema {

// [ceil(rows / panel_rows)][ceil(columns / depth)][panel_rows][depth], zero
// padded. `halves` 2: the rows are two equal stacked matrices (gate, up), each
// padded to whole panels by itself, whose panels alternate.
struct WeightLayout {
  std::string_view name;  // Tensor.layout of plan.fbs
  uint32_t panel_rows;
  uint32_t depth;
  uint32_t halves;
};

inline constexpr WeightLayout kWeightLayouts[] = {
    {"rows", 1, 1, 1},            // any dtype, any rank, row-major
    {"panel_f32", 16, 1, 1},      // f32 linears
    {"panel_f32_glu", 16, 1, 2},  // f32 gate and up
    {"panel_bf16", 16, 2, 1},     // bf16 linears, pairs for vdpbf16ps
    {"panel_bf16_glu", 16, 2, 2},
};

inline const WeightLayout* FindWeightLayout(std::string_view name) {
  for (const WeightLayout& layout : kWeightLayouts)
    if (layout.name == name) return &layout;
  return nullptr;
}

// Elements stored for a [rows, columns] matrix; nothing when that overflows or
// `rows` does not split into the layout's halves.
inline std::optional<uint64_t> PackedElements(const WeightLayout& layout,
                                              uint64_t rows, uint64_t columns) {
  if (rows % layout.halves != 0) return std::nullopt;
  const auto round_up = [](uint64_t n, uint64_t unit) {
    return (n / unit + (n % unit != 0)) * unit;
  };
  const uint64_t padded_rows =
      round_up(rows / layout.halves, layout.panel_rows) * layout.halves;
  uint64_t elements;
  if (__builtin_mul_overflow(padded_rows, round_up(columns, layout.depth),
                             &elements))
    return std::nullopt;
  return elements;
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_WEIGHT_LAYOUT_H_
