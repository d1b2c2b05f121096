// embed, rms_norm, rotary_table, rope, glu and add against the plain reference,
// with widths that leave tails and rows that leave workers without any.
#include <cmath>

#include "Harness.h"
#include "Quantised.h"
#include "stele/dialects/Lm/reference/Reference.h"
#include "gmock/gmock.h"

namespace stele::test {
namespace {

namespace ref = lm::reference;

ref::Matrix toMatrix(const std::vector<float> &values, int64_t columns) {
  ref::Matrix matrix(values.size() / columns, columns);
  matrix.values.assign(values.begin(), values.end());
  return matrix;
}

void expectNear(const std::vector<float> &got, const ref::Matrix &want,
                double tolerance) {
  ASSERT_EQ(got.size(), want.values.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want.values[i], tolerance) << "element " << i;
}

// Runs a kernel over `tokens` rows by 1, 2 and 3 workers; all must agree.
std::vector<float> runAll(const KernelInstance &instance,
                          const std::string &target, std::vector<void *> inputs,
                          const SteleBatch &batch, size_t outputs) {
  Kernel kernel(instance, target);
  std::vector<float> first;
  for (int workers : {1, 2, 3}) {
    std::vector<float> out(outputs, NAN);
    std::vector<void *> bindings = inputs;
    bindings.push_back(out.data());
    kernel.Run(bindings, {}, batch, workers);
    if (workers == 1)
      first = out;
    EXPECT_EQ(first, out) << workers << " workers";
  }
  return first;
}

class Tokenwise : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Targets, Tokenwise,
                         testing::ValuesIn(RunnableTargets()),
                         [](const auto &info) {
                           std::string name = info.param;
                           for (char &c : name)
                             c = c == '-' ? '_' : c;
                           return name;
                         });

// A number in [1, most].
int OneTo(int most, std::mt19937 &random) { return 1 + int(random() % most); }

// Random tokens of a vocabulary, the first and the last among them.
Batch RandomTokens(int vocab, std::mt19937 &random) {
  int count = OneTo(40, random) + 1;
  Batch batch({count}, {0}, 1, 1, 16, 1);
  for (int32_t &id : batch.token_ids)
    id = int32_t(random() % vocab);
  batch.token_ids.front() = 0;
  batch.token_ids.back() = vocab - 1;
  batch.Refresh();
  return batch;
}

TEST_P(Tokenwise, Embed) {
  for (uint32_t seed = 0; seed < 8; ++seed) {
    std::mt19937 random(seed);
    int vocab = OneTo(90, random), hidden = OneTo(300, random);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + std::to_string(vocab) +
                 " x " + std::to_string(hidden));
    std::vector<float> table = Random(size_t(vocab) * hidden, seed);
    RoundBf16(table);
    Batch batch = RandomTokens(vocab, random);
    ref::Matrix want = ref::embed(batch.token_ids, toMatrix(table, hidden));
    bool bf16 = seed % 2, panels = seed / 2 % 2;
    std::vector<char> packed = Pack(!panels ? "rows"
                                    : bf16  ? "panel_bf16"
                                            : "panel_f32",
                                    bf16, table, vocab, hidden);
    KernelInstance instance{
        "embed", {{"hidden", hidden}, {"bf16", bf16}, {"packed", panels}}, {}};
    expectNear(runAll(instance, GetParam(), {packed.data()}, batch.view(),
                      want.values.size()),
               want, 0);
  }
}

TEST_P(Tokenwise, EmbedQuantised) {
  for (uint32_t seed = 0; seed < 8; ++seed) {
    std::mt19937 random(seed);
    int vocab = OneTo(90, random), hidden = OneTo(600, random);
    schema::QuantFormat format = RandomFormat(random);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + std::to_string(vocab) +
                 " x " + std::to_string(hidden) + " " + Name(format));
    QuantisedMatrix table(format, vocab, hidden, random);
    std::vector<char> packed = table.Pack(false);
    Batch batch = RandomTokens(vocab, random);
    KernelInstance instance{
        "embed_q",
        {{"hidden", hidden},
         {"bits", format.bits},
         {"group", format.group},
         {"scale_f32", format.scale == schema::QuantFormat::Real::kF32},
         {"offset", int(format.offset)}},
        {}};
    std::vector<float> out =
        runAll(instance, GetParam(), {packed.data()}, batch.view(),
               size_t(batch.tokens()) * hidden);
    // The exact value, rounded once.
    for (int t = 0; t < batch.tokens(); ++t)
      for (int i = 0; i < hidden; ++i)
        ASSERT_EQ(out[size_t(t) * hidden + i],
                  float(table.Value(batch.token_ids[t], i)))
            << "token " << batch.token_ids[t] << ", column " << i;
  }
}

