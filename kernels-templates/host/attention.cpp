// Dense causal attention over pages: online softmax, grouped query heads,
// optional window, q-norm and rotation.
//
// One item is one KV head and up to 32 query tokens of one sequence; its rows
// are (token, query head of the group) pairs, which share every key read. Keys
// go by in tiles on the absolute grid of positions. A tile that a row does not
// see leaves the row's state bit for bit as it was, so that a row's result
// depends on its own keys and their positions only, never on the rows, chunks
// or workers around it. Scores are in units of log2: scale * log2(e) is folded
// into q.
#include "math.h"
#include "page.h"
#include "rope.h"

STELE_INT(heads)
STELE_INT(kv_heads)
STELE_INT(head_dim)
STELE_INT(block)
STELE_INT(window)  // 0: none
STELE_INT(q_offset)
STELE_INT(q_stride)
STELE_INT(rotary)  // 0: q comes rotated
STELE_INT(rotary_dims)
STELE_INT(norm)
STELE_INT(lse)
STELE_FLOAT(scale)
STELE_FLOAT(eps)

using namespace stele;

namespace {

constexpr int64_t kQueryTokens = 32;
constexpr int kRowTile = 6;
constexpr int64_t kKeyTile = 64;
// Vectors of one product beside each other: what the registers hold.
#ifdef __AVX512F__
constexpr int kColumnTile = 4;
#else
constexpr int kColumnTile = 1;
#endif
constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.69314718f;

STELE_INLINE int64_t Group() { return stele_heads / stele_kv_heads; }
STELE_INLINE int64_t MaxRows() { return kQueryTokens * Group(); }
STELE_INLINE int64_t KeyTile() { return Min(kKeyTile, stele_block); }
STELE_INLINE int64_t PaddedDim() { return RoundUp(stele_head_dim, kLanes); }
STELE_INLINE float Infinity() { return __builtin_inff(); }
STELE_INLINE PageShape Shape() { return {stele_block, stele_head_dim}; }

// State of an item's rows, in the worker's scratch.
struct Rows {
  int64_t count;
  uint32_t* q;        // [rows, PaddedDim()] units
  float* sum;         // [rows, PaddedDim()]: sum of p v
  float* weight;      // [rows, 16]: sum of p, lane = key % 16
  float* maximum;     // [rows]
  int32_t* position;  // [rows]
};

struct Tile {
  float* score;    // [kRowTile, kKeyTile]
  uint32_t* p;     // [kRowTile, kKeyTile] units
  float* rescale;  // [16]: exp2(old maximum - new), by row of the tile
};

// Carves the scratch; with a null base this also measures it.
class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<char*>(base)) {}
  template <typename T>
  T* Take(int64_t count) {
    T* at = reinterpret_cast<T*>(base_ + used_);
    used_ += RoundUp(count * static_cast<int64_t>(sizeof(T)), 64);
    return at;
  }
  int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
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
  s.rows.q = arena.Take<uint32_t>(MaxRows() * PaddedDim());
  s.rows.sum = arena.Take<float>(MaxRows() * PaddedDim());
  s.rows.weight = arena.Take<float>(MaxRows() * kLanes);
  s.rows.maximum = arena.Take<float>(MaxRows() + kLanes);
  s.rows.position = arena.Take<int32_t>(MaxRows());
  s.tile.score = arena.Take<float>(kRowTile * kKeyTile);
  s.tile.p = arena.Take<uint32_t>(kRowTile * kKeyTile);
  s.tile.rescale = arena.Take<float>(kLanes);
  s.head = arena.Take<float>(PaddedDim());
  s.bytes = arena.used();
  return s;
}

struct Operands {
  const float* q;       // [T, q_stride]
  const float* rotary;  // [T, rotary_dims]
  const float* norm;    // [head_dim]
  Element* cache;
  float* out;  // [T, heads, head_dim]
  float* lse;  // [T, heads]
  const SteleBatch* batch;
  int64_t layer;
};

// An item of the launch: tokens [begin, end) of sequence s, one KV head.
struct Item {
  int64_t s, head, begin, end;
};

// Normalises, rotates, scales and rounds one query row.
STELE_INLINE void PackQuery(const Operands& op, int64_t t, int64_t head,
                            float* buffer, uint32_t* to) {
  PrepareHead(
      op.q + t * stele_q_stride + stele_q_offset + head * stele_head_dim,
      op.norm, stele_eps,
      stele_rotary ? op.rotary + t * stele_rotary_dims : nullptr,
      stele_rotary_dims, stele_head_dim, buffer);
  const V16 scale = Splat(stele_scale * kLog2E);
  for (int64_t i = 0; i < stele_head_dim; i += kLanes) {
    const V16 v = LoadUpTo(buffer + i, Min(kLanes, stele_head_dim - i));
    StoreAsUnits(to + i / kDepth, v * scale);
  }
}

