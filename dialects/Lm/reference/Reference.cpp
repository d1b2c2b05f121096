// The reference of every lm operation, in the order of LmOps.td. Each function
// is its description's formula written out.

#include "stele/dialects/Lm/reference/Reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace stele::lm::reference;
namespace reference = stele::lm::reference;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();

//===----------------------------------------------------------------------===//
// Token-wise operations
//===----------------------------------------------------------------------===//

double reference::activate(Activation kind, double x) {
  switch (kind) {
  case Activation::Silu:
    return x / (1 + std::exp(-x));
  case Activation::Gelu:
    return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
  case Activation::GeluTanh:
    return x * 0.5 *
           (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return 0;
}

Matrix reference::embed(const std::vector<int32_t> &tokens,
                        const Matrix &table) {
  Matrix output(tokens.size(), table.columns);
  for (int64_t t = 0; t < output.rows; ++t)
    for (int64_t c = 0; c < table.columns; ++c)
      output(t, c) = table(tokens[t], c);
  return output;
}

/// x / sqrt(mean(x^2) + eps) * weight.
static void normalise(double *x, const Norm &norm) {
  double sum = 0;
  for (size_t i = 0; i < norm.weight.size(); ++i)
    sum += x[i] * x[i];
  double inverse = 1 / std::sqrt(sum / norm.weight.size() + norm.eps);
  for (size_t i = 0; i < norm.weight.size(); ++i)
    x[i] *= inverse * norm.weight[i];
}

Matrix reference::rmsNorm(const Matrix &x, const Norm &norm, int64_t groups) {
  Matrix output = x;
  int64_t width = x.columns / groups;
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t g = 0; g < groups; ++g)
      normalise(&output(t, g * width), norm);
  return output;
}

Matrix reference::linear(const Matrix &input, const Matrix &weight,
                         const LinearParts &parts) {
  Matrix x = parts.norm ? rmsNorm(input, *parts.norm) : input;
  Matrix y(x.rows, weight.rows);
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t n = 0; n < weight.rows; ++n) {
      double sum = parts.bias ? (*parts.bias)[n] : 0;
      for (int64_t k = 0; k < x.columns; ++k)
        sum += x(t, k) * weight(n, k);
      y(t, n) = sum;
    }
  if (parts.residual)
    return add(y, *parts.residual);
  if (!parts.glu)
    return y;
  Matrix output(x.rows, weight.rows / 2);
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t n = 0; n < output.columns; ++n)
      output(t, n) = activate(*parts.glu, y(t, n)) * y(t, output.columns + n);
  return output;
}

Matrix reference::glu(const Matrix &gate, const Matrix &up, Activation kind) {
  Matrix output = up;
  for (size_t i = 0; i < output.values.size(); ++i)
    output.values[i] *= activate(kind, gate.values[i]);
  return output;
}

Matrix reference::add(const Matrix &a, const Matrix &b) {
  Matrix output = a;
  for (size_t i = 0; i < output.values.size(); ++i)
    output.values[i] += b.values[i];
  return output;
}

Matrix reference::allReduce(const std::vector<Matrix> &ranks) {
  Matrix output = ranks.front();
  for (size_t r = 1; r < ranks.size(); ++r)
    output = add(output, ranks[r]);
  return output;
}

Matrix reference::logits(const Matrix &x, const Batch &batch,
                         const Matrix &weight, const LinearParts &parts) {
  Matrix rows(batch.logitRows.size(), x.columns);
  for (int64_t l = 0; l < rows.rows; ++l)
    for (int64_t c = 0; c < x.columns; ++c)
      rows(l, c) = x(batch.logitRows[l], c);
  return linear(rows, weight, parts);
}

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

