// Matrix product with a quantised weight: out = act(norm(x) weight^T + bias) +
// residual, and the logits of the rows that the batch asks for.
//
// The weight is panel_q4 or panel_q8 (quant_format.h). A block's products are
// summed over its columns with the bare codes, and the sum is scaled once, so
// that scales and offsets cost what a few columns do:
//
//   int8  x is quantised by block to int8 with a scale of its own, and blocks
//         whose step is coarse beside their row to 7 bits more, the low plane,
//         in a second pass; the sum is an exact integer
//   bf16  x is rounded to bf16, codes are exact in it; the sum is f32
//   f32   codes become the weight they stand for, as nothing may be lost that
//         the checkpoint's author would not lose
//
// An output is one chain over the blocks in order, whatever rows, workers and
// chunks are around it. Rows and panels are divided as in linear.cpp;
// docs/kernels.md draws how the panels are walked.
#include "arithmetic.h"
#include "dot.h"
#include "linear.h"
#include "stele/schema/quant_format.h"

STELE_INT(bits)       // 4 or 8
STELE_INT(group)      // columns that share a scale
STELE_INT(scale_f32)  // 1: scales are f32, 0: f16
STELE_INT(offset)     // offsets: 0 none, 1 f16, 2 f32
#if STELE_INT8
// Blocks whose step is above so many thousandths of their row's root mean
// square have a low plane.
STELE_INT(refine)
#else
constexpr int32_t stele_refine = 0;
#endif

using namespace stele;

