// Chooses key blocks for every query block of the step and KV head.
//
// A block's estimated mass is what a softmax over blocks gives to the score of
// its mean key and its offset, summed over the query block's queries. Both are
// in the key index for full pages, where kv_append left them, means as codes of
// 8 bits; a query becomes such codes, too, and the products of codes are
// exact. No page is read but the query block's own: it is always kept, and each
// query sees its own mean of the keys there so far, unrounded.
//
// The choice is made by a bound on the mass: bits of floats that are not
// negative are ordered as integers, so that the bound is found bit by bit.
#include "block_scores.h"
#include "page.h"

STELE_INT(top_k)    // blocks to choose, where a number is asked for
STELE_FLOAT(top_p)  // share of the blocks, or of the mass
STELE_INT(limit)    // blocks that are chosen at most by these; 0: any number
STELE_INT(targets)  // of the mass, each KV head has a share of its own

using namespace stele;

namespace {

// As in LmEnums.td.
enum BlockSelect { kTopK = 1, kTopP = 2, kTopShare = 3 };

// Vectors that are summed side by side.
constexpr int kSumTile = 4;
// What is not to be chosen has this mass: kept already, or not there.
constexpr float kTaken = -1.0f;

STELE_INLINE PageShape Shape() { return {stele_block, stele_head_dim}; }

struct Scratch : BlockScores {
  float own[kRowTile];  // the query's score with its own block
  float* mass;          // [PaddedBlocks(), in whole tiles of sums]
  float* head;          // [PaddedDim()]
  float* mean;          // [PaddedDim()]
  int64_t bytes;
};

STELE_INLINE Scratch Carve(void* base) {
  Arena arena(base);
  Scratch s;
  CarveScores(arena, &s);
  s.mass = arena.Take<float>(RoundUp(stele_blocks, kSumTile * kLanes));
  s.head = arena.Take<float>(PaddedDim());
  s.mean = arena.Take<float>(PaddedDim());
  s.bytes = arena.used();
  return s;
}

struct Operands {
  Queries queries;
  const float* targets;  // [kv_heads]
  char* cache;
  uint32_t* selection;
  int64_t layer;
};

STELE_INLINE const char* OwnPage(const Operands& op, const QueryBlock& block) {
  return PageOf(op.cache, Shape(), op.queries.batch, block.s, op.layer,
                stele_kv_heads, block.head, block.index);
}

// The score of the query in `head` with the mean of `count` keys.
STELE_INLINE float OwnScore(int64_t count, float scale, const Scratch& s) {
  V16 sum{};
  for (int64_t i = 0; i < stele_head_dim; i += kLanes) {
    const int64_t n = Min(kLanes, stele_head_dim - i);
    sum = Fma(LoadUpTo(s.head + i, n), LoadUpTo(s.mean + i, n), sum);
  }
  return Sum(sum) * scale + Log(static_cast<float>(count)) * kLog2E;
}

// Prepares `rows` queries from `row` of the block on, and scores their own
// block. `token` is the one whose keys in its block `mean` is of.
STELE_INLINE void Begin(const Operands& op, const QueryBlock& block,
                        int64_t row, int64_t rows, int64_t* token, Scratch& s) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t t = block.tokens.begin + (row + i) / Group();
    const int64_t head = block.head * Group() + (row + i) % Group();
    const float scale = QueryScale(op.queries, t);
    for (int64_t part = 0; part < stele_parts; ++part) {
      const Range met = BlocksIn(part, block);
      if (part > 0 && met.begin == met.end) continue;
      PrepareQuery(op.queries, t, head, part, s.head);
      Encode(s.head, scale, &s.query[i][part]);
      if (part > 0) continue;
      const int64_t count = op.queries.batch->positions[t] % stele_block + 1;
      if (t != *token) MeanKey(OwnPage(op, block), Shape(), count, s.mean);
      *token = t;
      s.own[i] = OwnScore(count, scale, s);
    }
  }
}

// Adds what the softmax over the blocks up to `own` gives to each, of R
// queries.
template <int R>
STELE_INLINE void AddMass(int64_t own, Scratch& s) {
  const int64_t end = own + 1;
  V16 share[R];
#pragma unroll
  for (int r = 0; r < R; ++r) {
    float* scores = s.ScoresOf(r);
    V16 maximum = Splat(-__builtin_inff());
    for (int64_t b = 0; b < end; b += kLanes)
      maximum = Max(Load(scores + b), maximum);
    const V16 largest = Splat(MaxLane(maximum));
    V16 total{};
    for (int64_t b = 0; b < end; b += kLanes) {
      const V16 part = Exp2(Load(scores + b) - largest);
      Store(scores + b, part);
      total += part;
    }
    share[r] = Splat(1.0f / Sum(total));
  }
  for (int64_t b = 0; b < end; b += kLanes) {
    V16 mass = Load(s.mass + b);
#pragma unroll
    for (int r = 0; r < R; ++r)
      mass = Fma(Load(s.ScoresOf(r) + b), share[r], mass);
    Store(s.mass + b, mass);
  }
}

