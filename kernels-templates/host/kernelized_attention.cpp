// Causal attention through random features (FAVOR+), in time linear in the
// tokens and with one state for all keys of a sequence:
//
//   exp(scale q.k) ~ sum over f of phi_f(x) phi_f(y) / features,
//   phi_f(x) = exp(w_f.x - |x|^2 / 2), x and y being q and k times sqrt(scale)
//
// The state of a KV head keeps for every feature the sum of phi_f(y), that of
// phi_f(y) v, and the largest exponent so far, to which both sums are relative.
// A sum that is relative to its own largest term is at least 1, so that nothing
// has to be added to a divisor; one maximum for all features would let the sums
// of small ones vanish, and these may be all that a query meets.
//
// Tokens go by in blocks on the absolute grid of positions. A block's queries
// meet the state before it, and the block's own keys through the products of
// features: all of it is matrix products. The exponents of a block are relative
// to its largest; where this makes a row's sum vanish, because a later key's
// features are larger by far, the block is computed again token by token, which
// cannot happen to them: a token's own key is among those of its maximum.
//
// An item is one block of one KV head. Its share of the state waits for the
// block before it; the products before and after do not.
//
// Exponents are in units of log2. All is f32, whatever the pages store.
#include "page.h"
#include "query.h"
#include "stele/schema/kernel_state.h"

STELE_INT(block)
STELE_INT(features)
STELE_INT(lse)

using namespace stele;

namespace {

constexpr int64_t kBlockTokens = 32;
constexpr int kRowTile = 6;
// Vectors of one product beside each other: what the registers hold.
#ifdef __AVX512F__
constexpr int kColumnTile = 4;
#else
constexpr int kColumnTile = 1;
#endif
constexpr float kLn2 = 0.69314718f;
// What vanished is below 2^-126: a row's sum of at least this does not miss it.
constexpr float kLeastTotal = 0x1p-64f;

STELE_INLINE int64_t PaddedFeatures() {
  return RoundUp(stele_features, kLanes);
}
STELE_INLINE PageShape Shape() { return {stele_block, stele_head_dim}; }
STELE_INLINE float Infinity() { return __builtin_inff(); }

// A state where it lies (schema/kernel_state.h), or a copy in scratch.
struct State {
  float* maxima;  // [PaddedFeatures()]
  float* totals;  // [PaddedFeatures()]
  float* sums;    // [features, PaddedDim()]
};

// A worker's scratch.
struct Scratch {
  float* keys;       // [kBlockTokens, PaddedDim()], in units of log2
  float* values;     // [kBlockTokens, PaddedDim()]
  float* exponents;  // [kBlockTokens, PaddedFeatures()], of the keys
  float* features;   // [features, kBlockTokens], of the keys
  float* maxima;     // [PaddedFeatures()]: the state's with the block's keys
  float* keep;       // [PaddedFeatures()]: 2^(maxima before - maxima after)
  State before;      // the state without the block's keys
  float* queries;    // [kRowTile, PaddedDim()], in units of log2
  float* mapped;     // [kRowTile, PaddedFeatures()]: features of the queries
  float* weights;    // [kRowTile, kBlockTokens]: of the block's keys
  float* sums;       // [kRowTile, PaddedDim()]
  float* head;       // [PaddedDim()]
  int64_t bytes;
};

STELE_INLINE Scratch Carve(void* base) {
  Arena arena(base);
  Scratch s;
  s.keys = arena.Take<float>(kBlockTokens * PaddedDim());
  s.values = arena.Take<float>(kBlockTokens * PaddedDim());
  s.exponents = arena.Take<float>(kBlockTokens * PaddedFeatures());
  s.features = arena.Take<float>(stele_features * kBlockTokens);
  s.maxima = arena.Take<float>(PaddedFeatures());
  s.keep = arena.Take<float>(PaddedFeatures());
  s.before.maxima = arena.Take<float>(PaddedFeatures());
  s.before.totals = arena.Take<float>(PaddedFeatures());
  s.before.sums = arena.Take<float>(stele_features * PaddedDim());
  s.queries = arena.Take<float>(kRowTile * PaddedDim());
  s.mapped = arena.Take<float>(kRowTile * PaddedFeatures());
  s.weights = arena.Take<float>(kRowTile * kBlockTokens);
  s.sums = arena.Take<float>(kRowTile * PaddedDim());
  s.head = arena.Take<float>(PaddedDim());
  s.bytes = arena.used();
  return s;
}

struct Operands {
  Queries queries;
  const float* features;  // [features / 16, head_dim, 16]
  char* cache;
  char* states;
  float* out;  // [T, heads, head_dim]
  float* lse;  // [T, heads]
  const SteleBatch* batch;
  int64_t layer;
  char* shared;
};

STELE_INLINE int64_t SharedBytes() {
  return RoundUp(stele_kv_heads * static_cast<int64_t>(sizeof(uint32_t)), 64);
}

// Tokens [begin, end) of sequence s, all in one block, and one KV head; `index`
// counts the sequence's blocks of this step.
struct Item {
  int64_t s, head, begin, end;
  int64_t index;
  bool is_last;
  int64_t count() const { return end - begin; }
};

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

// A matrix whose rows are vectors of 16 columns: that many floats from one row,
// and from one vector, to the next.
struct Columns {
  const float* base;
  int64_t row, vector;

