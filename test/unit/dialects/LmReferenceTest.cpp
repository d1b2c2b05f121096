// The oracle's own test: every operation of the reference against a formula
// written another way, and the laws that tie the attention operations together.

#include "stele/dialects/Lm/reference/Reference.h"
#include "gmock/gmock.h"
#include <cmath>
#include <complex>
#include <random>

using namespace stele::lm::reference;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Matrix randomMatrix(int64_t rows, int64_t columns, unsigned seed,
                    double deviation = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0, deviation);
  Matrix result(rows, columns);
  for (double &value : result.values)
    value = normal(engine);
  return result;
}

void expectNear(const Matrix &a, const Matrix &b, double tolerance) {
  ASSERT_EQ(a.rows, b.rows);
  ASSERT_EQ(a.columns, b.columns);
  for (size_t i = 0; i < a.values.size(); ++i) {
    if (a.values[i] == b.values[i])
      continue; // infinities
    ASSERT_NEAR(a.values[i], b.values[i], tolerance) << "element " << i;
  }
}

//===----------------------------------------------------------------------===//
// Token-wise operations
//===----------------------------------------------------------------------===//

TEST(Reference, EmbedTakesRows) {
  Matrix table = randomMatrix(5, 3, 1);
  Matrix output = embed({4, 0, 4}, table);
  for (int c = 0; c < 3; ++c) {
    EXPECT_EQ(output(0, c), table(4, c));
    EXPECT_EQ(output(1, c), table(0, c));
    EXPECT_EQ(output(2, c), table(4, c));
  }
}

TEST(Reference, RmsNormOfGroupsIsNormOfEach) {
  Matrix x = randomMatrix(2, 6, 2);
  Norm norm{{1, 2, 0.5}, 1e-5};
  Matrix output = rmsNorm(x, norm, 2);
  for (int t = 0; t < 2; ++t)
    for (int g = 0; g < 2; ++g) {
      double rms = std::hypot(x(t, 3 * g), x(t, 3 * g + 1), x(t, 3 * g + 2)) /
                   std::sqrt(3.0);
      for (int i = 0; i < 3; ++i)
        EXPECT_NEAR(output(t, 3 * g + i),
                    x(t, 3 * g + i) * norm.weight[i] /
                        std::hypot(rms, std::sqrt(1e-5)),
                    1e-12);
    }
}

TEST(Reference, ActivationsAtKnownPoints) {
  EXPECT_NEAR(activate(Activation::Silu, 1), 0.7310585786300049, 1e-15);
  EXPECT_NEAR(activate(Activation::Gelu, 1), 0.8413447460685429, 1e-15);
  EXPECT_NEAR(activate(Activation::GeluTanh, 1), 0.8411919906082768, 1e-12);
  EXPECT_NEAR(activate(Activation::Silu, -800), 0, 1e-15);
}

TEST(Reference, FusedLinearIsItsParts) {
  Matrix x = randomMatrix(3, 8, 3), residual = randomMatrix(3, 6, 4);
  Matrix weight = randomMatrix(6, 8, 5);
  Norm norm{Vector(8, 1.5), 1e-6};
  Vector bias = {1, 2, 3, 4, 5, 6};
  LinearParts parts;
  parts.norm = norm;
  parts.bias = bias;
  parts.residual = residual;
  Matrix y = linear(rmsNorm(x, norm), weight);
  for (int t = 0; t < 3; ++t)
    for (int n = 0; n < 6; ++n)
      y(t, n) += bias[n] + residual(t, n);
  expectNear(linear(x, weight, parts), y, 1e-12);

  Matrix gate(3, 8), up(3, 8);
  std::copy_n(weight.values.begin(), 24, gate.values.begin());
  std::copy_n(weight.values.begin() + 24, 24, up.values.begin());
  LinearParts glued;
  glued.glu = Activation::Silu;
  expectNear(linear(x, weight, glued),
             glu(linear(x, gate), linear(x, up), Activation::Silu), 1e-12);
}

TEST(Reference, LogitsOnlyOfWantedRows) {
  Matrix x = randomMatrix(4, 8, 6), weight = randomMatrix(5, 8, 7);
  Batch batch{{0, 0, 1, 1}, {0, 1, 0, 1}, {1, 3}};
  Matrix all = linear(x, weight), wanted = logits(x, batch, weight);
  ASSERT_EQ(wanted.rows, 2);
  for (int n = 0; n < 5; ++n) {
    EXPECT_EQ(wanted(0, n), all(1, n));
    EXPECT_EQ(wanted(1, n), all(3, n));
  }
}

