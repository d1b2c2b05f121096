// The packer of weights (WeightLayout.h).
#include "stele/compiler/Codegen/Host/WeightLayout.h"
#include "stele/schema/weight_layout.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

using namespace llvm;

namespace stele::compiler {
namespace {

constexpr int64_t kBlockBytes = int64_t(1) << 20;

// Round to nearest even; NaN and infinities do not reach this place.
uint16_t toBf16(float value) {
  uint32_t bits = llvm::bit_cast<uint32_t>(value);
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

int64_t elementBytes(PackedType type) {
  return type == PackedType::F32 ? 4 : 2;
}

Expected<const schema::WeightLayout *> findLayout(StringRef name) {
  if (const schema::WeightLayout *layout = schema::FindWeightLayout(name))
    return layout;
  return createStringError(inconvertibleErrorCode(),
                           "unknown weight layout \"" + name + "\"");
}

// Packs rows of one panel: [ceil(columns / depth)][panel_rows][depth].
template <typename Element, typename Convert>
void packPanel(const float *rows, int64_t rowCount, int64_t columns,
               const schema::WeightLayout &layout, Convert convert,
               std::vector<Element> &panel) {
  int64_t depth = layout.depth, width = layout.panel_rows;
  int64_t steps = (columns + depth - 1) / depth;
  panel.assign(steps * width * depth, Element());
  for (int64_t row = 0; row < rowCount; ++row)
    for (int64_t column = 0; column < columns; ++column)
      panel[(column / depth * width + row) * depth + column % depth] =
          convert(rows[row * columns + column]);
}

template <typename Element>
void writeAll(raw_ostream &out, const std::vector<Element> &panel) {
  out.write(reinterpret_cast<const char *>(panel.data()),
            panel.size() * sizeof(Element));
}

template <typename Element, typename Convert>
Error packPanels(const schema::WeightLayout &layout, int64_t rows,
                 int64_t columns, RowReader read, Convert convert,
                 raw_ostream &out) {
  // One read serves many panels, so that a quantised source is not asked for
  // its rows one by one.
  int64_t halfRows = rows / layout.halves;
  int64_t block = std::max<int64_t>(
      layout.panel_rows,
      llvm::alignDown(kBlockBytes / std::max<int64_t>(4 * columns, 1),
                      layout.panel_rows));
  std::vector<float> source(layout.halves * block * columns);
  std::vector<Element> panel;
  for (int64_t begin = 0; begin < halfRows; begin += block) {
    int64_t count = std::min(block, halfRows - begin);
    for (int64_t half = 0; half < layout.halves; ++half) {
      int64_t first = half * halfRows + begin;
      if (Error error = read(first, first + count,
                             source.data() + half * block * columns))
        return error;
    }
    for (int64_t row = 0; row < count; row += layout.panel_rows)
      for (int64_t half = 0; half < layout.halves; ++half) {
        packPanel(source.data() + (half * block + row) * columns,
                  std::min<int64_t>(layout.panel_rows, count - row), columns,
                  layout, convert, panel);
        writeAll(out, panel);
      }
  }
  return Error::success();
}

using Real = schema::QuantFormat::Real;

// The bits of an f16 that is exactly `value`.
std::optional<uint16_t> toExactF16(float value) {
  float magnitude = std::fabs(value);
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (magnitude < 0x1p-14f) {
    float units = magnitude * 0x1p24f; // a subnormal counts these
    if (units != std::floor(units))
      return std::nullopt;
    return sign | static_cast<uint16_t>(units);
  }
  uint32_t bits = llvm::bit_cast<uint32_t>(magnitude);
  if (!(magnitude <= 65504.0f) || (bits & 0x1fff) != 0)
    return std::nullopt;
  return sign | static_cast<uint16_t>((bits >> 13) - (112 << 10));
}

// Writes one panel of a quantised matrix, block by block.
class QuantPanel {
public:
  QuantPanel(const schema::QuantFormat &format, int64_t columns)
      : format(format), columns(columns),
        groups(llvm::divideCeil(columns, format.group)),
        bytes(schema::QuantPanelBytes(format, columns)) {}

  void clear() { std::fill(bytes.begin(), bytes.end(), 0); }

  // Row `row` of `rows`, which begins at row `first` of the matrix, as row
  // `lane` of the panel.
  Error put(const checkpoint::QuantRows &rows, int64_t row, int64_t first,
            int64_t lane) {
    int64_t width = schema::QuantBlockColumns(format);
    uint8_t *at = bytes.data();
    for (int64_t begin = 0; begin < columns; begin += width) {
      int64_t group = row * groups + begin / format.group;
      int64_t count = std::min(width, columns - begin);
      uint8_t *offsets =
          at + schema::QuantRealBytes(format.scale) * schema::kQuantPanelRows;
      bool fits = putReal(format.scale, rows.scales[group], lane, at);
      if (format.offset != Real::kNone)
        fits &= putReal(format.offset, rows.offsets[group], lane, offsets);
      if (!fits)
        return createStringError(
            inconvertibleErrorCode(),
            "row " + Twine(first + row) + ", group " +
                Twine(begin / format.group) +
                ": scale or offset is not finite, or no f16 without loss");
      if (!putCodes(&rows.codes[row * columns + begin], count, lane,
                    at + schema::QuantHeadBytes(format)))
        return createStringError(inconvertibleErrorCode(),
                                 "row " + Twine(first + row) +
                                     " holds a code of more than " +
                                     Twine(format.bits) + " bits");
      at += schema::QuantBlockBytes(format, count);
    }
    return Error::success();
  }

  void write(raw_ostream &out) const {
    out.write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  }

private:
  static bool putReal(Real real, float value, int64_t lane, uint8_t *to) {
    if (real == Real::kF32) {
      std::memcpy(to + 4 * lane, &value, 4);
      return std::isfinite(value);
    }
    std::optional<uint16_t> bits = toExactF16(value);
    if (bits)
      std::memcpy(to + 2 * lane, &*bits, 2);
    return bits.has_value();
  }

  bool putCodes(const uint8_t *codes, int64_t count, int64_t lane,
                uint8_t *to) const {
    int64_t step = schema::QuantStepColumns(format);
    uint8_t all = 0;
    for (int64_t i = 0; i < count; ++i) {
      uint8_t *unit = to + (i / step * schema::kQuantPanelRows + lane) * 4;
      unit[i % 4] |= codes[i] << (i % step / 4 * 4);
      all |= codes[i];
    }
    return all >> format.bits == 0;
  }

  schema::QuantFormat format;
  int64_t columns, groups;
  std::vector<uint8_t> bytes;
};

// Reads rows and says whether they are of the shape asked for.
Error readQuantRows(QuantReader read, const schema::QuantFormat &format,
                    int64_t begin, int64_t end, int64_t columns,
                    checkpoint::QuantRows &rows) {
  if (Error error = read(begin, end, rows))
    return error;
  size_t count = end - begin;
  size_t reals = count * llvm::divideCeil(columns, format.group);
  size_t offsets = format.offset == Real::kNone ? 0 : reals;
  if (rows.codes.size() == count * columns && rows.scales.size() == reals &&
      rows.offsets.size() == offsets)
    return Error::success();
  return createStringError(inconvertibleErrorCode(),
                           "rows from " + Twine(begin) +
                               " on came with another number of codes, scales "
                               "or offsets than their format says");
}

} // namespace

Expected<uint64_t> packedBytes(StringRef name, PackedType type, int64_t rows,
                               int64_t columns) {
  Expected<const schema::WeightLayout *> layout = findLayout(name);
  if (!layout)
    return layout.takeError();
  std::optional<uint64_t> elements =
      schema::PackedElements(**layout, rows, columns);
  if (!elements)
    return createStringError(inconvertibleErrorCode(),
                             "a weight of " + Twine(rows) + " x " +
                                 Twine(columns) + " does not fit the layout " +
                                 name);
  return *elements * elementBytes(type);
}

Error packWeight(StringRef name, PackedType type, int64_t rows, int64_t columns,
                 RowReader read, raw_ostream &out) {
  if (Expected<uint64_t> bytes = packedBytes(name, type, rows, columns); !bytes)
    return bytes.takeError();
  const schema::WeightLayout &layout = **findLayout(name);
  if (type == PackedType::F32)
    return packPanels<float>(
        layout, rows, columns, read, [](float x) { return x; }, out);
  return packPanels<uint16_t>(layout, rows, columns, read, toBf16, out);
}

Expected<uint64_t> packedBytes(StringRef name,
                               const schema::QuantFormat &format, int64_t rows,
                               int64_t columns) {
  Expected<const schema::WeightLayout *> layout = findLayout(name);
  if (!layout)
    return layout.takeError();
  if (std::optional<uint64_t> bytes =
          schema::PackedBytes(**layout, format, rows, columns))
    return *bytes;
  return createStringError(inconvertibleErrorCode(),
                           "a weight of " + Twine(rows) + " x " +
                               Twine(columns) + " with " + Twine(format.bits) +
                               " bits in groups of " + Twine(format.group) +
                               " does not fit the layout " + name);
}

Error packQuantised(StringRef name, const schema::QuantFormat &format,
                    int64_t rows, int64_t columns, QuantReader read,
                    raw_ostream &out) {
  if (Expected<uint64_t> bytes = packedBytes(name, format, rows, columns);
      !bytes)
    return bytes.takeError();
  const schema::WeightLayout &layout = **findLayout(name);
  int64_t halfRows = rows / layout.halves, width = layout.panel_rows;
  int64_t block =
      std::max(width, static_cast<int64_t>(llvm::alignDown(
                          kBlockBytes / std::max<int64_t>(columns, 1), width)));
  checkpoint::QuantRows source[2];
  QuantPanel panel(format, columns);
  for (int64_t begin = 0; begin < halfRows; begin += block) {
    int64_t end = std::min(begin + block, halfRows);
    for (int64_t half = 0; half < layout.halves; ++half)
      if (Error error =
              readQuantRows(read, format, half * halfRows + begin,
                            half * halfRows + end, columns, source[half]))
        return error;
    for (int64_t row = begin; row < end; row += width) {
      panel.clear();
      for (int64_t half = 0; half < layout.halves; ++half)
        for (int64_t i = row; i < std::min(row + width, end); ++i)
          if (Error error =
                  panel.put(source[half], i - begin, half * halfRows + begin,
                            half * width + i - row))
            return error;
      panel.write(out);
    }
  }
  return Error::success();
}

} // namespace stele::compiler
