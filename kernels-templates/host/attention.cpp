// Causal attention over pages, dense or over the blocks of a selection: online
// softmax, grouped query heads, optional window, q-norm and rotation.
//
// A chain is one KV head and up to 32 query tokens of one sequence; its rows
// are (token, query head of the group) pairs, which share every key read. Keys
// go by in tiles, and tiles in segments, both on the absolute grid of
// positions. Over one segment a row keeps an online softmax; the segments'
// results are folded into the row's total in ascending order. A tile or segment
// that a row does not see leaves its state bit for bit as it was. A row's
// result so depends on its own keys and their positions only, never on the
// rows, chunks or workers around it.
//
// Sparse (STELE_SPARSE), the walk over a chain's tiles passes over the blocks
// that its query block does not keep, and over segments that hold none; so a
// chain lies in one query block. With all blocks kept the result is that of
// dense attention, bit for bit.
//
// A worker takes a whole chain, or, where chains are few or short, one segment
// of one; the fold then passes from worker to worker in the segments' order.
// The total is kept where all see it: its sum in `out`, the rest in shared
// memory.
//
// Products read what a page stores in registers, converted on the way; where
// many rows share a tile, it is converted once, into scratch. An int8 key's
// scale goes to its scores, a value's to its probabilities.
//
// With dual chunk attention a row has a query for each part of its keys: those
// of its own chunk, of the chunk before, and of all others. Pages never
// straddle a chunk, so that a tile lies in one part. One softmax goes over all
// parts.
//
// Where the batch asks for it (head_work), what a sparse chain kept is
// measured: its rows meet the keys of all other blocks as well, for their
// scores alone.
//
// Scores are in units of log2: scale * log2(e) is folded into q.
#include "page.h"
#include "query.h"
#if STELE_SPARSE
#include "selection.h"
#endif

STELE_INT(block)
STELE_INT(lse)
#if STELE_SPARSE
STELE_INT(bias_width)  // distances that have a bias of their own; 0: no bias
constexpr int32_t stele_window = 0;
#else
STELE_INT(window)  // 0: none
constexpr int32_t stele_bias_width = 0;
#endif

using namespace stele;

namespace {

constexpr int64_t kQueryTokens = 32;
constexpr int kRowTile = 6;
constexpr int64_t kKeyTile = 64;
constexpr int64_t kSegment = 256;  // keys; a whole number of tiles
// What is always worth to be split, and the chains per worker that are enough.
constexpr int64_t kFewTokens = 4, kFewChains = 4;
// Vectors of one product beside each other: what the registers hold.
#ifdef __AVX512F__
constexpr int kColumnTile = 4;
#else
constexpr int kColumnTile = 1;
#endif
constexpr float kLn2 = 0.69314718f;

STELE_INLINE int64_t MaxRows() { return kQueryTokens * Group(); }
STELE_INLINE int64_t KeyTile() { return Min(kKeyTile, stele_block); }
STELE_INLINE float Infinity() { return __builtin_inff(); }
STELE_INLINE PageShape Shape() { return {stele_block, stele_head_dim}; }

// A chain's rows over one segment, in the worker's scratch.
struct Rows {
  int64_t count;
  uint32_t* q;        // [parts, MaxRows(), PaddedDim()] units
  float* sum;         // [rows, PaddedDim()]: sum of p v
  float* weight;      // [rows, 16]: sum of p, lane = key % 16
  float* maximum;     // [rows]
  int32_t* position;  // [rows]
  const float* bias;  // [Group(), bias_width]
#if STELE_SPARSE
  bool only_scores;  // keys are measured, and their values not read
#endif