TEST(Reference, AllReduceSums) {
  Matrix a = randomMatrix(2, 2, 8), b = randomMatrix(2, 2, 9);
  expectNear(allReduce({a, b, a}), add(add(a, a), b), 1e-15);
}

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

TEST(Reference, RotationIsComplexMultiplication) {
  Rope rope{ropeFrequencies(1e4, 8), 1.25, {}};
  Vector head = randomMatrix(1, 10, 10).values, rotated = head;
  rotate(rotated.data(), rope, 37);
  for (int i = 0; i < 4; ++i) {
    double angle = 37.0f * rope.frequencies[i];
    auto expected =
        std::complex<double>(head[i], head[i + 4]) * std::polar(1.25, angle);
    EXPECT_NEAR(rotated[i], expected.real(), 1e-12);
    EXPECT_NEAR(rotated[i + 4], expected.imag(), 1e-12);
  }
  EXPECT_EQ(rotated[8], head[8]); // beyond dims: untouched
  EXPECT_EQ(rotated[9], head[9]);
}

TEST(Reference, ScalingsAtTheirEnds) {
  auto plain = ropeFrequencies(1e4, 64);
  RopeScaling linear, llama3, yarn;
  linear.kind = RopeScaling::Linear;
  linear.factor = 4;
  llama3.kind = RopeScaling::Llama3;
  llama3.factor = 8;
  llama3.original = 8192;
  yarn.kind = RopeScaling::Yarn;
  yarn.factor = 4;
  yarn.original = 2048;
  auto l = ropeFrequencies(1e4, 64, linear);
  auto m = ropeFrequencies(1e4, 64, llama3);
  auto y = ropeFrequencies(1e4, 64, yarn);
  for (int i = 0; i < 32; ++i)
    EXPECT_FLOAT_EQ(l[i], plain[i] / 4);
  // Both keep the fastest and stretch the slowest; what lies between is
  // between.
  EXPECT_FLOAT_EQ(m[0], plain[0]);
  EXPECT_FLOAT_EQ(m[31], plain[31] / 8);
  EXPECT_FLOAT_EQ(y[0], plain[0]);
  EXPECT_FLOAT_EQ(y[31], plain[31] / 4);
  for (int i = 0; i < 32; ++i) {
    EXPECT_LE(m[i], plain[i]);
    EXPECT_GE(m[i], plain[i] / 8);
    EXPECT_LE(y[i], plain[i]);
    EXPECT_GE(y[i], plain[i] / 4 * (1 - 1e-6f));
  }
}

TEST(Reference, RotaryTableRotates) {
  Rope rope{ropeFrequencies(1e4, 8), 1, {}};
  Batch batch{{0, 0}, {5, 9}, {}};
  Matrix x = randomMatrix(2, 8, 11);
  Matrix table = rotaryTable(batch, rope);
  Matrix rotated = stele::lm::reference::rope(x, batch, 1, rope);
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 4; ++i)
      EXPECT_NEAR(rotated(t, i),
                  x(t, i) * table(t, i) - x(t, i + 4) * table(t, i + 4), 1e-12);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// Two sequences, of which the second goes on after what the cache holds.
class Attention : public testing::Test {
protected:
  static constexpr int64_t kHeads = 4, kKvHeads = 2, kDim = 8;

  void fill(int64_t tokens, std::optional<Rope> rope = {}) {
    cache = Cache{kKvHeads, kDim, {}};
    batch = Batch{};
    for (int64_t t = 0; t < tokens; ++t) {
      batch.sequence.push_back(7);
      batch.position.push_back(t);
    }
    AppendOptions options;
    options.rope = rope;
    keys = randomMatrix(tokens, kKvHeads * kDim, 20);
    values = randomMatrix(tokens, kKvHeads * kDim, 21);
    kvAppend(cache, keys, values, batch, options);
    queries.query = randomMatrix(tokens, kHeads * kDim, 22);
    queries.heads = kHeads;
    queries.scale = 1 / std::sqrt(double(kDim));
    queries.rope = rope;
  }

  Cache cache;
  Batch batch;
  Queries queries;
  Matrix keys, values;
};

