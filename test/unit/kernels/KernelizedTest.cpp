// kernelized_attention over shuffled pages and states against the plain
// reference: for shapes of models, seeded random ones, and keys so long that
// most features vanish. Bit for bit against itself under other workers and
// company, and in chunks of whole blocks; in any others, as near as rounding
// lets it be.
#include "AttentionModel.h"
#include "stele/schema/kernel_state.h"

// A namespace of its own, for a case, a model and a reference of its own.
namespace stele::test::kernelized {
namespace {

constexpr int kBlockTokens = 32; // of the kernel

struct Case {
  int heads, kvHeads, headDim, block, features;
  int rotaryDims = 0; // 0: none
  bool norm = false;
  // Standard deviation of queries and keys; keys of different tokens are up to
  // `spread` times as long as each other.
  float size = 1, spread = 1;
};

// What pages store, with the error of outputs, relative to the largest value,
// and of log-sum-exps that rounding keys and values may cost by itself.
struct Format {
  const char *name;
  bool bf16;
  schema::KvElement kv;
  double tolerance;
};

constexpr Format kFormats[] = {
    {"f32", false, schema::KvElement::kF32, 0},
    {"bf16", true, schema::KvElement::kBf16, 3e-2},
    {"f32 over f16", false, schema::KvElement::kF16, 3e-3},
    {"bf16 over int8", true, schema::KvElement::kInt8, 6e-2},
};

// Of f32 arithmetic: an exponent of so many units of e is off by some of its
// last places, and with it the features.
constexpr double kTolerance = 3e-6, kExponentTolerance = 2e-7;

std::string name(const Case &c) {
  return std::to_string(c.heads) + "/" + std::to_string(c.kvHeads) +
         " heads of " + std::to_string(c.headDim) + ", " +
         std::to_string(c.features) + " features, block " +
         std::to_string(c.block) + ", size " + std::to_string(c.size);
}

// A model's attention: kernels, weights, a cache and states.
class Attention {
public:
  Attention(const Case &c, const Format &format, const std::string &target)
      : c(c), format(format), qNorm(Random(c.headDim, 11)),
        kNorm(Random(c.headDim, 12)),
        features(Random(size_t(c.features) * c.headDim, 13)),
        frequencies(ref::ropeFrequencies(1e4, std::max(c.rotaryDims, 2))),
        packed(Pack("panel_f32", false, features, c.features, c.headDim)),
        rotary({"rotary_table",
                {{"rotary_dims", c.rotaryDims},
                 {"chunk", 0},
                 {"chunk_keys", 0},
                 {"estimate", 0}},
                {{"factor", 1.0}}},
               target),
        append(appendInstance(c, shared("kv_append")), target),
        attend(attendInstance(), target) {}

  int columns() const { return (c.heads + 2 * c.kvHeads) * c.headDim; }
  int outColumns() const { return c.heads * c.headDim; }
  size_t stateBytes() const {
    return schema::KernelStateBytes(c.features, c.headDim);
  }

  // Nothing cached, and states that say they are empty: all else is full of
  // NaNs, as memory may be.
  void reset(const Batch &batch) {
    cache.assign(batch.pages() *
                     schema::KvPageBytes(format.kv, c.block, c.headDim),
                 char(0xff));
    const int each = kLayers * c.kvHeads;
    firstStates.clear();
    for (int s = batch.view().sequences; s-- > 0;)
      firstStates.push_back(s * each);
    states.assign(firstStates.size() * each * stateBytes(), char(0xff));
    for (size_t at = 0; at < states.size(); at += stateBytes())
      std::memset(&states[at], 0, schema::kKernelStateHeaderBytes);
  }

  // Rows of q, k and v side by side. Those of tokens from `first` on: a
  // sequence's do not depend on how it is cut.
  std::vector<float> inputs(int first, int count, uint32_t seed) const {
    std::vector<float> rows;
    for (int t = first; t < first + count; ++t) {
      std::vector<float> row = Random(columns(), seed * 1000 + t, c.size);
      const float length = std::pow(c.spread, -float(t * 7 % 5) / 4);
      for (int i = 0; i < c.kvHeads * c.headDim; ++i)
        row[c.heads * c.headDim + i] *= length;
      rows.insert(rows.end(), row.begin(), row.end());
    }
    return rows;
  }