  Columns From(int64_t first) const {
    return {base + first * vector, row, vector};
  }
};

// out += a b for R rows and C vectors of columns.
template <int R, int C>
STELE_INLINE void MultiplyTile(const float* a, int64_t a_row, Columns b,
                               int64_t depth, float* out, int64_t out_row) {
  V16 sum[R][C];
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c)
      sum[r][c] = Load(out + r * out_row + c * kLanes);
  for (int64_t k = 0; k < depth; ++k) {
    V16 columns[C];
#pragma unroll
    for (int c = 0; c < C; ++c)
      columns[c] = Load(b.base + k * b.row + c * b.vector);
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const V16 x = Splat(a[r * a_row + k]);
#pragma unroll
      for (int c = 0; c < C; ++c) sum[r][c] = Fma(x, columns[c], sum[r][c]);
    }
  }
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c)
      Store(out + r * out_row + c * kLanes, sum[r][c]);
}

template <int R>
STELE_INLINE void MultiplyRows(int64_t rows, const float* a, int64_t a_row,
                               Columns b, int64_t depth, int64_t vectors,
                               float* out, int64_t out_row) {
  if constexpr (R > 1)
    if (rows < R)
      return MultiplyRows<R - 1>(rows, a, a_row, b, depth, vectors, out,
                                 out_row);
  int64_t c = 0;
  for (; c + kColumnTile <= vectors; c += kColumnTile)
    MultiplyTile<R, kColumnTile>(a, a_row, b.From(c), depth, out + c * kLanes,
                                 out_row);
  for (; c < vectors; ++c)
    MultiplyTile<R, 1>(a, a_row, b.From(c), depth, out + c * kLanes, out_row);
}

// out [rows, 16 vectors] += a [rows, depth] b [depth, 16 vectors]. Not inlined:
// all tiles would be compiled once for each call.
STELE_NOINLINE void MultiplyAdd(const float* a, int64_t a_row, int64_t rows,
                                Columns b, int64_t depth, int64_t vectors,
                                float* out, int64_t out_row) {
  for (int64_t row = 0; row < rows; row += kRowTile)
    MultiplyRows<kRowTile>(Min(kRowTile, rows - row), a + row * a_row, a_row, b,
                           depth, vectors, out + row * out_row, out_row);
}

STELE_INLINE void Fill(float* to, int64_t count, float value) {
  for (int64_t i = 0; i < count; i += kLanes) Store(to + i, Splat(value));
}

