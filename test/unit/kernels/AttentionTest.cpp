// kv_append and attention over shuffled pages against the plain reference, and
// bit for bit against themselves under other workers, chunks and company: for
// shapes of models, and for seeded random ones.
#include <cmath>
#include <cstring>
#include <random>

#include "Harness.h"
#include "stele/dialects/Lm/reference/Reference.h"
#include "stele/schema/kv_page.h"
#include "gmock/gmock.h"

namespace stele::test {
namespace {

namespace ref = lm::reference;

struct Case {
  int heads, kvHeads, headDim, block;
  int window = 0;
  int rotaryDims = 0; // 0: none
  bool norm = false;
  // Dual chunk attention; 0: without.
  int chunk = 0, local = 0, original = 0;

  int chunkKeys() const { return chunk - local; }
  int parts() const { return chunk ? 3 : 1; }
};

// How products are computed and what pages store, with the errors of outputs
// and of log-sum-exps that they may have, relative to the largest value. Codes
// of 8 bits are off by up to 1/254 of a key's largest element.
struct Format {
  const char *name;
  bool bf16;
  schema::KvElement kv;
  double tolerance, lseTolerance;

  size_t pageBytes(const Case &c) const {
    return schema::KvPageBytes(kv, c.block, c.headDim);
  }
};

constexpr Format kFormats[] = {
    {"f32", false, schema::KvElement::kF32, 2e-6, 1e-6},
    {"bf16", true, schema::KvElement::kBf16, 1.5e-2, 1e-2},
    {"f32 over f16", false, schema::KvElement::kF16, 1e-3, 1e-3},
    {"f32 over bf16", false, schema::KvElement::kBf16, 1e-2, 5e-3},
    {"f32 over int8", false, schema::KvElement::kInt8, 2e-2, 1e-2},
    {"bf16 over int8", true, schema::KvElement::kInt8, 3e-2, 2e-2},
};

constexpr int kLayers = 2, kLayer = 1;
constexpr double kEps = 1e-6;

std::string name(const Case &c) {
  return std::to_string(c.heads) + "/" + std::to_string(c.kvHeads) +
         " heads of " + std::to_string(c.headDim) + ", block " +
         std::to_string(c.block) + ", window " + std::to_string(c.window) +
         ", chunk " + std::to_string(c.chunk) + "/" + std::to_string(c.local);
}

ref::Matrix toMatrix(const std::vector<float> &values, int64_t columns) {
  ref::Matrix matrix(values.size() / columns, columns);
  matrix.values.assign(values.begin(), values.end());
  return matrix;
}

// A model's attention: kernels, weights and a cache.
class Attention {
public:
  Attention(const Case &c, const Format &format, const std::string &target)
      : c(c), format(format), qNorm(Random(c.headDim, 11)),
        kNorm(Random(c.headDim, 12)),
        frequencies(ref::ropeFrequencies(1e4, std::max(c.rotaryDims, 2))),
        rotary({"rotary_table",
                {{"rotary_dims", c.rotaryDims},
                 {"chunk", c.chunk},
                 {"chunk_keys", c.chunkKeys()}},
                {{"factor", 1.0}}},
               target),
        append(appendInstance(), target), attend(attendInstance(), target) {}

  int columns() const { return (c.heads + 2 * c.kvHeads) * c.headDim; }
  int outColumns() const { return c.heads * c.headDim; }

  // An empty cache for the batch's pages: full of NaNs, as memory may be.
  void reset(const Batch &batch) {
    cache.assign(batch.pages() * format.pageBytes(c), char(0xff));
  }

  // One step over rows of q, k and v side by side.
  std::vector<float> step(const std::vector<float> &qkv, const Batch &batch,
                          int workers, std::vector<float> *lse = nullptr) {
    std::vector<float> x = qkv,
                       table(batch.tokens() * c.parts() * c.rotaryDims + 1);
    if (c.rotaryDims)
      rotary.Run({frequencies.data(), table.data()}, {}, batch.view(), workers);
    append.Run(bind({x.data(), x.data()}, table, kNorm, {cache.data()}),
               {kLayer}, batch.view(), workers);
    std::vector<float> out(size_t(batch.tokens()) * outColumns(), NAN);
    std::vector<float> sums(size_t(batch.tokens()) * c.heads, NAN);
    attend.Run(
        bind({x.data()}, table, qNorm, {cache.data(), out.data(), sums.data()}),
        {kLayer}, batch.view(), workers);
    if (lse)
      *lse = sums;
    return out;
  }