/// Softmax attention written directly over unrotated keys, one head at a time.
TEST_F(Attention, DenseIsSoftmaxOverEarlierKeys) {
  fill(9);
  Attended result = attention(queries, cache, batch);
  for (int t = 0; t < 9; ++t)
    for (int h = 0; h < kHeads; ++h) {
      int g = h / 2;
      double total = 0;
      Vector output(kDim);
      for (int j = 0; j <= t; ++j) {
        double score = 0;
        for (int d = 0; d < kDim; ++d)
          score += queries.query(t, h * kDim + d) * keys(j, g * kDim + d);
        double weight = std::exp(score * queries.scale);
        total += weight;
        for (int d = 0; d < kDim; ++d)
          output[d] += weight * values(j, g * kDim + d);
      }
      EXPECT_NEAR(result.lse(t, h), std::log(total), 1e-12);
      for (int d = 0; d < kDim; ++d)
        EXPECT_NEAR(result.output(t, h * kDim + d), output[d] / total, 1e-12);
    }
}

TEST_F(Attention, RopeDependsOnDistanceOnly) {
  Rope rope{ropeFrequencies(1e4, kDim), 1, {}};
  fill(6, rope);
  Attended near = attention(queries, cache, batch);
  // The same tokens 40 positions on, alone in the cache from position 40.
  Batch later = batch;
  for (int64_t &position : later.position)
    position += 40;
  Cache moved{kKvHeads, kDim, {}};
  AppendOptions options;
  options.rope = rope;
  kvAppend(moved, keys, values, later, options);
  for (auto &head : moved.layers.begin()->second)
    for (int j = 0; j < 40; ++j)
      head.keys[j] = head.values[j] = Vector(kDim);
  Attended far = attention(queries, moved, later, /*window=*/1);
  Attended alone = attention(queries, cache, batch, /*window=*/1);
  expectNear(far.lse, alone.lse, 1e-5); // angles are f32 products
  EXPECT_NE(near.lse.values, alone.lse.values);
}

TEST_F(Attention, WindowKeepsTheLastKeys) {
  fill(12);
  Attended whole = attention(queries, cache, batch);
  expectNear(attention(queries, cache, batch, 12).output, whole.output, 0);
  Attended one = attention(queries, cache, batch, 1);
  for (int t = 0; t < 12; ++t)
    for (int h = 0; h < kHeads; ++h)
      for (int d = 0; d < kDim; ++d)
        EXPECT_NEAR(one.output(t, h * kDim + d), values(t, (h / 2) * kDim + d),
                    1e-12);
}

TEST_F(Attention, GroupsShareKeys) {
  fill(5);
  // Query heads of one group with equal queries get equal results.
  for (int t = 0; t < 5; ++t)
    for (int d = 0; d < kDim; ++d)
      queries.query(t, kDim + d) = queries.query(t, d);
  Attended result = attention(queries, cache, batch);
  for (int t = 0; t < 5; ++t) {
    EXPECT_EQ(result.lse(t, 0), result.lse(t, 1));
    EXPECT_NE(result.lse(t, 0), result.lse(t, 2));
  }
}

TEST_F(Attention, QueryNormAndOffset) {
  fill(5);
  queries.norm = Norm{Vector(kDim, 2.0), 1e-6};
  Attended fused = attention(queries, cache, batch);
  Queries separate = queries;
  separate.norm.reset();
  separate.query = Matrix(5, 3 + kHeads * kDim);
  separate.offset = 3;
  Matrix normed = rmsNorm(queries.query, *queries.norm, kHeads);
  for (int t = 0; t < 5; ++t)
    for (int c = 0; c < kHeads * kDim; ++c)
      separate.query(t, 3 + c) = normed(t, c);
  expectNear(attention(separate, cache, batch).output, fused.output, 1e-12);
}

TEST_F(Attention, AppendNormsThenRotates) {
  Rope rope{ropeFrequencies(1e4, kDim), 1, {}};
  fill(5);
  Norm norm{randomMatrix(1, kDim, 30).values, 1e-6};
  Cache fused{kKvHeads, kDim, {}}, separate{kKvHeads, kDim, {}};
  AppendOptions options;
  options.norm = norm;
  options.rope = rope;
  kvAppend(fused, keys, values, batch, options);
  kvAppend(separate,
           stele::lm::reference::rope(rmsNorm(keys, norm, kKvHeads), batch,
                                      kKvHeads, rope),
           values, batch, {});
  for (int g = 0; g < kKvHeads; ++g)
    EXPECT_EQ(fused.head(0, 7, g).keys, separate.head(0, 7, g).keys);
}