  uint32_t* Query(int64_t part, int64_t row) const {
    return q + (part * MaxRows() + row) * PaddedDim();
  }
};

struct Tile {
  float* score;      // [kRowTile, kKeyTile]
  uint32_t* p;       // [kRowTile, kKeyTile] units
  float* rescale;    // [16]: exp2(old maximum - new), by row of the tile
  uint32_t* keys;    // [kKeyTile * PaddedDim()] units, for pages that store
  uint32_t* values;  // others; likewise
};

struct Scratch {
  Rows rows;
  Tile tile;
  float* head;  // [PaddedDim()]
  int64_t bytes;
};

STELE_INLINE Scratch Carve(void* base) {
  Arena arena(base);
  Scratch s;
  s.rows.count = 0;
#if STELE_SPARSE
  s.rows.only_scores = false;
#endif
  s.rows.q = arena.Take<uint32_t>(stele_parts * MaxRows() * PaddedDim());
  s.rows.sum = arena.Take<float>(MaxRows() * PaddedDim());
  s.rows.weight = arena.Take<float>(MaxRows() * kLanes);
  s.rows.maximum = arena.Take<float>(MaxRows() + kLanes);
  s.rows.position = arena.Take<int32_t>(MaxRows());
  s.tile.score = arena.Take<float>(kRowTile * kKeyTile);
  s.tile.p = arena.Take<uint32_t>(kRowTile * kKeyTile);
  s.tile.rescale = arena.Take<float>(kLanes);
  const int64_t expanded =
      IsStoredAsUnits() ? 0 : kKeyTile * PaddedDim() / kDepth;
  s.tile.keys = arena.Take<uint32_t>(expanded);
  s.tile.values = arena.Take<uint32_t>(expanded);
  s.head = arena.Take<float>(PaddedDim());
  s.bytes = arena.used();
  return s;
}

// What a row's total needs besides the sum in `out`. Weight 0: no key yet.
struct Total {
  float maximum, weight;
};

// The shared memory of one token and KV head. All zero outside a chain's work.
struct Shared {
  uint32_t folded;  // segments of the chain, kept with its first token
  uint32_t unused;
  Total totals[];  // [Group()]
};
STELE_INLINE int64_t SharedBytes() {
  return RoundUp(sizeof(Shared) + Group() * sizeof(Total), 64);
}

struct Operands {
  Queries queries;
  uint32_t* selection;  // selection.h; sparse only
  const float* bias;    // [heads, bias_width]
  char* cache;
  float* out;  // [T, heads, head_dim]
  float* lse;  // [T, heads]
  const SteleBatch* batch;
  int64_t layer;
  char* shared;  // [T, kv_heads] x SharedBytes()

  Shared* SharedOf(int64_t token, int64_t head) const {
    return reinterpret_cast<Shared*>(shared + (token * stele_kv_heads + head) *
                                                  SharedBytes());
  }
};

// Tokens [begin, end) of sequence s, one KV head, and the segments they see.
struct Chain {
  int64_t s, head, begin, end;
  int64_t first, last;  // segments, both included
#if STELE_SPARSE
  KeptBlocks kept;
#endif
};

// The first key from `key` on, where a tile begins, that a chain's blocks have;
// if it is beyond the chain's last key, any such one.
STELE_INLINE int64_t NextKey([[maybe_unused]] const Chain& chain, int64_t key) {
#if STELE_SPARSE
  return Max(key, chain.kept.Next(key / stele_block) * stele_block);
#else
  return key;
#endif
}
// Likewise the first segment that has any.
STELE_INLINE int64_t NextSegment(const Chain& chain, int64_t segment) {
  return NextKey(chain, segment * kSegment) / kSegment;
}

// The first key that a query at `position` sees.
STELE_INLINE int64_t FirstKey(int64_t position) {
  return stele_window ? Max(0, position - stele_window + 1) : 0;
}

// Normalises, rotates, scales and rounds one query row for a part of its keys.
STELE_INLINE void PackQuery(const Operands& op, int64_t t, int64_t head,
                            int64_t part, float* buffer, uint32_t* to) {
  PrepareQuery(op.queries, t, head, part, buffer);
  const V16 scale = Splat(QueryScale(op.queries, t));
  for (int64_t i = 0; i < stele_head_dim; i += kLanes) {
    const V16 v = LoadUpTo(buffer + i, Min(kLanes, stele_head_dim - i));
    StoreAsUnits(to + i / kDepth, v * scale);
  }
}

// Prepares a chain's rows to meet the keys of segments [first, last].
STELE_INLINE void Begin(const Operands& op, const Chain& chain, int64_t first,
                        int64_t last, Scratch& s) {
  s.rows.count = (chain.end - chain.begin) * Group();
  s.rows.bias = op.bias + chain.head * Group() * stele_bias_width;
  for (int64_t row = 0; row < s.rows.count; ++row) {
    const int64_t t = chain.begin + row / Group();
    const int64_t head = chain.head * Group() + row % Group();
    const int64_t position = op.batch->positions[t];
    const int64_t nearest = PartOf(position, (last + 1) * kSegment - 1);
    const int64_t farthest = PartOf(position, first * kSegment);
    for (int64_t part = nearest; part <= farthest; ++part)
      PackQuery(op, t, head, part, s.head, s.rows.Query(part, row));
    s.rows.position[row] = static_cast<int32_t>(position);
  }
}

// Forgets the segment before.
STELE_INLINE void Clear(Rows& rows) {
  for (int64_t row = 0; row < rows.count; ++row) {
    for (int64_t i = 0; i < PaddedDim(); i += kLanes)
      Store(rows.sum + row * PaddedDim() + i, V16{});
    Store(rows.weight + row * kLanes, V16{});
    rows.maximum[row] = -Infinity();
  }
}

// A tile of keys and values: where the page has them, or their units in
// scratch.
template <bool kInPage>
struct Source {
  const char *keys, *values;  // of the tile
  const char* page;
  int64_t first;  // the tile's first key in the page
  int64_t ahead;  // bytes from here to the tile that comes next