STELE_INLINE void Begin(const Operands& op, const Item& item, Scratch& s) {
  s.rows.count = (item.end - item.begin) * Group();
  for (int64_t row = 0; row < s.rows.count; ++row) {
    const int64_t t = item.begin + row / Group();
    const int64_t head = item.head * Group() + row % Group();
    PackQuery(op, t, head, s.head, s.rows.q + row * PaddedDim());
    for (int64_t i = 0; i < PaddedDim(); i += kLanes)
      Store(s.rows.sum + row * PaddedDim() + i, V16{});
    Store(s.rows.weight + row * kLanes, V16{});
    s.rows.maximum[row] = -Infinity();
    s.rows.position[row] = op.batch->positions[t];
  }
}

// The unit of the odd column (page.h) of 16 keys: that element and 0.
STELE_INLINE U16 OddUnits(const Element* at) {
  U16 units{};
  for (int64_t i = 0; i < kLanes; ++i) units[i] = static_cast<uint32_t>(at[i]);
  return units;
}

// Scores of R rows with 16 C keys, from key granule `granule` of the page on.
template <int R, int C>
STELE_INLINE void Scores(const uint32_t* q, const Element* page,
                         int64_t granule, float* score) {
  const int64_t steps = Shape().KeySteps();
  const uint32_t* k =
      reinterpret_cast<const uint32_t*>(page) + granule * steps * kLanes;
  V16 sum[R][C] = {};
  for (int64_t step = 0; step < steps; ++step) {
    U16 keys[C];
#pragma unroll
    for (int c = 0; c < C; ++c)
      keys[c] = LoadUnits(k + (c * steps + step) * kLanes);
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const U16 a = SplatUnit(q[r * PaddedDim() + step]);
#pragma unroll
      for (int c = 0; c < C; ++c) sum[r][c] = Madd(sum[r][c], a, keys[c]);
    }
  }
  if (Shape().HasOddColumn())
    for (int c = 0; c < C; ++c) {
      const U16 keys =
          OddUnits(page + Shape().OddColumn((granule + c) * kLanes));
      for (int r = 0; r < R; ++r)
        sum[r][c] =
            Madd(sum[r][c], SplatUnit(q[r * PaddedDim() + steps]), keys);
    }
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c)
      Store(score + r * kKeyTile + c * kLanes, sum[r][c]);
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

// Turns one row's scores into probabilities relative to `maximum`.
STELE_INLINE void Probabilities(float maximum, float rescale,
                                const float* score, uint32_t* p,
                                float* weight) {
  // No key seen yet: every score is -infinity, and so must the exponent be.
  const V16 shift = Splat(maximum == -Infinity() ? 0.0f : maximum);
  V16 total = Load(weight) * Splat(rescale);
  for (int64_t i = 0; i < KeyTile(); i += kLanes) {
    const V16 value = Exp2(Load(score + i) - shift);
    total = total + value;
    StoreAsUnits(p + i / kDepth, value);
  }
  Store(weight, total);
}

// The softmax of R rows over one tile.
template <int R>
STELE_INLINE void Softmax(Rows& rows, int64_t row, int64_t first_key,
                          Tile& tile) {
  V16 before{}, after{};
  for (int r = 0; r < R; ++r) {
    float* score = tile.score + r * kKeyTile;
    Mask(rows.position[row + r], first_key, score);
    const float old = rows.maximum[row + r], here = RowMaximum(score);
    const float now = old > here ? old : here;
    before[r] = old;
    after[r] = now == -Infinity() ? 0.0f : now;
    rows.maximum[row + r] = now;
  }
  Store(tile.rescale, Exp2(before - after));
  for (int r = 0; r < R; ++r)
    Probabilities(rows.maximum[row + r], tile.rescale[r],
                  tile.score + r * kKeyTile, tile.p + r * kKeyTile,
                  rows.weight + (row + r) * kLanes);
}