namespace {

using schema::QuantFormat;

// The registers hold a tile's totals, its block's sums (f32 has none) and the
// weights of a step; with 16 of them the halves of a panel go by in turn. One
// row leaves room for several panels: their streams keep more reads under way.
#ifdef __AVX512F__
constexpr int kRowTile = STELE_INT8 || STELE_BF16 ? 6 : 8;
constexpr int kHalvesAtOnce = 2;
constexpr int kStreams = 4;
#else
constexpr int kRowTile = STELE_INT8 || STELE_BF16 ? 3 : 4;
constexpr int kHalvesAtOnce = 1;
constexpr int kStreams = 2;
#endif
constexpr int64_t kBlockRows = 96;
constexpr int64_t kBlockBytes = 512 << 10;

// A word is 4 columns: one load of codes (half a load of 4 bits) of 16 rows.
// kUnits units of x and of weight are multiplied for it.
constexpr int64_t kWordColumns = 4;
constexpr int kUnits = STELE_INT8 ? 1 : kWordColumns / kDepth;
// What precedes a block's units in a packed row. bf16: what offsets are
// multiplied by. int8: the scale of the finest steps, what offsets are
// multiplied by or sums start from, and whether the block has a low plane;
// there only what is added to sums.
constexpr int64_t kHeadWords = STELE_INT8 ? 3 : STELE_BF16 ? 1 : 0;
constexpr int kLowBits = 7;
[[maybe_unused]] constexpr float kLowSteps = 1 << kLowBits;

STELE_INLINE constexpr QuantFormat Format() {
  return schema::QuantFormatOf(stele_bits, stele_group, stele_scale_f32,
                               stele_offset);
}

STELE_INLINE int64_t BlockColumns() {
  return schema::QuantBlockColumns(Format());
}
STELE_INLINE float Midpoint() {
  return static_cast<float>(1 << (stele_bits - 1));
}

// Words of a packed block; rows are packed in vectors of 16 columns.
STELE_INLINE int64_t PackedWords(int64_t columns) {
  return kHeadWords + RoundUp(columns, kLanes) / kWordColumns * kUnits;
}

// Words from one packed row to the next: an odd number of cache lines, as in
// linear.cpp.
STELE_INLINE int64_t RowStride() {
  const int64_t width = BlockColumns(), rest = stele_k % width;
  const int64_t words = stele_k / width * PackedWords(width) +
                        (rest == 0 ? 0 : PackedWords(rest));
  return ((words + kLanes - 1) / kLanes | 1) * kLanes;
}

STELE_INLINE int64_t BlockRows() {
  const int64_t fit = kBlockBytes / (RowStride() * 4) / kRowTile * kRowTile;
  return fit < kRowTile ? kRowTile : Min(fit, kBlockRows);
}

// Words from a packed row to its low plane, which lies behind all rows: few
// blocks read it.
STELE_INLINE int64_t LowPlane() { return BlockRows() * RowStride(); }

STELE_INLINE int64_t Panels() {
  const int64_t rows = stele_glu ? kLanes : schema::kQuantPanelRows;
  return (OutColumns() + rows - 1) / rows;
}

STELE_INLINE uint32_t Bits(float x) { return __builtin_bit_cast(uint32_t, x); }

// ---------------------------------------------------------------------------
// Rows of x
// ---------------------------------------------------------------------------

#if STELE_INT8

// The smallest step that gives a block a low plane. NaN and infinity, which
// come from such rows, give none.
STELE_INLINE float CoarseStep(const InputRow& x) {
  if (!stele_refine) return 0.0f;
  V16 squares{};
  for (int64_t i = 0; i < stele_k; i += kLanes) {
    const V16 v = x.At(i);
    squares = Fma(v, v, squares);
  }
  constexpr float kThousandth = 1e-3f;
  return kThousandth * static_cast<float>(stele_refine) *
         Sqrt(Sum(squares) / static_cast<float>(stele_k));
}

// What the sums of a plane start from when its codes q add up to `sum`.
STELE_INLINE uint32_t MidpointTerm(int32_t sum) {
  return static_cast<uint32_t>(-sum * (1 << (stele_bits - 1)));
}

// The low plane of a block: what rounding `steps` leaves over. Returns its sum.
STELE_INLINE int32_t PackLow(const V16* steps, int64_t columns, uint32_t* to) {
  I16 sums{};
  for (int64_t i = 0; i < columns; i += kLanes) {
    const V16 whole =
        __builtin_convertvector(RoundToInt(steps[i / kLanes]), V16);
    const I16 r = RoundToInt((steps[i / kLanes] - whole) * Splat(kLowSteps));
    sums += r;
    StoreBytes(to + kHeadWords + i / kWordColumns, r);
  }
  const int32_t sum = SumLanes(sums);
  to[1] = MidpointTerm(sum);
  return sum;
}

// A block that holds a NaN or an infinity has that as its scale, and so spoils
// every output. Blocks of zeros, or as good as, have the scale 0.
STELE_INLINE void PackBlock(const InputRow& x, int64_t begin, int64_t columns,
                            float coarse, uint32_t* to) {
  constexpr int kVectors = schema::kQuantMaxBlock / kLanes;
  V16 v[kVectors];
  I16 largest{};
  for (int64_t i = 0; i < columns; i += kLanes) {
    v[i / kLanes] = x.At(begin + i);
    // As integers NaN is the largest, then infinity.
    largest = Max(largest, reinterpret_cast<I16>(v[i / kLanes]) & 0x7fffffff);
  }
  const float range = __builtin_bit_cast(float, MaxLane(largest));
  const bool zero = range < 1e-30f;
  const float scale = zero ? 0.0f : range / 127.0f;
  const V16 inverse = Splat(zero ? 0.0f : 127.0f / range);
  const bool refined = stele_refine && scale > coarse;
  I16 sums{};
  for (int64_t i = 0; i < columns; i += kLanes) {
    v[i / kLanes] = v[i / kLanes] * inverse;
    const I16 q = RoundToInt(v[i / kLanes]);
    sums += q;
    StoreBytes(to + kHeadWords + i / kWordColumns, q);
  }
  const int32_t sum = SumLanes(sums);
  const int32_t low_sum = refined ? PackLow(v, columns, to + LowPlane()) : 0;
  const float exact =
      static_cast<float>(sum) + static_cast<float>(low_sum) * (1 / kLowSteps);
  to[0] = Bits(refined ? scale * (1 / kLowSteps) : scale);
  to[1] = stele_offset ? Bits(scale * exact) : MidpointTerm(sum);
  to[2] = refined;
}

#else

STELE_INLINE float CoarseStep(const InputRow&) { return 0.0f; }

STELE_INLINE void PackBlock(const InputRow& x, int64_t begin, int64_t columns,
                            float, uint32_t* to) {
  V16 sums{};
  for (int64_t i = 0; i < columns; i += kLanes) {
    V16 v = x.At(begin + i);
#if STELE_BF16
    // Pairs of columns (0, 2) and (1, 3): see WeightUnit.
    v = __builtin_shufflevector(v, v, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12,
                                14, 13, 15);
    sums = sums + reinterpret_cast<V16>(ToBf16Bits(v) << 16);
#endif
    StoreAsUnits(to + kHeadWords + i / kDepth, v);
  }
  if (kHeadWords) to[0] = Bits(Sum(sums));
}

#endif

STELE_INLINE void PackRow(const Operands& op, int64_t row, uint32_t* to) {
  const InputRow x(op, row);
  const float coarse = CoarseStep(x);
  const int64_t width = BlockColumns();
  for (int64_t begin = 0; begin < stele_k; begin += width) {
    const int64_t columns = Min(width, stele_k - begin);
    PackBlock(x, begin, columns, coarse, to);
    to += PackedWords(columns);
  }
}

// ---------------------------------------------------------------------------
// Products
// ---------------------------------------------------------------------------

// The scales or offsets of 16 rows.
STELE_INLINE V16 LoadReals(const uint8_t* p, QuantFormat::Real real) {
  if (real == QuantFormat::Real::kF32)
    return Load(reinterpret_cast<const float*>(p));
  return LoadHalves(p);
}

// P halves, from `half` on, of the panels whose block S streams have come to.
template <int P, int S>
struct Blocks {
  const uint8_t* at[S];
  int64_t half;