// R queries from `row` of the block on. Not inlined: all that it holds would be
// compiled once for each call.
template <int R>
STELE_NOINLINE void EstimateRows(const Operands& op, const QueryBlock& block,
                                 int64_t row, int64_t* token, Scratch& s) {
  Begin(op, block, row, R, token, s);
  ScoreRows<R>(op.queries.batch, op.layer, block, s);
  const auto lane = static_cast<int32_t>(block.index % kLanes);
#pragma unroll
  for (int r = 0; r < R; ++r) {
    float* last = s.ScoresOf(r) + block.index / kLanes * kLanes;
    // What would come behind the own block is not there.
    const V16 rest = kIota == lane ? Splat(s.own[r]) : Splat(-__builtin_inff());
    Store(last, kIota < lane ? Load(last) : rest);
  }
  AddMass<R>(block.index, s);
}

// The mass of blocks 0 to the query block's own.
STELE_INLINE void Estimate(const Operands& op, const QueryBlock& block,
                           Scratch& s) {
  for (int64_t b = 0; b <= block.index; b += kLanes) Store(s.mass + b, V16{});
  const int64_t rows = (block.tokens.end - block.tokens.begin) * Group();
  int64_t token = -1;
  ForRowTiles(rows, [&]<int R>(TileRows<R>, int64_t row) {
    EstimateRows<R>(op, block, row, &token, s);
  });
}

// By what the blocks are chosen: each counts, or each weighs its mass.
enum class Weigh { kNumber, kMass };

