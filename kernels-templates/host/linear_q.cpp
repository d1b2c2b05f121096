// Matrix product with a quantised weight: out = act(norm(x) weight^T + bias) +
// residual, and the logits of the rows that the batch asks for.
//
// The weight is panel_q4 or panel_q8 (quant_format.h). A block's products are
// summed over its columns with the bare codes, and the sum is scaled once, so
// that scales and offsets cost what a few columns do:
//
//   int8  x is quantised by block to int8 with a scale of its own, and blocks
//         whose step is coarse beside their row to 7 bits more, the low plane;
//         a plane's sum is an exact integer
//   bf16  x is rounded to bf16, codes are exact in it; the sum is f32
//   f32   codes become the weight they stand for, as nothing may be lost that
//         the checkpoint's author would not lose
//
// An output is one chain over the blocks in order and one over its low planes,
// whatever rows, workers and chunks are around it. Rows and panels are divided
// as in linear.cpp; docs/kernels.md draws how the panels are walked.
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
constexpr int kStreams = 2;
#else
constexpr int kRowTile = STELE_INT8 || STELE_BF16 ? 3 : 4;
constexpr int kHalvesAtOnce = 1;
constexpr int kStreams = 2;
#endif
constexpr int64_t kBlockRows = 96;  // a row's number is a byte
constexpr int64_t kBlockBytes = 512 << 10;
constexpr int64_t kSliceBytes = 5 << 10;

// A word is 4 columns: one load of codes (half a load of 4 bits) of 16 rows.
// kUnits units of x and of weight are multiplied for it.
constexpr int64_t kWordColumns = 4;
constexpr int kUnits = STELE_INT8 ? 1 : kWordColumns / kDepth;
// What precedes a block's units in a packed row. bf16: what offsets are
// multiplied by. int8: the scale of a plane, and what offsets are multiplied by
// or the plane's sums start from.
constexpr int64_t kHeadWords = STELE_INT8 ? 2 : STELE_BF16 ? 1 : 0;
[[maybe_unused]] constexpr float kLowSteps = 1 << 7;

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

// Blocks of BlockColumns() columns, and the columns of a last, shorter one.
STELE_INLINE int64_t WholeBlocks() { return stele_k / BlockColumns(); }
STELE_INLINE int64_t RestColumns() { return stele_k % BlockColumns(); }

STELE_INLINE int64_t BlockCount() {
  return WholeBlocks() + (RestColumns() == 0 ? 0 : 1);
}

STELE_INLINE int64_t ColumnsOf(int64_t block) {
  return block < WholeBlocks() ? BlockColumns() : RestColumns();
}

STELE_INLINE int64_t RowWords() {
  return WholeBlocks() * PackedWords(BlockColumns()) +
         (RestColumns() == 0 ? 0 : PackedWords(RestColumns()));
}

STELE_INLINE int64_t BlockRows() {
  const int64_t fit = kBlockBytes / (RowWords() * 4) / kRowTile * kRowTile;
  return fit < kRowTile ? kRowTile : Min(fit, kBlockRows);
}

// A slice is so many blocks of a panel.
STELE_INLINE int64_t SliceBlocks() {
  const int64_t bytes = schema::QuantBlockBytes(Format(), BlockColumns());
  return Max(1, kSliceBytes / bytes);
}
STELE_INLINE int64_t SliceBytes() {
  return SliceBlocks() * schema::QuantBlockBytes(Format(), BlockColumns());
}
STELE_INLINE int64_t SliceCount() {
  return (BlockCount() + SliceBlocks() - 1) / SliceBlocks();
}
STELE_INLINE Range SliceAt(int64_t slice) {
  const int64_t begin = slice * SliceBlocks();
  return {begin, Min(begin + SliceBlocks(), BlockCount())};
}

// A worker's rows of x: block of columns by block of columns, and in each row
// by row, so that a tile reads few streams of memory. The low planes of a block
// lie behind each other, with the rows that they are of beside them.
struct PackedRows {
  Range rows;          // of x
  V16 (*sums)[2];      // what each has come to with a panel's halves
  V16 (*low_sums)[2];  // the same of low planes
  uint32_t* high;      // [blocks][rows]
  uint32_t* low;       // [blocks][rows]
  uint8_t* low_rows;   // [blocks][rows]
  uint8_t* low_count;  // [blocks]