  // Half i of all P * S.
  STELE_MEMBER const uint8_t* Panel(int i) const { return at[i / P]; }
  STELE_MEMBER int64_t Lane(int i) const { return (half + i % P) * kLanes; }
  STELE_MEMBER void Advance(int64_t bytes) {
#pragma unroll
    for (int s = 0; s < S; ++s) at[s] += bytes;
  }
};

// Their scales and offsets.
template <int P, int S>
struct Head {
  V16 scale[P * S], offset[P * S];

  STELE_MEMBER explicit Head(const Blocks<P, S>& blocks) {
    const int64_t scale_bytes = schema::QuantRealBytes(Format().scale);
    const int64_t offset_bytes = schema::QuantRealBytes(Format().offset);
#pragma unroll
    for (int p = 0; p < P * S; ++p) {
      const uint8_t* block = blocks.Panel(p);
      const uint8_t* offsets = block + scale_bytes * schema::kQuantPanelRows;
      const int64_t lane = blocks.Lane(p);
      scale[p] = LoadReals(block + scale_bytes * lane, Format().scale);
      offset[p] = stele_offset ? LoadReals(offsets + offset_bytes * lane,
                                           Format().offset)
                               : scale[p] * -Midpoint();
    }
  }
};

#if STELE_INT8

typedef I16 BlockSum;

STELE_INLINE BlockSum StartBlock(const uint32_t* head) {
  return stele_offset ? I16{} : reinterpret_cast<I16>(SplatUnit(head[1]));
}

STELE_INLINE BlockSum Multiply(BlockSum sum, U16 x, U16 weight) {
  return DotCodes(sum, weight, x);
}

// Codes as they are.
STELE_INLINE U16 WeightUnit(U16 codes, int, V16, V16) { return codes; }

// Of R rows, whether one has a low plane in this block.
template <int R>
STELE_INLINE bool AnyRefined(const uint32_t* x, int64_t stride) {
  uint32_t any = 0;
  for (int r = 0; r < R; ++r) any |= x[r * stride + 2];
  return stele_refine && __builtin_expect(any != 0, 0);
}

// From sums of codes to sums of steps of the low plane.
STELE_INLINE BlockSum StartLow(BlockSum sum, const uint32_t* low) {
  sum = sum << kLowBits;
  return stele_offset ? sum : sum + reinterpret_cast<I16>(SplatUnit(low[1]));
}

STELE_INLINE V16 EndBlock(V16 total, BlockSum sum, const uint32_t* head,
                          V16 scale, V16 offset) {
  // Before what has to wait for the sum.
  if (stele_offset)
    total = Fma(offset, reinterpret_cast<V16>(SplatUnit(head[1])), total);
  const V16 steps = __builtin_convertvector(sum, V16);
  return Fma(steps * reinterpret_cast<V16>(SplatUnit(head[0])), scale, total);
}

#else

typedef V16 BlockSum;

STELE_INLINE BlockSum Multiply(BlockSum sum, U16 x, U16 weight) {
  return Madd(sum, x, weight);
}

// Byte i of every lane as a float.
STELE_INLINE V16 CodeToFloat(U16 codes, int i) {
  return __builtin_convertvector(
      reinterpret_cast<I16>((codes >> (8 * i)) & 0xffu), V16);
}

#if STELE_BF16

STELE_INLINE BlockSum StartBlock(const uint32_t*) { return V16{}; }

// Columns (0, 2), then (1, 3), of the word, as pairs of bf16, which hold any 8
// bits exactly: the upper half of the f32.
STELE_INLINE U16 WeightUnit(U16 codes, int unit, V16, V16) {
  V16 low = CodeToFloat(codes, unit), high = CodeToFloat(codes, unit + 2);
  if (!stele_offset) {
    low = low - Splat(Midpoint());
    high = high - Splat(Midpoint());
  }
  return (reinterpret_cast<U16>(low) >> 16) | reinterpret_cast<U16>(high);
}

STELE_INLINE V16 EndBlock(V16 total, BlockSum sum, const uint32_t* head,
                          V16 scale, V16 offset) {
  total = Fma(sum, scale, total);
  return stele_offset
             ? Fma(offset, reinterpret_cast<V16>(SplatUnit(head[0])), total)
             : total;
}

#else

// The weight of column `unit` of the word.
STELE_INLINE U16 WeightUnit(U16 codes, int unit, V16 scale, V16 offset) {
  return reinterpret_cast<U16>(Fma(CodeToFloat(codes, unit), scale, offset));
}

#endif
#endif

// sum[r][p] += the units of row r times the codes of half p, over one block.
template <int R, int P, int S>
STELE_INLINE void MultiplyBlock(const uint32_t* units,
                                const Blocks<P, S>& blocks,
                                const Head<P, S>& head, int64_t columns,
                                BlockSum (*sum)[P * S]) {
  constexpr int kHalves = P * S;
  constexpr int kStepBytes = 4 * schema::kQuantPanelRows;
  const int64_t step_columns = schema::QuantStepColumns(Format());
  const int64_t steps = (columns + step_columns - 1) / step_columns;
  const int words = static_cast<int>(step_columns / kWordColumns);
  const int64_t stride = RowStride();
  for (int64_t step = 0; step < steps; ++step) {
    U16 loaded[kHalves];
#pragma unroll
    for (int p = 0; p < kHalves; ++p)
      loaded[p] = LoadUnits(reinterpret_cast<const uint32_t*>(
          blocks.Panel(p) + schema::QuantHeadBytes(Format()) +
          step * kStepBytes + blocks.Lane(p) * 4));
#pragma unroll
    for (int word = 0; word < 2; ++word) {
      if (word == words) break;
      U16 nibbles[kHalves];
#pragma unroll
      for (int p = 0; p < kHalves; ++p)
        nibbles[p] = stele_bits == 8 ? loaded[p]
                                     : (loaded[p] >> (4 * word)) & 0x0f0f0f0fu;
#pragma unroll
      for (int unit = 0; unit < kUnits; ++unit) {
        U16 weight[kHalves];
#pragma unroll
        for (int p = 0; p < kHalves; ++p)
          weight[p] =
              WeightUnit(nibbles[p], unit, head.scale[p], head.offset[p]);
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const U16 a = SplatUnit(
              units[r * stride + (step * words + word) * kUnits + unit]);
#pragma unroll
          for (int p = 0; p < kHalves; ++p)
            sum[r][p] = Multiply(sum[r][p], a, weight[p]);
        }
      }
    }
  }
}