TEST_F(Attention, RaggedBatchIsEachSequenceAlone) {
  fill(6);
  Attended alone = attention(queries, cache, batch);
  // The same tokens as two steps, the second mixed with another sequence.
  Batch mixed = batch;
  mixed.sequence.push_back(3);
  mixed.position.push_back(0);
  Queries wider = queries;
  wider.query.rows = 7;
  wider.query.values.resize(7 * kHeads * kDim, 1.0);
  Matrix other = randomMatrix(1, kKvHeads * kDim, 40);
  Batch single{{3}, {0}, {}};
  kvAppend(cache, other, other, single, {});
  Attended both = attention(wider, cache, mixed);
  for (int t = 0; t < 6; ++t)
    for (int c = 0; c < kHeads * kDim; ++c)
      EXPECT_EQ(both.output(t, c), alone.output(t, c));
}

//===----------------------------------------------------------------------===//
// Dual chunk attention
//===----------------------------------------------------------------------===//

TEST_F(Attention, DualChunkBelowAChunkIsPlain) {
  Rope plain{ropeFrequencies(1e4, kDim), 1, {}};
  Rope dual = plain;
  dual.dualChunk = DualChunk{48, 16, 48}; // c = 32
  fill(32, plain);
  Attended expected = attention(queries, cache, batch);
  fill(32, dual);
  Attended actual = attention(queries, cache, batch);
  EXPECT_EQ(actual.output.values, expected.output.values);
  EXPECT_EQ(actual.lse.values, expected.lse.values);
}

TEST_F(Attention, DualChunkWithinTheWindowKeepsDistances) {
  // c <= p <= S: successive queries sit at (p mod c) + c = p, keys at p mod c.
  Rope plain{ropeFrequencies(1e4, kDim), 1, {}};
  Rope dual = plain;
  dual.dualChunk = DualChunk{48, 16, 48};
  fill(48, plain);
  Attended expected = attention(queries, cache, batch);
  fill(48, dual);
  Attended actual = attention(queries, cache, batch);
  expectNear(actual.lse, expected.lse, 1e-5);
}

TEST_F(Attention, DualChunkFarKeysSeeOneDistance) {
  Rope dual{ropeFrequencies(1e4, kDim), 1, DualChunk{24, 8, 1000}}; // c = 16
  EXPECT_EQ(queryPosition(dual, 50, RopePart::Intra), 2);
  EXPECT_EQ(queryPosition(dual, 50, RopePart::Successive), 18);
  EXPECT_EQ(queryPosition(dual, 60, RopePart::Successive), 24); // clamped to S
  EXPECT_EQ(queryPosition(dual, 50, RopePart::Inter), 24);
  EXPECT_EQ(queryPosition(dual, 60, RopePart::Successive, true), 28);
  EXPECT_EQ(queryPosition(dual, 60, RopePart::Inter, true), 36);
  EXPECT_EQ(partOf(dual, 50, 48), RopePart::Intra);
  EXPECT_EQ(partOf(dual, 50, 47), RopePart::Successive);
  EXPECT_EQ(partOf(dual, 50, 31), RopePart::Inter);
  EXPECT_EQ(temperature(dual, 999), 1);
  EXPECT_NEAR(temperature(dual, 9999), std::pow(0.1 * std::log(10) + 1, 2),
              1e-12);
  dual.dualChunk->original = 0;
  EXPECT_EQ(temperature(dual, 9999), 1);
}

//===----------------------------------------------------------------------===//
// Block-sparse attention
//===----------------------------------------------------------------------===//

TEST_F(Attention, EverythingSelectedIsDense) {
  fill(70);
  Attended dense = attention(queries, cache, batch);
  BlockSparsity all{16, 1, 0, 0, BlockSparsity::TopP, 0, 1.0};
  for (auto estimator : {BlockSparsity::MeanKey, BlockSparsity::Antidiagonal,
                         BlockSparsity::VerticalSlash}) {
    all.estimate = estimator;
    all.select = BlockSparsity::TopK;
    all.topK = 100;
    Selection selection = selectBlocks(queries, cache, batch, all);
    Attended sparse =
        blockSparseAttention(queries, cache, batch, all, &selection);
    expectNear(sparse.output, dense.output, 0);
    expectNear(sparse.lse, dense.lse, 0);
  }
}

