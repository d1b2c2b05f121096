// kv_append, block selection and attention over shuffled pages, as a model runs
// them, and the plain reference fed alike: what the tests of attention share.
#ifndef STELE_TEST_UNIT_KERNELS_ATTENTIONMODEL_H_
#define STELE_TEST_UNIT_KERNELS_ATTENTIONMODEL_H_

#include <cmath>
#include <cstring>
#include <optional>
#include <random>

#include "Harness.h"
#include "stele/dialects/Lm/reference/Reference.h"
#include "stele/schema/key_index.h"
#include "stele/schema/kv_page.h"
#include "gmock/gmock.h"

namespace stele::test {

namespace ref = lm::reference;

struct Case {
  int heads, kvHeads, headDim, block;
  int window = 0;
  int rotaryDims = 0; // 0: none
  bool norm = false;
  // Dual chunk attention; 0: without.
  int chunk = 0, local = 0, original = 0;

  // Block-sparse attention, its blocks the pages.
  std::optional<ref::BlockSparsity> sparsity = std::nullopt;
  int biasWidth = 0;
  bool reference = false; // the key index is about one
  bool hybrid = false;    // what is left out has a tail
  bool biases = false;    // by query head

  bool selects() const {
    return sparsity && sparsity->select != ref::BlockSparsity::None;
  }
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

inline std::string name(const Case &c) {
  return std::to_string(c.heads) + "/" + std::to_string(c.kvHeads) +
         " heads of " + std::to_string(c.headDim) + ", block " +
         std::to_string(c.block) + ", window " + std::to_string(c.window) +
         ", chunk " + std::to_string(c.chunk) + "/" + std::to_string(c.local) +
         (c.sparsity ? ", select " + std::to_string(c.sparsity->select) : "") +
         (c.reference ? ", about a reference" : "") +
         (c.hybrid ? ", hybrid" : "") + (c.biases ? ", biases" : "");
}

inline ref::Matrix toMatrix(const std::vector<float> &values, int64_t columns) {
  ref::Matrix matrix(values.size() / columns, columns);
  matrix.values.assign(values.begin(), values.end());
  return matrix;
}

// The bindings of a kernel whose heads may be rotated and normalised.
template <typename CaseT>
std::vector<void *>
bindHeads(const CaseT &c, std::vector<void *> first, std::vector<float> &table,
          std::vector<float> &norm, const std::vector<void *> &last) {
  if (c.rotaryDims)
    first.push_back(table.data());
  if (c.norm)
    first.push_back(norm.data());
  first.insert(first.end(), last.begin(), last.end());
  return first;
}

// kv_append for rows of q, k and v side by side; `instance` has what all
// kernels of the case have.
template <typename CaseT>
KernelInstance appendInstance(const CaseT &c, KernelInstance instance,
                              bool keyIndex = false, bool reference = false) {
  instance.ints["key_index"] = keyIndex;
  instance.ints["value_index"] = 0;
  instance.ints["reference"] = reference;
  instance.ints["key_offset"] = c.heads * c.headDim;
  instance.ints["value_offset"] = (c.heads + c.kvHeads) * c.headDim;
  instance.ints["key_stride"] = instance.ints["value_stride"] =
      (c.heads + 2 * c.kvHeads) * c.headDim;
  return instance;
}

inline ref::Batch plain(const Batch &batch) {
  ref::Batch result;
  result.sequence.assign(batch.sequence.begin(), batch.sequence.end());
  result.position.assign(batch.positions.begin(), batch.positions.end());
  return result;
}

inline ref::Norm norm(const std::vector<float> &weight) {
  return {{weight.begin(), weight.end()}, kEps};
}

// A model's attention: kernels, weights and a cache.
class Attention {
public:
  Attention(const Case &c, const Format &format, const std::string &target)
      : c(c), format(format), qNorm(Random(c.headDim, 11)),
        kNorm(Random(c.headDim, 12)),
        frequencies(ref::ropeFrequencies(1e4, std::max(c.rotaryDims, 2))),
        bias(Random(size_t(c.heads) * c.biasWidth, 13)),
        references(Random(size_t(c.kvHeads) * c.headDim, 14, 0.3f)),
        tailBiases(Random(c.heads, 15)), rotary(rotaryInstance(0), target),
        appendKernel(indexInstance(), target),
        attendKernel(attendInstance(), target) {
    if (!c.selects())
      return;
    estimateRotary.emplace(rotaryInstance(1), target);
    selectKernel.emplace(selectInstance(), target);
    if (!c.hybrid)
      return;
    tailBiases.back() = -INFINITY;
    tailKernel.emplace(tailInstance(), target);
  }