  U16 Keys(int64_t unit) const { return At(keys, unit); }
  U16 Values(int64_t unit) const { return At(values, unit); }
  U16 FirstValues(int64_t unit, int64_t n) const {
    if (kInPage) return LoadFirstStored(values, unit, n);
    return LoadFirstUnits(reinterpret_cast<const uint32_t*>(values) + unit, n);
  }
  // The unit of the odd column (page.h) of 16 keys: that element and 0.
  U16 OddColumn(int64_t key) const {
    U16 units{};
    for (int64_t i = 0; i < kLanes; ++i)
      units[i] = UnitOf(LoadElement(page, Shape().OddColumn(first + key + i)));
    return units;
  }
  const float* KeyScales(int64_t key) const {
    return reinterpret_cast<const float*>(page + Shape().KeyScales()) + first +
           key;
  }
  const float* ValueScales(int64_t key) const {
    return reinterpret_cast<const float*>(page + Shape().ValueScales()) +
           first + key;
  }

 private:
  static U16 At(const char* base, int64_t unit) {
    return kInPage ? LoadStored(base, unit)
                   : LoadUnits(reinterpret_cast<const uint32_t*>(base) + unit);
  }
};

// Asks for the line `ahead` bytes from unit `unit` at `from`, of another page
// perhaps, to come to L2: L1 has no room for two tiles.
STELE_INLINE void Fetch(const char* from, int64_t unit, int64_t ahead) {
  __builtin_prefetch(
      reinterpret_cast<const void*>(
          reinterpret_cast<uintptr_t>(from) +
          static_cast<uintptr_t>(unit * kDepth * ElementBytes() + ahead)),
      /*rw=*/0, /*locality=*/2);
}

// Scores of R rows with 16 C keys, from key `key` of the tile on. A tile in its
// page is read once: the next one is fetched on the way.
template <int R, int C, bool kInPage>
STELE_INLINE void Scores(const uint32_t* q, const Source<kInPage>& source,
                         int64_t key, float* score) {
  const int64_t steps = Shape().KeySteps();
  V16 sum[R][C] = {};
  for (int64_t step = 0; step < steps; ++step) {
    U16 keys[C];
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const int64_t unit = key * steps + (c * steps + step) * kLanes;
      keys[c] = source.Keys(unit);
      if constexpr (kInPage) Fetch(source.keys, unit, source.ahead);
    }
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const U16 a = SplatUnit(q[r * PaddedDim() + step]);
#pragma unroll
      for (int c = 0; c < C; ++c) sum[r][c] = Madd(sum[r][c], a, keys[c]);
    }
  }
  if (Shape().HasOddColumn())
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const U16 keys = source.OddColumn(key + c * kLanes);
#pragma unroll
      for (int r = 0; r < R; ++r)
        sum[r][c] =
            Madd(sum[r][c], SplatUnit(q[r * PaddedDim() + steps]), keys);
    }
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c) {
      if (Stored() == KvElement::kInt8)
        sum[r][c] *= Load(source.KeyScales(key + c * kLanes));
      Store(score + r * kKeyTile + c * kLanes, sum[r][c]);
    }
}

// Adds what the row's head adds to the scores of keys so far away.
STELE_INLINE void AddBias(const Rows& rows, int64_t row, int64_t first_key,
                          float* score) {
  const float* bias = rows.bias + row % Group() * stele_bias_width;
  const int64_t nearest = rows.position[row] - first_key;
  for (int64_t i = 0; i < KeyTile(); ++i)
    score[i] += kLog2E * bias[Min(Max(nearest - i, 0), stele_bias_width - 1)];
}

// Keys of the tile that the row at `position` may not see become -infinity.
STELE_INLINE void Mask(int64_t position, int64_t first_key, float* score) {
  const int64_t tile = KeyTile();
  const bool all_before = first_key + tile - 1 <= position;
  const bool none_left = !stele_window || first_key > position - stele_window;
  if (all_before && none_left) return;
  for (int64_t i = 0; i < tile; i += kLanes) {
    const I16 key = kIota + static_cast<int32_t>(first_key + i);
    const I16 at = I16{} + static_cast<int32_t>(position);
    I16 hidden = key > at;
    if (stele_window) hidden |= key <= at - stele_window;
    Store(score + i, hidden ? Splat(-Infinity()) : Load(score + i));
  }
}

STELE_INLINE float RowMaximum(const float* score) {
  V16 maximum = Load(score);
  for (int64_t i = kLanes; i < KeyTile(); i += kLanes)
    maximum = Max(maximum, Load(score + i));
  return MaxLane(maximum);
}

