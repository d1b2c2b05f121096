// Joins attention over the kept blocks with an estimate of all others: one key
// for each block, the mean key with its offset, and the mean value, as
// kv_append left them in the key index (docs/hybrid-attention.md). No page is
// read.
//
// Scores are those of block selection, but for the queries' positions, which
// are attention's own. A query's softmax over the blocks that were left out is
// the tail; tail and attention then merge by their log-sum-exps, and where a
// query block left nothing out its attention stays as it is, bit for bit.
#include "block_scores.h"

STELE_INT(biases)  // each query head has one, added to the log of its tail

using namespace stele;

namespace {

constexpr float kLn2 = 0.693147181f;
// Vectors of a value that are summed side by side.
constexpr int kValueTile = 4;

struct Scratch : BlockScores {
  float* head;  // [PaddedDim()]
  float* sums;  // [kRowTile, PaddedDim()], of values
  int64_t bytes;

  float* SumOf(int64_t row) const { return sums + row * PaddedDim(); }
};

STELE_INLINE Scratch Carve(void* base) {
  Arena arena(base);
  Scratch s;
  CarveScores(arena, &s);
  s.head = arena.Take<float>(PaddedDim());
  s.sums = arena.Take<float>(kRowTile * PaddedDim());
  s.bytes = arena.used();
  return s;
}

struct Operands {
  Queries queries;
  const float* biases;        // [heads]
  const float* attended;      // [T, heads * head_dim], over the kept blocks
  const float* attended_lse;  // [T, heads]
  uint32_t* selection;
  float* out;  // as attended; may be the same memory
  float* lse;
  int64_t layer;
};

// A query block's blocks before its own that are not kept.
class LeftOut {
 public:
  LeftOut(const uint32_t* words, int64_t end) : words_(words), end_(end) {}

  // One bit for each of 16 blocks.
  uint32_t OfGroup(int64_t group) const {
    const int64_t left = end_ - group * kLanes;
    const uint32_t there = left >= kLanes ? 0xffffu : (1u << left) - 1;
    return ~(words_[group / 2] >> group % 2 * 16) & there;
  }
  int64_t groups() const { return (end_ + kLanes - 1) / kLanes; }
  int64_t count() const {
    int64_t count = 0;
    for (int64_t group = 0; group < groups(); ++group)
      count += __builtin_popcount(OfGroup(group));
    return count;
  }

 private:
  const uint32_t* words_;
  int64_t end_;
};

STELE_INLINE I16 LanesOf(uint32_t bits) {
  return ((I16{} + static_cast<int32_t>(bits)) >> kIota & 1) != 0;
}

STELE_INLINE void Begin(const Operands& op, const QueryBlock& block,
                        int64_t row, int64_t rows, Scratch& s) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t t = block.tokens.begin + (row + i) / Group();
    const int64_t head = block.head * Group() + (row + i) % Group();
    const float scale = QueryScale(op.queries, t);
    for (int64_t part = 0; part < stele_parts; ++part) {
      const Range met = BlocksIn(part, block);
      if (met.begin == met.end) continue;
      PrepareQuery(op.queries, t, head, part, s.head);
      Encode(s.head, scale, &s.query[i][part]);
    }
  }
}

// A row's tail: its blocks' mass is total * 2^largest.
struct Tail {
  float largest, total;
};

// Makes a row's scores shares of the largest; those of kept blocks are 0.
STELE_INLINE Tail Weigh(const LeftOut& left_out, float* scores) {
  V16 maximum = Splat(-__builtin_inff()), total{};
  for (int64_t group = 0; group < left_out.groups(); ++group) {
    float* at = scores + group * kLanes;
    const V16 score =
        LanesOf(left_out.OfGroup(group)) ? Load(at) : Splat(-__builtin_inff());
    Store(at, score);
    maximum = Max(score, maximum);
  }
  const float largest = MaxLane(maximum);
  for (int64_t group = 0; group < left_out.groups(); ++group) {
    float* at = scores + group * kLanes;
    const V16 share = Exp2(Load(at) - Splat(largest));
    Store(at, share);
    total += share;
  }
  return {largest, Sum(total)};
}

// Columns [column, column + 16 C) of the sums of R rows' shares times values.
template <int R, int C>
STELE_INLINE void SumColumns(const char* values, const LeftOut& left_out,
                             int64_t column, const Scratch& s) {
  V16 sum[R][C] = {};
  for (int64_t group = 0; group < left_out.groups(); ++group)
    for (uint32_t bits = left_out.OfGroup(group); bits; bits &= bits - 1) {
      const int64_t b = group * kLanes + __builtin_ctz(bits);
      const char* entry = values + b * Index().ValueBytes();
      const float scale = Index().ValueScale(entry);
      V16 codes[C];
#pragma unroll
      for (int c = 0; c < C; ++c)
        codes[c] = Index().ValueCodes(entry, column + c * kLanes);
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const V16 weight = Splat(s.ScoresOf(r)[b] * scale);
#pragma unroll
        for (int c = 0; c < C; ++c)
          sum[r][c] = Fma(codes[c], weight, sum[r][c]);
      }
    }
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c)
      Store(s.SumOf(r) + column + c * kLanes, sum[r][c]);
}