  int columns() const { return (c.heads + 2 * c.kvHeads) * c.headDim; }
  int outColumns() const { return c.heads * c.headDim; }

  // An empty cache for the batch's pages, and an index of their keys: full of
  // NaNs, as memory may be.
  void reset(const Batch &batch) {
    cache.assign(batch.pages() * format.pageBytes(c), char(0xff));
    const size_t bytes =
        kLayers * c.kvHeads *
        schema::KeyIndexRowBytes(batch.view().page_table_blocks, c.headDim,
                                 c.hybrid);
    indices.assign(batch.view().sequences, std::vector<char>(bytes, -1));
    indexPointers.clear();
    for (std::vector<char> &index : indices)
      indexPointers.push_back(index.data());
  }

  // One step over rows of q, k and v side by side.
  std::vector<float> step(const std::vector<float> &qkv, const Batch &batch,
                          int workers, std::vector<float> *lse = nullptr) {
    append(qkv, batch, workers);
    if (c.selects())
      select(qkv, batch, workers);
    if (!c.hybrid)
      return attend(qkv, batch, workers, lse);
    std::vector<float> sums, out = attend(qkv, batch, workers, &sums);
    addTail(qkv, batch, workers, &out, &sums);
    if (lse)
      *lse = sums;
    return out;
  }

  void append(std::vector<float> qkv, const Batch &batch, int workers) {
    std::vector<float> table = rotations(rotary, batch, workers);
    std::vector<void *> last{cache.data()};
    if (c.reference)
      last.insert(last.begin(), references.data());
    appendKernel.Run(bindHeads(c, {qkv.data(), qkv.data()}, table, kNorm, last),
                     {kLayer}, view(batch), workers);
  }

  // Leaves its choice in `selection`.
  void select(std::vector<float> qkv, const Batch &batch, int workers) {
    std::vector<float> table = rotations(*estimateRotary, batch, workers);
    selection.assign(size_t(batch.tokens()) * c.kvHeads * words(), 0xdeadbeef);
    std::vector<float> targets(c.sparsity->targets.begin(),
                               c.sparsity->targets.end());
    std::vector<void *> last{cache.data(), selection.data()};
    if (!targets.empty())
      last.insert(last.begin(), targets.data());
    selectKernel->Run(bindHeads(c, {qkv.data()}, table, qNorm, last), {kLayer},
                      view(batch), workers);
  }

  // Adds what it keeps to `work`, where that is given, for so many heads.
  std::vector<float> attend(std::vector<float> qkv, const Batch &batch,
                            int workers, std::vector<float> *lse = nullptr,
                            std::vector<SteleHeadWork> *work = nullptr,
                            int heads = 0) {
    std::vector<float> table = rotations(rotary, batch, workers);
    std::vector<float> out(size_t(batch.tokens()) * outColumns(), NAN);
    std::vector<float> sums(size_t(batch.tokens()) * c.heads, NAN);
    std::vector<void *> last{cache.data(), out.data(), sums.data()};
    if (c.biasWidth)
      last.insert(last.begin(), bias.data());
    if (c.selects())
      last.insert(last.begin(), selection.data());
    SteleBatch step = view(batch);
    step.heads = heads ? heads : c.heads;
    step.head_work = work ? work->data() : nullptr;
    attendKernel.Run(bindHeads(c, {qkv.data()}, table, qNorm, last), {kLayer},
                     step, workers);
    if (lse)
      *lse = sums;
    return out;
  }