TEST_F(Attention, LocalBlocksAreAWindowOnTheGrid) {
  fill(64);
  BlockSparsity local{16, 1, 0, 0};
  Attended sparse = blockSparseAttention(queries, cache, batch, local, nullptr);
  for (int t = 0; t < 64; ++t) {
    // The tokens of its own block up to itself: a window of t mod 16 + 1.
    Attended window = attention(queries, cache, batch, t % 16 + 1);
    for (int h = 0; h < kHeads; ++h)
      EXPECT_EQ(sparse.lse(t, h), window.lse(t, h)) << t;
  }
}

TEST(Sparsity, KeepsSinksLocalAndAdjacent) {
  BlockSparsity sparsity{128, 2, 1, 1};
  std::vector<int> kept;
  for (int b = 0; b <= 9; ++b)
    if (keepsAlways(sparsity, 9, b))
      kept.push_back(b);
  EXPECT_THAT(kept, testing::ElementsAre(0, 7, 8, 9));
}

TEST_F(Attention, EstimatorsFindTheHeavyBlock) {
  fill(96);
  // Keys of block 2 (of 16) agree with every query; the others do not.
  for (int g = 0; g < kKvHeads; ++g)
    for (int j = 0; j < 96; ++j)
      for (int d = 0; d < kDim; ++d)
        keys(j, g * kDim + d) = j / 16 == 2 ? 1.0 : -0.2;
  for (double &q : queries.query.values)
    q = 1 + 0.1 * q;
  kvAppend(cache, keys, values, batch, {});
  for (auto estimator : {BlockSparsity::MeanKey, BlockSparsity::Antidiagonal,
                         BlockSparsity::VerticalSlash}) {
    BlockSparsity sparsity{16, 1, 0, 0, BlockSparsity::TopK, 1, 0, estimator};
    Selection selection = selectBlocks(queries, cache, batch, sparsity);
    for (int g = 0; g < kKvHeads; ++g) {
      auto kept = selection.kept.at({7, g, 5});
      EXPECT_THAT(kept, testing::ElementsAre(2, 5)) << estimator;
    }
  }
}

// The log of the mass that keys [begin, end) have for `query`.
double logMass(const std::vector<Vector> &keys, const Vector &query, int begin,
               int end) {
  double sum = 0;
  for (int j = begin; j < end; ++j) {
    double score = 0;
    for (size_t d = 0; d < query.size(); ++d)
      score += query[d] * keys[j][d];
    sum += std::exp(score);
  }
  return std::log(sum);
}

// What an entry says that is.
double estimate(const BlockEntry &entry, const Vector &query,
                const Vector &mean) {
  double score = entry.offset;
  for (size_t d = 0; d < query.size(); ++d)
    score += query[d] * mean[d];
  return score;
}

TEST_F(Attention, EntriesAreExactAtTheirReference) {
  Rope rope{ropeFrequencies(1e4, kDim), 1.2, {}};
  fill(32);
  AppendOptions options;
  options.rope = rope;
  options.reference = randomMatrix(kKvHeads, kDim, 41);
  cache = Cache{kKvHeads, kDim, {}};
  kvAppend(cache, keys, values, batch, options);
  for (int g = 0; g < kKvHeads; ++g) {
    BlockEntry entry = blockEntry(cache, 0, 7, g, 16, 32);
    Vector m = {&(*options.reference)(g, 0),
                &(*options.reference)(g, 0) + kDim};
    rotate(m.data(), rope, 31);
    const auto &head = cache.head(0, 7, g).keys;
    EXPECT_NEAR(estimate(entry, m, entry.rounded), logMass(head, m, 16, 32),
                1e-12);
    // Anywhere else it is no more than the mass, but for the rounding of c,
    // and near the reference the error is of second order.
    double offset = logMass(head, m, 16, 32) -
                    (estimate(entry, m, entry.key) - entry.offset);
    BlockEntry unrounded = entry;
    unrounded.offset = offset;
    for (double step : {1e-3, 1.0}) {
      Vector query = m;
      for (int d = 0; d < kDim; ++d)
        query[d] += step * (d % 2 ? 1 : -1);
      double missing =
          logMass(head, query, 16, 32) - estimate(unrounded, query, entry.key);
      EXPECT_GE(missing, 0);
      EXPECT_LT(missing, kDim * kDim * step * step);
    }
  }
}