  const Case c;
  const Format format;
  std::vector<float> qNorm, kNorm, frequencies;

private:
  std::vector<void *> bind(std::vector<void *> first, std::vector<float> &table,
                           std::vector<float> &norm,
                           const std::vector<void *> &last) {
    if (c.rotaryDims)
      first.push_back(table.data());
    if (c.norm)
      first.push_back(norm.data());
    first.insert(first.end(), last.begin(), last.end());
    return first;
  }

  KernelInstance shared(const char *templateName) {
    KernelInstance instance;
    instance.templateName =
        templateName + std::string(format.bf16 ? "_bf16" : "_f32");
    instance.ints = {
        {"kv_heads", c.kvHeads}, {"head_dim", c.headDim},
        {"block", c.block},      {"rotary", c.rotaryDims > 0},
        {"norm", c.norm},        {"rotary_dims", c.rotaryDims},
        {"parts", c.parts()},    {"kv", static_cast<int>(format.kv)}};
    instance.floats = {{"eps", kEps}};
    return instance;
  }
  KernelInstance appendInstance() {
    KernelInstance instance = shared("kv_append");
    instance.ints["key_offset"] = c.heads * c.headDim;
    instance.ints["value_offset"] = (c.heads + c.kvHeads) * c.headDim;
    instance.ints["key_stride"] = instance.ints["value_stride"] = columns();
    return instance;
  }
  KernelInstance attendInstance() {
    KernelInstance instance = shared("attention");
    instance.ints["heads"] = c.heads;
    instance.ints["window"] = c.window;
    instance.ints["q_offset"] = 0;
    instance.ints["q_stride"] = columns();
    instance.ints["lse"] = 1;
    instance.ints["chunk_keys"] = c.chunkKeys();
    instance.floats["original"] = c.original;
    instance.floats["scale"] = 1 / std::sqrt(double(c.headDim));
    return instance;
  }

  std::vector<char> cache;
  Kernel rotary, append, attend;
};

// The reference, fed step by step as the kernels are.
class Reference {
public:
  explicit Reference(const Attention &model) : model(model) {
    cache.heads = model.c.kvHeads;
    cache.headDim = model.c.headDim;
  }