// What the blocks weigh together whose mass is above `bound`, both as bits.
template <Weigh kWeigh>
STELE_INLINE float WeightAbove(const float* mass, int64_t blocks,
                               int32_t bound) {
  V16 sum[kSumTile] = {};
  for (int64_t b = 0; b < blocks; b += kSumTile * kLanes)
#pragma unroll
    for (int i = 0; i < kSumTile; ++i) {
      const V16 here = Load(mass + b + i * kLanes);
      const V16 weight = kWeigh == Weigh::kMass ? here : Splat(1.0f);
      sum[i] += reinterpret_cast<I16>(here) > bound ? weight : V16{};
    }
  return Sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// The greatest mass, as bits, from which on blocks weigh `need` or more; 0 if
// all together do not.
template <Weigh kWeigh>
STELE_INLINE int32_t BoundFor(const float* mass, int64_t blocks, float need) {
  int32_t bound = 0;
  for (int32_t bit = 1 << 30; bit > 0; bit >>= 1)
    if (WeightAbove<kWeigh>(mass, blocks, (bound | bit) - 1) >= need)
      bound |= bit;
  return bound;
}

STELE_INLINE void Keep(uint32_t* words, Range blocks) {
  for (int64_t b = blocks.begin; b < blocks.end; ++b)
    words[b / 32] |= 1u << b % 32;
}

// Keeps those of greatest mass that make up `need`, of equals the first ones.
template <Weigh kWeigh>
STELE_INLINE void Choose(const float* mass, int64_t blocks, float need,
                         uint32_t* words) {
  const int32_t bound = BoundFor<kWeigh>(mass, blocks, need);
  float weight = WeightAbove<kWeigh>(mass, blocks, bound);
  for (int64_t b = 0; b < blocks; b += kLanes) {
    const I16 here = reinterpret_cast<I16>(Load(mass + b));
    uint32_t kept = Signs(here > bound);
    for (uint32_t equal = Signs(here == bound); equal && weight < need;
         equal &= equal - 1) {
      kept |= equal & -equal;
      weight += kWeigh == Weigh::kMass ? __builtin_bit_cast(float, bound) : 1;
    }
    words[b / 32] |= kept << b % 32;
  }
}

// The mass of the `count` blocks of greatest mass.
STELE_INLINE float MassOf(int64_t count, const float* mass, int64_t blocks) {
  const auto need = static_cast<float>(count);
  const int32_t bound = BoundFor<Weigh::kNumber>(mass, blocks, need);
  const float equal = need - WeightAbove<Weigh::kNumber>(mass, blocks, bound);
  return WeightAbove<Weigh::kMass>(mass, blocks, bound) +
         equal * __builtin_bit_cast(float, bound);
}

STELE_INLINE int64_t ShareOf(float share, int64_t blocks) {
  return static_cast<int64_t>(
      schema::ShareOfBlocks(share, static_cast<uint64_t>(blocks)));
}

// Whether it depends on their mass how many blocks are chosen.
STELE_INLINE bool ChoosesByMass(const SteleBatch* batch) {
  return stele_select == kTopP && batch->density == 0.0f;
}

// How many blocks beyond those always kept are to be chosen, at most, where
// that does not depend on their mass.
STELE_INLINE int64_t MostChosen(const SteleBatch* batch, int64_t blocks) {
  if (batch->density != 0.0f) return ShareOf(batch->density, blocks);
  const int64_t limit = stele_limit ? stele_limit : blocks;
  if (stele_select == kTopK) return stele_top_k;
  if (stele_select == kTopP) return limit;
  return Min(limit, ShareOf(stele_top_p, blocks));
}

// The blocks that a query block does not keep always.
STELE_INLINE Range Others(int64_t query_block) {
  const int64_t end = query_block - stele_local - stele_adjacent + 1;
  if (query_block < stele_dense || end <= stele_sink) return {0, 0};
  return {stele_sink, end};
}

// The share of the mass that a KV head is to keep, where one is asked for.
STELE_INLINE float MassOfHead(const Operands& op, int64_t head) {
  return stele_targets ? op.targets[head] : stele_top_p;
}

// Whether all of these are to be chosen, whatever their mass.
STELE_INLINE bool ChoosesAll(const SteleBatch* batch, int64_t others,
                             int64_t blocks, float share) {
  if (others == 0) return true;
  if (others > MostChosen(batch, blocks)) return false;
  return !ChoosesByMass(batch) || share >= 1.0f;
}

// What the other blocks have to add for this share of the mass.
STELE_INLINE float MissingMass(Range others, int64_t blocks, float share,
                               const float* mass) {
  float kept = 0.0f;
  for (int64_t b = 0; b < blocks; ++b) {
    if (b == others.begin) b = others.end;
    kept += mass[b];
  }
  return share * WeightAbove<Weigh::kMass>(mass, blocks, -1) - kept;
}

// Chooses among the other blocks by their mass, or as many as make up a share
// of it.
STELE_INLINE void ChooseOf(const SteleBatch* batch, Range others,
                           int64_t blocks, float share, float* mass,
                           uint32_t* words) {
  const int64_t padded = RoundUp(blocks, kSumTile * kLanes);
  for (int64_t b = blocks; b < padded; ++b) mass[b] = kTaken;
  const float missing =
      ChoosesByMass(batch) ? MissingMass(others, blocks, share, mass) : 0.0f;
  for (int64_t b = 0; b < blocks; ++b) {
    if (b == others.begin) b = others.end;
    mass[b] = kTaken;
  }
  const int64_t most = MostChosen(batch, blocks);
  const bool by_number = !ChoosesByMass(batch) ||
                         (stele_limit && others.end - others.begin > most &&
                          MassOf(most, mass, blocks) < missing);
  if (by_number)
    Choose<Weigh::kNumber>(mass, blocks, static_cast<float>(most), words);
  else if (missing > 0.0f)
    Choose<Weigh::kMass>(mass, blocks, missing, words);
}

// Returns whether it needed an estimate.
STELE_INLINE bool Select(const Operands& op, const QueryBlock& block,
                         Scratch& s) {
  const int64_t blocks = block.index + 1;
  uint32_t* words = SelectionOf(op.selection, block.tokens.begin, block.head);
  for (int64_t word = 0; word < RoundUp(blocks, 32) / 32; ++word)
    words[word] = 0;
  const Range others = Others(block.index);
  const SteleBatch* batch = op.queries.batch;
  const float share = MassOfHead(op, block.head);
  if (ChoosesAll(batch, others.end - others.begin, blocks, share)) {
    Keep(words, {0, blocks});
    return false;
  }
  Keep(words, {0, others.begin});
  Keep(words, {others.end, blocks});
  Estimate(op, block, s);
  ChooseOf(batch, others, blocks, share, s.mass, words);
  return true;
}

}  // namespace

STELE_SCRATCH { return Carve(nullptr).bytes; }

STELE_ENTRY {
  Bindings bindings(args);
  Operands op;
  op.queries = TakeQueries(args, &bindings);
  op.targets = bindings.NextIf<const float>(stele_targets);
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