  STELE_MEMBER PackedRows(const Operands& op, Range of)
      : rows(of),
        sums(reinterpret_cast<V16 (*)[2]>(op.packed)),
        low_sums(sums + BlockRows()),
        high(reinterpret_cast<uint32_t*>(low_sums + BlockRows())),
        low(high + PlaneWords()),
        low_rows(reinterpret_cast<uint8_t*>(low + PlaneWords())),
        low_count(low_rows + BlockCount() * BlockRows()) {
    if (!stele_refine) return;
    for (int64_t block = 0; block < BlockCount(); ++block) low_count[block] = 0;
  }

  STELE_MEMBER static int64_t Bytes() {
    const int64_t plane = PlaneWords() * sizeof(uint32_t);
    return 2 * BlockRows() * sizeof(V16[2]) + plane +
           (stele_refine ? plane + BlockCount() * (BlockRows() + 1) : 0);
  }
  STELE_MEMBER int64_t Count() const { return rows.end - rows.begin; }
  // From `high` or `low` to a row's block, or the block of a low plane.
  STELE_MEMBER int64_t Offset(int64_t row, int64_t block) const {
    return block * Count() * PackedWords(BlockColumns()) +
           row * PackedWords(ColumnsOf(block));
  }

 private:
  STELE_MEMBER static int64_t PlaneWords() {
    return RoundUp(BlockRows() * RowWords(), kLanes);
  }
};

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
  // Several sums, since each waits for its last addition.
  constexpr int kSums = 4;
  V16 squares[kSums] = {};
  for (int64_t i = 0; i < stele_k; i += kSums * kLanes) {
#pragma unroll
    for (int j = 0; j < kSums; ++j) {
      if (i + j * kLanes >= stele_k) break;
      const V16 v = x.At(i + j * kLanes);
      squares[j] = Fma(v, v, squares[j]);
    }
  }
  const V16 sum = (squares[0] + squares[1]) + (squares[2] + squares[3]);
  constexpr float kThousandth = 1e-3f;
  return kThousandth * static_cast<float>(stele_refine) *
         Sqrt(Sum(sum) / static_cast<float>(stele_k));
}

// What the sums of a plane start from when its codes q add up to `sum`.
STELE_INLINE uint32_t MidpointTerm(int32_t sum) {
  return static_cast<uint32_t>(-sum * (1 << (stele_bits - 1)));
}

// The low plane of a block: what rounding `steps` of size `scale` leaves over.
// Returns its sum.
STELE_INLINE int32_t PackLow(const V16* steps, int64_t columns, float scale,
                             uint32_t* to) {
  I16 sums{};
  for (int64_t i = 0; i < columns; i += kLanes) {
    const V16 whole =
        __builtin_convertvector(RoundToInt(steps[i / kLanes]), V16);
    const I16 r = RoundToInt((steps[i / kLanes] - whole) * Splat(kLowSteps));
    sums += r;
    StoreBytes(to + kHeadWords + i / kWordColumns, r);
  }
  const int32_t sum = SumLanes(sums);
  to[0] = Bits(scale * (1 / kLowSteps));
  to[1] = MidpointTerm(sum);
  return sum;
}

// Returns whether the block has a low plane. A block that holds a NaN or an
// infinity has that as its scale, and so spoils every output. Blocks of zeros,
// or as good as, have the scale 0.
STELE_INLINE bool PackBlock(const InputRow& x, int64_t begin, int64_t columns,
                            float coarse, uint32_t* to, uint32_t* low) {
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
  const int32_t low_sum = refined ? PackLow(v, columns, scale, low) : 0;
  const float exact =
      static_cast<float>(sum) + static_cast<float>(low_sum) * (1 / kLowSteps);
  to[0] = Bits(scale);
  to[1] = stele_offset ? Bits(scale * exact) : MidpointTerm(sum);
  return refined;
}

#else

STELE_INLINE float CoarseStep(const InputRow&) { return 0.0f; }

STELE_INLINE bool PackBlock(const InputRow& x, int64_t begin, int64_t columns,
                            float, uint32_t* to, uint32_t*) {
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
  return false;
}

