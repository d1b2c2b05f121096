// Matrix product with a packed weight: out = act(norm(x) weight^T + bias) +
// residual, and the logits of the rows that the batch asks for.
//
// The weight is [panels][steps][16] units (arithmetic.h); a tile of rows times
// two panels is summed over all of K in registers, in one chain per output, so
// that every output is the same whatever rows, workers and chunks are around
// it. Rows are packed (normalised, rounded) once per block that stays in L2.
// Few rows: workers divide the panels, each reads its part of the weight as one
// stream. Many rows: workers divide the rows. docs/kernels.md draws both.
#include "linear.h"

#include "arithmetic.h"

using namespace stele;

namespace {

// A tile's sums, weights and one unit of x fill the 32 or 16 registers; with 16
// a tile goes over its panels one after the other.
#ifdef __AVX512F__
constexpr int kRowTile = 12;
constexpr int kPanelsAtOnce = 2;
#else
constexpr int kRowTile = STELE_BF16 ? 4 : 6;
constexpr int kPanelsAtOnce = 1;
#endif
constexpr int kPanelTile = 2;
constexpr int64_t kBlockRows = 96;
constexpr int64_t kBlockBytes = 512 << 10;

STELE_INLINE int64_t Steps() { return Units(stele_k); }

// Units from one packed row to the next: an odd number of cache lines, since a
// power of two would put a tile's rows into the same cache sets.
STELE_INLINE int64_t RowStride() {
  return ((Steps() + kLanes - 1) / kLanes | 1) * kLanes;
}

// Rows of a block: whole tiles, about half of L2 at most.
STELE_INLINE int64_t BlockRows() {
  const int64_t fit = kBlockBytes / (RowStride() * 4) / kRowTile * kRowTile;
  return fit < kRowTile ? kRowTile : Min(fit, kBlockRows);
}

STELE_INLINE int64_t Panels() {
  const int64_t panels = (OutColumns() + kLanes - 1) / kLanes;
  return stele_glu ? 2 * panels : panels;
}

STELE_INLINE void PackRow(const Operands& op, int64_t row, uint32_t* to) {
  const InputRow x(op, row);
  for (int64_t i = 0; i < stele_k; i += kLanes)
    StoreAsUnits(to + i / kDepth, x.At(i));
}

// sum[r][p] = row r times panel p, for R rows and P panels.
template <int R, int P, int Stride>
STELE_INLINE void Multiply(const uint32_t* packed, const uint32_t* b,
                           V16 (*sum)[Stride]) {
  const int64_t steps = Steps(), stride = RowStride();
  V16 total[R][P] = {};
  for (int64_t step = 0; step < steps; ++step) {
    U16 weight[P];
#pragma unroll
    for (int p = 0; p < P; ++p)
      weight[p] = LoadUnits(b + (p * steps + step) * kLanes);
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const U16 a = SplatUnit(packed[r * stride + step]);
#pragma unroll
      for (int p = 0; p < P; ++p) total[r][p] = Madd(total[r][p], a, weight[p]);
    }
  }
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int p = 0; p < P; ++p) sum[r][p] = total[r][p];
}

// R rows from `row` on times P panels from `panel` on.
template <int R, int P>
STELE_INLINE void Tile(const Operands& op, const uint32_t* packed, int64_t row,
                       int64_t panel) {
  constexpr int kAtOnce = P < kPanelsAtOnce ? P : kPanelsAtOnce;
  const auto* weight = static_cast<const uint32_t*>(op.weight);
  V16 sum[R][P];
#pragma unroll
  for (int p = 0; p < P; p += kAtOnce)
    Multiply<R, kAtOnce, P>(packed, weight + (panel + p) * Steps() * kLanes,
                            reinterpret_cast<V16(*)[P]>(&sum[0][p]));
#pragma unroll
  for (int r = 0; r < R; ++r) {
    if (stele_glu) {
      Finish(op, row + r, panel / 2 * kLanes, sum[r][0], sum[r][P - 1]);
      continue;
    }
#pragma unroll
    for (int p = 0; p < P; ++p)
      Finish(op, row + r, (panel + p) * kLanes, sum[r][p], V16{});
  }
}

// The tile of exactly `rows` rows, at most R.
template <int R, int P>
STELE_INLINE void TileOf(int64_t rows, const Operands& op,
                         const uint32_t* packed, int64_t row, int64_t panel) {
  if constexpr (R > 1)
    if (rows < R) return TileOf<R - 1, P>(rows, op, packed, row, panel);
  Tile<R, P>(op, packed, row, panel);
}

template <int P>
STELE_INLINE void Column(const Operands& op, Range rows, int64_t panel) {
  for (int64_t row = rows.begin; row < rows.end; row += kRowTile)
    TileOf<kRowTile, P>(Min(kRowTile, rows.end - row), op,
                        op.packed + (row - rows.begin) * RowStride(), row,
                        panel);
}

STELE_INLINE void Block(const Operands& op, Range rows, Range panels) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    PackRow(op, row, op.packed + (row - rows.begin) * RowStride());
  int64_t panel = panels.begin;
  for (; panel + kPanelTile <= panels.end; panel += kPanelTile)
    Column<kPanelTile>(op, rows, panel);
  if (!stele_glu && panel < panels.end) Column<1>(op, rows, panel);
}

}  // namespace

STELE_SCRATCH { return BlockRows() * RowStride() * sizeof(uint32_t); }

STELE_ENTRY {
  const Operands op = OperandsOf(args);
  ForBlocks(args, BlockRows(), kRowTile, Panels(), kPanelTile,
            [&](Range rows, Range panels) { Block(op, rows, panels); });
}
