// A plain reference of every lm operation: the numeric oracle of all kernels.
//
// Place on the road: beside it. Tests compare kernels, and whoever writes a new
// one, with these functions; nothing in the compiler or the runtime calls them.
// Everything is double, row-major and unhurried, and knows nothing of MLIR,
// pages, tiles or threads. Only two things are rounded as kernels round them:
// rotary frequencies and angles are f32, because their rounding is part of what
// checkpoints were trained with.
//
// T tokens of the step, H query heads, G KV heads, D head_dim.

#ifndef STELE_DIALECTS_LM_REFERENCE_REFERENCE_H
#define STELE_DIALECTS_LM_REFERENCE_REFERENCE_H

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

namespace stele::lm::reference {

/// A dense matrix; a vector where a single row or column is meant.
struct Matrix {
  Matrix() = default;
  Matrix(int64_t rows, int64_t columns, double fill = 0)
      : rows(rows), columns(columns), values(rows * columns, fill) {}
  double &operator()(int64_t r, int64_t c) { return values[r * columns + c]; }
  double operator()(int64_t r, int64_t c) const {
    return values[r * columns + c];
  }

  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<double> values; // [rows, columns]
};
using Vector = std::vector<double>;

/// The ragged batch of one step: which sequence each token belongs to, and its
/// absolute position there.
struct Batch {
  std::vector<int64_t> sequence;  // [T]
  std::vector<int64_t> position;  // [T]
  std::vector<int64_t> logitRows; // [L]
  int64_t tokens() const { return static_cast<int64_t>(position.size()); }
};

//===----------------------------------------------------------------------===//
// Token-wise operations
//===----------------------------------------------------------------------===//

struct Norm {
  Vector weight;
  double eps;
};

enum class Activation { Silu, Gelu, GeluTanh };
double activate(Activation kind, double x);

Matrix embed(const std::vector<int32_t> &tokens, const Matrix &table);

/// Every row is `groups` vectors, each normalised by itself.
Matrix rmsNorm(const Matrix &x, const Norm &norm, int64_t groups = 1);

/// The optional parts of lm.linear.
struct LinearParts {
  std::optional<Norm> norm;
  std::optional<Vector> bias;
  std::optional<Matrix> residual;
  std::optional<Activation> glu; // weight rows: all of gate, then all of up
};
Matrix linear(const Matrix &x, const Matrix &weight,
              const LinearParts &parts = {});

Matrix glu(const Matrix &gate, const Matrix &up, Activation kind);
Matrix add(const Matrix &a, const Matrix &b);
Matrix allReduce(const std::vector<Matrix> &ranks);
Matrix logits(const Matrix &x, const Batch &batch, const Matrix &weight,
              const LinearParts &parts = {});

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

/// How the frequencies follow from theta.
struct RopeScaling {
  enum Kind { None, Linear, Llama3, Yarn, Factors } kind = None;
  double factor = 1;
  double lowFreqFactor = 1, highFreqFactor = 4; // Llama3
  double original = 0;                          // Llama3, Yarn
  double betaFast = 32, betaSlow = 1;           // Yarn
  bool truncate = true;                         // Yarn
  std::vector<double> factors;                  // Factors
};
std::vector<float> ropeFrequencies(double theta, int64_t dims,
                                   const RopeScaling &scaling = {});

struct DualChunk {
  int64_t chunk, local;
  int64_t original; // beyond it queries are scaled; 0: never
  int64_t chunkKeys() const { return chunk - local; } // c
};

struct Rope {
  std::vector<float> frequencies; // [dims / 2]
  double attentionFactor = 1;     // YaRN's
  std::optional<DualChunk> dualChunk;
};

/// Where a query or key is rotated to. `estimate`: the unclamped positions that
/// block selection uses.
enum class RopePart { Intra, Successive, Inter };
int64_t queryPosition(const Rope &rope, int64_t position, RopePart part,
                      bool estimate = false);
int64_t keyPosition(const Rope &rope, int64_t position);
/// The part in which a query meets a key at or before it.
RopePart partOf(const Rope &rope, int64_t query, int64_t key);
/// What a query's scores are multiplied by with dual chunk attention.
double temperature(const Rope &rope, int64_t position);

/// Rotates the D elements of one head in place, halves paired.
void rotate(double *head, const Rope &rope, int64_t position);

/// [T, parts * dims]: per part cosines, then sines.
Matrix rotaryTable(const Batch &batch, const Rope &rope, bool estimate = false);
/// Rotates every head of every row for the cache.
Matrix rope(const Matrix &x, const Batch &batch, int64_t heads,
            const Rope &rope);

//===----------------------------------------------------------------------===//
// The cache
//===----------------------------------------------------------------------===//

/// The query that each KV head of a layer is expected to be asked.
struct Reference {
  Matrix queries; // [G, D]
  std::optional<Rope> rope;
};

/// Keys and values by layer, sequence, KV head and position.
struct Cache {
  int64_t heads = 0, headDim = 0;
  struct Head {
    std::vector<Vector> keys, values; // [position][D]
  };
  std::map<std::pair<int64_t, int64_t>, std::vector<Head>> layers;
  std::map<int64_t, Reference> references = {}; // by layer

