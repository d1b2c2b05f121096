// Block selection and block-sparse attention: against the plain reference, and
// bit for bit against dense attention where everything is kept, and against
// themselves under other workers, chunks and company.
#include "AttentionModel.h"

namespace stele::test {
namespace {

using ref::BlockSparsity;

const Case kCases[] = {
    {.heads = 9, .kvHeads = 3, .headDim = 64, .block = 16, .rotaryDims = 64},
    {.heads = 5, .kvHeads = 1, .headDim = 80, .block = 32, .norm = true},
    {.heads = 4, .kvHeads = 2, .headDim = 15, .block = 16, .rotaryDims = 14},
    {.heads = 2, .kvHeads = 2, .headDim = 96, .block = 64, .rotaryDims = 32},
    // Chunks of 48 keys.
    {.heads = 6,
     .kvHeads = 2,
     .headDim = 64,
     .block = 16,
     .rotaryDims = 64,
     .norm = true,
     .chunk = 72,
     .local = 24,
     .original = 60},
};

const BlockSparsity kSparsities[] = {
    {.local = 1,
     .adjacent = 0,
     .sink = 0,
     .select = BlockSparsity::TopK,
     .topK = 2},
    {.local = 2,
     .adjacent = 1,
     .sink = 1,
     .select = BlockSparsity::TopP,
     .topP = 0.7,
     .dense = 3},
    {.local = 1,
     .adjacent = 1,
     .sink = 1,
     .select = BlockSparsity::TopShare,
     .topP = 0.3},
    {.local = 2, .adjacent = 0, .sink = 1},
    {.local = 1,
     .adjacent = 0,
     .sink = 0,
     .select = BlockSparsity::TopP,
     .topP = 0.8,
     .limit = 3},
    {.local = 1,
     .adjacent = 1,
     .sink = 0,
     .select = BlockSparsity::TopShare,
     .topP = 0.9,
     .limit = 2},
    // As many targets as any of the shapes has KV heads.
    {.local = 1,
     .adjacent = 0,
     .sink = 1,
     .select = BlockSparsity::TopP,
     .targets = {0.7, 1, 0.4}},
};

// Decoding past blocks that a chunk left half full, and prefill across many.
const Steps kSparseSteps = {{150, 77, 1}, {131, 1, 70}, {1, 1, 1}, {20, 1, 1}};

Case with(Case c, BlockSparsity sparsity) {
  sparsity.block = c.block;
  c.sparsity = sparsity;
  return c;
}

// Steps through `counts`, and has `check` look at each.
template <typename Check>
void run(Attention &model, const Steps &counts, Check check) {
  std::vector<int> pasts(counts[0].size()), totals(counts[0].size());
  for (const std::vector<int> &step : counts)
    for (size_t s = 0; s < step.size(); ++s)
      totals[s] += step[s];
  Batch batch(totals, pasts, kLayers, model.c.kvHeads, model.c.block, 7);
  model.reset(batch);
  for (size_t i = 0; i < counts.size(); ++i) {
    batch.SetTokens(counts[i], pasts);
    check(batch, Random(size_t(batch.tokens()) * model.columns(), 40 + i, 2));
    for (size_t s = 0; s < pasts.size(); ++s)
      pasts[s] += counts[i][s];
  }
}

// Each shape with one of the sparsities, another one for every target.
TEST(SparseAttention, AgreesWithTheReference) {
  size_t turn = 0;
  for (const std::string &target : RunnableTargets())
    for (const Case &shape : kCases) {
      Case c = with(shape, kSparsities[turn++ % std::size(kSparsities)]);
      c.biasWidth = shape.norm ? 40 : 0;
      for (const Format &format : {kFormats[0], kFormats[1]}) {
        SCOPED_TRACE(target + " " + format.name + " " + name(c));
        Attention model(c, format, target);
        checkAgainstReference(model, kSparseSteps);
      }
    }
}

// A block's entry as the kernel made it.
struct Entry {
  std::vector<double> key; // of its codes
  float scale, offset;
  std::vector<double> value; // likewise
};

Entry readEntry(const Attention &model, const Batch &batch, int s, int head,
                int block) {
  const int steps = schema::KeyIndexSteps(model.c.headDim);
  Entry entry;
  std::memcpy(&entry.scale, model.keyPiece(batch, s, head, block, steps), 4);
  std::memcpy(&entry.offset, model.keyPiece(batch, s, head, block, steps + 1),
              4);
  for (int i = 0; i < steps * 4; ++i) {
    const char *piece = model.keyPiece(batch, s, head, block, i / 4);
    entry.key.push_back((uint8_t(piece[i % 4]) - 128) * double(entry.scale));
  }
  if (!model.c.hybrid)
    return entry;
  const char *value = model.meanValue(batch, s, head, block);
  float scale;
  std::memcpy(&scale, value, 4);
  for (int i = 0; i < model.c.headDim; ++i)
    entry.value.push_back(int8_t(value[4 + i]) * double(scale));
  return entry;
}

// Codes are rounded to within half of a step, the scale is the largest element
// / 127, and padding is 0. `tolerance` is for what the page has rounded.
void checkEntry(const Entry &entry, const ref::BlockEntry &want,
                double tolerance) {
  double largest = 0;
  for (double element : want.key)
    largest = std::max(largest, std::abs(element));
  ASSERT_NEAR(entry.scale, largest / 127, tolerance * largest);
  for (size_t i = 0; i < entry.key.size(); ++i)
    ASSERT_NEAR(entry.key[i], i < want.key.size() ? want.key[i] : 0,
                0.501 * entry.scale + tolerance * largest)
        << "element " << i;
  // The log of the mass for the reference, which does not depend on which way
  // an element was rounded.
  double got = entry.offset, mass = want.offset;
  for (size_t i = 0; i < want.query.size(); ++i) {
    got += want.query[i] * entry.key[i];
    mass += want.query[i] * want.rounded[i];
  }
  ASSERT_NEAR(got, mass, tolerance * std::max(5.0, std::abs(mass)));
  double widest = 0;
  for (double element : want.value)
    widest = std::max(widest, std::abs(element));
  for (size_t i = 0; i < entry.value.size(); ++i)
    ASSERT_NEAR(entry.value[i], want.value[i],
                widest * (0.501 / 127 + tolerance))
        << "element " << i << " of the value";
}

void checkEntries(const Case &c, const Format &format,
                  const std::string &target, const Steps &steps) {
  Attention model(c, format, target);
  Reference reference(model);
  const double tolerance = 2 * format.lseTolerance;
  run(model, steps, [&](const Batch &batch, const std::vector<float> &qkv) {
    model.append(qkv, batch, 3);
    reference.append(qkv, batch);
    for (int s = 0; s < batch.view().sequences; ++s)
      for (int g = 0; g < c.kvHeads; ++g)
        for (int b = 0; b < batch.kv_lengths[s] / c.block; ++b)
          checkEntry(readEntry(model, batch, s, g, b), reference.entry(s, g, b),
                     tolerance);
  });
}

TEST(SparseAttention, IndexesTheMeanKeysOfFullPages) {
  size_t turn = 0;
  for (const std::string &target : RunnableTargets())
    for (const Case &shape : kCases) {
      Case c = with(shape, kSparsities[0]);
      c.reference = turn++ % 2 == 1;
      c.hybrid = true;
      SCOPED_TRACE(target + " " + name(c));
      checkEntries(c, kFormats[0], target, kSparseSteps);
    }
}

TEST(SparseAttention, IndexesAboutReferencesOnRandomShapes) {
  const std::vector<std::string> targets = RunnableTargets();
  uint32_t seed = 300;
  for (int round = 0; round < 2; ++round)
    for (const Format &format : kFormats) {
      const std::string &target = targets[seed % targets.size()];
      Draw draw(seed);
      Case c = draw.shape();
      c.window = 0;
      c = with(c, kSparsities[0]);
      c.reference = true;
      c.hybrid = round > 0;
      SCOPED_TRACE("seed " + std::to_string(seed) + ": " + target + " " +
                   format.name + " " + name(c));
      checkEntries(c, format, target, draw.steps());
      ++seed;
    }
}

// A reference of zeros: the bits of plain means.
TEST(SparseAttention, AReferenceOfZerosIsThePlainMean) {
  size_t turn = 0;
  for (const std::string &target : RunnableTargets())
    for (const Format &format : kFormats) {
      const Case plain =
          with(kCases[turn++ % std::size(kCases)], kSparsities[0]);
      Case about = plain;
      about.reference = true;
      SCOPED_TRACE(target + " " + format.name + " " + name(plain));
      Attention first(plain, format, target), second(about, format, target);
      std::fill(second.references.begin(), second.references.end(), 0.0f);
      const int length = 3 * plain.block;
      Batch batch({length}, {0}, kLayers, plain.kvHeads, plain.block, 7);
      const auto qkv = Random(size_t(length) * first.columns(), 1);
      for (Attention *model : {&first, &second}) {
        model->reset(batch);
        model->append(qkv, batch, 2);
      }
      for (int g = 0; g < plain.kvHeads; ++g)
        for (int b = 0; b < 3; ++b) {
          const Entry a = readEntry(first, batch, 0, g, b);
          const Entry z = readEntry(second, batch, 0, g, b);
          EXPECT_EQ(a.key, z.key);
          EXPECT_EQ(a.scale, z.scale);
          EXPECT_EQ(a.offset, z.offset);
        }
    }
}

// In f32 the choice is the reference's own.
TEST(SparseAttention, SelectsWhatTheReferenceSelects) {
  for (size_t i = 0; i < 2 * std::size(kSparsities); ++i)
    for (const Case &shape : kCases) {
      Case c = with(shape, kSparsities[i / 2]);
      if (!c.selects())
        continue;
      c.reference = i % 2 == 1;
      SCOPED_TRACE(name(c));
      Attention model(c, kFormats[0], RunnableTargets().back());
      Reference reference(model);
      run(model, kSparseSteps,
          [&](const Batch &batch, const std::vector<float> &qkv) {
            model.step(qkv, batch, 2);
            reference.append(qkv, batch);
            EXPECT_EQ(model.kept(batch).kept,
                      reference.select(qkv, batch).kept);
          });
    }
}

// What every step gives, of two workers.
std::vector<std::vector<float>> outputsOf(Attention &model) {
  std::vector<std::vector<float>> outputs;
  run(model, kSparseSteps,
      [&](const Batch &batch, const std::vector<float> &qkv) {
        outputs.push_back(model.step(qkv, batch, 2));
      });
  return outputs;
}

// All that is kept by number, mass or place: the bits of dense attention.
TEST(SparseAttention, WithEverythingKeptIsDense) {
  const BlockSparsity everything[] = {
      {.sink = 0, .select = BlockSparsity::TopK, .topK = 1000},
      {.sink = 0, .select = BlockSparsity::TopP, .topP = 1},
      {.local = 1000},
      {.select = BlockSparsity::TopK, .topK = 1, .dense = 1000},
  };
  for (size_t i = 0; i < std::size(kFormats); ++i) {
    const Format &format = kFormats[i];
    const Case &shape = kCases[i % std::size(kCases)];
    Attention dense(shape, format, RunnableTargets().back());
    const auto want = outputsOf(dense);
    for (const BlockSparsity &sparsity : everything) {
      const Case c = with(shape, sparsity);
      SCOPED_TRACE(std::string(format.name) + " " + name(c));
      Attention sparse(c, format, RunnableTargets().back());
      EXPECT_EQ(outputsOf(sparse), want);
    }
  }
}

// Whatever it was compiled to choose, at a density of 1 it is dense.
TEST(SparseAttention, AtFullDensityIsDense) {
  size_t turn = 0;
  for (const BlockSparsity &sparsity : kSparsities) {
    const Case &shape = kCases[turn % std::size(kCases)];
    const Format &format = kFormats[turn++ % std::size(kFormats)];
    SCOPED_TRACE(std::string(format.name) + " " + name(with(shape, sparsity)));
    Attention dense(shape, format, RunnableTargets().back());
    Attention sparse(with(shape, sparsity), format, RunnableTargets().back());
    sparse.density = 1;
    EXPECT_EQ(outputsOf(sparse), outputsOf(dense));
  }
}

// Another density is a choice by number, whatever was compiled.
TEST(SparseAttention, ChoosesTheShareThatTheStepAsksFor) {
  for (const Case &shape : kCases)
    for (const BlockSparsity &sparsity : kSparsities) {
      if (sparsity.select == BlockSparsity::None)
        continue;
      Case asked = with(shape, sparsity);
      asked.sparsity->select = BlockSparsity::TopShare;
      asked.sparsity->topP = 0.4;
      asked.sparsity->limit = 0;
      SCOPED_TRACE(name(with(shape, sparsity)));
      Attention model(with(shape, sparsity), kFormats[0],
                      RunnableTargets().back());
      model.density = 0.4f;
      Attention other(asked, kFormats[0], RunnableTargets().back());
      Reference reference(other);
      run(model, kSparseSteps,
          [&](const Batch &batch, const std::vector<float> &qkv) {
            model.step(qkv, batch, 2);
            reference.append(qkv, batch);
            EXPECT_EQ(model.kept(batch).kept,
                      reference.select(qkv, batch).kept);
          });
    }
}

// A tail over nothing changes no bit.
TEST(SparseAttention, HybridWithEverythingRetrievedIsDense) {
  for (size_t i = 0; i < std::size(kFormats); ++i) {
    const Format &format = kFormats[i];
    const Case &shape = kCases[i % std::size(kCases)];
    Attention dense(shape, format, RunnableTargets().back());
    Case c =
        with(shape, {.sink = 0, .select = BlockSparsity::TopK, .topK = 999});
    c.hybrid = true;
    c.reference = i % 2 == 0;
    c.biases = i > 2;
    SCOPED_TRACE(std::string(format.name) + " " + name(c));
    Attention hybrid(c, format, RunnableTargets().back());
    EXPECT_EQ(outputsOf(hybrid), outputsOf(dense));
  }
}

// Of every layout, target and format, about references and about zero.
TEST(SparseAttention, HybridAgreesWithTheReference) {
  size_t turn = 0;
  for (const std::string &target : RunnableTargets())
    for (const Case &shape : kCases)
      for (const Format &format : {kFormats[0], kFormats[1]}) {
        Case c = with(shape, kSparsities[turn % 3]);
        c.hybrid = true;
        c.reference = turn % 2 == 0;
        c.biases = turn++ % 5 > 2;
        SCOPED_TRACE(target + " " + format.name + " " + name(c));
        Attention model(c, format, target);
        checkAgainstReference(model, kSparseSteps);
      }
}

TEST(SparseAttention, HybridAgreesWithTheReferenceOnRandomShapes) {
  const std::vector<std::string> targets = RunnableTargets();
  uint32_t seed = 500;
  for (int round = 0; round < 2; ++round)
    for (const Format &format : kFormats) {
      const std::string &target = targets[seed % targets.size()];
      Draw draw(seed);
      Case c = draw.shape();
      c.window = 0;
      c = with(c, draw.of({kSparsities[0], kSparsities[1], kSparsities[2]}));
      c.hybrid = true;
      c.reference = draw.coin();
      c.biases = draw.coin();
      SCOPED_TRACE("seed " + std::to_string(seed) + ": " + target + " " +
                   format.name + " " + name(c));
      Attention model(c, format, target);
      checkAgainstReference(model, draw.steps());
      ++seed;
    }
}

// The same in chunks of whole blocks beside another sequence, and by other
// numbers of workers.
TEST(SparseAttention, IsExactUnderWorkersChunksAndCompany) {
  size_t turn = 0;
  for (const Case &shape : kCases) {
    Case c = with(shape, kSparsities[turn++ % std::size(kSparsities)]);
    c.reference = c.hybrid = c.selects();
    for (const Format &format : {kFormats[0], kFormats[1], kFormats[5]}) {
      SCOPED_TRACE(std::string(format.name) + " " + name(c));
      Attention model(c, format, RunnableTargets().back());
      const int block = c.block;
      checkExact(model, {{block, 9},
                         {5 * block, 0},
                         {2 * block, 50},
                         {block, 1},
                         {block + 3, 3}});
    }
  }
}

// Over many segments, of blocks smaller and larger than one.
TEST(SparseAttention, DecodesLongSequences) {
  for (int block : {64, 128, 512})
    for (const Format &format : {kFormats[0], kFormats[1]}) {
      Case c{.heads = 3, .kvHeads = 1, .headDim = 16, .block = block};
      c = with(c, {.select = BlockSparsity::TopK, .topK = 2});
      SCOPED_TRACE(std::string(format.name) + " " + name(c));
      Attention model(c, format, RunnableTargets().back());
      checkAgainstReference(model, {{2100}, {1}, {3}});
      checkExact(model, {{1024, 0}, {1100, 7}});
    }
}

constexpr double kWholeMass = 1 << 24;

// What each query head of the layer kept in these steps, by kernels; their
// outputs are the same as unmeasured.
std::vector<SteleHeadWork> measure(Attention &model, const Steps &counts,
                                   int workers) {
  std::vector<SteleHeadWork> work(size_t(kLayers) * model.c.heads);
  run(model, counts, [&](const Batch &batch, const std::vector<float> &qkv) {
    const std::vector<float> out = model.step(qkv, batch, 2);
    EXPECT_EQ(model.attend(qkv, batch, workers, nullptr, &work), out);
  });
  for (int head = 0; head < kLayer * model.c.heads; ++head)
    EXPECT_EQ(work[head].queries, 0u) << "of another layer";
  return {work.begin() + kLayer * model.c.heads, work.end()};
}

// The same, and the sums of mass, by the reference's log-sum-exps.
void checkMeasured(Attention &model, const Steps &counts) {
  const Case &c = model.c;
  const std::vector<SteleHeadWork> work = measure(model, counts, 3);
  std::vector<double> mass(c.heads);
  std::vector<uint64_t> kept(c.heads);
  uint64_t queries = 0, causal = 0;
  Reference reference(model);
  run(model, counts, [&](const Batch &batch, const std::vector<float> &qkv) {
    model.step(qkv, batch, 2);
    const ref::Matrix some = reference.step(qkv, batch).lse;
    const ref::Matrix all = reference.attendAll(qkv, batch).lse;
    ref::Selection selection;
    if (c.selects())
      selection = model.kept(batch);
    for (int t = 0; t < batch.tokens(); ++t) {
      const int s = batch.sequence[t], position = batch.positions[t];
      ++queries;
      causal += position + 1;
      for (int h = 0; h < c.heads; ++h) {
        mass[h] += std::exp(some(t, h) - all(t, h));
        const int group = h / (c.heads / c.kvHeads);
        for (int key = 0; key <= position; ++key)
          kept[h] += c.selects()
                         ? selection.keeps(s, group, position, key)
                         : ref::keepsAlways(*c.sparsity, position / c.block,
                                            key / c.block);
      }
    }
  });
  for (int h = 0; h < c.heads; ++h) {
    EXPECT_EQ(work[h].queries, queries);
    EXPECT_EQ(work[h].causal_keys, causal);
    EXPECT_EQ(work[h].kept_keys, kept[h]);
    EXPECT_NEAR(double(work[h].kept_mass) / kWholeMass, mass[h],
                model.format.lseTolerance * double(queries))
        << "head " << h;
    // Of long blocks these sequences have too few.
    if (c.block <= 32)
      EXPECT_LT(mass[h], 0.999 * double(queries)) << "there is nothing to see";
  }
}

TEST(SparseAttention, MeasuresTheKeptMass) {
  size_t turn = 0;
  for (const std::string &target : RunnableTargets())
    for (const Case &shape : kCases) {
      const Format &format = kFormats[turn % 2 * 5];
      Case c = with(shape, kSparsities[turn++ % std::size(kSparsities)]);
      c.biasWidth = shape.norm ? 40 : 0;
      SCOPED_TRACE(target + " " + format.name + " " + name(c));
      Attention model(c, format, target);
      checkMeasured(model, kSparseSteps);
    }
}

TEST(SparseAttention, MeasuresTheKeptMassOfRandomShapes) {
  const std::vector<std::string> targets = RunnableTargets();
  uint32_t seed = 300;
  for (const Format &format : kFormats) {
    Draw draw(seed);
    Case c = draw.shape();
    c.window = 0;
    c.block = 16;
    c = with(c, {.local = 1,
                 .adjacent = 0,
                 .sink = draw.upTo(2) - 1,
                 .select = BlockSparsity::TopK,
                 .topK = 1});
    c.biasWidth = draw.coin() ? 0 : draw.upTo(100);
    const std::string &target = targets[seed % targets.size()];
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + target + " " +
                 format.name + " " + name(c));
    Attention model(c, format, target);
    checkMeasured(model, {{300 + draw.upTo(90), 33}, {1, 40}, {3, 1}});
    ++seed;
  }
}

// Where nothing is left out, all of the mass is kept, to the last bit.
TEST(SparseAttention, MeasuresAllMassWhereEverythingIsKept) {
  for (const Case &shape : kCases) {
    const Case c =
        with(shape, {.sink = 0, .select = BlockSparsity::TopP, .topP = 1});
    SCOPED_TRACE(name(c));
    Attention model(c, kFormats[1], RunnableTargets().back());
    for (const SteleHeadWork &head : measure(model, kSparseSteps, 2)) {
      EXPECT_EQ(double(head.kept_mass), double(head.queries) * kWholeMass);
      EXPECT_EQ(head.kept_keys, head.causal_keys);
    }
  }
}

// Sums are the same by any number of workers, to the last bit.
TEST(SparseAttention, MeasuresAlikeByAnyWorkers) {
  Attention model(with(kCases[0], kSparsities[0]), kFormats[1],
                  RunnableTargets().back());
  const auto one = measure(model, {{700}, {1}, {1}}, 1);
  const auto three = measure(model, {{700}, {1}, {1}}, 3);
  for (size_t h = 0; h < one.size(); ++h)
    EXPECT_EQ(one[h].kept_mass, three[h].kept_mass);
}

// A kernel of another number of heads than the sums are for.
TEST(SparseAttention, MeasuresNoSumsOfOthers) {
  const Case c = with(kCases[0], kSparsities[0]);
  Attention model(c, kFormats[0], RunnableTargets().back());
  std::vector<SteleHeadWork> work(size_t(kLayers) * c.heads);
  run(model, {{100}}, [&](const Batch &batch, const std::vector<float> &qkv) {
    model.step(qkv, batch, 2);
    model.attend(qkv, batch, 1, nullptr, &work, c.heads - 1);
  });
  for (const SteleHeadWork &head : work)
    EXPECT_EQ(head.queries, 0u);
}

void poison(Attention &model, const Batch &batch,
            const std::function<bool(int head, int block)> &isRead) {
  const Case &c = model.c;
  const size_t bytes = model.format.pageBytes(c);
  for (int g = 0; g < c.kvHeads; ++g)
    for (int b = 0; b < batch.view().page_table_blocks; ++b)
      if (!isRead(g, b))
        std::memset(model.page(batch, 0, g, b), 0xff, bytes);
}

// Selecting reads no page but the query block's own, attention nothing of a
// block that is not kept.
TEST(SparseAttention, ReadsNothingElse) {
  for (size_t i = 0; i < std::size(kFormats); ++i) {
    const Format &format = kFormats[i];
    const Case c = with(kCases[i % std::size(kCases)], kSparsities[0]);
    SCOPED_TRACE(std::string(format.name) + " " + name(c));
    Attention model(c, format, RunnableTargets().back());
    const int length = 20 * c.block + 5;
    Batch batch({length + 1}, {0}, kLayers, c.kvHeads, c.block, 3);
    model.reset(batch);
    batch.SetTokens({length}, {0});
    model.append(Random(size_t(length) * model.columns(), 1), batch, 2);
    batch.SetTokens({1}, {length});
    std::vector<float> qkv = Random(model.columns(), 2);
    model.append(qkv, batch, 1);
    model.select(qkv, batch, 2);
    const ref::Selection kept = model.kept(batch);
    const std::vector<float> want = model.attend(qkv, batch, 2);
    poison(model, batch, [&](int head, int block) {
      return kept.keeps(0, head, length, int64_t(block) * c.block);
    });
    EXPECT_EQ(model.attend(qkv, batch, 2), want);
    poison(model, batch, [](int, int block) { return block == 20; });
    model.select(qkv, batch, 1);
    EXPECT_EQ(model.kept(batch).kept, kept.kept);
  }
}

TEST(SparseAttention, AgreesWithTheReferenceOnRandomShapes) {
  const std::vector<std::string> targets = RunnableTargets();
  uint32_t seed = 100;
  for (int round = 0; round < 2; ++round)
    for (const Format &format : kFormats) {
      const std::string &target = targets[seed % targets.size()];
      Draw draw(seed);
      Case c = draw.shape();
      c.window = 0;
      c = with(c, draw.of({kSparsities[0], kSparsities[1], kSparsities[2],
                           kSparsities[3]}));
      c.biasWidth = draw.coin() ? 0 : draw.upTo(100);
      SCOPED_TRACE("seed " + std::to_string(seed) + ": " + target + " " +
                   format.name + " " + name(c));
      Attention model(c, format, target);
      checkAgainstReference(model, draw.steps());
      ++seed;
    }
}

} // namespace
} // namespace stele::test