// sum = sum * rescale + p v for R rows and C vectors of columns.
template <int R, int C>
STELE_INLINE void Accumulate(const Tile& tile, const uint32_t* v, int64_t steps,
                             int64_t columns, float* sum) {
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
      const uint32_t* at = v + step * stele_head_dim + c * kLanes;
      values[c] =
          columns >= C * kLanes ? LoadUnits(at) : LoadFirstUnits(at, columns);
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

// R rows meet the keys [first_key, first_key + KeyTile()) of one page.
template <int R>
STELE_INLINE void Attend(Rows& rows, int64_t row, const Element* page,
                         int64_t first_key, Tile& tile) {
  const uint32_t* q = rows.q + row * PaddedDim();
  const int64_t in_page = first_key % stele_block;
  int64_t i = 0;
  for (; i + kColumnTile * kLanes <= KeyTile(); i += kColumnTile * kLanes)
    Scores<R, kColumnTile>(q, page, (in_page + i) / kLanes, tile.score + i);
  for (; i < KeyTile(); i += kLanes)
    Scores<R, 1>(q, page, (in_page + i) / kLanes, tile.score + i);
  Softmax<R>(rows, row, first_key, tile);

  // Values beyond the last row's position may not have been written.
  const int64_t keys =
      Min(KeyTile(), rows.position[row + R - 1] + 1 - first_key);
  const int64_t steps = Units(keys);
  const uint32_t* v = reinterpret_cast<const uint32_t*>(
      page + Shape().ValueElement(in_page, 0));
  float* sum = rows.sum + row * PaddedDim();
  int64_t column = 0;
  for (; column + kColumnTile * kLanes <= stele_head_dim;
       column += kColumnTile * kLanes)
    Accumulate<R, kColumnTile>(tile, v + column, steps, kColumnTile * kLanes,
                               sum + column);
  for (; column < stele_head_dim; column += kLanes)
    Accumulate<R, 1>(tile, v + column, steps,
                     Min(kLanes, stele_head_dim - column), sum + column);
}

template <int R>
STELE_INLINE void AttendRows(int64_t count, Rows& rows, int64_t row,
                             const Element* page, int64_t first_key,
                             Tile& tile) {
  if constexpr (R > 1)
    if (count < R)
      return AttendRows<R - 1>(count, rows, row, page, first_key, tile);
  Attend<R>(rows, row, page, first_key, tile);
}

STELE_INLINE void End(const Operands& op, const Item& item, const Rows& rows) {
  for (int64_t row = 0; row < rows.count; ++row) {
    const int64_t t = item.begin + row / Group();
    const int64_t head = item.head * Group() + row % Group();
    const float weight = Sum(Load(rows.weight + row * kLanes));
    float* out = op.out + (t * stele_heads + head) * stele_head_dim;
    for (int64_t i = 0; i < stele_head_dim; i += kLanes)
      StoreFirst(out + i,
                 Load(rows.sum + row * PaddedDim() + i) / Splat(weight),
                 Min(kLanes, stele_head_dim - i));
    if (stele_lse)
      op.lse[t * stele_heads + head] = rows.maximum[row] * kLn2 + Log(weight);
  }
}

STELE_INLINE void RunItem(const Operands& op, const Item& item, Scratch& s) {
  Begin(op, item, s);
  Rows& rows = s.rows;
  const int64_t tile = KeyTile();
  const int64_t last = rows.position[rows.count - 1];
  int64_t first = 0;
  if (stele_window && rows.position[0] >= stele_window)
    first = (rows.position[0] - stele_window + 1) / tile * tile;
  for (int64_t key = first; key <= last; key += tile) {
    const Element* page = PageOf(op.cache, Shape(), op.batch, item.s, op.layer,
                                 stele_kv_heads, item.head, key / stele_block);
    for (int64_t row = 0; row < rows.count; row += kRowTile) {
      const int64_t count = Min(kRowTile, rows.count - row);
      if (rows.position[row + count - 1] < key) continue;
      AttendRows<kRowTile>(count, rows, row, page, key, s.tile);
    }
  }
  End(op, item, rows);
}

STELE_INLINE int64_t BlocksOf(const SteleBatch* batch, int64_t s) {
  const int64_t tokens = batch->q_offsets[s + 1] - batch->q_offsets[s];
  return (tokens + kQueryTokens - 1) / kQueryTokens;
}

STELE_INLINE int64_t CountItems(const SteleBatch* batch) {
  int64_t blocks = 0;
  for (int64_t s = 0; s < batch->sequences; ++s) blocks += BlocksOf(batch, s);
  return blocks * stele_kv_heads;
}

// Item `index`, counted from the last: later tokens see more keys, and the
// longest items should start first.
STELE_INLINE Item ItemAt(const SteleBatch* batch, int64_t index) {
  int64_t block = index / stele_kv_heads;
  int64_t s = batch->sequences - 1;
  while (block >= BlocksOf(batch, s)) block -= BlocksOf(batch, s--);
  const int64_t begin =
      batch->q_offsets[s] + (BlocksOf(batch, s) - 1 - block) * kQueryTokens;
  return {s, index % stele_kv_heads, begin,
          Min(begin + kQueryTokens, batch->q_offsets[s + 1])};
}

}  // namespace

STELE_SCRATCH { return Carve(nullptr).bytes; }

STELE_ENTRY {
  Bindings bindings(args);
  Operands op;
  op.q = bindings.Next<const float>();
  op.rotary = bindings.NextIf<const float>(stele_rotary);
  op.norm = bindings.NextIf<const float>(stele_norm);
  op.cache = bindings.Next<Element>();
  op.out = bindings.Next<float>();
  op.lse = bindings.NextIf<float>(stele_lse);
  op.batch = args->batch;
  op.layer = args->immediates[0];
  Scratch scratch = Carve(args->scratch);
  const int64_t count = CountItems(args->batch);
  for (int64_t i = NextItem(args); i < count; i = NextItem(args))
    RunItem(op, ItemAt(args->batch, i), scratch);
}