#endif

STELE_INLINE void PackRow(const Operands& op, const PackedRows& packed,
                          int64_t row) {
  const InputRow x(op, packed.rows.begin + row);
  const float coarse = CoarseStep(x);
  for (int64_t block = 0; block < BlockCount(); ++block) {
    uint8_t* low_count = packed.low_count + block;
    uint32_t* low =
        packed.low + packed.Offset(stele_refine ? *low_count : 0, block);
    if (!PackBlock(x, block * BlockColumns(), ColumnsOf(block), coarse,
                   packed.high + packed.Offset(row, block), low))
      continue;
    packed.low_rows[block * packed.Count() + *low_count] =
        static_cast<uint8_t>(row);
    ++*low_count;
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

// Adds the sum of a plane.
STELE_INLINE V16 EndPlane(V16 total, BlockSum sum, const uint32_t* head,
                          V16 scale) {
  const V16 steps = __builtin_convertvector(sum, V16);
  return Fma(steps * reinterpret_cast<V16>(SplatUnit(head[0])), scale, total);
}

STELE_INLINE V16 EndBlock(V16 total, BlockSum sum, const uint32_t* head,
                          V16 scale, V16 offset) {
  // Before what has to wait for the sum.
  if (stele_offset)
    total = Fma(offset, reinterpret_cast<V16>(SplatUnit(head[1])), total);
  return EndPlane(total, sum, head, scale);
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
  const int64_t stride = PackedWords(columns);
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

// total[r][p] += row r times half p, over one block.
template <int R, int P, int S>
STELE_INLINE void AddBlock(const uint32_t* x, const Blocks<P, S>& blocks,
                           int64_t columns, V16 (*total)[P * S]) {
  const Head<P, S> head(blocks);
#if STELE_INT8 || STELE_BF16
  constexpr int kHalves = P * S;
  const int64_t stride = PackedWords(columns);
  BlockSum sum[R][kHalves];
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int p = 0; p < kHalves; ++p) sum[r][p] = StartBlock(x + r * stride);
  MultiplyBlock<R>(x + kHeadWords, blocks, head, columns, sum);
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

// total[r][p] += row `row` + r times half p, over the blocks of `range`.
template <int R, int P, int S>
STELE_INLINE void AddBlocks(const PackedRows& packed, int64_t row, Range range,
                            Blocks<P, S> blocks, V16 (*total)[P * S]) {
  const int64_t width = BlockColumns();
  for (int64_t block = range.begin; block < Min(range.end, WholeBlocks());
       ++block) {
    AddBlock<R, P, S>(packed.high + packed.Offset(row, block), blocks, width,
                      total);
    blocks.Advance(schema::QuantBlockBytes(Format(), width));
  }
  if (range.end > WholeBlocks())
    AddBlock<R, P, S>(packed.high + packed.Offset(row, WholeBlocks()), blocks,
                      RestColumns(), total);
}

#if STELE_INT8

// total[r][p] += low plane r times half p, over one block.
template <int R, int P, int S>
STELE_INLINE void AddLow(const uint32_t* low, const Blocks<P, S>& blocks,
                         int64_t columns, V16* const* total) {
  const Head<P, S> head(blocks);
  const int64_t stride = PackedWords(columns);
  BlockSum sum[R][P * S];
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int p = 0; p < P * S; ++p) sum[r][p] = StartBlock(low + r * stride);
  MultiplyBlock<R>(low + kHeadWords, blocks, head, columns, sum);
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int p = 0; p < P * S; ++p)
      total[r][p] =
          EndPlane(total[r][p], sum[r][p], low + r * stride, head.scale[p]);
}

#endif

// Writes what a row gave with one panel.
STELE_INLINE void FinishPanel(const Operands& op, int64_t row, int64_t panel,
                              const V16* sum) {
  if (stele_glu) return Finish(op, row, panel * kLanes, sum[0], sum[1]);
  const int64_t column = panel * schema::kQuantPanelRows;
  Finish(op, row, column, sum[0], V16{});
  if (column + kLanes < OutColumns())
    Finish(op, row, column + kLanes, sum[1], V16{});
}

STELE_INLINE const uint8_t* PanelAt(const Operands& op, int64_t panel) {
  return static_cast<const uint8_t*>(op.weight) +
         panel * schema::QuantPanelBytes(Format(), stele_k);
}

// The only row times a block of kStreams panels.
template <int P, int S>
STELE_INLINE void AddOnly(const PackedRows& packed, int64_t block,
                          int64_t columns, const Blocks<P, S>& blocks,
                          V16 (*total)[P * S],
                          [[maybe_unused]] V16* low_total) {
  AddBlock<1, P, S>(packed.high + packed.Offset(0, block), blocks, columns,
                    total);
#if STELE_INT8
  if (stele_refine && packed.low_count[block])
    AddLow<1>(packed.low + packed.Offset(0, block), blocks, columns,
              &low_total);
#endif
}

// The only row times kStreams panels, `apart` from each other.
STELE_INLINE void Streams(const Operands& op, const PackedRows& packed,
                          int64_t panel, int64_t apart) {
  constexpr int kHalves = kHalvesAtOnce * kStreams;
  V16 sum[kStreams][2];
#pragma unroll
  for (int half = 0; half < 2; half += kHalvesAtOnce) {
    Blocks<kHalvesAtOnce, kStreams> blocks{{}, half};
#pragma unroll
    for (int s = 0; s < kStreams; ++s)
      blocks.at[s] = PanelAt(op, panel + s * apart);
    V16 total[1][kHalves] = {}, low_total[kHalves] = {};
    for (int64_t block = 0; block < WholeBlocks(); ++block) {
      AddOnly(packed, block, BlockColumns(), blocks, total, low_total);
      blocks.Advance(schema::QuantBlockBytes(Format(), BlockColumns()));
    }
    if (RestColumns() != 0)
      AddOnly(packed, WholeBlocks(), RestColumns(), blocks, total, low_total);
#pragma unroll
    for (int p = 0; p < kHalves; ++p)
      sum[p / kHalvesAtOnce][half + p % kHalvesAtOnce] =
          stele_refine ? total[0][p] + low_total[p] : total[0][p];
  }
#pragma unroll
  for (int s = 0; s < kStreams; ++s)
    FinishPanel(op, packed.rows.begin, panel + s * apart, sum[s]);
}

// Some blocks of a panel, which stay in L1 while all rows go by.
struct Slice {
  const uint8_t* at;
  int64_t index;
};

// Fetches the memory behind a slice, a share of it for each tile.
class Fetch {
 public:
  STELE_MEMBER Fetch(const Slice& slice, int64_t tiles)
      : at_(slice.at + SliceBytes()),
        end_(at_ + SliceBytes()),
        share_(RoundUp((SliceBytes() + tiles - 1) / tiles, kLine)) {}
  STELE_MEMBER void Next() {
    const uint8_t* end = at_ + share_ < end_ ? at_ + share_ : end_;
    for (; at_ < end; at_ += kLine) __builtin_prefetch(at_);
  }

 private:
  static constexpr int64_t kLine = 64;
  const uint8_t* at_;
  const uint8_t* end_;
  int64_t share_;
};

// Calls tile(Rows<R>(), first) for [row, count) in tiles of R rows, then
// smaller ones: 6, 4, 2, 1.
template <int R>
struct Rows {};
template <int R, typename Tile>
STELE_INLINE void ForTiles(int64_t row, int64_t count, Tile& tile) {
  for (; row + R <= count; row += R) tile(Rows<R>(), row);
  if constexpr (R > 1)
    if (row < count) ForTiles<R <= 4 ? (R + 1) / 2 : 4>(row, count, tile);
}

// Packed rows [row, row + R) times a slice.
template <int R>
STELE_INLINE void AddTile(const PackedRows& packed, const Slice& slice,
                          int64_t row) {
  V16(*sums)[2] = packed.sums + row;
#pragma unroll
  for (int half = 0; half < 2; half += kHalvesAtOnce) {
    V16 total[R][kHalvesAtOnce] = {};
    if (slice.index != 0) {
#pragma unroll
      for (int r = 0; r < R; ++r)
#pragma unroll
        for (int p = 0; p < kHalvesAtOnce; ++p) total[r][p] = sums[r][half + p];
    }
    const Blocks<kHalvesAtOnce, 1> blocks{{slice.at}, half};
    AddBlocks<R>(packed, row, SliceAt(slice.index), blocks, total);
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
      for (int p = 0; p < kHalvesAtOnce; ++p) sums[r][half + p] = total[r][p];
  }
}

#if STELE_INT8

// R low planes of a block, from the `first` on, times its codes at `at`.
template <int R>
STELE_INLINE void AddLowTile(const PackedRows& packed, const uint8_t* at,
                             int64_t block, int64_t first) {
  const uint8_t* rows = packed.low_rows + block * packed.Count() + first;
  const uint32_t* low = packed.low + packed.Offset(first, block);
#pragma unroll
  for (int half = 0; half < 2; half += kHalvesAtOnce) {
    V16* total[R];
#pragma unroll
    for (int r = 0; r < R; ++r) total[r] = packed.low_sums[rows[r]] + half;
    const Blocks<kHalvesAtOnce, 1> blocks{{at}, half};
    if (block < WholeBlocks())
      AddLow<R>(low, blocks, BlockColumns(), total);
    else
      AddLow<R>(low, blocks, RestColumns(), total);
  }
}

// All low planes of a slice.
STELE_INLINE void AddLows(const PackedRows& packed, const Slice& slice) {
  const Range blocks = SliceAt(slice.index);
  const uint8_t* at = slice.at;
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    auto tile = [&]<int R>(Rows<R>, int64_t first) {
      AddLowTile<R>(packed, at, block, first);
    };
    ForTiles<kRowTile>(0, packed.low_count[block], tile);
    at += schema::QuantBlockBytes(Format(), BlockColumns());
  }
}