TEST_P(Tokenwise, RmsNorm) {
  for (uint32_t seed = 0; seed < 8; ++seed) {
    std::mt19937 random(seed);
    int width = OneTo(300, random), groups = OneTo(4, random);
    int tokens = OneTo(30, random);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " +
                 std::to_string(tokens) + " x " + std::to_string(groups) +
                 " x " + std::to_string(width));
    std::vector<float> x = Random(size_t(tokens) * groups * width, seed),
                       weight = Random(width, seed + 1);
    Batch batch({tokens}, {0}, 1, 1, 16, 1);
    KernelInstance instance{
        "rms_norm", {{"width", width}, {"groups", groups}}, {{"eps", 1e-5}}};
    expectNear(runAll(instance, GetParam(), {x.data(), weight.data()},
                      batch.view(), x.size()),
               ref::rmsNorm(toMatrix(x, groups * width),
                            {{weight.begin(), weight.end()}, 1e-5}, groups),
               5e-6);
  }
}

TEST_P(Tokenwise, RotaryTable) {
  ref::Rope rope{ref::ropeFrequencies(1e4, 10), 1.25, {}};
  Batch batch({4}, {0}, 1, 1, 16, 1);
  // Angles up to a million radians, the first frequency being 1.
  batch.positions = {0, 1, 4095, 1000003};
  batch.Refresh();
  KernelInstance instance{
      "rotary_table",
      {{"rotary_dims", 10}, {"chunk", 0}, {"chunk_keys", 0}, {"estimate", 0}},
      {{"factor", 1.25}}};
  ref::Batch plain;
  plain.position.assign(batch.positions.begin(), batch.positions.end());
  plain.sequence.assign(4, 0);
  expectNear(
      runAll(instance, GetParam(), {rope.frequencies.data()}, batch.view(), 40),
      ref::rotaryTable(plain, rope), 2e-7);

  rope.dualChunk = ref::DualChunk{3000, 1000, 5}; // around ends of its chunks
  batch.positions = {0, 1999, 4000, 999};
  batch.Refresh();
  plain.position.assign(batch.positions.begin(), batch.positions.end());
  instance.ints["chunk"] = 3000;
  instance.ints["chunk_keys"] = 2000;
  expectNear(runAll(instance, GetParam(), {rope.frequencies.data()},
                    batch.view(), 120),
             ref::rotaryTable(plain, rope), 2e-7);
  instance.ints["estimate"] = 1;
  expectNear(runAll(instance, GetParam(), {rope.frequencies.data()},
                    batch.view(), 120),
             ref::rotaryTable(plain, rope, /*estimate=*/true), 2e-7);
}

TEST_P(Tokenwise, Rope) {
  const int heads = 3, headDim = 14, dims = 10;
  ref::Rope rope{ref::ropeFrequencies(1e4, dims), 1.0, {}};
  Batch batch({5}, {90}, 1, 1, 16, 1);
  ref::Batch plain;
  plain.position.assign(batch.positions.begin(), batch.positions.end());
  plain.sequence.assign(5, 0);
  rope.dualChunk = ref::DualChunk{96, 4, 5}; // c = 92
  ref::Matrix exact = ref::rotaryTable(plain, rope);
  std::vector<float> table(exact.values.begin(), exact.values.end());
  std::vector<float> x = Random(5 * heads * headDim, 1);
  KernelInstance instance{"rope",
                          {{"heads", heads},
                           {"head_dim", headDim},
                           {"rotary_dims", dims},
                           {"parts", 3}},
                          {}};
  expectNear(runAll(instance, GetParam(), {x.data(), table.data()},
                    batch.view(), x.size()),
             ref::rope(toMatrix(x, heads * headDim), plain, heads, rope), 1e-6);
}

TEST_P(Tokenwise, Glu) {
  const int width = 23, tokens = 60;
  std::vector<float> gate = Random(tokens * width, 1, 6),
                     up = Random(tokens * width, 2);
  // Far tails, both signs.
  gate[0] = 90;
  gate[1] = -90;
  gate[2] = -200;
  gate[3] = 0;
  Batch batch({tokens}, {0}, 1, 1, 16, 1);
  for (int kind : {1, 2, 3}) {
    KernelInstance instance{"glu", {{"width", width}, {"glu", kind}}, {}};
    expectNear(runAll(instance, GetParam(), {gate.data(), up.data()},
                      batch.view(), gate.size()),
               ref::glu(toMatrix(gate, width), toMatrix(up, width),
                        static_cast<ref::Activation>(kind - 1)),
               2e-5);
  }
}

TEST_P(Tokenwise, Add) {
  std::vector<float> a = Random(7 * 13, 1), b = Random(7 * 13, 2);
  Batch batch({7}, {0}, 1, 1, 16, 1);
  KernelInstance instance{"add", {{"width", 13}}, {}};
  std::vector<float> out = runAll(instance, GetParam(), {a.data(), b.data()},
                                  batch.view(), a.size());
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(out[i], a[i] + b[i]);
}

} // namespace
} // namespace stele::test