static double scaleLlama3(double frequency, const RopeScaling &scaling) {
  double wavelength = 2 * M_PI / frequency;
  double longest = scaling.original / scaling.lowFreqFactor;
  double shortest = scaling.original / scaling.highFreqFactor;
  if (wavelength > longest)
    return frequency / scaling.factor;
  if (wavelength < shortest)
    return frequency;
  double kept = (scaling.original / wavelength - scaling.lowFreqFactor) /
                (scaling.highFreqFactor - scaling.lowFreqFactor);
  return frequency * (kept + (1 - kept) / scaling.factor);
}

/// How much of the i-th frequency YaRN stretches: 0 none, 1 all.
static double yarnRamp(int64_t i, double theta, int64_t dims,
                       const RopeScaling &scaling) {
  // The (fractional) pair of dimensions that turns `turns` times.
  auto pairOf = [&](double turns) {
    return dims * std::log(scaling.original / (turns * 2 * M_PI)) /
           (2 * std::log(theta));
  };
  double low = pairOf(scaling.betaFast), high = pairOf(scaling.betaSlow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1.0);
  if (low == high)
    high += 0.001;
  return std::clamp((i - low) / (high - low), 0.0, 1.0);
}

std::vector<float> reference::ropeFrequencies(double theta, int64_t dims,
                                              const RopeScaling &scaling) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < dims / 2; ++i) {
    double frequency = std::pow(theta, -2.0 * i / dims);
    switch (scaling.kind) {
    case RopeScaling::None:
      break;
    case RopeScaling::Linear:
      frequency /= scaling.factor;
      break;
    case RopeScaling::Llama3:
      frequency = scaleLlama3(frequency, scaling);
      break;
    case RopeScaling::Yarn: {
      double ramp = yarnRamp(i, theta, dims, scaling);
      frequency *= ramp / scaling.factor + (1 - ramp);
      break;
    }
    case RopeScaling::Factors:
      frequency /= scaling.factors[i];
      break;
    }
    frequencies.push_back(static_cast<float>(frequency));
  }
  return frequencies;
}

int64_t reference::queryPosition(const Rope &rope, int64_t position,
                                 RopePart part, bool estimate) {
  if (!rope.dualChunk)
    return position;
  int64_t chunk = rope.dualChunk->chunk, c = rope.dualChunk->chunkKeys();
  switch (part) {
  case RopePart::Intra:
    return position % c;
  case RopePart::Successive:
    return estimate ? position % c + c : std::min(position % c + c, chunk);
  case RopePart::Inter:
    return estimate ? position % c + chunk : std::min(2 * c - 1, chunk);
  }
  return 0;
}

int64_t reference::keyPosition(const Rope &rope, int64_t position) {
  return rope.dualChunk ? position % rope.dualChunk->chunkKeys() : position;
}

RopePart reference::partOf(const Rope &rope, int64_t query, int64_t key) {
  if (!rope.dualChunk)
    return RopePart::Intra;
  int64_t c = rope.dualChunk->chunkKeys();
  int64_t chunksBetween = query / c - key / c;
  return chunksBetween == 0   ? RopePart::Intra
         : chunksBetween == 1 ? RopePart::Successive
                              : RopePart::Inter;
}

double reference::temperature(const Rope &rope, int64_t position) {
  if (!rope.dualChunk || !rope.dualChunk->original)
    return 1;
  double ratio = (position + 1.0) / rope.dualChunk->original;
  double m = std::max(1.0, 0.1 * std::log(ratio) + 1);
  return m * m;
}

/// The angle as an f32 product, which is what checkpoints were trained with.
static double angleOf(int64_t position, float frequency) {
  return static_cast<float>(position) * frequency;
}

void reference::rotate(double *head, const Rope &rope, int64_t position) {
  size_t half = rope.frequencies.size();
  for (size_t i = 0; i < half; ++i) {
    double angle = angleOf(position, rope.frequencies[i]);
    double cosine = std::cos(angle) * rope.attentionFactor;
    double sine = std::sin(angle) * rope.attentionFactor;
    double first = head[i], second = head[half + i];
    head[i] = first * cosine - second * sine;
    head[half + i] = second * cosine + first * sine;
  }
}