  // One step.
  std::vector<float> step(const std::vector<float> &qkv, const Batch &batch,
                          int workers, std::vector<float> *lse = nullptr) {
    std::vector<float> x = qkv, table(batch.tokens() * c.rotaryDims + 1);
    SteleBatch view = batch.view();
    view.states = firstStates.data();
    if (c.rotaryDims)
      rotary.Run({frequencies.data(), table.data()}, {}, view, workers);
    append.Run(bindHeads(c, {x.data(), x.data()}, table, kNorm, {cache.data()}),
               {kLayer}, view, workers);
    std::vector<float> out(size_t(batch.tokens()) * outColumns(), NAN);
    std::vector<float> sums(size_t(batch.tokens()) * c.heads, NAN);
    attend.Run(bindHeads(c, {x.data()}, table, qNorm,
                         {packed.data(), cache.data(), states.data(),
                          out.data(), sums.data()}),
               {kLayer}, view, workers);
    if (lse)
      *lse = sums;
    return out;
  }

  const Case c;
  const Format format;
  std::vector<float> qNorm, kNorm, features, frequencies;

private:
  KernelInstance shared(const char *templateName) {
    KernelInstance instance;
    instance.templateName =
        templateName + std::string(format.bf16 ? "_bf16" : "_f32");
    instance.ints = {{"kv_heads", c.kvHeads},
                     {"head_dim", c.headDim},
                     {"block", c.block},
                     {"rotary", c.rotaryDims > 0},
                     {"norm", c.norm},
                     {"rotary_dims", c.rotaryDims},
                     {"parts", 1},
                     {"kv", static_cast<int>(format.kv)}};
    instance.floats = {{"eps", kEps}};
    return instance;
  }
  KernelInstance attendInstance() {
    KernelInstance instance = shared("kernelized_attention");
    instance.ints["heads"] = c.heads;
    instance.ints["features"] = c.features;
    instance.ints["q_offset"] = 0;
    instance.ints["q_stride"] = columns();
    instance.ints["lse"] = 1;
    instance.floats["scale"] = 1 / std::sqrt(double(c.headDim));
    return instance;
  }

  std::vector<char> packed, cache, states;
  std::vector<int32_t> firstStates;
  Kernel rotary, append, attend;
};

// The reference, fed step by step as the kernels are.
class Reference {
public:
  explicit Reference(const Attention &model)
      : model(model), features(toMatrix(model.features, model.c.headDim)) {
    cache.heads = model.c.kvHeads;
    cache.headDim = model.c.headDim;
  }