// to[r] = W x_r for rows of x [rows, PaddedDim()].
STELE_INLINE void MultiplyFeatures(const Operands& op, const float* x,
                                   int64_t rows, float* to) {
  Fill(to, rows * PaddedFeatures(), 0.0f);
  MultiplyAdd(x, PaddedDim(), rows,
              {op.features, kLanes, stele_head_dim * kLanes}, stele_head_dim,
              PaddedFeatures() / kLanes, to, PaddedFeatures());
}

// Makes x [head_dim] a row of units of log2, and returns |x|^2 / 2 in them.
STELE_INLINE float ScaleRow(const float* x, float* row) {
  const float root = Sqrt(stele_scale);
  for (int64_t i = 0; i < stele_head_dim; ++i) row[i] = x[i] * root;
  const float half = SumOfSquares(row, stele_head_dim) * (0.5f * kLog2E);
  for (int64_t i = 0; i < stele_head_dim; ++i) row[i] *= kLog2E;
  return half;
}

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

// Row `token` of the block: a key's row of units of log2, its value, and its
// exponents' common part.
STELE_INLINE float LoadToken(const Operands& op, const Item& item,
                             int64_t token, Scratch& s) {
  const int64_t position = op.batch->positions[item.begin + token];
  const char* page = PageOf(op.cache, Shape(), op.batch, item.s, op.layer,
                            stele_kv_heads, item.head, position / stele_block);
  const int64_t key = position % stele_block;
  float key_scale = 1.0f, value_scale = 1.0f;
  if (Stored() == KvElement::kInt8) {
    key_scale = reinterpret_cast<const float*>(page + Shape().KeyScales())[key];
    value_scale =
        reinterpret_cast<const float*>(page + Shape().ValueScales())[key];
  }
  float* value = s.values + token * PaddedDim();
  Fill(value, PaddedDim(), 0.0f);
  for (int64_t i = 0; i < stele_head_dim; ++i) {
    s.head[i] = LoadElement(page, Shape().KeyElement(key, i)) * key_scale;
    value[i] = LoadElement(page, Shape().ValueElement(key, i)) * value_scale;
  }
  return ScaleRow(s.head, s.keys + token * PaddedDim());
}

STELE_INLINE void LoadBlock(const Operands& op, const Item& item, Scratch& s) {
  float halves[kBlockTokens];
  for (int64_t token = 0; token < item.count(); ++token)
    halves[token] = LoadToken(op, item, token, s);
  MultiplyFeatures(op, s.keys, item.count(), s.exponents);
  for (int64_t token = 0; token < item.count(); ++token) {
    float* row = s.exponents + token * PaddedFeatures();
    for (int64_t f = 0; f < PaddedFeatures(); f += kLanes)
      Store(row + f, Load(row + f) - Splat(halves[token]));
  }
}

// 16 features of the block's tokens [begin, end): raises their maxima, adds to
// their totals, and turns exponents into features relative to the maxima.
STELE_INLINE void MapKeys(int64_t f, int64_t begin, int64_t end, State& state,
                          Scratch& s) {
  const float* exponents = s.exponents + f;
  const V16 before = Load(state.maxima + f);
  V16 after = before;
  // A NaN, which is not larger than anything, shows in its key's features.
  for (int64_t token = begin; token < end; ++token)
    after = Max(Load(exponents + token * PaddedFeatures()), after);
  const V16 keep = Exp2(before - after);
  V16 total = Load(state.totals + f) * keep;
  for (int64_t token = begin; token < end; ++token) {
    const V16 mapped = Exp2(Load(exponents + token * PaddedFeatures()) - after);
    total = total + mapped;
    for (int64_t lane = 0; lane < Min(kLanes, stele_features - f); ++lane)
      s.features[(f + lane) * kBlockTokens + token - begin] = mapped[lane];
  }
  Store(s.keep + f, keep);
  Store(state.maxima + f, after);
  Store(state.totals + f, total);
}