// Turns one row's scores into probabilities relative to `maximum`; for int8
// each times the scale of its value, whose codes it is to multiply.
STELE_INLINE void Probabilities(float maximum, float rescale,
                                const float* value_scales, const float* score,
                                uint32_t* p, float* weight) {
  // No key seen yet: every score is -infinity, and so must the exponent be.
  const V16 shift = Splat(maximum == -Infinity() ? 0.0f : maximum);
  V16 total = Load(weight) * Splat(rescale);
  for (int64_t i = 0; i < KeyTile(); i += kLanes) {
    V16 value = Exp2(Load(score + i) - shift);
    total = total + value;
    // The scale of a key that is not there yet may be a NaN.
    if (Stored() == KvElement::kInt8)
      value = value == V16{} ? V16{} : value * Load(value_scales + i);
    StoreAsUnits(p + i / kDepth, value);
  }
  Store(weight, total);
}

// The softmax of R rows over one tile.
template <int R>
STELE_INLINE void Softmax(Rows& rows, int64_t row, int64_t first_key,
                          const float* value_scales, Tile& tile) {
  V16 before{}, after{};
  for (int r = 0; r < R; ++r) {
    float* score = tile.score + r * kKeyTile;
    if (stele_bias_width) AddBias(rows, row + r, first_key, score);
    Mask(rows.position[row + r], first_key, score);
    const float old = rows.maximum[row + r], here = RowMaximum(score);
    const float now = old > here ? old : here;
    before[r] = old;
    after[r] = now == -Infinity() ? 0.0f : now;
    rows.maximum[row + r] = now;
  }
  Store(tile.rescale, Exp2(before - after));
  for (int r = 0; r < R; ++r)
    Probabilities(rows.maximum[row + r], tile.rescale[r], value_scales,
                  tile.score + r * kKeyTile, tile.p + r * kKeyTile,
                  rows.weight + (row + r) * kLanes);
}

// sum = sum * rescale + p v for R rows and C vectors of columns from `column`
// on.
template <int R, int C, bool kInPage>
STELE_INLINE void Accumulate(const Tile& tile, const Source<kInPage>& source,
                             int64_t steps, int64_t column, float* sum) {
  const int64_t columns = stele_head_dim - column;
  V16 total[R][C];
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c)
      total[r][c] =
          Load(sum + r * PaddedDim() + c * kLanes) * Splat(tile.rescale[r]);
  for (int64_t step = 0; step < steps; ++step) {
    U16 values[C];
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const int64_t unit = step * stele_head_dim + column + c * kLanes;
      values[c] = columns >= C * kLanes ? source.Values(unit)
                                        : source.FirstValues(unit, columns);
      if constexpr (kInPage) Fetch(source.values, unit, source.ahead);
    }
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const U16 a = SplatUnit(tile.p[r * kKeyTile + step]);
#pragma unroll
      for (int c = 0; c < C; ++c) total[r][c] = Madd(total[r][c], a, values[c]);
    }
  }
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c)
      Store(sum + r * PaddedDim() + c * kLanes, total[r][c]);
}

// R rows meet a tile, whose first key is at position `first_key`.
template <int R, bool kInPage>
STELE_INLINE void Attend(Rows& rows, int64_t row, int64_t first_key,
                         const Source<kInPage>& source, Tile& tile) {
  const uint32_t* q = rows.Query(PartOf(rows.position[row], first_key), row);
  int64_t i = 0;
  for (; i + kColumnTile * kLanes <= KeyTile(); i += kColumnTile * kLanes)
    Scores<R, kColumnTile>(q, source, i, tile.score + i);
  for (; i < KeyTile(); i += kLanes) Scores<R, 1>(q, source, i, tile.score + i);
  Softmax<R>(rows, row, first_key, source.ValueScales(0), tile);
#if STELE_SPARSE
  if (rows.only_scores) return;
#endif

  // Values beyond the last row's position may not have been written.
  const int64_t steps =
      Units(Min(KeyTile(), rows.position[row + R - 1] + 1 - first_key));
  float* sum = rows.sum + row * PaddedDim();
  int64_t column = 0;
  for (; column + kColumnTile * kLanes <= stele_head_dim;
       column += kColumnTile * kLanes)
    Accumulate<R, kColumnTile>(tile, source, steps, column, sum + column);
  for (; column < stele_head_dim; column += kLanes)
    Accumulate<R, 1>(tile, source, steps, column, sum + column);
}

template <int R, bool kInPage>
STELE_INLINE void AttendRows(int64_t count, Rows& rows, int64_t row,
                             int64_t first_key, const Source<kInPage>& source,
                             Tile& tile) {
  if constexpr (R > 1)
    if (count < R)
      return AttendRows<R - 1>(count, rows, row, first_key, source, tile);
  Attend<R>(rows, row, first_key, source, tile);
}

// The end of the rows that are in the same chunk as `row`. A chain's positions
// are consecutive.
STELE_INLINE int64_t EndOfChunk(const Rows& rows, int64_t row) {
  if (stele_parts == 1) return rows.count;
  const int64_t left = stele_chunk_keys - rows.position[row] % stele_chunk_keys;
  return Min(rows.count, (row / Group() + left) * Group());
}