Matrix reference::rotaryTable(const Batch &batch, const Rope &rope,
                              bool estimate) {
  int64_t half = rope.frequencies.size();
  int64_t parts = rope.dualChunk ? 3 : 1;
  Matrix output(batch.tokens(), parts * 2 * half);
  for (int64_t t = 0; t < output.rows; ++t)
    for (int64_t p = 0; p < parts; ++p) {
      int64_t position = queryPosition(rope, batch.position[t],
                                       static_cast<RopePart>(p), estimate);
      for (int64_t i = 0; i < half; ++i) {
        double angle = angleOf(position, rope.frequencies[i]);
        output(t, p * 2 * half + i) = std::cos(angle) * rope.attentionFactor;
        output(t, p * 2 * half + half + i) =
            std::sin(angle) * rope.attentionFactor;
      }
    }
  return output;
}

Matrix reference::rope(const Matrix &x, const Batch &batch, int64_t heads,
                       const Rope &rope) {
  Matrix output = x;
  int64_t headDim = x.columns / heads;
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t h = 0; h < heads; ++h)
      rotate(&output(t, h * headDim), rope,
             keyPosition(rope, batch.position[t]));
  return output;
}

//===----------------------------------------------------------------------===//
// The cache
//===----------------------------------------------------------------------===//

static Vector takeHead(const Matrix &x, int64_t row, int64_t column,
                       int64_t headDim) {
  const double *begin = &x.values[row * x.columns + column];
  return Vector(begin, begin + headDim);
}

static void store(std::vector<Vector> &rows, int64_t position, Vector row) {
  if (static_cast<int64_t>(rows.size()) <= position)
    rows.resize(position + 1);
  rows[position] = std::move(row);
}

void reference::kvAppend(Cache &cache, const Matrix &key, const Matrix &value,
                         const Batch &batch, const AppendOptions &options) {
  if (options.reference)
    cache.references[options.layer] = {*options.reference, options.rope};
  for (int64_t t = 0; t < batch.tokens(); ++t) {
    auto &heads = cache.layers[{options.layer, batch.sequence[t]}];
    heads.resize(cache.heads);
    for (int64_t h = 0; h < cache.heads; ++h) {
      int64_t column = h * cache.headDim;
      Vector k = takeHead(key, t, options.keyOffset + column, cache.headDim);
      if (options.norm)
        normalise(k.data(), *options.norm);
      if (options.rope)
        rotate(k.data(), *options.rope,
               keyPosition(*options.rope, batch.position[t]));
      store(heads[h].keys, batch.position[t], std::move(k));
      store(heads[h].values, batch.position[t],
            takeHead(value, t, options.valueOffset + column, cache.headDim));
    }
  }
}