// Adds tokens [begin, end) of the block to the state.
STELE_INLINE void AddKeys(int64_t begin, int64_t end, State& state,
                          Scratch& s) {
  for (int64_t f = 0; f < PaddedFeatures(); f += kLanes)
    MapKeys(f, begin, end, state, s);
  for (int64_t f = 0; f < stele_features; ++f) {
    if (s.keep[f] == 1.0f) continue;
    float* row = state.sums + f * PaddedDim();
    for (int64_t i = 0; i < PaddedDim(); i += kLanes)
      Store(row + i, Load(row + i) * Splat(s.keep[f]));
  }
  MultiplyAdd(s.features, kBlockTokens, stele_features,
              {s.values + begin * PaddedDim(), PaddedDim(), kLanes},
              end - begin, PaddedDim() / kLanes, state.sums, PaddedDim());
}

//===----------------------------------------------------------------------===//
// Queries
//===----------------------------------------------------------------------===//

// What a block's rows meet: a state, and if `tokens` the features of as many of
// the block's keys; both are relative to `maxima`, the state times s.keep.
struct Met {
  State state;
  const float* maxima;
  int64_t tokens;
};

// The features of one row's query, relative to the largest that it meets; the
// exponent of that, in units of log2.
STELE_INLINE float MapQuery(const float* maxima, float half, float* row) {
  V16 largest = Splat(-Infinity());
  for (int64_t f = 0; f < PaddedFeatures(); f += kLanes) {
    V16 exponent = Load(row + f) + Load(maxima + f);
    const I16 left = I16{} + static_cast<int32_t>(stele_features - f);
    exponent = kIota < left ? exponent : Splat(-Infinity());
    largest = Max(exponent, largest);
    Store(row + f, exponent);
  }
  const float maximum = MaxLane(largest);
  for (int64_t f = 0; f < PaddedFeatures(); f += kLanes)
    Store(row + f, Exp2(Load(row + f) - Splat(maximum)));
  return maximum - half;
}

// One row's weights of the block's keys up to its own token; their sum.
STELE_INLINE float MaskWeights(int64_t token, float* weights) {
  V16 total{};
  const I16 last = I16{} + static_cast<int32_t>(token);
  for (int64_t i = 0; i < kBlockTokens; i += kLanes) {
    const I16 key = kIota + static_cast<int32_t>(i);
    const V16 weight = key > last ? V16{} : Load(weights + i);
    total = total + weight;
    Store(weights + i, weight);
  }
  return Sum(total);
}

// The sum of one row's features times the state's totals. The state's exponents
// become the block's on the way.
STELE_INLINE float MeetTotals(const Met& met, const float* keep, float* row) {
  V16 total{};
  for (int64_t f = 0; f < PaddedFeatures(); f += kLanes) {
    V16 mapped = Load(row + f);
    if (met.tokens > 0) mapped = mapped * Load(keep + f);
    Store(row + f, mapped);
    total = Fma(mapped, Load(met.state.totals + f), total);
  }
  return Sum(total);
}