  // Joins attention with the tail of the last `select`: in place, or through
  // other memory where there are biases.
  void addTail(std::vector<float> qkv, const Batch &batch, int workers,
               std::vector<float> *out, std::vector<float> *lse) {
    std::vector<float> table = rotations(rotary, batch, workers);
    std::vector<float> attended = *out, attendedLse = *lse;
    std::vector<void *> last{c.biases ? attended.data() : out->data(),
                             c.biases ? attendedLse.data() : lse->data(),
                             selection.data(),
                             cache.data(),
                             out->data(),
                             lse->data()};
    if (c.biases) {
      out->assign(out->size(), NAN);
      lse->assign(lse->size(), NAN);
      last.insert(last.begin(), tailBiases.data());
    }
    tailKernel->Run(bindHeads(c, {qkv.data()}, table, qNorm, last), {kLayer},
                    view(batch), workers);
  }

  // What the last `select` kept, in the reference's terms.
  ref::Selection kept(const Batch &batch) const {
    ref::Selection result{c.block, {}};
    for (int t = 0; t < batch.tokens(); ++t) {
      const int64_t s = batch.sequence[t], block = batch.positions[t] / c.block;
      for (int64_t g = 0; g < c.kvHeads; ++g) {
        auto [entry, isFirst] = result.kept.try_emplace({s, g, block});
        const uint32_t *bits = &selection[(t * c.kvHeads + g) * words()];
        for (int64_t b = 0; isFirst && b <= block; ++b)
          if (bits[b / 32] >> b % 32 & 1)
            entry->second.push_back(b);
      }
    }
    return result;
  }

  // Page `block` of a sequence and KV head of the layer.
  char *page(const Batch &batch, int s, int head, int block) {
    const SteleBatch &view = batch.view();
    const int row = kLayer * c.kvHeads + head;
    return cache.data() +
           format.pageBytes(c) *
               view.page_tables[s][row * view.page_table_blocks + block];
  }

  // A piece of a block's entry in the key index, likewise.
  const char *keyPiece(const Batch &batch, int s, int head, int block,
                       int piece) const {
    return indexRow(batch, s, head) +
           schema::KeyIndexPiece(block, c.headDim, piece);
  }
  // Its mean value.
  const char *meanValue(const Batch &batch, int s, int head, int block) const {
    return indexRow(batch, s, head) +
           schema::KeyIndexKeyBytes(batch.view().page_table_blocks, c.headDim) +
           block * schema::KeyIndexValueBytes(c.headDim);
  }

  const Case c;
  const Format format;
  std::vector<float> qNorm, kNorm, frequencies, bias;
  std::vector<float> references; // [kvHeads, headDim]
  std::vector<float> tailBiases; // [heads]
  std::vector<uint32_t> selection;
  float density = 0; // of every step; 0: as compiled

private:
  // Key blocks of the longest context.
  int blocks() const { return (4096 + c.block - 1) / c.block; }
  int words() const { return (blocks() + 31) / 32; }

  const char *indexRow(const Batch &batch, int s, int head) const {
    return indices[s].data() +
           (kLayer * c.kvHeads + head) *
               schema::KeyIndexRowBytes(batch.view().page_table_blocks,
                                        c.headDim, c.hybrid);
  }