static double dot(const Vector &a, const Vector &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

/// log(sum(exp(x))), -inf for none.
static double logSumExp(const Vector &x) {
  double max = -kInfinity, sum = 0;
  for (double element : x)
    max = std::max(max, element);
  if (max == -kInfinity)
    return -kInfinity;
  for (double element : x)
    sum += std::exp(element - max);
  return max + std::log(sum);
}

/// Rounded to whole multiples of a 127th of the largest element, in f32.
static Vector inCodes(Vector x) {
  float largest = 0;
  for (double element : x)
    largest = std::max(largest, std::abs(static_cast<float>(element)));
  float scale = largest / 127, inverse = largest > 0 ? 127 / largest : 0;
  for (double &element : x)
    element = std::nearbyint(static_cast<float>(element) * inverse) *
              static_cast<double>(scale);
  return x;
}

static Vector meanOf(const std::vector<Vector> &keys, int64_t begin,
                     int64_t end) {
  Vector mean(keys[begin].size());
  for (int64_t j = begin; j < end; ++j)
    for (size_t d = 0; d < mean.size(); ++d)
      mean[d] += keys[j][d] / (end - begin);
  return mean;
}

BlockEntry reference::blockEntry(const Cache &cache, int64_t layer,
                                 int64_t sequence, int64_t head, int64_t begin,
                                 int64_t end) {
  const auto &[keys, values] = cache.head(layer, sequence, head);
  auto found = cache.references.find(layer);
  if (found == cache.references.end()) {
    Vector mean = meanOf(keys, begin, end);
    return {mean,
            inCodes(mean),
            std::log(end - begin),
            meanOf(values, begin, end),
            {}};
  }
  const auto &[queries, rope] = found->second;
  Vector m = takeHead(queries, head, 0, cache.headDim);
  if (rope)
    rotate(m.data(), *rope, keyPosition(*rope, end - 1));
  Vector scores;
  for (int64_t j = begin; j < end; ++j)
    scores.push_back(dot(m, keys[j]));
  double lse = logSumExp(scores);
  Vector c(cache.headDim), u(cache.headDim);
  for (int64_t j = begin; j < end; ++j)
    for (int64_t d = 0; d < cache.headDim; ++d) {
      double weight = std::exp(scores[j - begin] - lse);
      c[d] += weight * keys[j][d];
      u[d] += weight * values[j][d];
    }
  Vector rounded = inCodes(c);
  return {c, rounded, lse - dot(m, rounded), u, m};
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// One query head of one token, normed, rotated for a part, and scaled.
static Vector takeQuery(const Queries &queries, const Cache &cache,
                        const Batch &batch, int64_t token, int64_t head,
                        RopePart part, bool estimate = false) {
  Vector q = takeHead(queries.query, token,
                      queries.offset + head * cache.headDim, cache.headDim);
  if (queries.norm)
    normalise(q.data(), *queries.norm);
  double scale = queries.scale;
  if (queries.rope) {
    int64_t position = batch.position[token];
    rotate(q.data(), *queries.rope,
           queryPosition(*queries.rope, position, part, estimate));
    scale *= temperature(*queries.rope, position);
  }
  for (double &element : q)
    element *= scale;
  return q;
}

/// The scores of one query head against keys 0..position, part by part.
static Vector scoreKeys(const Queries &queries, const Cache &cache,
                        const Batch &batch, int64_t token, int64_t head,
                        bool estimate = false) {
  int64_t position = batch.position[token];
  int64_t kvHead = head / (queries.heads / cache.heads);
  const auto &keys =
      cache.head(queries.layer, batch.sequence[token], kvHead).keys;
  std::vector<Vector> rotated;
  for (RopePart part : {RopePart::Intra, RopePart::Successive, RopePart::Inter})
    rotated.push_back(
        takeQuery(queries, cache, batch, token, head, part, estimate));
  Vector scores;
  for (int64_t j = 0; j <= position; ++j) {
    RopePart part =
        queries.rope ? partOf(*queries.rope, position, j) : RopePart::Intra;
    scores.push_back(dot(rotated[static_cast<int>(part)], keys[j]));
  }
  return scores;
}

/// Exact attention over the keys that `keeps(token, query head, key)` admits.
static Attended
attend(const Queries &queries, const Cache &cache, const Batch &batch,
       const std::function<bool(int64_t, int64_t, int64_t)> &keeps,
       const Matrix *bias = nullptr) {
  Attended result{Matrix(batch.tokens(), queries.heads * cache.headDim),
                  Matrix(batch.tokens(), queries.heads)};
  for (int64_t t = 0; t < batch.tokens(); ++t)
    for (int64_t h = 0; h < queries.heads; ++h) {
      int64_t position = batch.position[t];
      Vector scores = scoreKeys(queries, cache, batch, t, h);
      for (int64_t j = 0; j <= position; ++j) {
        if (!keeps(t, h, j))
          scores[j] = -kInfinity;
        else if (bias)
          scores[j] += (*bias)(h, std::min(position - j, bias->columns - 1));
      }
      double lse = logSumExp(scores);
      result.lse(t, h) = lse;
      if (lse == -kInfinity)
        continue;
      int64_t kvHead = h / (queries.heads / cache.heads);
      const auto &values =
          cache.head(queries.layer, batch.sequence[t], kvHead).values;
      for (int64_t j = 0; j <= position; ++j) {
        double probability = std::exp(scores[j] - lse);
        if (probability != 0)
          for (int64_t d = 0; d < cache.headDim; ++d)
            result.output(t, h * cache.headDim + d) +=
                probability * values[j][d];
      }
    }
  return result;
}

Attended reference::attention(const Queries &queries, const Cache &cache,
                              const Batch &batch,
                              std::optional<int64_t> window) {
  return attend(queries, cache, batch, [&](int64_t t, int64_t, int64_t key) {
    return !window || key > batch.position[t] - *window;
  });
}

bool reference::keepsAlways(const BlockSparsity &sparsity, int64_t queryBlock,
                            int64_t keyBlock) {
  return queryBlock < sparsity.dense || keyBlock < sparsity.sink ||
         keyBlock > queryBlock - sparsity.local - sparsity.adjacent;
}

bool Selection::keeps(int64_t sequence, int64_t head, int64_t query,
                      int64_t key) const {
  auto found = kept.find({sequence, head, query / block});
  return found != kept.end() &&
         std::binary_search(found->second.begin(), found->second.end(),
                            key / block);
}

namespace {

/// The queries of a step that fall into one query block.
struct QueryBlock {
  int64_t sequence, kvHead, index;
  std::vector<int64_t> tokens;
};

/// Estimates the attention mass of each key block, and chooses.
class BlockSelector {
public:
  BlockSelector(const Queries &queries, const Cache &cache, const Batch &batch,
                const BlockSparsity &sparsity)
      : queries(queries), cache(cache), batch(batch), sparsity(sparsity) {}

  std::vector<int64_t> choose(const QueryBlock &block) {
    Vector mass = estimate(block);
    double total = 0, kept = 0;
    std::vector<int64_t> chosen, others;
    for (int64_t b = 0; b <= block.index; ++b) {
      total += mass[b];
      if (keepsAlways(sparsity, block.index, b)) {
        chosen.push_back(b);
        kept += mass[b];
      } else {
        others.push_back(b);
      }
    }
    std::sort(others.begin(), others.end(), [&](int64_t a, int64_t b) {
      return mass[a] != mass[b] ? mass[a] > mass[b] : a < b;
    });
    int64_t most = sparsity.topK;
    if (sparsity.select == BlockSparsity::TopShare)
      most = std::ceil(sparsity.topP * (block.index + 1));
    for (int64_t i = 0; i < static_cast<int64_t>(others.size()); ++i) {
      bool enough = sparsity.select == BlockSparsity::TopP
                        ? kept >= sparsity.massOf(block.kvHead) * total
                        : i >= most;
      if (enough || (sparsity.limit > 0 && i >= sparsity.limit))
        break;
      chosen.push_back(others[i]);
      kept += mass[others[i]];
    }
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

private:
  /// Antidiagonals that are looked at: one in this many.
  static constexpr int64_t kStride = 16;
  /// Queries that vertical_slash looks at: the last ones of the step.
  static constexpr int64_t kLastQueries = 64;

  /// Mass of key blocks 0..index, up to a common factor.
  Vector estimate(const QueryBlock &block) {
    switch (sparsity.estimate) {
    case BlockSparsity::MeanKey:
      return estimateByMeanKey(block);
    case BlockSparsity::Antidiagonal:
      return estimateByAntidiagonal(block);
    case BlockSparsity::VerticalSlash:
      return estimateByVerticalSlash(block);
    }
    return {};
  }

  /// Calls `visit` for every query head of the block's group.
  template <typename Visit>
  void forEachQuery(const std::vector<int64_t> &tokens, int64_t kvHead,
                    Visit visit) {
    int64_t group = queries.heads / cache.heads;
    for (int64_t t : tokens)
      for (int64_t h = kvHead * group; h < (kvHead + 1) * group; ++h)
        visit(t, h);
  }

  /// softmax over blocks of q . c + o, summed over the queries; q and c as
  /// codes. The query's own block has the plain mean, unrounded.
  Vector estimateByMeanKey(const QueryBlock &block) {
    const auto &keys =
        cache.head(queries.layer, block.sequence, block.kvHead).keys;
    std::vector<BlockEntry> entries;
    for (int64_t b = 0; b < block.index; ++b)
      entries.push_back(blockEntry(cache, queries.layer, block.sequence,
                                   block.kvHead, b * sparsity.block,
                                   (b + 1) * sparsity.block));
    Vector mass(block.index + 1);
    forEachQuery(block.tokens, block.kvHead, [&](int64_t t, int64_t h) {
      int64_t position = batch.position[t];
      Vector logs;
      for (int64_t b = 0; b < block.index; ++b)
        logs.push_back(dot(inCodes(estimatingQuery(t, h, b * sparsity.block)),
                           entries[b].rounded) +
                       entries[b].offset);
      int64_t first = block.index * sparsity.block;
      logs.push_back(dot(estimatingQuery(t, h, position),
                         meanOf(keys, first, position + 1)) +
                     std::log(position + 1 - first));
      double lse = logSumExp(logs);
      for (int64_t b = 0; b <= block.index; ++b)
        mass[b] += std::exp(logs[b] - lse);
    });
    return mass;
  }

  /// A query as it meets `key` in an estimate.
  Vector estimatingQuery(int64_t t, int64_t h, int64_t key) {
    RopePart part = queries.rope ? partOf(*queries.rope, batch.position[t], key)
                                 : RopePart::Intra;
    return takeQuery(queries, cache, batch, t, h, part, /*estimate=*/true);
  }

  /// Softmax mass of the pairs on every 16th antidiagonal.
  Vector estimateByAntidiagonal(const QueryBlock &block) {
    Vector mass(block.index + 1);
    forEachQuery(block.tokens, block.kvHead, [&](int64_t t, int64_t h) {
      Vector scores = scoreKeys(queries, cache, batch, t, h, true);
      int64_t position = batch.position[t];
      for (int64_t j = 0; j <= position; ++j)
        if ((position + j) % kStride != kStride - 1)
          scores[j] = -kInfinity;
      double lse = logSumExp(scores);
      if (lse == -kInfinity)
        return;
      for (int64_t j = 0; j <= position; ++j)
        mass[j / sparsity.block] += std::exp(scores[j] - lse);
    });
    return mass;
  }

  /// What the step's last queries give to each key (vertical) and to each
  /// distance (slash); a slash counts for a block by how many of the query
  /// block's positions meet a key of it at that distance.
  Vector estimateByVerticalSlash(const QueryBlock &block) {
    std::vector<int64_t> last;
    for (int64_t t = 0; t < batch.tokens(); ++t)
      if (batch.sequence[t] == block.sequence)
        last.push_back(t);
    if (static_cast<int64_t>(last.size()) > kLastQueries)
      last.erase(last.begin(), last.end() - kLastQueries);
    int64_t length = batch.position[last.back()] + 1;
    Vector vertical(length), slash(length);
    forEachQuery(last, block.kvHead, [&](int64_t t, int64_t h) {
      Vector scores = scoreKeys(queries, cache, batch, t, h, true);
      double lse = logSumExp(scores);
      for (size_t j = 0; j < scores.size(); ++j) {
        double probability = std::exp(scores[j] - lse);
        vertical[j] += probability;
        slash[batch.position[t] - j] += probability;
      }
    });
    Vector mass(block.index + 1);
    for (int64_t t : block.tokens)
      for (int64_t j = 0; j <= batch.position[t]; ++j)
        mass[j / sparsity.block] += vertical[j] + slash[batch.position[t] - j];
    return mass;
  }

  const Queries &queries;
  const Cache &cache;
  const Batch &batch;
  const BlockSparsity &sparsity;
};

} // namespace

Selection reference::selectBlocks(const Queries &queries, const Cache &cache,
                                  const Batch &batch,
                                  const BlockSparsity &sparsity) {
  std::map<std::pair<int64_t, int64_t>, std::vector<int64_t>> blocks;
  for (int64_t t = 0; t < batch.tokens(); ++t)
    blocks[{batch.sequence[t], batch.position[t] / sparsity.block}].push_back(
        t);
  BlockSelector selector(queries, cache, batch, sparsity);
  Selection selection{sparsity.block, {}};
  for (const auto &[place, tokens] : blocks)
    for (int64_t g = 0; g < cache.heads; ++g)
      selection.kept[{place.first, g, place.second}] =
          selector.choose({place.first, g, place.second, tokens});
  return selection;
}

Attended reference::blockSparseAttention(const Queries &queries,
                                         const Cache &cache, const Batch &batch,
                                         const BlockSparsity &sparsity,
                                         const Selection *selection,
                                         const Matrix *bias) {
  int64_t group = queries.heads / cache.heads;
  auto keeps = [&](int64_t t, int64_t h, int64_t key) {
    int64_t position = batch.position[t];
    return keepsAlways(sparsity, position / sparsity.block,
                       key / sparsity.block) ||
           (selection &&
            selection->keeps(batch.sequence[t], h / group, position, key));
  };
  return attend(queries, cache, batch, keeps, bias);
}

Attended reference::tailAttention(const Queries &queries, const Cache &cache,
                                  const Batch &batch,
                                  const Selection &selection,
                                  const Attended &attended,
                                  const Vector *biases) {
  Attended tail{Matrix(batch.tokens(), queries.heads * cache.headDim),
                Matrix(batch.tokens(), queries.heads, -kInfinity)};
  int64_t group = queries.heads / cache.heads, block = selection.block;
  for (int64_t t = 0; t < batch.tokens(); ++t)
    for (int64_t h = 0; h < queries.heads; ++h) {
      int64_t s = batch.sequence[t], position = batch.position[t];
      Vector logs;
      std::vector<Vector> values;
      for (int64_t b = 0; b < position / block; ++b) {
        if (selection.keeps(s, h / group, position, b * block))
          continue;
        RopePart part = queries.rope
                            ? partOf(*queries.rope, position, b * block)
                            : RopePart::Intra;
        BlockEntry entry = blockEntry(cache, queries.layer, s, h / group,
                                      b * block, (b + 1) * block);
        Vector q = takeQuery(queries, cache, batch, t, h, part);
        logs.push_back(dot(inCodes(q), entry.rounded) + entry.offset);
        values.push_back(inCodes(entry.value));
      }
      double lse = logSumExp(logs);
      tail.lse(t, h) = lse + (biases ? (*biases)[h] : 0);
      for (size_t b = 0; b < logs.size(); ++b)
        for (int64_t d = 0; d < cache.headDim; ++d)
          tail.output(t, h * cache.headDim + d) +=
              std::exp(logs[b] - lse) * values[b][d];
    }
  return merge({attended, tail}, queries.heads);
}

/// W x - |x|^2 / 2, the exponents of phi(x) sqrt(features).
static Vector exponents(const Matrix &features, const Vector &x) {
  Vector result;
  for (int64_t f = 0; f < features.rows; ++f)
    result.push_back(dot(takeHead(features, f, 0, features.columns), x) -
                     dot(x, x) / 2);
  return result;
}

/// Keys and queries share the scale: each is multiplied by its square root.
static Vector scaled(Vector x, double factor) {
  for (double &element : x)
    element *= factor;
  return x;
}

/// Adds one key and value, raising the state's maximum first when it must.
static void accumulate(KernelState::Head &head, const Vector &keyExponents,
                       const Vector &value) {
  double max = *std::max_element(keyExponents.begin(), keyExponents.end());
  if (head.totals.empty())
    head = {Matrix(keyExponents.size(), value.size()),
            Vector(keyExponents.size()), max};
  if (max > head.max) {
    double shrink = std::exp(head.max - max);
    head.sums.values = scaled(head.sums.values, shrink);
    head.totals = scaled(head.totals, shrink);
    head.max = max;
  }
  for (size_t f = 0; f < keyExponents.size(); ++f) {
    double feature = std::exp(keyExponents[f] - head.max);
    head.totals[f] += feature;
    for (size_t d = 0; d < value.size(); ++d)
      head.sums(f, d) += feature * value[d];
  }
}

/// phi(q) S / (phi(q) . z) and its log-sum-exp.
static double readState(const KernelState::Head &head,
                        const Vector &queryExponents, double *output) {
  if (head.totals.empty())
    return -kInfinity;
  double max = *std::max_element(queryExponents.begin(), queryExponents.end());
  double total = 0;
  Vector sum(head.sums.columns);
  for (size_t f = 0; f < queryExponents.size(); ++f) {
    double feature = std::exp(queryExponents[f] - max);
    total += feature * head.totals[f];
    for (size_t d = 0; d < sum.size(); ++d)
      sum[d] += feature * head.sums(f, d);
  }
  for (size_t d = 0; d < sum.size(); ++d)
    output[d] = sum[d] / total;
  return std::log(total / queryExponents.size()) + max + head.max;
}

Attended reference::kernelizedAttention(const Queries &queries,
                                        const Cache &cache, const Batch &batch,
                                        KernelState &state,
                                        const Matrix &features,
                                        const Selection *selection) {
  Attended result{Matrix(batch.tokens(), queries.heads * cache.headDim),
                  Matrix(batch.tokens(), queries.heads)};
  int64_t group = queries.heads / cache.heads;
  double root = std::sqrt(queries.scale);
  for (int64_t t = 0; t < batch.tokens(); ++t)
    for (int64_t g = 0; g < cache.heads; ++g) {
      int64_t sequence = batch.sequence[t], position = batch.position[t];
      const auto &kv = cache.head(queries.layer, sequence, g);
      auto add = [&](KernelState::Head &head, int64_t j) {
        accumulate(head, exponents(features, scaled(kv.keys[j], root)),
                   kv.values[j]);
      };
      auto &all = state.heads[{queries.layer, sequence, g}];
      add(all, position);
      KernelState::Head rest;
      for (int64_t j = 0; selection && j <= position; ++j)
        if (!selection->keeps(sequence, g, position, j))
          add(rest, j);
      for (int64_t h = g * group; h < (g + 1) * group; ++h) {
        // takeQuery multiplied by the scale: divide its root away again.
        Vector q = scaled(
            takeQuery(queries, cache, batch, t, h, RopePart::Intra), 1 / root);
        result.lse(t, h) =
            readState(selection ? rest : all, exponents(features, q),
                      &result.output(t, h * cache.headDim));
      }
    }
  return result;
}

Attended reference::merge(const std::vector<Attended> &parts, int64_t heads) {
  Attended result{
      Matrix(parts.front().output.rows, parts.front().output.columns),
      Matrix(parts.front().lse.rows, heads)};
  int64_t headDim = result.output.columns / heads;
  for (int64_t t = 0; t < result.output.rows; ++t)
    for (int64_t h = 0; h < heads; ++h) {
      Vector lses;
      for (const Attended &part : parts)
        lses.push_back(part.lse(t, h));
      double lse = logSumExp(lses);
      result.lse(t, h) = lse;
      if (lse == -kInfinity)
        continue; // all empty: output stays 0
      for (const Attended &part : parts)
        for (int64_t d = h * headDim; d < (h + 1) * headDim; ++d)
          result.output(t, d) +=
              std::exp(part.lse(t, h) - lse) * part.output(t, d);
    }
  return result;
}
