// The search for activation-aware scales (Awq.h).
//
// The error of an output is the sum over columns of (Q(w s) / s - w) x. Errors
// of rounding are as good as independent, so that its mean square is the sum of
// the columns' squared errors, each times the mean square of x: no activations
// have to be kept. The same numbers weigh the search for clipped spans.

#include "stele/compiler/Calibrate/Awq.h"
#include "stele/compiler/Driver/Segments.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Quantise/Quantise.h"
#include <algorithm>
#include <cmath>

using namespace llvm;
using namespace stele;
using namespace stele::compiler;
using checkpoint::Checkpoint;

/// Rows of a matrix that the search looks at; they are alike enough.
static constexpr int64_t mostRows = 64;
/// Exponents tried: 0, 1/20, ... 19/20.
static constexpr int numAlphas = 20;

void Statistics::add(const float *row, int64_t columns) {
  absolute.resize(columns);
  squared.resize(columns);
  for (int64_t c = 0; c < columns; ++c) {
    absolute[c] += std::fabs(row[c]);
    squared[c] += double(row[c]) * row[c];
  }
  ++count;
}

Expected<std::vector<float>> compiler::readRows(lm::WeightOp weight,
                                                const Checkpoint &checkpoint,
                                                int64_t begin, int64_t end) {
  mlir::RankedTensorType type = weight.getTensorType();
  const int64_t columns = type.getNumElements() / type.getDimSize(0);
  std::vector<float> rows((end - begin) * columns);
  if (Error error = readSources(weight.getSources(), weight.getSymName(),
                                checkpoint, columns, begin, end, rows.data()))
    return std::move(error);
  return rows;
}

namespace {

/// Evenly spread rows of a matrix, and how well they survive rounding.
class Sample {
public:
  static Expected<Sample> read(const Unit &unit, lm::WeightOp weight,
                               const Checkpoint &checkpoint) {
    Sample sample;
    sample.columns = unit.columns;
    sample.rows = std::min(unit.rows, mostRows);
    for (int64_t i = 0; i < sample.rows; ++i) {
      const int64_t row = i * unit.rows / sample.rows;
      Expected<std::vector<float>> values =
          readRows(weight, checkpoint, row, row + 1);
      if (!values)
        return values.takeError();
      append_range(sample.values, *values);
    }
    return sample;
  }

  /// The share of the outputs' squared size that rounding adds as error, with
  /// the columns times `scales`; columns count `importance` times.
  Expected<double> error(const schema::QuantFormat &format, bool clipped,
                         ArrayRef<float> scales, ArrayRef<float> importance) {
    std::vector<float> scaled = values, weights(importance);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t c = 0; c < columns; ++c)
        scaled[i * columns + c] *= scales[c];
    for (int64_t c = 0; c < columns; ++c)
      weights[c] /= scales[c] * scales[c];
    RoundingOptions rounding;
    rounding.clipped = clipped;
    rounding.importance = weights;
    checkpoint::QuantRows codes;
    if (Error failed =
            quantise(format, rounding, rows, columns, scaled.data(), codes))
      return std::move(failed);
    std::vector<float> rounded(scaled.size());
    checkpoint::dequantise(format, codes, columns, rounded.data());
    double lost = 0, whole = 0;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t at = i * columns + c;
        const double off = double(rounded[at]) - scaled[at];
        lost += weights[c] * off * off;
        whole += double(importance[c]) * values[at] * values[at];
      }
    return whole > 0 ? lost / whole : 0;
  }

private:
  int64_t rows, columns;
  std::vector<float> values; // [rows, columns]
};

} // namespace

/// mean|x|^alpha, its greatest and least around 1. Columns whose scale is made
/// by one row share the mean.
static std::vector<float>
makeScales(const Unit &unit, const Statistics &statistics, double alpha) {
  std::vector<double> means(unit.fold.rows);
  for (int64_t c = 0; c < unit.columns; ++c)
    means[unit.fold.rowOf(c)] += statistics.absolute[c];
  const double columnsPerRow = double(unit.columns) / unit.fold.rows;
  for (double &mean : means) {
    mean /= columnsPerRow * statistics.count;
    mean = std::max(std::pow(mean, alpha), 1e-4);
  }
  auto [least, most] = std::minmax_element(means.begin(), means.end());
  const double middle = std::sqrt(*least * *most);
  std::vector<float> scales(unit.columns);
  for (int64_t c = 0; c < unit.columns; ++c)
    scales[c] = float(means[unit.fold.rowOf(c)] / middle);
  return scales;
}

Expected<Search> compiler::searchScales(const Unit &unit, lm::WeightOp weight,
                                        const Checkpoint &checkpoint,
                                        const Statistics *statistics,
                                        ArrayRef<schema::QuantFormat> formats) {
  Expected<Sample> sample = Sample::read(unit, weight, checkpoint);
  if (!sample)
    return sample.takeError();
  const std::vector<float> ones(unit.columns, 1);
  Search best;
  if (statistics)
    for (double sum : statistics->squared)
      best.importance.push_back(float(sum / statistics->count));
  const std::vector<float> &importance = statistics ? best.importance : ones;

  double least = 0;
  const int tries = statistics && unit.fold ? numAlphas : 1;
  for (int i = 0; i < tries; ++i) {
    const double alpha = double(i) / numAlphas;
    std::vector<float> tried =
        i == 0 ? ones : makeScales(unit, *statistics, alpha);
    Expected<double> error =
        sample->error(formats.front(), /*clipped=*/true, tried, importance);
    if (!error)
      return error.takeError();
    if (i > 0 && *error >= least)
      continue;
    least = *error;
    best.alpha = alpha;
    best.scales = std::move(tried);
  }
  if (best.alpha == 0)
    best.scales.clear();
  for (const schema::QuantFormat &format : formats) {
    const bool isScaled = format.bits == 4 && !best.scales.empty();
    Expected<double> error = sample->error(
        format, /*clipped=*/true, isScaled ? best.scales : ones, importance);
    if (!error)
      return error.takeError();
    best.errors.push_back(*error);
  }
  Expected<double> plain =
      sample->error(formats.front(), /*clipped=*/false, ones, importance);
  if (!plain)
    return plain.takeError();
  best.nearestError = *plain;
  return best;
}