  std::vector<float> rotations(const Kernel &kernel, const Batch &batch,
                               int workers) {
    std::vector<float> table(batch.tokens() * c.parts() * c.rotaryDims + 1);
    if (c.rotaryDims)
      kernel.Run({frequencies.data(), table.data()}, {}, batch.view(), workers);
    return table;
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
  KernelInstance indexInstance() {
    KernelInstance instance =
        appendInstance(c, shared("kv_append"), c.selects(), c.reference);
    instance.ints["value_index"] = c.hybrid;
    return instance;
  }
  KernelInstance rotaryInstance(int estimate) {
    return {"rotary_table",
            {{"rotary_dims", c.rotaryDims},
             {"chunk", c.chunk},
             {"chunk_keys", c.chunkKeys()},
             {"estimate", estimate}},
            {{"factor", 1.0}}};
  }
  KernelInstance queryInstance(const char *templateName) {
    KernelInstance instance = shared(templateName);
    instance.ints["heads"] = c.heads;
    instance.ints["q_offset"] = 0;
    instance.ints["q_stride"] = columns();
    instance.ints["chunk_keys"] = c.chunkKeys();
    instance.floats["original"] = c.original;
    instance.floats["scale"] = 1 / std::sqrt(double(c.headDim));
    if (!c.sparsity)
      return instance;
    instance.ints["blocks"] = blocks();
    instance.ints["select"] = c.sparsity->select;
    instance.ints["local"] = c.sparsity->local;
    instance.ints["adjacent"] = c.sparsity->adjacent;
    instance.ints["sink"] = c.sparsity->sink;
    instance.ints["dense"] = c.sparsity->dense;
    return instance;
  }
  KernelInstance selectInstance() {
    KernelInstance instance = queryInstance("select_blocks");
    instance.ints["value_index"] = c.hybrid;
    instance.ints["top_k"] = c.sparsity->topK;
    instance.ints["limit"] = c.sparsity->limit;
    instance.ints["targets"] = !c.sparsity->targets.empty();
    instance.floats["top_p"] = c.sparsity->topP;
    return instance;
  }
  KernelInstance tailInstance() {
    KernelInstance instance = queryInstance("tail_attention");
    instance.templateName = "tail_attention";
    for (const char *name :
         {"kv", "select", "local", "adjacent", "sink", "dense"})
      instance.ints.erase(name);
    instance.ints["value_index"] = 1;
    instance.ints["biases"] = c.biases;
    return instance;
  }
  KernelInstance attendInstance() {
    KernelInstance instance =
        queryInstance(c.sparsity ? "block_sparse" : "attention");
    instance.ints["lse"] = 1;
    if (c.sparsity)
      instance.ints["bias_width"] = c.biasWidth;
    else
      instance.ints["window"] = c.window;
    return instance;
  }

  SteleBatch view(const Batch &batch) const {
    SteleBatch view = batch.view();
    view.key_indices = indexPointers.data();
    view.density = density;
    return view;
  }

  std::vector<char> cache;
  std::vector<std::vector<char>> indices;
  std::vector<void *> indexPointers;
  Kernel rotary, appendKernel, attendKernel;
  std::optional<Kernel> estimateRotary, selectKernel, tailKernel;
};

// The reference, fed step by step as the kernels are.
class Reference {
public:
  explicit Reference(const Attention &model) : model(model) {
    cache.heads = model.c.kvHeads;
    cache.headDim = model.c.headDim;
  }

  // Sparse, over the blocks that the model has chosen.
  ref::Attended step(const std::vector<float> &qkv, const Batch &batch) {
    const Case &c = model.c;
    append(qkv, batch);
    if (c.selects()) {
      const ref::Selection selection = model.kept(batch);
      ref::Attended sparse =
          attendSparsely(qkv, batch, *c.sparsity, &selection);
      return c.hybrid ? addTail(qkv, batch, selection, sparse) : sparse;
    }
    if (c.sparsity)
      return attendSparsely(qkv, batch, *c.sparsity, nullptr);
    std::optional<int64_t> window;
    if (c.window)
      window = c.window;
    return ref::attention(queries(qkv), cache, plain(batch), window);
  }

  // Over all keys, biased like the sparse one. Appends nothing.
  ref::Attended attendAll(const std::vector<float> &qkv, const Batch &batch) {
    ref::BlockSparsity all;
    all.block = model.c.block;
    all.local = batch.view().page_table_blocks;
    return attendSparsely(qkv, batch, all, nullptr);
  }

  void append(const std::vector<float> &qkv, const Batch &batch) {
    const Case &c = model.c;
    ref::Matrix x = toMatrix(qkv, model.columns());
    ref::AppendOptions options;
    options.layer = kLayer;
    options.keyOffset = c.heads * c.headDim;
    options.valueOffset = (c.heads + c.kvHeads) * c.headDim;
    options.rope = rope();
    if (c.norm)
      options.norm = norm(model.kNorm);
    if (c.reference)
      options.reference = toMatrix(model.references, c.headDim);
    ref::kvAppend(cache, x, x, plain(batch), options);
  }

