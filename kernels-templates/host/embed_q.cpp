// Rows of an embedding table that is stored quantised, in the panels that the
// logits read too: panel_q4 or panel_q8 (quant_format.h).
#include "stele/schema/quant_format.h"
#include "vec.h"

STELE_INT(hidden)
STELE_INT(bits)
STELE_INT(group)
STELE_INT(scale_f32)
STELE_INT(offset)

using namespace stele;

namespace {

using schema::QuantFormat;

STELE_INLINE constexpr QuantFormat Format() {
  return schema::QuantFormatOf(stele_bits, stele_group, stele_scale_f32,
                               stele_offset);
}

STELE_INLINE float ReadReal(const uint8_t* reals, int64_t lane,
                            QuantFormat::Real real) {
  float value;
  if (real == QuantFormat::Real::kF32) {
    __builtin_memcpy(&value, reals + 4 * lane, sizeof(value));
    return value;
  }
  uint16_t half;
  __builtin_memcpy(&half, reals + 2 * lane, sizeof(half));
  return _cvtsh_ss(half);
}

// Columns [0, columns) of a block, for one lane of the panel.
STELE_INLINE void ReadBlock(const uint8_t* block, int64_t lane, int64_t columns,
                            float* out) {
  const QuantFormat format = Format();
  const float scale = ReadReal(block, lane, format.scale);
  const uint8_t* offsets =
      block + schema::QuantRealBytes(format.scale) * schema::kQuantPanelRows;
  const float offset = stele_offset
                           ? ReadReal(offsets, lane, format.offset)
                           : -scale * static_cast<float>(1 << (stele_bits - 1));
  const uint8_t* codes = block + schema::QuantHeadBytes(format) + 4 * lane;
  const int64_t step = schema::QuantStepColumns(format);
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t byte = i / step * 4 * schema::kQuantPanelRows + i % 4;
    const int code =
        stele_bits == 8 ? codes[byte] : codes[byte] >> (i % 8 / 4 * 4) & 15;
    out[i] = __builtin_elementwise_fma(scale, static_cast<float>(code), offset);
  }
}

STELE_INLINE void ReadRow(const uint8_t* table, int64_t id, float* out) {
  const uint8_t* at =
      table + id / schema::kQuantPanelRows *
                  schema::QuantPanelBytes(Format(), stele_hidden);
  const int64_t width = schema::QuantBlockColumns(Format());
  for (int64_t begin = 0; begin < stele_hidden; begin += width) {
    const int64_t columns = Min(width, stele_hidden - begin);
    ReadBlock(at, id % schema::kQuantPanelRows, columns, out + begin);
    at += schema::QuantBlockBytes(Format(), columns);
  }
}

}  // namespace

STELE_ENTRY {
  Bindings bindings(args);
  const uint8_t* table = bindings.Next<const uint8_t>();
  float* out = bindings.Next<float>();  // [T, hidden]
  const Range range = Share(args, args->batch->tokens, 1);
  for (int64_t t = range.begin; t < range.end; ++t)
    ReadRow(table, args->batch->token_ids[t], out + t * stele_hidden);
}
