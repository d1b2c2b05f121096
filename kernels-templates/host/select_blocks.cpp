// Chooses key blocks for every query block of the step and KV head.
//
// A block's estimated mass is what a softmax over blocks gives to the score of
// its mean key, times its keys, summed over the query block's queries;
// kv_append left the means of full pages in them. The query block itself is
// always kept; each query sees its own mean of the keys there so far.
//
// 16 queries go by at a time, one a lane: a mean key is read as it lies,
// element by element, and no sum runs across lanes.
//
// The choice is made by a bound on the mass: bits of floats that are not
// negative are ordered as integers, so that the bound is found bit by bit.
#include "page.h"
#include "query.h"
#include "selection.h"

STELE_INT(block)
STELE_INT(top_k)    // blocks to choose, where a number is asked for
STELE_FLOAT(top_p)  // share of the blocks, or of the mass

using namespace stele;

namespace {

// As in LmEnums.td.
enum BlockSelect { kTopK = 1, kTopP = 2, kTopShare = 3 };

// Mean keys that are scored side by side.
constexpr int64_t kTogether = 4;
// What is not to be chosen has this mass: kept already, or not there.
constexpr float kTaken = -1.0f;

STELE_INLINE PageShape Shape() { return {stele_block, stele_head_dim}; }

struct Scratch {
  float* query;  // [parts, head_dim, 16]: 16 queries, transposed
  float* score;  // [blocks, 16]: of the 16 queries
  float* sum;    // [blocks, 16]: mass, lane = query % 16
  float* mass;   // [blocks, in whole vectors]
  float* head;   // [PaddedDim()]
  float* mean;   // [PaddedDim()]
  int64_t bytes;
};

STELE_INLINE Scratch Carve(void* base) {
  float* at = static_cast<float*>(base);
  auto take = [&](int64_t count) {
    float* taken = at;
    at += RoundUp(count, kLanes);
    return taken;
  };
  Scratch s;
  s.query = take(stele_parts * stele_head_dim * kLanes);
  s.score = take(stele_blocks * kLanes);
  s.sum = take(stele_blocks * kLanes);
  s.mass = take(stele_blocks);
  s.head = take(PaddedDim());
  s.mean = take(PaddedDim());
  s.bytes = (at - static_cast<float*>(base)) * sizeof(float);
  return s;
}

struct Operands {
  Queries queries;
  char* cache;
  uint32_t* selection;
  int64_t layer;
};

// A query block of sequence s: its tokens in the step, and one KV head.
struct QueryBlock {
  int64_t s, head, index;
  Range tokens;
};

STELE_INLINE char* PageAt(const Operands& op, const QueryBlock& block,
                          int64_t index) {
  return PageOf(op.cache, Shape(), op.queries.batch, block.s, op.layer,
                stele_kv_heads, block.head, index);
}

// The blocks before the query block that its queries meet in a part.
STELE_INLINE Range BlocksIn(int64_t part, const QueryBlock& block) {
  if (stele_parts == 1) return {0, block.index};
  const int64_t per_chunk = stele_chunk_keys / stele_block;
  const int64_t chunk = block.index / per_chunk;
  const int64_t begin = part == 2 ? 0 : Max(0, chunk - part) * per_chunk;
  const int64_t end = Max(0, chunk - part + 1) * per_chunk;
  return {begin, part == 0 ? block.index : end};
}

// The score of the query in `head` with the mean of `count` keys.
STELE_INLINE float OwnScore(int64_t count, float scale, const Scratch& s) {
  float sum = 0.0f;
  for (int64_t i = 0; i < stele_head_dim; ++i) sum += s.head[i] * s.mean[i];
  return sum * scale + Log(static_cast<float>(count)) * kLog2E;
}

// Writes 16 rows' queries into the lanes, and their scores with their own
// block; lanes without a row get zeros.
STELE_INLINE void Begin(const Operands& op, const QueryBlock& block,
                        int64_t row, int64_t rows, Scratch& s) {
  float* own = s.score + block.index * kLanes;
  int64_t token = -1;  // whose keys in its block `mean` is of
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const bool is_row = row + lane < rows;
    const int64_t at = is_row ? row + lane : row;
    const int64_t t = block.tokens.begin + at / Group();
    const int64_t head = block.head * Group() + at % Group();
    const float scale = is_row ? QueryScale(op.queries, t) : 0.0f;
    for (int64_t part = 0; part < stele_parts; ++part) {
      const Range met = BlocksIn(part, block);
      if (part > 0 && met.begin == met.end) continue;
      PrepareQuery(op.queries, t, head, part, s.head);
      if (part == 0) {
        const int64_t count = op.queries.batch->positions[t] % stele_block + 1;
        if (t != token)
          MeanKey(PageAt(op, block, block.index), Shape(), count, s.mean);
        token = t;
        own[lane] = OwnScore(count, scale, s);
      }
      float* to = s.query + part * stele_head_dim * kLanes + lane;
      for (int64_t i = 0; i < stele_head_dim; ++i)
        to[i * kLanes] = s.head[i] * scale;
    }
  }
}