// Not inlined: all that it holds would be compiled once for each call.
template <bool kInPage>
STELE_NOINLINE void AttendTile(Rows& rows, int64_t first_key,
                               const Source<kInPage>& source, Tile& tile) {
  int64_t count;
  for (int64_t row = 0; row < rows.count; row += count) {
    count = Min(kRowTile, EndOfChunk(rows, row) - row);
    if (rows.position[row + count - 1] < first_key) continue;
    AttendRows<kRowTile>(count, rows, row, first_key, source, tile);
  }
}

// `count` units that are stored at `from`; may write 15 more.
STELE_INLINE void Expand(const char* from, int64_t count, uint32_t* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    StoreUnits(to + i, LoadStored(from, i));
  if (i < count) StoreUnits(to + i, LoadFirstStored(from, i, count - i));
}

STELE_INLINE Source<true> SourceAt(const char* page, int64_t first_key) {
  const int64_t first = first_key % stele_block;
  return {page + Shape().KeyElement(first, 0) * ElementBytes(),
          page + Shape().ValueElement(first, 0) * ElementBytes(), page, first,
          /*ahead=*/0};
}

STELE_INLINE Source<false> Expanded(const Source<true>& source, Tile& tile) {
  if (IsStoredAsUnits())
    return {source.keys, source.values, source.page, source.first, 0};
  Expand(source.keys, KeyTile() * Shape().KeySteps(), tile.keys);
  Expand(source.values, KeyTile() / kDepth * stele_head_dim, tile.values);
  return {reinterpret_cast<const char*>(tile.keys),
          reinterpret_cast<const char*>(tile.values), source.page, source.first,
          /*ahead=*/0};
}

// The first key of a segment that any row of the chain sees.
STELE_INLINE int64_t FirstKeyIn(const Operands& op, const Chain& chain,
                                int64_t segment) {
  return Max(NextKey(chain, segment * kSegment),
             FirstKey(op.batch->positions[chain.begin]));
}

STELE_INLINE Source<true> SourceOf(const Operands& op, const Chain& chain,
                                   int64_t key) {
  return SourceAt(PageOf(op.cache, Shape(), op.batch, chain.s, op.layer,
                         stele_kv_heads, chain.head, key / stele_block),
                  key);
}

// The rows meet the keys of one segment. `next` are the keys that the worker
// reads after them, or null.
STELE_INLINE void AttendSegment(const Operands& op, const Chain& chain,
                                int64_t segment, const char* next, Scratch& s) {
  Rows& rows = s.rows;
  const int64_t tile = KeyTile();
  const int64_t begin = FirstKeyIn(op, chain, segment) / tile * tile;
  const int64_t end =
      Min((segment + 1) * kSegment, rows.position[rows.count - 1] + 1);
  Clear(rows);
  int64_t following;
  for (int64_t key = begin; key < end; key = following) {
    following = NextKey(chain, key + tile);
    Source<true> source = SourceOf(op, chain, key);
    if (rows.count <= kRowTile) {
      const char* ahead =
          following < end ? SourceOf(op, chain, following).keys : next;
      if (ahead)
        source.ahead = reinterpret_cast<intptr_t>(ahead) -
                       reinterpret_cast<intptr_t>(source.keys);
      AttendTile(rows, key, source, s.tile);
    } else {
      AttendTile(rows, key, Expanded(source, s.tile), s.tile);
    }
  }
}

// total = old total 2^(old maximum - new) + this segment's 2^(its maximum -
// new)
STELE_INLINE void FoldRow(const float* sum, float weight, float maximum,
                          float* out, Total& total) {
  const bool is_first = total.weight == 0.0f;
  const float now =
      is_first || total.maximum < maximum ? maximum : total.maximum;
  V16 exponents{};
  exponents[0] = is_first ? 0.0f : total.maximum - now;
  exponents[1] = maximum - now;
  const V16 scales = Exp2(exponents);
  const V16 before = Splat(scales[0]), here = Splat(scales[1]);
  for (int64_t i = 0; i < stele_head_dim; i += kLanes) {
    const int64_t columns = Min(kLanes, stele_head_dim - i);
    V16 value = Load(sum + i) * here;
    if (!is_first) value = Fma(LoadUpTo(out + i, columns), before, value);
    StoreFirst(out + i, value, columns);
  }
  total.weight =
      is_first ? weight : total.weight * scales[0] + weight * scales[1];
  total.maximum = now;
}

STELE_INLINE void Fold(const Operands& op, const Chain& chain,
                       const Rows& rows) {
  for (int64_t row = 0; row < rows.count; ++row) {
    const float weight = Sum(Load(rows.weight + row * kLanes));
    if (weight == 0.0f) continue;  // saw no key of the segment
    const int64_t t = chain.begin + row / Group(), member = row % Group();
    const int64_t head = chain.head * Group() + member;
    FoldRow(rows.sum + row * PaddedDim(), weight, rows.maximum[row],
            op.out + (t * stele_heads + head) * stele_head_dim,
            op.SharedOf(t, chain.head)->totals[member]);
  }
}