  // A block's entry in the key index.
  ref::BlockEntry entry(int s, int head, int block) const {
    const int64_t begin = int64_t(block) * model.c.block;
    return ref::blockEntry(cache, kLayer, s, head, begin,
                           begin + model.c.block);
  }

  // What it would choose itself.
  ref::Selection select(const std::vector<float> &qkv, const Batch &batch) {
    return ref::selectBlocks(queries(qkv), cache, plain(batch),
                             *model.c.sparsity);
  }

private:
  ref::Attended attendSparsely(const std::vector<float> &qkv,
                               const Batch &batch,
                               const ref::BlockSparsity &sparsity,
                               const ref::Selection *selection) {
    ref::Matrix bias;
    if (model.c.biasWidth)
      bias = toMatrix(model.bias, model.c.biasWidth);
    return ref::blockSparseAttention(queries(qkv), cache, plain(batch),
                                     sparsity, selection,
                                     model.c.biasWidth ? &bias : nullptr);
  }
  ref::Attended addTail(const std::vector<float> &qkv, const Batch &batch,
                        const ref::Selection &selection,
                        const ref::Attended &attended) {
    const ref::Vector biases(model.tailBiases.begin(), model.tailBiases.end());
    return ref::tailAttention(queries(qkv), cache, plain(batch), selection,
                              attended, model.c.biases ? &biases : nullptr);
  }
  std::optional<ref::Rope> rope() const {
    const Case &c = model.c;
    if (!c.rotaryDims)
      return {};
    ref::Rope result{model.frequencies, 1.0, {}};
    if (c.chunk)
      result.dualChunk = ref::DualChunk{c.chunk, c.local, c.original};
    return result;
  }
  ref::Queries queries(const std::vector<float> &qkv) const {
    const Case &c = model.c;
    ref::Queries result;
    result.query = toMatrix(qkv, model.columns());
    result.heads = c.heads;
    result.scale = 1 / std::sqrt(double(c.headDim));
    result.layer = kLayer;
    result.rope = rope();
    if (c.norm)
      result.norm = norm(model.qNorm);
    return result;
  }
  const Attention &model;
  ref::Cache cache;
};

inline void expectNear(const std::vector<float> &got, const ref::Matrix &want,
                       double tolerance, double least = 0) {
  ASSERT_EQ(got.size(), want.values.size());
  double largest = least;
  for (double value : want.values)
    largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want.values[i], tolerance * largest) << "element " << i;
}

inline std::vector<float> rows(const std::vector<float> &all, int first,
                               int count, int columns) {
  return {all.begin() + size_t(first) * columns,
          all.begin() + size_t(first + count) * columns};
}

inline void append(std::vector<float> &to, const std::vector<float> &more) {
  to.insert(to.end(), more.begin(), more.end());
}

// Tokens of each sequence in each step.
using Steps = std::vector<std::vector<int>>;

// Chunked prefill of two sequences beside one that decodes, then a decode step
// of all three.
const Steps kSteps = {{70, 45, 1}, {30, 1, 1}, {1, 1, 1}};

inline void checkAgainstReference(Attention &model, const Steps &counts) {
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
    // An error of a logarithm is one of a factor, however small it is.
    expectNear(lse, want.lse, model.format.lseTolerance, 1);
    for (size_t s = 0; s < pasts.size(); ++s)
      pasts[s] += counts[i][s];
  }
}

// The same sequence alone in one step, by 1 and 3 workers, and in chunks beside
// another one.
using Chunks = std::vector<std::pair<int, int>>; // of the sequence, the other
const Chunks kChunks = {{1, 9}, {37, 0}, {33, 50}, {1, 1}, {28, 3}};

inline void checkExact(Attention &model, const Chunks &chunks) {
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

} // namespace stele::test

#endif // STELE_TEST_UNIT_KERNELS_ATTENTIONMODEL_H_