#if STELE_INT8
// From a row's sums of whole steps to sums of steps of its low plane.
template <int P, int S>
STELE_INLINE void AddLow(const uint32_t* low, const Blocks<P, S>& blocks,
                         const Head<P, S>& head, int64_t columns,
                         BlockSum* sum) {
#pragma unroll
  for (int p = 0; p < P * S; ++p) sum[p] = StartLow(sum[p], low);
  MultiplyBlock<1>(low + kHeadWords, blocks, head, columns,
                   reinterpret_cast<BlockSum(*)[P * S]>(sum));
}
#endif

// total[r][p] += row r times half p, over one block.
template <int R, int P, int S>
STELE_INLINE void AddBlock(const uint32_t* x, const Blocks<P, S>& blocks,
                           int64_t columns, V16 (*total)[P * S]) {
  const Head<P, S> head(blocks);
#if STELE_INT8 || STELE_BF16
  constexpr int kHalves = P * S;
  const int64_t stride = RowStride();
  BlockSum sum[R][kHalves];
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int p = 0; p < kHalves; ++p) sum[r][p] = StartBlock(x + r * stride);
  MultiplyBlock<R>(x + kHeadWords, blocks, head, columns, sum);
#if STELE_INT8
  if (AnyRefined<R>(x, stride)) {
#pragma unroll
    for (int r = 0; r < R; ++r)
      if (AnyRefined<1>(x + r * stride, stride))
        AddLow(x + r * stride + LowPlane(), blocks, head, columns, sum[r]);
  }