// Divides the sums by the weights, and leaves the shared memory zero.
STELE_INLINE void End(const Operands& op, const Chain& chain) {
  for (int64_t t = chain.begin; t < chain.end; ++t)
    for (int64_t member = 0; member < Group(); ++member) {
      const int64_t head = chain.head * Group() + member;
      Total& total = op.SharedOf(t, chain.head)->totals[member];
      float* out = op.out + (t * stele_heads + head) * stele_head_dim;
      for (int64_t i = 0; i < stele_head_dim; i += kLanes) {
        const int64_t columns = Min(kLanes, stele_head_dim - i);
        StoreFirst(out + i, LoadUpTo(out + i, columns) / Splat(total.weight),
                   columns);
      }
      if (stele_lse)
        op.lse[t * stele_heads + head] =
            total.maximum * kLn2 + Log(total.weight);
      total = {0.0f, 0.0f};
    }
}

// What a worker takes at a time: segments [first, last] of a chain, all of them
// or one, whose neighbours are other workers' or come later.
struct Item {
  Chain chain;
  int64_t first, last;
  int64_t before;  // items of the chain that come before this one
};

#if STELE_SPARSE

// Keys that one head of a chain's queries reads in segments [first, last].
STELE_INLINE uint64_t KeptKeys(const Operands& op, const Chain& chain,
                               int64_t first, int64_t last) {
  uint64_t kept = 0;
  for (int64_t t = chain.begin; t < chain.end; ++t) {
    const int64_t end = Min(op.batch->positions[t] + 1, (last + 1) * kSegment);
    for (int64_t key = NextKey(chain, first * kSegment); key < end;) {
      const int64_t tile_end = Min(key + KeyTile(), end);
      kept += tile_end - key;
      key = NextKey(chain, tile_end);
    }
  }
  return kept;
}

// Those that it would read of all keys.
STELE_INLINE uint64_t CausalKeys(const Operands& op, const Chain& chain) {
  uint64_t causal = 0;
  for (int64_t t = chain.begin; t < chain.end; ++t)
    causal += op.batch->positions[t] + 1;
  return causal;
}

// The rows of a chain meet the keys of the blocks that it does not keep, all of
// which are before its own.
STELE_INLINE void MeetTheRest(const Operands& op, const Chain& chain,
                              Scratch& s) {
  Begin(op, chain, 0, chain.last, s);
  Clear(s.rows);
  s.rows.only_scores = true;
  const int64_t own = op.batch->positions[chain.begin] / stele_block;
  for (int64_t key = 0; key < own * stele_block; key += KeyTile())
    if (NextKey(chain, key) > key)
      AttendTile(s.rows, key, Expanded(SourceOf(op, chain, key), s.tile),
                 s.tile);
  s.rows.only_scores = false;
}

// The share of a row's attention on the keys that it kept, if `weight` and
// `maximum` are what the others add, as SteleHeadWork has it.
STELE_INLINE int64_t KeptMass(const Total& kept, float weight, float maximum) {
  constexpr int64_t kOne = 1 << STELE_KEPT_MASS_BITS;
  if (weight == 0.0f) return kOne;
  const float most = kept.maximum < maximum ? maximum : kept.maximum;
  V16 exponents{};
  exponents[0] = kept.maximum - most;
  exponents[1] = maximum - most;
  const V16 scales = Exp2(exponents);
  const float here = kept.weight * scales[0], rest = weight * scales[1];
  return static_cast<int64_t>(here / (here + rest) * kOne + 0.5f);
}

// Adds what a chain kept to the sums of its heads. Its totals are whole.
STELE_INLINE void Measure(const Operands& op, const Chain& chain, Scratch& s) {
  MeetTheRest(op, chain, s);
  const Rows& rows = s.rows;
  const uint64_t queries = chain.end - chain.begin;
  const uint64_t kept = KeptKeys(op, chain, chain.first, chain.last);
  const uint64_t causal = CausalKeys(op, chain);
  SteleHeadWork* work = op.batch->head_work + op.layer * stele_heads;
  for (int64_t member = 0; member < Group(); ++member) {
    uint64_t mass = 0;
    for (int64_t row = member; row < rows.count; row += Group()) {
      const int64_t t = chain.begin + row / Group();
      mass +=
          KeptMass(op.SharedOf(t, chain.head)->totals[member],
                   Sum(Load(rows.weight + row * kLanes)), rows.maximum[row]);
    }
    SteleHeadWork* to = work + chain.head * Group() + member;
    __atomic_fetch_add(&to->queries, queries, __ATOMIC_RELAXED);
    __atomic_fetch_add(&to->causal_keys, causal, __ATOMIC_RELAXED);
    __atomic_fetch_add(&to->kept_keys, kept, __ATOMIC_RELAXED);
    __atomic_fetch_add(&to->kept_mass, mass, __ATOMIC_RELAXED);
  }
}

