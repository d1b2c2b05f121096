// The packer of weights (WeightLayout.h).
#include "stele/compiler/Codegen/Host/WeightLayout.h"
#include "stele/schema/weight_layout.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>
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

} // namespace stele::compiler