TEST_F(Attention, AnEntryAboutZeroIsThePlainMean) {
  fill(32);
  BlockEntry plain = blockEntry(cache, 0, 7, 0, 0, 32);
  AppendOptions options;
  options.reference = Matrix(kKvHeads, kDim);
  kvAppend(cache, keys, values, batch, options);
  BlockEntry entry = blockEntry(cache, 0, 7, 0, 0, 32);
  for (int d = 0; d < kDim; ++d)
    EXPECT_NEAR(entry.key[d], plain.key[d], 1e-12);
  EXPECT_NEAR(entry.offset, std::log(32), 1e-12);
  EXPECT_EQ(plain.offset, std::log(32));
}

// Every query is what the reference says: the choice is by the true mass, which
// one key of block 1 has, and not by means, which are greatest in block 2.
TEST_F(Attention, SelectsBlocksAboutTheReference) {
  fill(96);
  for (double &key : keys.values)
    key = -0.2;
  for (int g = 0; g < kKvHeads; ++g)
    for (int d = 0; d < kDim; ++d) {
      keys(20, g * kDim + d) = 3;
      for (int j = 32; j < 48; ++j)
        keys(j, g * kDim + d) = 0.3;
    }
  std::fill(queries.query.values.begin(), queries.query.values.end(), 1);
  AppendOptions options;
  kvAppend(cache, keys, values, batch, options);
  BlockSparsity sparsity{16, 1, 0, 0, BlockSparsity::TopK, 1};
  EXPECT_THAT(selectBlocks(queries, cache, batch, sparsity).kept.at({7, 0, 5}),
              testing::ElementsAre(2, 5));
  options.reference = Matrix(kKvHeads, kDim, queries.scale);
  kvAppend(cache, keys, values, batch, options);
  EXPECT_THAT(selectBlocks(queries, cache, batch, sparsity).kept.at({7, 0, 5}),
              testing::ElementsAre(1, 5));
}

// Equal keys and values in every block: their means say all.
TEST_F(Attention, TailsOfEqualKeysAreExact) {
  fill(80);
  for (int j = 0; j < 80; ++j)
    for (int c = 0; c < kKvHeads * kDim; ++c) {
      // Whole numbers up to 127, which codes hold.
      keys(j, c) = (c % kDim == 0 ? 127 : (j / 16 * 31 + c * 7) % 128) / 127.0;
      values(j, c) = (c % kDim == 0 ? 127 : (j / 16 * 13 + c) % 128) / 127.0;
    }
  for (int t = 0; t < 80; ++t)
    for (int c = 0; c < kHeads * kDim; ++c)
      queries.query(t, c) = (c % kDim == 0 ? 127 : (t + c) % 128) / 127.0;
  for (bool about : {false, true}) {
    AppendOptions options;
    if (about)
      options.reference = randomMatrix(kKvHeads, kDim, 42);
    kvAppend(cache, keys, values, batch, options);
    BlockSparsity sparsity{16, 1, 0, 0, BlockSparsity::TopK, 1};
    Selection selection = selectBlocks(queries, cache, batch, sparsity);
    Attended sparse =
        blockSparseAttention(queries, cache, batch, sparsity, &selection);
    Attended dense = attention(queries, cache, batch);
    Attended hybrid = tailAttention(queries, cache, batch, selection, sparse);
    expectNear(hybrid.output, dense.output, 1e-6);
    expectNear(hybrid.lse, dense.lse, 1e-6);
    EXPECT_LT(sparse.lse(79, 0), dense.lse(79, 0) - 0.1);
  }
}

TEST_F(Attention, ATailWithoutMassChangesNothing) {
  fill(80);
  BlockSparsity sparsity{16, 1, 0, 0, BlockSparsity::TopK, 1};
  Selection selection = selectBlocks(queries, cache, batch, sparsity);
  Attended sparse =
      blockSparseAttention(queries, cache, batch, sparsity, &selection);
  Vector biases(kHeads, -std::numeric_limits<double>::infinity());
  biases[1] = 0;
  Attended hybrid =
      tailAttention(queries, cache, batch, selection, sparse, &biases);
  for (int t = 0; t < 80; ++t) {
    EXPECT_EQ(hybrid.lse(t, 0), sparse.lse(t, 0));
    EXPECT_EQ(hybrid.output(t, 0), sparse.output(t, 0));
  }
  EXPECT_GT(hybrid.lse(79, 1), sparse.lse(79, 1));
}