// Scores of 16 queries with the means of N blocks from `first` on.
template <int N>
STELE_INLINE void Score(const Operands& op, const QueryBlock& block,
                        int64_t first, const float* query, float* score) {
  const float* means[N];
  for (int n = 0; n < N; ++n)
    means[n] = reinterpret_cast<const float*>(PageAt(op, block, first + n) +
                                              Shape().MeanKey());
  V16 sum[N] = {};
  for (int64_t i = 0; i < stele_head_dim; ++i) {
    const V16 q = Load(query + i * kLanes);
#pragma unroll
    for (int n = 0; n < N; ++n) sum[n] = Fma(q, Splat(means[n][i]), sum[n]);
  }
  const V16 keys = Splat(Log(static_cast<float>(stele_block)) * kLog2E);
#pragma unroll
  for (int n = 0; n < N; ++n)
    Store(score + (first + n) * kLanes, sum[n] + keys);
}

// Adds what 16 queries' softmax over the blocks gives to each.
STELE_INLINE void AddMass(int64_t blocks, int64_t lanes, Scratch& s) {
  V16 maximum = Load(s.score);
  for (int64_t b = 1; b < blocks; ++b)
    maximum = Max(maximum, Load(s.score + b * kLanes));
  V16 total{};
  for (int64_t b = 0; b < blocks; ++b) {
    const V16 part = Exp2(Load(s.score + b * kLanes) - maximum);
    Store(s.score + b * kLanes, part);
    total += part;
  }
  const V16 share =
      kIota < static_cast<int32_t>(lanes) ? Splat(1.0f) / total : V16{};
  for (int64_t b = 0; b < blocks; ++b)
    Store(s.sum + b * kLanes,
          Fma(Load(s.score + b * kLanes), share, Load(s.sum + b * kLanes)));
}

// The mass of blocks 0 to the query block's own.
STELE_INLINE void Estimate(const Operands& op, const QueryBlock& block,
                           Scratch& s) {
  const int64_t blocks = block.index + 1;
  for (int64_t b = 0; b < blocks; ++b) Store(s.sum + b * kLanes, V16{});
  const int64_t rows = (block.tokens.end - block.tokens.begin) * Group();
  for (int64_t row = 0; row < rows; row += kLanes) {
    Begin(op, block, row, rows, s);
    for (int64_t part = 0; part < stele_parts; ++part) {
      const Range met = BlocksIn(part, block);
      const float* query = s.query + part * stele_head_dim * kLanes;
      int64_t b = met.begin;
      for (; b + kTogether <= met.end; b += kTogether)
        Score<kTogether>(op, block, b, query, s.score);
      for (; b < met.end; ++b) Score<1>(op, block, b, query, s.score);
    }
    AddMass(blocks, Min(kLanes, rows - row), s);
  }
  for (int64_t b = 0; b < blocks; ++b)
    s.mass[b] = Sum(Load(s.sum + b * kLanes));
}

// What the blocks weigh together whose mass is above `bound`, both as bits.
STELE_INLINE float WeightAbove(const float* mass, int64_t blocks,
                               int32_t bound) {
  V16 sum{};
  for (int64_t b = 0; b < blocks; b += kLanes) {
    const V16 here = Load(mass + b);
    const V16 weight = stele_select == kTopP ? here : Splat(1.0f);
    sum += reinterpret_cast<I16>(here) > bound ? weight : V16{};
  }
  return Sum(sum);
}

// The greatest mass, as bits, from which on blocks weigh `need` or more; 0 if
// all together do not.
STELE_INLINE int32_t BoundFor(const float* mass, int64_t blocks, float need) {
  int32_t bound = 0;
  for (int32_t bit = 1 << 30; bit > 0; bit >>= 1)
    if (WeightAbove(mass, blocks, (bound | bit) - 1) >= need) bound |= bit;
  return bound;
}