STELE_INLINE bool IsMeasured(const Operands& op) {
  return op.batch->head_work && op.batch->heads == stele_heads;
}

#endif

STELE_INLINE const char* FirstKeysOf(const Operands& op, const Item& item) {
  const int64_t key = FirstKeyIn(op, item.chain, item.first);
  return SourceOf(op, item.chain, key / KeyTile() * KeyTile()).keys;
}

STELE_INLINE void Run(const SteleHostArgs* args, const Operands& op,
                      const Item& item, const char* next, Scratch& s) {
  const Chain& chain = item.chain;
  Begin(op, chain, item.first, item.last, s);
  uint32_t* folded = &op.SharedOf(chain.begin, chain.head)->folded;
  for (int64_t segment = item.first; segment <= item.last;
       segment = NextSegment(chain, segment + 1)) {
    AttendSegment(op, chain, segment, segment == item.last ? next : nullptr, s);
    // Segments are handed out in ascending order, and every worker does its own
    // in that order, so that the one before these is done or will be.
    if (segment == item.first)
      WaitUntil(args, folded, static_cast<uint32_t>(item.before));
    Fold(op, chain, s.rows);
  }
  const bool is_end = item.last == chain.last;
#if STELE_SPARSE
  if (is_end && IsMeasured(op)) Measure(op, chain, s);
#endif
  if (is_end) End(op, chain);
  __atomic_store_n(folded, is_end ? 0 : static_cast<uint32_t>(item.before + 1),
                   __ATOMIC_RELEASE);
}

#if STELE_SPARSE

// Adds what an item's queries see, and, with the first of a chain, what they
// would see of all keys.
STELE_INLINE void Count(const Operands& op, const Item& item,
                        SteleAttentionWork* work) {
  const Chain& chain = item.chain;
  const uint64_t group = Group();
  __atomic_fetch_add(&work->kept_pairs,
                     KeptKeys(op, chain, item.first, item.last) * group,
                     __ATOMIC_RELAXED);
  if (item.before > 0) return;
  __atomic_fetch_add(&work->causal_pairs, CausalKeys(op, chain) * group,
                     __ATOMIC_RELAXED);
  __atomic_fetch_add(&work->queries, (chain.end - chain.begin) * group,
                     __ATOMIC_RELAXED);
}

STELE_INLINE TokenGrid ChainsOf(const SteleBatch* batch, int64_t s) {
  return TokenGrid(batch, s, Min(kQueryTokens, stele_block));
}

// The launch's items in the order in which they are handed out: the chains of
// all sequences backwards, since later tokens see more keys, and of one that is
// split the segments that hold kept blocks. Where those are the selection says,
// so that each worker walks over all items and takes the ones it is given.
class Items {
 public:
  Items(const Operands& op, int64_t workers)
      : op_(op), s_(op.batch->sequences) {
    int64_t chains = 0;
    for (int64_t s = 0; s < op.batch->sequences; ++s)
      chains += ChainsOf(op.batch, s).count() * stele_kv_heads;
    split_all_ = chains < kFewChains * workers;
  }

  // Takes the next item; false when there is none.
  bool Take(const SteleHostArgs* args, Item* item) {
    for (const int64_t index = NextItem(args); at_ < index; ++at_)
      if (!Advance()) return false;
    *item = item_;
    return true;
  }

 private:
  // Goes to the item after this one.
  bool Advance() {
    if (at_ >= 0 && item_.last < item_.chain.last) {
      item_.first = item_.last = NextSegment(item_.chain, item_.last + 1);
      ++item_.before;
      return true;
    }
    while (chains_ == 0)
      if (!NextSequence()) return false;
    --chains_;
    item_.chain = ChainAt(chains_);
    item_.first = item_.chain.first;
    item_.last = split_ ? item_.first : item_.chain.last;
    item_.before = 0;
    return true;
  }

  bool NextSequence() {
    if (s_ == 0) return false;
    --s_;
    const int64_t tokens =
        op_.batch->q_offsets[s_ + 1] - op_.batch->q_offsets[s_];
    chains_ = ChainsOf(op_.batch, s_).count() * stele_kv_heads;
    split_ = split_all_ || tokens <= kFewTokens;
    return true;
  }

  // What the query block of `token` keeps.
  KeptBlocks KeptOf(int64_t token, int64_t head) const {
    if (op_.batch->density >= 1.0f) return KeptBlocks();
    const int64_t at = op_.batch->positions[token];
    // The first of the step's tokens in the same query block.
    const int64_t first =
        Max(op_.batch->q_offsets[s_], token - at % stele_block);
    return {stele_select ? SelectionOf(op_.selection, first, head) : nullptr,
            at / stele_block};
  }