TEST_F(Attention, TopPStopsWhenTheMassIsThere) {
  fill(96);
  BlockSparsity sparsity{16, 1, 0, 1, BlockSparsity::TopP, 0, 0.5};
  Selection half = selectBlocks(queries, cache, batch, sparsity);
  sparsity.topP = 1;
  Selection all = selectBlocks(queries, cache, batch, sparsity);
  EXPECT_EQ(all.kept.at({7, 0, 5}).size(), 6u);
  EXPECT_LT(half.kept.at({7, 0, 5}).size(), 6u);
  EXPECT_GE(half.kept.at({7, 0, 5}).size(), 2u);
}

TEST_F(Attention, TopPStopsAtItsLimit) {
  fill(96);
  BlockSparsity sparsity{16, 1, 0, 1, BlockSparsity::TopP, 0, 1};
  sparsity.limit = 2; // beside the sink and its own
  Selection limited = selectBlocks(queries, cache, batch, sparsity);
  EXPECT_EQ(limited.kept.at({7, 0, 5}).size(), 4u);
  EXPECT_EQ(limited.kept.at({7, 0, 2}).size(), 3u);
}

TEST_F(Attention, RelativeBiasIsAddedByDistance) {
  fill(20);
  BlockSparsity all{16, 2, 0, 0};
  Matrix bias(kHeads, 4);
  for (int h = 0; h < kHeads; ++h)
    for (int w = 0; w < 4; ++w)
      bias(h, w) = w == 3 ? -1e9 : 0; // what is 3 or more away counts nothing
  Attended biased =
      blockSparseAttention(queries, cache, batch, all, nullptr, &bias);
  Attended window = attention(queries, cache, batch, 3);
  expectNear(biased.output, window.output, 1e-12);
  expectNear(biased.lse, window.lse, 1e-12);
}

//===----------------------------------------------------------------------===//
// Merge
//===----------------------------------------------------------------------===//

TEST_F(Attention, MergeOfDisjointSetsIsTheWhole) {
  fill(70);
  Attended whole = attention(queries, cache, batch);
  // Two sets: the keys of a query's own block, and all before it (empty for
  // queries in block 0), each attended to by itself.
  BlockSparsity local{16, 1, 0, 0};
  Attended near = blockSparseAttention(queries, cache, batch, local, nullptr);
  Attended far{Matrix(70, kHeads * kDim), Matrix(70, kHeads, -kInfinity)};
  for (int t = 16; t < 70; ++t) {
    int64_t end = t / 16 * 16;
    Queries one = queries;
    one.query = Matrix(1, kHeads * kDim);
    std::copy_n(&queries.query.values[t * kHeads * kDim], kHeads * kDim,
                one.query.values.begin());
    Batch last{{7}, {end - 1}, {}};
    Attended part = attention(one, cache, last);
    for (int c = 0; c < kHeads * kDim; ++c)
      far.output(t, c) = part.output(0, c);
    for (int h = 0; h < kHeads; ++h)
      far.lse(t, h) = part.lse(0, h);
  }
  Attended merged = merge({near, far}, kHeads);
  expectNear(merged.output, whole.output, 1e-12);
  expectNear(merged.lse, whole.lse, 1e-12);
  // Order and an extra empty set change nothing.
  Attended empty{Matrix(70, kHeads * kDim), Matrix(70, kHeads, -kInfinity)};
  Attended again = merge({empty, far, near}, kHeads);
  expectNear(again.output, merged.output, 1e-12);
}

TEST(Merge, EmptySetsStayEmpty) {
  Attended empty{Matrix(2, 4), Matrix(2, 2, -kInfinity)};
  Attended merged = merge({empty, empty}, 2);
  for (double value : merged.output.values)
    EXPECT_EQ(value, 0);
  for (double value : merged.lse.values)
    EXPECT_EQ(value, -kInfinity);
}

TEST(Merge, SingleSetIsItself) {
  Attended part{randomMatrix(3, 8, 50), randomMatrix(3, 2, 51)};
  Attended merged = merge({part}, 2);
  EXPECT_EQ(merged.output.values, part.output.values);
  EXPECT_EQ(merged.lse.values, part.lse.values);
}

TEST(Merge, LargeScoresDoNotOverflow) {
  Attended a{Matrix(1, 1, 2.0), Matrix(1, 1, 1000.0)};
  Attended b{Matrix(1, 1, 4.0), Matrix(1, 1, 1000.0)};
  Attended merged = merge({a, b}, 1);
  EXPECT_NEAR(merged.output(0, 0), 3, 1e-12);
  EXPECT_NEAR(merged.lse(0, 0), 1000 + std::log(2), 1e-12);
}