// Rows [row, row + count) of an item: query heads of the group, token by token.
// False if the sum of one of them vanished.
STELE_INLINE bool AttendRows(const Operands& op, const Item& item, int64_t row,
                             int64_t count, const Met& met, Scratch& s) {
  float halves[kRowTile], maxima[kRowTile], totals[kRowTile];
  for (int64_t r = 0; r < count; ++r) {
    const int64_t t = item.begin + (row + r) / Group();
    const int64_t head = item.head * Group() + (row + r) % Group();
    PrepareQuery(op.queries, t, head, /*part=*/0, s.head);
    halves[r] = ScaleRow(s.head, s.queries + r * PaddedDim());
  }
  MultiplyFeatures(op, s.queries, count, s.mapped);
  for (int64_t r = 0; r < count; ++r) {
    maxima[r] =
        MapQuery(met.maxima, halves[r], s.mapped + r * PaddedFeatures());
    totals[r] = 0.0f;
  }
  Fill(s.sums, count * PaddedDim(), 0.0f);
  if (met.tokens > 0) {
    Fill(s.weights, count * kBlockTokens, 0.0f);
    MultiplyAdd(s.mapped, PaddedFeatures(), count,
                {s.features, kBlockTokens, kLanes}, stele_features,
                kBlockTokens / kLanes, s.weights, kBlockTokens);
    for (int64_t r = 0; r < count; ++r)
      totals[r] =
          MaskWeights((row + r) / Group(), s.weights + r * kBlockTokens);
    // Values behind the last row's token meet no weight, not even 0.
    MultiplyAdd(s.weights, kBlockTokens, count, {s.values, PaddedDim(), kLanes},
                (row + count - 1) / Group() + 1, PaddedDim() / kLanes, s.sums,
                PaddedDim());
  }
  bool is_sound = true;
  for (int64_t r = 0; r < count; ++r) {
    totals[r] += MeetTotals(met, s.keep, s.mapped + r * PaddedFeatures());
    is_sound &= !(totals[r] < kLeastTotal);
  }
  MultiplyAdd(s.mapped, PaddedFeatures(), count,
              {met.state.sums, PaddedDim(), kLanes}, stele_features,
              PaddedDim() / kLanes, s.sums, PaddedDim());
  for (int64_t r = 0; r < count; ++r) {
    const int64_t t = item.begin + (row + r) / Group();
    const int64_t head = item.head * Group() + (row + r) % Group();
    float* out = op.out + (t * stele_heads + head) * stele_head_dim;
    for (int64_t i = 0; i < stele_head_dim; i += kLanes)
      StoreFirst(out + i, Load(s.sums + r * PaddedDim() + i) / Splat(totals[r]),
                 Min(kLanes, stele_head_dim - i));
    if (stele_lse)
      op.lse[t * stele_heads + head] =
          maxima[r] * kLn2 +
          Log(totals[r] / static_cast<float>(stele_features));
  }
  return is_sound;
}

// Not inlined: it is called for blocks and for single tokens.
STELE_NOINLINE bool AttendTokens(const Operands& op, const Item& item,
                                 int64_t begin, int64_t end, const Met& met,
                                 Scratch& s) {
  bool is_sound = true;
  const int64_t rows = end * Group();
  for (int64_t row = begin * Group(); row < rows; row += kRowTile)
    is_sound &= AttendRows(op, item, row, Min(kRowTile, rows - row), met, s);
  return is_sound;
}

// Token by token, each key before its queries.
STELE_INLINE void AttendOneByOne(const Operands& op, const Item& item,
                                 State& state, Scratch& s) {
  for (int64_t token = 0; token < item.count(); ++token) {
    AddKeys(token, token + 1, state, s);
    AttendTokens(op, item, token, token + 1, {state, state.maxima, 0}, s);
  }
}

//===----------------------------------------------------------------------===//
// Items
//===----------------------------------------------------------------------===//

STELE_INLINE char* StateAt(const Operands& op, const Item& item) {
  const int64_t state =
      op.batch->states[item.s] + op.layer * stele_kv_heads + item.head;
  return op.states + state * static_cast<int64_t>(schema::KernelStateBytes(
                                 static_cast<uint64_t>(stele_features),
                                 static_cast<uint64_t>(stele_head_dim)));
}

// The state, made one without keys where it is new.
STELE_INLINE State OpenState(char* at, int64_t new_tokens) {
  auto* tokens = reinterpret_cast<uint32_t*>(at);
  State state;
  state.maxima = reinterpret_cast<float*>(at + schema::kKernelStateHeaderBytes);
  state.totals = state.maxima + PaddedFeatures();
  state.sums = state.totals + PaddedFeatures();
  if (*tokens == 0) {
    Fill(state.maxima, PaddedFeatures(), -Infinity());
    Fill(state.totals, PaddedFeatures(), 0.0f);
    Fill(state.sums, stele_features * PaddedDim(), 0.0f);
  }
  *tokens += static_cast<uint32_t>(new_tokens);
  return state;
}

STELE_INLINE void Copy(const State& from, State& to) {
  for (int64_t f = 0; f < PaddedFeatures(); f += kLanes) {
    Store(to.maxima + f, Load(from.maxima + f));
    Store(to.totals + f, Load(from.totals + f));
  }
  for (int64_t i = 0; i < stele_features * PaddedDim(); i += kLanes)
    Store(to.sums + i, Load(from.sums + i));
}

