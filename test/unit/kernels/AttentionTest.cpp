// kv_append and attention over shuffled pages against the plain reference, and
// bit for bit against themselves under other workers, chunks and company: for
// shapes of models, and for seeded random ones.
#include "AttentionModel.h"

namespace stele::test {
namespace {

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