  ref::Attended step(const std::vector<float> &qkv, const Batch &batch) {
    const Case &c = model.c;
    ref::Matrix x = toMatrix(qkv, model.columns());
    ref::AppendOptions options;
    ref::Queries queries;
    if (c.rotaryDims)
      options.rope = queries.rope = ref::Rope{model.frequencies, 1.0, {}};
    if (c.norm) {
      options.norm = norm(model.kNorm);
      queries.norm = norm(model.qNorm);
    }
    options.layer = queries.layer = kLayer;
    options.keyOffset = c.heads * c.headDim;
    options.valueOffset = (c.heads + c.kvHeads) * c.headDim;
    ref::kvAppend(cache, x, x, plain(batch), options);
    queries.query = x;
    queries.heads = c.heads;
    queries.scale = 1 / std::sqrt(double(c.headDim));
    return ref::kernelizedAttention(queries, cache, plain(batch), state,
                                    features);
  }

private:
  const Attention &model;
  ref::Matrix features;
  ref::Cache cache;
  ref::KernelState state;
};

// What exponents are off by: half the square of the longest key or query, in
// units of e, has that many last places.
double exponentError(const Attention &model, const std::vector<float> &qkv) {
  const Case &c = model.c;
  double largest = 0;
  for (size_t head = 0; head < qkv.size() / c.headDim; ++head) {
    if (int(head % (c.heads + 2 * c.kvHeads)) >= c.heads + c.kvHeads)
      continue; // a value
    double square = 0;
    for (int i = 0; i < c.headDim; ++i)
      square += std::pow(double(qkv[head * c.headDim + i]), 2);
    largest = std::max(largest, square / std::sqrt(double(c.headDim)) / 2);
  }
  return kExponentTolerance * largest;
}

void expectNear(const std::vector<float> &got, const ref::Matrix &want,
                double tolerance) {
  ASSERT_EQ(got.size(), want.values.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want.values[i], tolerance) << "element " << i;
}

double largestOf(const std::vector<double> &values) {
  double largest = 0;
  for (double value : values)
    largest = std::max(largest, std::abs(value));
  return largest;
}

// Chunked prefill of two sequences beside one that decodes, then two decode
// steps of all three.
const Steps kSteps = {{70, 45, 1}, {30, 1, 1}, {1, 1, 1}, {1, 1, 1}};

void checkAgainstReference(Attention &model, const Steps &counts) {
  std::vector<int> pasts(counts[0].size()), totals(counts[0].size());
  for (const std::vector<int> &step : counts)
    for (size_t s = 0; s < step.size(); ++s)
      totals[s] += step[s];
  Batch batch(totals, pasts, kLayers, model.c.kvHeads, model.c.block, 7);
  model.reset(batch);
  Reference reference(model);
  for (const std::vector<int> &step : counts) {
    batch.SetTokens(step, pasts);
    std::vector<float> qkv;
    for (size_t s = 0; s < step.size(); ++s) {
      const std::vector<float> rows =
          model.inputs(pasts[s], step[s], uint32_t(s));
      qkv.insert(qkv.end(), rows.begin(), rows.end());
    }
    std::vector<float> lse, out = model.step(qkv, batch, 2, &lse);
    ref::Attended want = reference.step(qkv, batch);
    const double tolerance =
        model.format.tolerance + kTolerance + exponentError(model, qkv);
    expectNear(out, want.output, tolerance * largestOf(want.output.values));
    expectNear(lse, want.lse, tolerance * (1 + largestOf(want.lse.values)));
    for (size_t s = 0; s < pasts.size(); ++s)
      pasts[s] += step[s];
  }
}

// One sequence in chunks, beside another one that takes as many tokens as
// `company` says.
std::vector<float> inChunks(Attention &model, const std::vector<int> &chunks,
                            int company, int workers) {
  int length = 0;
  for (int chunk : chunks)
    length += chunk;
  const int others = company * int(chunks.size());
  Batch batch({others, length}, {0, 0}, kLayers, model.c.kvHeads, model.c.block,
              5);
  model.reset(batch);
  std::vector<float> all;
  int past = 0, otherPast = 0;
  for (int chunk : chunks) {
    batch.SetTokens({company, chunk}, {otherPast, past});
    std::vector<float> qkv = model.inputs(otherPast, company, 1);
    const std::vector<float> rows = model.inputs(past, chunk, 2);
    qkv.insert(qkv.end(), rows.begin(), rows.end());
    const std::vector<float> out = model.step(qkv, batch, workers);
    all.insert(all.end(), out.begin() + size_t(company) * model.outColumns(),
               out.end());
    past += chunk;
    otherPast += company;
  }
  return all;
}

// Without company, in one step of one worker, and otherwise.
void checkChunks(Attention &model) {
  constexpr int kLength = 4 * kBlockTokens + 9;
  const std::vector<float> whole = inChunks(model, {kLength}, 0, 1);
  EXPECT_EQ(inChunks(model, {kLength}, 0, 3), whole) << "workers";
  EXPECT_EQ(inChunks(model, {kLength}, 40, 2), whole) << "company";
  EXPECT_EQ(
      inChunks(model,
               {2 * kBlockTokens, kBlockTokens, kLength - 3 * kBlockTokens}, 3,
               2),
      whole)
      << "chunks of whole blocks";
  std::vector<int> small = {1, 1, 5, 43, 1, 30};
  small.resize(small.size() + size_t(kLength - 81), 1);
  const std::vector<float> chunked = inChunks(model, small, 1, 2);
  ASSERT_EQ(chunked.size(), whole.size());
  const double tolerance =
      kTolerance + exponentError(model, model.inputs(0, kLength, 2));
  const double largest =
      largestOf(std::vector<double>(whole.begin(), whole.end()));
  for (size_t i = 0; i < whole.size(); ++i)
    ASSERT_NEAR(chunked[i], whole[i], 2 * tolerance * largest)
        << "element " << i;
}

const Case kCases[] = {
    {.heads = 9,
     .kvHeads = 3,
     .headDim = 64,
     .block = 128,
     .features = 256,
     .rotaryDims = 64},
    {.heads = 1, .kvHeads = 1, .headDim = 20, .block = 16, .features = 1},
    {.heads = 6, .kvHeads = 3, .headDim = 80, .block = 32, .features = 100},
    {.heads = 7,
     .kvHeads = 1,
     .headDim = 96,
     .block = 64,
     .features = 33,
     .rotaryDims = 24,
     .norm = true},
    {.heads = 3,
     .kvHeads = 3,
     .headDim = 15,
     .block = 16,
     .features = 16,
     .norm = true},
};

TEST(Kernelized, AgreesWithTheReferenceOnRaggedBatches) {
  for (const std::string &target : RunnableTargets())
    for (const Case &c : kCases)
      for (const Format &format : {kFormats[0], kFormats[1]}) {
        SCOPED_TRACE(target + " " + format.name + " " + name(c));
        Attention model(c, format, target);
        checkAgainstReference(model, kSteps);
        checkChunks(model);
      }
}

TEST(Kernelized, AgreesWithTheReferenceOnRandomShapes) {
  const std::vector<std::string> targets = RunnableTargets();
  for (uint32_t seed = 1; seed <= 12; ++seed) {
    std::mt19937 random(seed);
    const auto upTo = [&](int most) {
      return int(random() % uint32_t(most)) + 1;
    };
    Case c;
    c.kvHeads = upTo(3);
    c.heads = c.kvHeads * upTo(8);
    const int dims[] = {64, 80, 96, 128, upTo(100), upTo(100)};
    c.headDim = dims[random() % 6];
    c.block = 16 << random() % 6;
    c.features = upTo(300);
    c.rotaryDims = random() % 2 ? 0 : c.headDim / 2 / upTo(3) * 2;
    c.norm = random() % 2;
    const Format &format = kFormats[seed % 4];
    const std::string &target = targets[seed % targets.size()];
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + target + " " +
                 format.name + " " + name(c));
    Attention model(c, format, target);
    Steps steps(3, std::vector<int>(size_t(upTo(3))));
    for (std::vector<int> &step : steps)
      for (int &count : step)
        count = random() % 2 ? 1 : upTo(100);
    checkAgainstReference(model, steps);
    checkChunks(model);
  }
}

// |x|^2 / 2 of hundreds, keys of very different lengths in one block: relative
// to the largest feature, all that an earlier query meets is below what f32
// holds.
TEST(Kernelized, KeepsFeaturesThatVanishBesideOthers) {
  for (const std::string &target : RunnableTargets())
    for (float size : {3.0f, 8.0f}) {
      const Case c{.heads = 4,
                   .kvHeads = 2,
                   .headDim = 64,
                   .block = 32,
                   .features = 64,
                   .size = size,
                   .spread = 20};
      SCOPED_TRACE(target + " " + name(c));
      Attention model(c, kFormats[0], target);
      checkAgainstReference(model, kSteps);
      checkChunks(model);
    }
}

// A NaN or an infinity in a key or value shows in what sees it, and nowhere
// before.
TEST(Kernelized, ShowsWhatIsNotFinite) {
  const Case c{
      .heads = 1, .kvHeads = 1, .headDim = 16, .block = 16, .features = 20};
  for (int column : {c.heads * c.headDim, (c.heads + c.kvHeads) * c.headDim})
    for (float bad : {float(NAN), float(INFINITY)}) {
      SCOPED_TRACE("column " + std::to_string(column) + ": " +
                   std::to_string(bad));
      Attention model(c, kFormats[0], RunnableTargets().back());
      Batch batch({70}, {0}, kLayers, c.kvHeads, c.block, 3);
      model.reset(batch);
      std::vector<float> qkv = model.inputs(0, 70, 5);
      qkv[40u * model.columns() + column] = bad;
      const std::vector<float> out = model.step(qkv, batch, 1);
      for (int t = 0; t < 32; ++t)
        EXPECT_TRUE(std::isfinite(out[size_t(t) * model.outColumns()]))
            << "token " << t;
      for (int t = 40; t < 70; ++t)
        EXPECT_FALSE(std::isfinite(out[size_t(t) * model.outColumns()]))
            << "token " << t;
    }
}

} // namespace
} // namespace stele::test::kernelized