STELE_INLINE void Keep(uint32_t* words, int64_t block) {
  words[block / 32] |= 1u << block % 32;
}

// Keeps those of greatest mass that make up `need`, of equals the first ones.
STELE_INLINE void Choose(const float* mass, int64_t blocks, float need,
                         uint32_t* words) {
  const int32_t bound = BoundFor(mass, blocks, need);
  float weight = WeightAbove(mass, blocks, bound);
  for (int64_t b = 0; b < blocks; ++b) {
    const int32_t bits = __builtin_bit_cast(int32_t, mass[b]);
    const bool is_above = bits > bound;
    if (!is_above && (bits != bound || !(weight < need))) continue;
    Keep(words, b);
    if (!is_above) weight += stele_select == kTopP ? mass[b] : 1.0f;
  }
}

// How many blocks beyond those always kept are to be chosen, at most, where
// that does not depend on their mass.
STELE_INLINE int64_t MostChosen(int64_t blocks) {
  if (stele_select == kTopK) return stele_top_k;
  return static_cast<int64_t>(
      __builtin_ceilf(stele_top_p * static_cast<float>(blocks)));
}

// Returns whether it needed an estimate.
STELE_INLINE bool Select(const Operands& op, const QueryBlock& block,
                         Scratch& s) {
  const int64_t blocks = block.index + 1;
  uint32_t* words = SelectionOf(op.selection, block.tokens.begin, block.head);
  for (int64_t word = 0; word < RoundUp(blocks, 32) / 32; ++word)
    words[word] = 0;
  int64_t others = 0;
  for (int64_t b = 0; b < blocks; ++b)
    if (KeepsAlways(block.index, b))
      Keep(words, b);
    else
      ++others;
  if (others == 0) return false;
  const bool has_all = stele_select == kTopP ? stele_top_p >= 1.0f
                                             : others <= MostChosen(blocks);
  if (has_all) {
    for (int64_t b = 0; b < blocks; ++b) Keep(words, b);
    return false;
  }
  Estimate(op, block, s);
  float total = 0.0f, kept = 0.0f;
  for (int64_t b = 0; b < RoundUp(blocks, kLanes); ++b) {
    if (b >= blocks) {
      s.mass[b] = kTaken;
      continue;
    }
    total += s.mass[b];
    if (!KeepsAlways(block.index, b)) continue;
    kept += s.mass[b];
    s.mass[b] = kTaken;
  }
  const float need = stele_select == kTopP
                         ? stele_top_p * total - kept
                         : static_cast<float>(MostChosen(blocks));
  if (need > 0.0f) Choose(s.mass, blocks, need, words);
  return true;
}

// The launch's query blocks in the order in which they are handed out:
// backwards, since later ones have more blocks before them.
class Items {
 public:
  explicit Items(const SteleBatch* batch)
      : batch_(batch), s_(batch->sequences) {}

  bool Take(const SteleHostArgs* args, QueryBlock* block) {
    const int64_t index = NextItem(args);
    while (index >= first_ + count_) {
      first_ += count_;
      if (--s_ < 0) return false;
      count_ = Grid().count() * stele_kv_heads;
    }
    const int64_t left = first_ + count_ - 1 - index;
    block->s = s_;
    block->head = left % stele_kv_heads;
    block->tokens = Grid().at(left / stele_kv_heads);
    block->index = batch_->positions[block->tokens.begin] / stele_block;
    return true;
  }

 private:
  TokenGrid Grid() const { return TokenGrid(batch_, s_, stele_block); }

  const SteleBatch* batch_;
  int64_t s_, first_ = 0, count_ = 0;
};

}  // namespace

STELE_SCRATCH { return Carve(nullptr).bytes; }

STELE_ENTRY {
  Bindings bindings(args);
  Operands op;
  op.queries = TakeQueries(args, &bindings);
  op.cache = bindings.Next<char>();
  op.selection = bindings.Next<uint32_t>();
  op.layer = args->immediates[0];
  Scratch scratch = Carve(args->scratch);
  Items items(args->batch);
  uint64_t estimated = 0;
  for (QueryBlock block; items.Take(args, &block);)
    if (Select(op, block, scratch))
      estimated +=
          (block.tokens.end - block.tokens.begin) * Group() * (block.index + 1);
  __atomic_fetch_add(&args->work->estimated_pairs, estimated, __ATOMIC_RELAXED);
}