template <int R>
STELE_INLINE void SumValues(const char* values, const LeftOut& left_out,
                            const Scratch& s) {
  int64_t column = 0;
  for (; column + kValueTile * kLanes <= PaddedDim();
       column += kValueTile * kLanes)
    SumColumns<R, kValueTile>(values, left_out, column, s);
  for (; column < PaddedDim(); column += kLanes)
    SumColumns<R, 1>(values, left_out, column, s);
}

// Joins a query's attention with its tail, whose values' sum is `sum`.
STELE_INLINE void Join(const Operands& op, int64_t t, int64_t head,
                       const Tail& tail, const float* sum) {
  const int64_t row = t * stele_heads + head;
  const float bias = stele_biases ? op.biases[head] : 0.0f;
  const float left = tail.largest * kLn2 + Log(tail.total) + bias;
  const float kept = op.attended_lse[row];
  const float largest = left > kept ? left : kept;
  // Far below the other, and with a bias of -inf, there is no tail.
  const float tail_weight =
      left - largest < -80.0f ? 0.0f : Exp(Splat(left - largest))[0];
  const float weight = Exp(Splat(kept - largest))[0];
  const float all = weight + tail_weight;
  const V16 of_kept = Splat(weight / all);
  const V16 of_tail = Splat(tail_weight / (all * tail.total));
  for (int64_t i = 0; i < stele_head_dim; i += kLanes) {
    const int64_t n = Min(kLanes, stele_head_dim - i);
    const int64_t at = row * stele_head_dim + i;
    const V16 attended = LoadUpTo(op.attended + at, n) * of_kept;
    StoreFirst(op.out + at, Fma(LoadUpTo(sum + i, n), of_tail, attended), n);
  }
  op.lse[row] = largest + Log(all);
}

// R queries from `row` of the block on. Not inlined: all that it holds would be
// compiled once for each call.
template <int R>
STELE_NOINLINE void JoinRows(const Operands& op, const QueryBlock& block,
                             const LeftOut& left_out, int64_t row, Scratch& s) {
  Begin(op, block, row, R, s);
  ScoreRows<R>(op.queries.batch, op.layer, block, s);
  Tail tails[R];
  for (int64_t i = 0; i < R; ++i) tails[i] = Weigh(left_out, s.ScoresOf(i));
  const char* index = IndexRow(op.queries.batch, op.layer, block);
  SumValues<R>(index + Index().Value(op.queries.batch, 0), left_out, s);
  for (int64_t i = 0; i < R; ++i)
    Join(op, block.tokens.begin + (row + i) / Group(),
         block.head * Group() + (row + i) % Group(), tails[i], s.SumOf(i));
}

// Attention that has no tail, where it goes to other memory.
STELE_INLINE void Keep(const Operands& op, const QueryBlock& block) {
  if (op.out == op.attended && op.lse == op.attended_lse) return;
  for (int64_t t = block.tokens.begin; t < block.tokens.end; ++t)
    for (int64_t member = 0; member < Group(); ++member) {
      const int64_t row = t * stele_heads + block.head * Group() + member;
      const int64_t at = row * stele_head_dim;
      for (int64_t i = 0; i < stele_head_dim; ++i)
        op.out[at + i] = op.attended[at + i];
      op.lse[row] = op.attended_lse[row];
    }
}

// Returns how many pairs of a query and a block it multiplied.
STELE_INLINE int64_t Join(const Operands& op, const QueryBlock& block,
                          Scratch& s) {
  const LeftOut left_out(
      SelectionOf(op.selection, block.tokens.begin, block.head), block.index);
  const int64_t count = left_out.count();
  if (count == 0) {
    Keep(op, block);
    return 0;
  }
  const int64_t rows = (block.tokens.end - block.tokens.begin) * Group();
  ForRowTiles(rows, [&]<int R>(TileRows<R>, int64_t row) {
    JoinRows<R>(op, block, left_out, row, s);
  });
  return rows * count;
}

}  // namespace

STELE_SCRATCH { return Carve(nullptr).bytes; }

STELE_ENTRY {
  Bindings bindings(args);
  Operands op;
  op.queries = TakeQueries(args, &bindings);
  op.biases = bindings.NextIf<const float>(stele_biases);
  op.attended = bindings.Next<const float>();
  op.attended_lse = bindings.Next<const float>();
  op.selection = bindings.Next<uint32_t>();
  bindings.Next<char>();  // the cache: its index is in the batch
  op.out = bindings.Next<float>();
  op.lse = bindings.Next<float>();
  op.layer = args->immediates[0];
  Scratch scratch = Carve(args->scratch);
  Items items(args->batch);
  uint64_t pairs = 0;
  for (QueryBlock block; items.Take(args, &block);)
    pairs += static_cast<uint64_t>(Join(op, block, scratch));
  __atomic_fetch_add(&args->work->kept_pairs, pairs, __ATOMIC_RELAXED);
}