  ref::Attended step(const std::vector<float> &qkv, const Batch &batch) {
    const Case &c = model.c;
    ref::Batch plain;
    plain.sequence.assign(batch.sequence.begin(), batch.sequence.end());
    plain.position.assign(batch.positions.begin(), batch.positions.end());
    ref::Matrix x = toMatrix(qkv, model.columns());
    std::optional<ref::Rope> rope;
    if (c.rotaryDims)
      rope = ref::Rope{model.frequencies, 1.0, {}};
    if (c.chunk)
      rope->dualChunk = ref::DualChunk{c.chunk, c.local, c.original};
    ref::AppendOptions options;
    options.layer = kLayer;
    options.keyOffset = c.heads * c.headDim;
    options.valueOffset = (c.heads + c.kvHeads) * c.headDim;
    options.rope = rope;
    if (c.norm)
      options.norm = norm(model.kNorm);
    ref::kvAppend(cache, x, x, plain, options);
    ref::Queries queries;
    queries.query = x;
    queries.heads = c.heads;
    queries.scale = 1 / std::sqrt(double(c.headDim));
    queries.layer = kLayer;
    queries.rope = rope;
    if (c.norm)
      queries.norm = norm(model.qNorm);
    std::optional<int64_t> window;
    if (c.window)
      window = c.window;
    return ref::attention(queries, cache, plain, window);
  }

private:
  static ref::Norm norm(const std::vector<float> &weight) {
    return {{weight.begin(), weight.end()}, kEps};
  }
  const Attention &model;
  ref::Cache cache;
};

void expectNear(const std::vector<float> &got, const ref::Matrix &want,
                double tolerance) {
  ASSERT_EQ(got.size(), want.values.size());
  double largest = 0;
  for (double value : want.values)
    largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want.values[i], tolerance * largest) << "element " << i;
}

std::vector<float> rows(const std::vector<float> &all, int first, int count,
                        int columns) {
  return {all.begin() + size_t(first) * columns,
          all.begin() + size_t(first + count) * columns};
}

void append(std::vector<float> &to, const std::vector<float> &more) {
  to.insert(to.end(), more.begin(), more.end());
}

// Tokens of each sequence in each step.
using Steps = std::vector<std::vector<int>>;

// Chunked prefill of two sequences beside one that decodes, then a decode step
// of all three.
const Steps kSteps = {{70, 45, 1}, {30, 1, 1}, {1, 1, 1}};

void checkAgainstReference(Attention &model, const Steps &counts) {
  std::vector<int> pasts(counts[0].size()), totals(counts[0].size());
  for (const std::vector<int> &step : counts)
    for (size_t s = 0; s < step.size(); ++s)
      totals[s] += step[s];
  Batch batch(totals, pasts, kLayers, model.c.kvHeads, model.c.block, 7);
  model.reset(batch);
  Reference reference(model);
  for (size_t i = 0; i < counts.size(); ++i) {
    batch.SetTokens(counts[i], pasts);
    std::vector<float> qkv =
        Random(size_t(batch.tokens()) * model.columns(), 20 + i);
    std::vector<float> lse, out = model.step(qkv, batch, 2, &lse);
    ref::Attended want = reference.step(qkv, batch);
    expectNear(out, want.output, model.format.tolerance);
    expectNear(lse, want.lse, model.format.lseTolerance);
    for (size_t s = 0; s < pasts.size(); ++s)
      pasts[s] += counts[i][s];
  }
}

// The same sequence alone in one step, by 1 and 3 workers, and in chunks beside
// another one.
using Chunks = std::vector<std::pair<int, int>>; // of the sequence, the other
const Chunks kChunks = {{1, 9}, {37, 0}, {33, 50}, {1, 1}, {28, 3}};

void checkExact(Attention &model, const Chunks &chunks) {
  const int columns = model.columns();
  int length = 0, otherLength = 0;
  for (auto [count, otherCount] : chunks) {
    length += count;
    otherLength += otherCount;
  }
  std::vector<float> qkv = Random(size_t(length) * columns, 31);
  Batch alone({length}, {0}, kLayers, model.c.kvHeads, model.c.block, 3);
  model.reset(alone);
  std::vector<float> whole = model.step(qkv, alone, 1);
  model.reset(alone);
  EXPECT_EQ(whole, model.step(qkv, alone, 3)) << "workers";

  std::vector<float> other = Random(size_t(otherLength) * columns, 32);
  Batch both({otherLength, length}, {0, 0}, kLayers, model.c.kvHeads,
             model.c.block, 5);
  model.reset(both);
  std::vector<float> chunked;
  int past = 0, otherPast = 0;
  for (auto [count, otherCount] : chunks) {
    both.SetTokens({otherCount, count}, {otherPast, past});
    std::vector<float> input = rows(other, otherPast, otherCount, columns);
    append(input, rows(qkv, past, count, columns));
    append(chunked, rows(model.step(input, both, 2), otherCount, count,
                         model.outColumns()));
    past += count;
    otherPast += otherCount;
  }
  EXPECT_EQ(whole, chunked) << "chunks";
}

const Case kCases[] = {
    {.heads = 9, .kvHeads = 3, .headDim = 64, .block = 128, .rotaryDims = 64},
    {.heads = 1, .kvHeads = 1, .headDim = 20, .block = 16, .rotaryDims = 20},
    {.heads = 6, .kvHeads = 3, .headDim = 80, .block = 32, .window = 33},
    {.heads = 7,
     .kvHeads = 1,
     .headDim = 96,
     .block = 64,
     .rotaryDims = 24,
     .norm = true},
    {.heads = 4,
     .kvHeads = 2,
     .headDim = 128,
     .block = 256,
     .window = 1,
     .rotaryDims = 128,
     .norm = true},
    {.heads = 3, .kvHeads = 3, .headDim = 15, .block = 16, .norm = true},
    // Chunks of 48 keys end inside what kSteps takes at once, of 16 twice;
    // queries are scaled from the first on, from the 91st, and never.
    {.heads = 6,
     .kvHeads = 2,
     .headDim = 64,
     .block = 16,
     .rotaryDims = 64,
     .norm = true,
     .chunk = 72,
     .local = 24,
     .original = 1},
    {.heads = 5,
     .kvHeads = 1,
     .headDim = 80,
     .block = 16,
     .window = 77,
     .rotaryDims = 80,
     .chunk = 24,
     .local = 8,
     .original = 90},
    {.heads = 6,
     .kvHeads = 3,
     .headDim = 96,
     .block = 32,
     .rotaryDims = 96,
     .chunk = 40,
     .local = 8},
};

TEST(Attention, AgreesWithTheReferenceOnRaggedBatches) {
  for (const std::string &target : RunnableTargets())
    for (const Case &c : kCases)
      for (const Format &format : {kFormats[0], kFormats[1]}) {
        SCOPED_TRACE(target + " " + format.name + " " + name(c));
        Attention model(c, format, target);
        checkAgainstReference(model, kSteps);
        checkExact(model, kChunks);
      }
}

// One draw of a shape, and of lengths around the edges of tiles, pages and
// segments (256 keys).
class Draw {
public:
  explicit Draw(uint32_t seed) : random(seed) {}