  const Head &head(int64_t layer, int64_t sequence, int64_t head) const {
    return layers.at({layer, sequence})[head];
  }
};

struct AppendOptions {
  int64_t layer = 0;
  int64_t keyOffset = 0, valueOffset = 0;
  std::optional<Norm> norm; // of every key head
  std::optional<Rope> rope;
  std::optional<Matrix> reference;
};
void kvAppend(Cache &cache, const Matrix &key, const Matrix &value,
              const Batch &batch, const AppendOptions &options);

/// A block of keys in the key index: the log of its attention mass for a query
/// q is about q . rounded + offset.
struct BlockEntry {
  Vector key;     // c
  Vector rounded; // r(c)
  double offset;  // o
  Vector value;   // u
  Vector query;   // m, rotated; empty: none
};
BlockEntry blockEntry(const Cache &cache, int64_t layer, int64_t sequence,
                      int64_t head, int64_t begin, int64_t end);

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// What all attention operations say about their queries.
struct Queries {
  Matrix query; // [T, at least offset + H * D]
  int64_t heads = 0;
  double scale = 1;
  int64_t layer = 0;
  int64_t offset = 0;
  std::optional<Norm> norm;
  std::optional<Rope> rope;
};

/// Attention over some keys: enough to merge it with that over others.
struct Attended {
  Matrix output; // [T, H * D]
  Matrix lse;    // [T, H], -inf where no key was there
};

Attended attention(const Queries &queries, const Cache &cache,
                   const Batch &batch, std::optional<int64_t> window = {});

struct BlockSparsity {
  int64_t block = 128, local = 1, adjacent = 1, sink = 1;
  enum Select { None, TopK, TopP, TopShare } select = None;
  int64_t topK = 0;
  double topP = 0; // mass of TopP, share of TopShare
  enum Estimator { MeanKey, Antidiagonal, VerticalSlash } estimate = MeanKey;
  int64_t dense = 0;   // query blocks that keep everything
  int64_t limit = 0;   // blocks chosen at most; 0: any number
  Vector targets = {}; // [G]: in place of topP's mass; may be empty

  double massOf(int64_t kvHead) const {
    return targets.empty() ? topP : targets[kvHead];
  }
};

/// Whether a query block keeps a key block without being asked.
bool keepsAlways(const BlockSparsity &sparsity, int64_t queryBlock,
                 int64_t keyBlock);

/// Key blocks kept, ascending, by sequence, KV head and query block.
struct Selection {
  int64_t block = 0;
  std::map<std::tuple<int64_t, int64_t, int64_t>, std::vector<int64_t>> kept;
  bool keeps(int64_t sequence, int64_t head, int64_t query, int64_t key) const;
};

Selection selectBlocks(const Queries &queries, const Cache &cache,
                       const Batch &batch, const BlockSparsity &sparsity);

/// `selection` is there exactly when the sparsity selects; `bias` is [H, W].
Attended blockSparseAttention(const Queries &queries, const Cache &cache,
                              const Batch &batch, const BlockSparsity &sparsity,
                              const Selection *selection,
                              const Matrix *bias = nullptr);

/// Joins `attended`, that over the selection, with an estimate of the other
/// blocks, to whose log mass every query head adds its own of `biases`.
Attended tailAttention(const Queries &queries, const Cache &cache,
                       const Batch &batch, const Selection &selection,
                       const Attended &attended,
                       const Vector *biases = nullptr);

/// Sums over the keys so far, by layer, sequence and KV head.
struct KernelState {
  struct Head {
    Matrix sums;   // S: [features, D]
    Vector totals; // z: [features]
    double max;    // exponents are relative to it
  };
  std::map<std::tuple<int64_t, int64_t, int64_t>, Head> heads;
};

/// `features` is W, [features, D]. With `selection` the keys it keeps are left
/// out of the result (never of the state).
Attended kernelizedAttention(const Queries &queries, const Cache &cache,
                             const Batch &batch, KernelState &state,
                             const Matrix &features,
                             const Selection *selection = nullptr);

Attended merge(const std::vector<Attended> &parts, int64_t heads);

} // namespace stele::lm::reference

#endif // STELE_DIALECTS_LM_REFERENCE_REFERENCE_H
