// panel_q4 and panel_q8: every code, scale and offset of random matrices is
// found again where quant_format.h says it lies, and what does not fit its
// format is refused.
#include <cmath>
#include <cstring>

#include "Quantised.h"
#include "stele/compiler/Codegen/Host/WeightLayout.h"
#include "stele/schema/weight_layout.h"
#include "gmock/gmock.h"

namespace stele::test {
namespace {

using schema::QuantFormat;
using testing::HasSubstr;

float ReadReal(QuantFormat::Real real, const char *at, int64_t index) {
  if (real == QuantFormat::Real::kF32) {
    float value;
    std::memcpy(&value, at + 4 * index, 4);
    return value;
  }
  _Float16 value;
  std::memcpy(&value, at + 2 * index, 2);
  return float(value);
}

// What a reader of the format's description finds in the packed bytes.
class Reader {
public:
  Reader(const QuantisedMatrix &m, bool glu)
      : m(m), glu(glu), bytes(m.Pack(glu)) {}

  // Checks element [row, column] and its group.
  void Expect(int64_t row, int64_t column) {
    int64_t panel = row / 32, lane = row % 32, half = m.rows / 2;
    if (glu) {
      panel = row % half / 16;
      lane = row % half % 16 + row / half * 16;
    }
    int64_t width = std::min<int64_t>(m.format.group, 128);
    size_t panel_bytes = 0, block = 0;
    for (int64_t begin = 0; begin < m.columns; begin += width) {
      if (column / width == begin / width)
        block = panel_bytes;
      panel_bytes += BlockBytes(std::min(width, m.columns - begin));
    }
    const char *at = bytes.data() + panel * panel_bytes + block;
    int64_t group = row * m.groups + column / m.format.group;
    ASSERT_EQ(ReadReal(m.format.scale, at, lane), m.data.scales[group]);
    at += 32 * RealBytes(m.format.scale);
    if (m.format.offset != QuantFormat::Real::kNone) {
      ASSERT_EQ(ReadReal(m.format.offset, at, lane), m.data.offsets[group]);
    }
    at += 32 * RealBytes(m.format.offset);
    int64_t i = column % width;
    uint8_t code;
    if (m.format.bits == 8) {
      code = uint8_t(at[(i / 4 * 32 + lane) * 4 + i % 4]);
    } else {
      code = uint8_t(at[(i / 8 * 32 + lane) * 4 + i % 4]);
      code = i % 8 < 4 ? code & 15 : code >> 4;
    }
    ASSERT_EQ(code, m.data.codes[row * m.columns + column]);
  }

private:
  static size_t RealBytes(QuantFormat::Real real) {
    return real == QuantFormat::Real::kNone ? 0 : 2 * size_t(real);
  }
  size_t BlockBytes(int64_t columns) const {
    int64_t step = m.format.bits == 4 ? 8 : 4;
    return 32 * (RealBytes(m.format.scale) + RealBytes(m.format.offset)) +
           (columns + step - 1) / step * 128;
  }

  const QuantisedMatrix &m;
  bool glu;
  std::vector<char> bytes;
};

TEST(QuantLayout, KeepsEveryCodeScaleAndOffset) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    QuantFormat format = RandomFormat(random);
    bool glu = random() % 2;
    int64_t rows = (1 + random() % 70) * (glu ? 2 : 1);
    QuantisedMatrix m(format, rows, 1 + random() % 600, random);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + Name(format) + ", " +
                 std::to_string(m.rows) + " x " + std::to_string(m.columns) +
                 (glu ? " glu" : ""));
    Reader reader(m, glu);
    for (int64_t row = 0; row < m.rows; ++row)
      for (int64_t column = 0; column < m.columns; ++column)
        ASSERT_NO_FATAL_FAILURE(reader.Expect(row, column))
            << row << ", " << column;
  }
}

// Packs one row of 16 columns as q4 with f16 scales and returns the error.
std::string Refusal(float scale, uint8_t code, size_t codes = 16) {
  QuantFormat format{.bits = 4, .group = 16};
  std::string bytes;
  llvm::raw_string_ostream stream(bytes);
  return llvm::toString(compiler::packQuantised(
      "panel_q4", format, 1, 16,
      [&](int64_t, int64_t, checkpoint::QuantRows &rows) {
        rows = {std::vector<uint8_t>(codes, code), {scale}, {}};
        return llvm::Error::success();
      },
      stream));
}

TEST(QuantLayout, RefusesWhatTheFormatCannotHold) {
  EXPECT_EQ(Refusal(0.5f, 15), "");
  EXPECT_EQ(Refusal(-65504.0f, 0), "");
  EXPECT_EQ(Refusal(0x1p-24f, 0), "");
  for (float scale : {0.1f, 65536.0f, 0x1p-25f, float(INFINITY), float(NAN)})
    EXPECT_THAT(Refusal(scale, 0), HasSubstr("row 0, group 0: scale")) << scale;
  EXPECT_THAT(Refusal(1, 16), HasSubstr("row 0 holds a code of more than 4"));
  EXPECT_THAT(Refusal(1, 0, 15), HasSubstr("another number of codes"));
}

TEST(QuantLayout, RefusesFormatsThatTheLayoutDoesNotHold) {
  const schema::WeightLayout *q4 = schema::FindWeightLayout("panel_q4");
  const schema::WeightLayout *glu = schema::FindWeightLayout("panel_q8_glu");
  const schema::WeightLayout *plain = schema::FindWeightLayout("panel_f32");
  EXPECT_EQ(schema::PackedBytes(*q4, {.bits = 4}, 1, 128), 32u * (2 + 64));
  EXPECT_FALSE(schema::PackedBytes(*q4, {.bits = 8}, 1, 128));
  EXPECT_FALSE(schema::PackedBytes(*q4, {.group = 48}, 1, 128));
  EXPECT_FALSE(schema::PackedBytes(*q4, {.group = 8}, 1, 128));
  EXPECT_FALSE(schema::PackedBytes(*q4, {.group = 512}, 1, 128));
  EXPECT_FALSE(
      schema::PackedBytes(*q4, {.scale = QuantFormat::Real::kNone}, 1, 128));
  EXPECT_FALSE(schema::PackedBytes(*glu, {.bits = 8}, 33, 128));
  EXPECT_FALSE(schema::PackedBytes(*plain, {}, 1, 128));
  EXPECT_FALSE(schema::PackedBytes(*q4, {}, ~uint64_t{0}, uint64_t{1} << 40));
  EXPECT_FALSE(schema::PackedBytes(*q4, {}, 1, ~uint64_t{0}));
  EXPECT_FALSE(schema::PackedElements(*q4, 32, 128));
}

} // namespace
} // namespace stele::test