STELE_INLINE void Run(const SteleHostArgs* args, const Operands& op,
                      const Item& item, Scratch& s) {
  LoadBlock(op, item, s);
  auto* done = reinterpret_cast<uint32_t*>(
                   op.shared + op.batch->q_offsets[item.s] * SharedBytes()) +
               item.head;
  // Blocks are handed out in ascending order, so that the one before is being
  // computed.
  WaitUntil(args, done, static_cast<uint32_t>(item.index));
  State state = OpenState(StateAt(op, item), item.count());
  const uint32_t now = item.is_last ? 0 : static_cast<uint32_t>(item.index + 1);
  if (item.count() == 1) {
    AttendOneByOne(op, item, state, s);
    return __atomic_store_n(done, now, __ATOMIC_RELEASE);
  }
  Copy(state, s.before);
  AddKeys(0, item.count(), state, s);
  for (int64_t f = 0; f < PaddedFeatures(); f += kLanes)
    Store(s.maxima + f, Load(state.maxima + f));
  __atomic_store_n(done, now, __ATOMIC_RELEASE);
  const Met met{s.before, s.maxima, item.count()};
  if (!AttendTokens(op, item, 0, item.count(), met, s))
    AttendOneByOne(op, item, s.before, s);
}

// The launch's items in the order in which they are handed out: blocks of a
// sequence in ascending order, all KV heads of one before the next.
class Items {
 public:
  explicit Items(const SteleBatch* batch) : batch_(batch) {}

  // Takes the next item; false when there is none.
  bool Take(const SteleHostArgs* args, Item* item) {
    const int64_t index = NextItem(args);
    while (index >= first_ + blocks_ * stele_kv_heads)
      if (!Next()) return false;
    const int64_t block = (index - first_) / stele_kv_heads;
    const int64_t begin = batch_->q_offsets[s_],
                  end = batch_->q_offsets[s_ + 1];
    const int64_t position = batch_->positions[begin];
    // Positions of a sequence are consecutive.
    const int64_t to_grid =
        (position / kBlockTokens + block) * kBlockTokens - position;
    item->s = s_;
    item->head = (index - first_) % stele_kv_heads;
    item->begin = begin + Max(0, to_grid);
    item->end = Min(begin + to_grid + kBlockTokens, end);
    item->index = block;
    item->is_last = block + 1 == blocks_;
    return true;
  }

 private:
  bool Next() {
    if (s_ + 1 >= batch_->sequences) return false;
    first_ += blocks_ * stele_kv_heads;
    ++s_;
    const int64_t begin = batch_->q_offsets[s_],
                  end = batch_->q_offsets[s_ + 1];
    blocks_ = begin == end ? 0
                           : batch_->positions[end - 1] / kBlockTokens -
                                 batch_->positions[begin] / kBlockTokens + 1;
    return true;
  }

  const SteleBatch* batch_;
  // The sequence of the item found before.
  int64_t s_ = -1;
  int64_t first_ = 0, blocks_ = 0;  // its first item, its blocks
};

}  // namespace

STELE_SCRATCH { return Carve(nullptr).bytes; }
STELE_SHARED { return SharedBytes(); }

STELE_ENTRY {
  Bindings bindings(args);
  Operands op;
  op.queries = TakeQueries(args, &bindings);
  op.features = bindings.Next<const float>();
  op.cache = bindings.Next<char>();
  op.states = bindings.Next<char>();
  op.out = bindings.Next<float>();
  op.lse = bindings.NextIf<float>(stele_lse);
  op.batch = args->batch;
  op.layer = args->immediates[0];
  op.shared = static_cast<char*>(args->shared);
  Scratch scratch = Carve(args->scratch);
  Items items(args->batch);
  for (Item item; items.Take(args, &item);) Run(args, op, item, scratch);
}