#endif

// Writes what packed rows [row, row + n) gave with one panel.
STELE_INLINE void FinishRows(const Operands& op, const PackedRows& packed,
                             int64_t row, int64_t n, int64_t panel) {
  for (const int64_t end = row + n; row < end; ++row) {
    V16 sum[2] = {packed.sums[row][0], packed.sums[row][1]};
    if (stele_refine) {
      sum[0] = sum[0] + packed.low_sums[row][0];
      sum[1] = sum[1] + packed.low_sums[row][1];
    }
    FinishPanel(op, packed.rows.begin + row, panel, sum);
  }
}

// All rows times one panel.
STELE_INLINE void Panel(const Operands& op, const PackedRows& packed,
                        int64_t panel) {
  const int64_t tiles = (packed.Count() + kRowTile - 1) / kRowTile;
  if (stele_refine)
    for (int64_t row = 0; row < packed.Count(); ++row)
      packed.low_sums[row][0] = packed.low_sums[row][1] = V16{};
  Slice slice{PanelAt(op, panel), 0};
  for (; slice.index < SliceCount(); ++slice.index) {
#if STELE_INT8
    if (stele_refine) AddLows(packed, slice);
#endif
    Fetch fetch(slice, tiles);
    auto tile = [&]<int R>(Rows<R>, int64_t row) {
      fetch.Next();
      AddTile<R>(packed, slice, row);
      if (slice.index + 1 == SliceCount())
        FinishRows(op, packed, row, R, panel);
    };
    ForTiles<kRowTile>(0, packed.Count(), tile);
    slice.at += SliceBytes();
  }
}

STELE_INLINE void Block(const Operands& op, Range rows, Range panels) {
  const PackedRows packed(op, rows);
  for (int64_t row = 0; row < packed.Count(); ++row) PackRow(op, packed, row);
  int64_t panel = panels.begin;
  if (packed.Count() == 1) {
    const int64_t apart = (panels.end - panels.begin) / kStreams;
    for (; panel < panels.begin + apart; ++panel)
      Streams(op, packed, panel, apart);
    panel = panels.begin + kStreams * apart;
  }
  for (; panel < panels.end; ++panel) Panel(op, packed, panel);
}

}  // namespace

STELE_SCRATCH { return PackedRows::Bytes(); }

STELE_ENTRY {
  const Operands op = OperandsOf(args);
  ForBlocks(args, BlockRows(), kRowTile, Panels(), 1,
            [&](Range rows, Range panels) { Block(op, rows, panels); });
}