#endif
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int p = 0; p < kHalves; ++p)
      total[r][p] = EndBlock(total[r][p], sum[r][p], x + r * stride,
                             head.scale[p], head.offset[p]);
#else
  MultiplyBlock<R>(x, blocks, head, columns, total);
#endif
}

// sum[r][s][h] = row r times half h of panel s, over all of K.
template <int R, int P, int S>
STELE_INLINE void SumBlocks(const uint32_t* x, Blocks<P, S> blocks,
                            V16 (*sum)[S][2]) {
  const int64_t width = BlockColumns(), rest = stele_k % width;
  V16 total[R][P * S] = {};
  for (int64_t block = 0; block < stele_k / width; ++block) {
    AddBlock<R, P, S>(x, blocks, width, total);
    x += PackedWords(width);
    blocks.Advance(schema::QuantBlockBytes(Format(), width));
  }
  if (rest != 0) AddBlock<R, P, S>(x, blocks, rest, total);
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int p = 0; p < P * S; ++p)
      sum[r][p / P][blocks.half + p % P] = total[r][p];
}

// Writes what a row gave with one panel.
STELE_INLINE void FinishPanel(const Operands& op, int64_t row, int64_t panel,
                              const V16* sum) {
  if (stele_glu) return Finish(op, row, panel * kLanes, sum[0], sum[1]);
  const int64_t column = panel * schema::kQuantPanelRows;
  Finish(op, row, column, sum[0], V16{});
  if (column + kLanes < OutColumns())
    Finish(op, row, column + kLanes, sum[1], V16{});
}

// R rows from `row` on times S panels, `apart` from each other.
template <int R, int S>
STELE_INLINE void Tile(const Operands& op, const uint32_t* packed, int64_t row,
                       int64_t panel, int64_t apart) {
  const auto* weight = static_cast<const uint8_t*>(op.weight);
  const int64_t bytes = schema::QuantPanelBytes(Format(), stele_k);
  V16 sum[R][S][2];
#pragma unroll
  for (int half = 0; half < 2; half += kHalvesAtOnce) {
    Blocks<kHalvesAtOnce, S> blocks{{}, half};
#pragma unroll
    for (int s = 0; s < S; ++s)
      blocks.at[s] = weight + (panel + s * apart) * bytes;
    SumBlocks<R, kHalvesAtOnce, S>(packed, blocks, sum);
  }
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int s = 0; s < S; ++s)
      FinishPanel(op, row + r, panel + s * apart, sum[r][s]);
}

// All rows times one panel, in tiles of R rows, then smaller ones: 6, 4, 2, 1.
template <int R>
STELE_INLINE void Tiles(const Operands& op, Range rows, const uint32_t* packed,
                        int64_t panel) {
  for (; rows.begin + R <= rows.end; rows.begin += R) {
    Tile<R, 1>(op, packed, rows.begin, panel, 0);
    packed += R * RowStride();
  }
  if constexpr (R > 1)
    if (rows.begin < rows.end)
      Tiles<R <= 4 ? (R + 1) / 2 : 4>(op, rows, packed, panel);
}

STELE_INLINE void Block(const Operands& op, Range rows, Range panels) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    PackRow(op, row, op.packed + (row - rows.begin) * RowStride());
  int64_t panel = panels.begin;
  if (rows.end - rows.begin == 1) {
    const int64_t apart = (panels.end - panels.begin) / kStreams;
    for (; panel < panels.begin + apart; ++panel)
      Tile<1, kStreams>(op, op.packed, rows.begin, panel, apart);
    panel = panels.begin + kStreams * apart;
  }
  for (; panel < panels.end; ++panel)
    Tiles<kRowTile>(op, rows, op.packed, panel);
}

}  // namespace

STELE_SCRATCH { return (stele_refine ? 2 : 1) * LowPlane() * sizeof(uint32_t); }

STELE_ENTRY {
  const Operands op = OperandsOf(args);
  ForBlocks(args, BlockRows(), kRowTile, Panels(), 1,
            [&](Range rows, Range panels) { Block(op, rows, panels); });
}