  int upTo(int most) { return int(random() % uint32_t(most)) + 1; }
  bool coin() { return random() % 2 == 0; }
  template <typename T> T of(std::initializer_list<T> choices) {
    return choices.begin()[random() % choices.size()];
  }

  Case shape() {
    Case c;
    c.kvHeads = upTo(3);
    c.heads = c.kvHeads * upTo(8);
    c.headDim = coin() ? of({64, 80, 96, 128}) : upTo(100);
    c.block = 16 << random() % 6;
    c.window = coin() ? 0 : upTo(400);
    c.rotaryDims = coin() ? 0 : c.headDim / 2 / upTo(3) * 2;
    c.norm = coin();
    if (c.rotaryDims && coin()) {
      c.local = upTo(200);
      c.chunk = c.local + c.block * upTo(5);
      c.original = coin() ? upTo(600) : 0;
    }
    return c;
  }
  int length() {
    return std::max(1, of({1, 16, 64, 128, 256, 320}) + upTo(9) - 5);
  }
  Steps steps() {
    Steps steps(size_t(upTo(2)) + 1, std::vector<int>(size_t(upTo(3))));
    for (std::vector<int> &step : steps)
      for (int &count : step)
        count = coin() ? 1 : length();
    return steps;
  }
  Chunks chunks() {
    Chunks chunks;
    for (int i = 0; i < 4; ++i)
      chunks.push_back({coin() ? upTo(3) : length(), coin() ? 0 : length()});
    return chunks;
  }

private:
  std::mt19937 random;
};

TEST(Attention, AgreesWithTheReferenceOnRandomShapes) {
  const std::vector<std::string> targets = RunnableTargets();
  uint32_t seed = 1;
  for (int round = 0; round < 2; ++round)
    for (const Format &format : kFormats) {
      const std::string &target = targets[seed % targets.size()];
      Draw draw(seed);
      const Case c = draw.shape();
      SCOPED_TRACE("seed " + std::to_string(seed) + ": " + target + " " +
                   format.name + " " + name(c));
      Attention model(c, format, target);
      checkAgainstReference(model, draw.steps());
      checkExact(model, draw.chunks());
      ++seed;
    }
}

// Several workers fold a deep sequence's segments in turn; a token that is
// decoded has the bits that it had in one step over all.
TEST(Attention, FoldsSegmentsInOrder) {
  const Case c{.heads = 3, .kvHeads = 1, .headDim = 16, .block = 32};
  for (const Format &format : kFormats) {
    SCOPED_TRACE(format.name);
    Attention model(c, format, RunnableTargets().back());
    Chunks chunks(30, {1, 0});
    chunks.insert(chunks.begin(), {1500, 0});
    checkExact(model, chunks);
  }
}

// Below chunk - local, dual chunk attention is attention, bit for bit.
TEST(Attention, FirstChunkIsPlain) {
  const Case plain{
      .heads = 6, .kvHeads = 2, .headDim = 64, .block = 32, .rotaryDims = 64};
  Case dual = plain;
  dual.chunk = 400;
  dual.local = 80; // 320 keys
  dual.original = 320;
  for (const Format &format : kFormats) {
    SCOPED_TRACE(format.name);
    Batch batch({320}, {0}, kLayers, plain.kvHeads, plain.block, 3);
    std::vector<std::vector<float>> outputs;
    for (const Case &c : {plain, dual}) {
      Attention model(c, format, RunnableTargets().back());
      model.reset(batch);
      outputs.push_back(
          model.step(Random(320u * model.columns(), 5), batch, 2));
    }
    EXPECT_EQ(outputs[0], outputs[1]);
  }
}

// A NaN or an infinity in a value shows in what sees it.
TEST(Attention, ShowsWhatIsNotFinite) {
  const Case c{.heads = 2, .kvHeads = 1, .headDim = 16, .block = 16};
  for (const Format &format : kFormats)
    for (float bad : {float(NAN), float(INFINITY)}) {
      SCOPED_TRACE(std::string(format.name) + " " + std::to_string(bad));
      Attention model(c, format, RunnableTargets().back());
      Batch batch({40}, {0}, kLayers, c.kvHeads, c.block, 3);
      model.reset(batch);
      std::vector<float> qkv = Random(40u * model.columns(), 5);
      qkv[20u * model.columns() + (c.heads + c.kvHeads) * c.headDim] = bad;
      std::vector<float> out = model.step(qkv, batch, 1);
      for (int t = 20; t < 40; ++t)
        EXPECT_FALSE(std::isfinite(out[size_t(t) * model.outColumns()]))
            << "token " << t;
    }
}

} // namespace
} // namespace stele::test