  Chain ChainAt(int64_t index) const {
    const int32_t* positions = op_.batch->positions;
    const Range tokens = ChainsOf(op_.batch, s_).at(index / stele_kv_heads);
    Chain chain;
    chain.s = s_;
    chain.head = index % stele_kv_heads;
    chain.begin = tokens.begin;
    chain.end = tokens.end;
    chain.kept = KeptOf(chain.begin, chain.head);
    chain.first = NextSegment(chain, 0);
    chain.last = positions[tokens.end - 1] / kSegment;
    return chain;
  }

  const Operands& op_;
  bool split_all_;
  // The item taken or passed over last, and what is left after it.
  Item item_;
  int64_t at_ = -1;
  int64_t s_, chains_ = 0;
  bool split_ = false;
};

#else

STELE_INLINE int64_t BlocksOf(const SteleBatch* batch, int64_t s) {
  const int64_t tokens = batch->q_offsets[s + 1] - batch->q_offsets[s];
  return (tokens + kQueryTokens - 1) / kQueryTokens;
}

// The launch's items in the order in which they are handed out. Sequences and
// their blocks go backwards: later tokens see more keys, and the longest items
// should start first. A split sequence goes through its segments in ascending
// order, all blocks and heads of one before the next.
class Items {
 public:
  Items(const Operands& op, int64_t workers)
      : batch_(op.batch), s_(op.batch->sequences) {
    int64_t chains = 0;
    for (int64_t s = 0; s < op.batch->sequences; ++s)
      chains += BlocksOf(op.batch, s) * stele_kv_heads;
    split_all_ = chains < kFewChains * workers;
    Next();
  }

  // Takes the next item; false when there is none.
  bool Take(const SteleHostArgs* args, Item* item) {
    for (;;) {
      int64_t index = NextItem(args);
      while (s_ >= 0 && index >= first_ + count_) Next();
      if (s_ < 0) return false;
      index -= first_;
      const int64_t chains = BlocksOf(batch_, s_) * stele_kv_heads;
      item->chain = ChainAt(index % chains);
      item->first = item->chain.first;
      item->last = item->chain.last;
      item->before = 0;
      if (!split_) return true;
      const int64_t segment = first_segment_ + index / chains;
      if (segment < item->first || segment > item->last) continue;
      item->before = segment - item->first;
      item->first = item->last = segment;
      return true;
    }
  }

 private:
  void Next() {
    first_ += count_;
    count_ = 0;
    if (--s_ < 0) return;
    const int64_t begin = batch_->q_offsets[s_],
                  end = batch_->q_offsets[s_ + 1];
    if (begin == end) return;
    first_segment_ = FirstKey(batch_->positions[begin]) / kSegment;
    const int64_t segments =
        batch_->positions[end - 1] / kSegment + 1 - first_segment_;
    split_ = segments > 1 && (split_all_ || end - begin <= kFewTokens);
    count_ = BlocksOf(batch_, s_) * stele_kv_heads * (split_ ? segments : 1);
  }

  Chain ChainAt(int64_t index) const {
    const int64_t block = BlocksOf(batch_, s_) - 1 - index / stele_kv_heads;
    Chain chain;
    chain.s = s_;
    chain.head = index % stele_kv_heads;
    chain.begin = batch_->q_offsets[s_] + block * kQueryTokens;
    chain.end = Min(chain.begin + kQueryTokens, batch_->q_offsets[s_ + 1]);
    chain.first = FirstKey(batch_->positions[chain.begin]) / kSegment;
    chain.last = batch_->positions[chain.end - 1] / kSegment;
    return chain;
  }

  const SteleBatch* batch_;
  bool split_all_;
  // The sequence of the item found before.
  int64_t s_;
  int64_t first_ = 0, count_ = 0;  // its items
  int64_t first_segment_ = 0;
  bool split_ = false;
};

#endif

}  // namespace

STELE_SCRATCH { return Carve(nullptr).bytes; }
STELE_SHARED { return stele_kv_heads * SharedBytes(); }

STELE_ENTRY {
  Bindings bindings(args);
  Operands op;
  op.queries = TakeQueries(args, &bindings);
#if STELE_SPARSE
  op.selection = bindings.NextIf<uint32_t>(stele_select);
#endif
  op.bias = bindings.NextIf<const float>(stele_bias_width);
  op.cache = bindings.Next<char>();
  op.out = bindings.Next<float>();
  op.lse = bindings.NextIf<float>(stele_lse);
  op.batch = args->batch;
  op.layer = args->immediates[0];
  op.shared = static_cast<char*>(args->shared);
  Scratch scratch = Carve(args->scratch);
  Items items(op, args->workers);
  // The next item is taken early, so that its first keys are on their way.
  Item item, next;
  bool has_item = false;
  for (;;) {
    const bool has_next = items.Take(args, &next);
#if STELE_SPARSE
    if (has_item) Count(op, item, args->work);
#endif
    if (has_item)
      Run(args, op, item, has_next ? FirstKeysOf(op, next) : nullptr, scratch);
    if (!has_next) break;
    item = next;
    has_item = true;
  }
}