//===----------------------------------------------------------------------===//
// Kernelized attention
//===----------------------------------------------------------------------===//

/// The sum over keys of phi(q) . phi(k), without states or maxima.
TEST_F(Attention, KernelizedIsTheDirectFeatureSum) {
  fill(20);
  Matrix features = randomMatrix(32, kDim, 60);
  KernelState state;
  Attended result = kernelizedAttention(queries, cache, batch, state, features);
  double root = std::sqrt(queries.scale);
  auto phi = [&](const Matrix &x, int row, int column) {
    Vector result;
    for (int f = 0; f < 32; ++f) {
      double exponent = 0;
      for (int d = 0; d < kDim; ++d) {
        double element = x(row, column + d) * root;
        exponent += features(f, d) * element - element * element / 2;
      }
      result.push_back(std::exp(exponent) / std::sqrt(32.0));
    }
    return result;
  };
  for (int t = 0; t < 20; ++t)
    for (int h = 0; h < kHeads; ++h) {
      Vector q = phi(queries.query, t, h * kDim), output(kDim);
      double total = 0;
      for (int j = 0; j <= t; ++j) {
        Vector k = phi(keys, j, (h / 2) * kDim);
        double weight = 0;
        for (int f = 0; f < 32; ++f)
          weight += q[f] * k[f];
        total += weight;
        for (int d = 0; d < kDim; ++d)
          output[d] += weight * values(j, (h / 2) * kDim + d);
      }
      EXPECT_NEAR(result.lse(t, h), std::log(total), 1e-10);
      for (int d = 0; d < kDim; ++d)
        EXPECT_NEAR(result.output(t, h * kDim + d), output[d] / total, 1e-10);
    }
}

TEST_F(Attention, KernelizedApproachesSoftmaxAsFeaturesGrow) {
  fill(16);
  for (double &q : queries.query.values)
    q *= 0.7;
  Attended dense = attention(queries, cache, batch);
  auto errorWith = [&](int64_t features) {
    KernelState state;
    Attended approximate = kernelizedAttention(
        queries, cache, batch, state, randomMatrix(features, kDim, 61));
    double sum = 0;
    for (size_t i = 0; i < dense.output.values.size(); ++i)
      sum += std::pow(approximate.output.values[i] - dense.output.values[i], 2);
    return std::sqrt(sum / dense.output.values.size());
  };
  double coarse = errorWith(32), fine = errorWith(8192);
  EXPECT_LT(fine, 0.05);
  EXPECT_LT(fine, coarse / 4);
}

TEST_F(Attention, KernelizedStateGoesOnWhereItStopped) {
  fill(20);
  Matrix features = randomMatrix(16, kDim, 62);
  KernelState whole, steps;
  Attended once = kernelizedAttention(queries, cache, batch, whole, features);
  for (int t = 0; t < 20; ++t) {
    Queries one = queries;
    one.query = Matrix(1, kHeads * kDim);
    std::copy_n(&queries.query.values[t * kHeads * kDim], kHeads * kDim,
                one.query.values.begin());
    Attended step =
        kernelizedAttention(one, cache, Batch{{7}, {t}, {}}, steps, features);
    for (int h = 0; h < kHeads; ++h)
      EXPECT_EQ(step.lse(0, h), once.lse(t, h));
  }
}

TEST_F(Attention, KernelizedLeavesOutWhatIsSelected) {
  fill(48);
  Matrix features = randomMatrix(16, kDim, 63);
  KernelState state;
  Attended whole = kernelizedAttention(queries, cache, batch, state, features);
  BlockSparsity sparsity{16, 1, 0, 0, BlockSparsity::TopK, 0};
  Selection own = selectBlocks(queries, cache, batch, sparsity); // own blocks
  KernelState again;
  Attended rest =
      kernelizedAttention(queries, cache, batch, again, features, &own);
  // Block 0 has nothing before it: the rest is empty, exactly.
  for (int h = 0; h < kHeads; ++h) {
    EXPECT_EQ(rest.lse(3, h), -kInfinity);
    EXPECT_EQ(rest.output(3, h * kDim), 0);
    EXPECT_LT(rest.lse(40, h), whole.lse(40, h));
  }
  // The state is over all keys either way.
  EXPECT_EQ(again.heads.at({0, 7, 0}).totals, state.heads.at({0, 7, 0}).totals);
}

} // namespace
