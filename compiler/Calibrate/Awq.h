// Activation-aware scales of a quantised linear (Lin et al. 2023,
// arXiv:2306.00978).
//
// Place on the road: Gate.cpp asks for them between statistics and the first
// quantised compile. Columns that meet large activations are multiplied by a
// scale before they are rounded, so that they lose less, and what makes the
// activations is divided by it.
#ifndef STELE_COMPILER_CALIBRATE_AWQ_H
#define STELE_COMPILER_CALIBRATE_AWQ_H

#include "stele/compiler/Calibrate/Units.h"
#include "stele/compiler/Import/Checkpoint.h"
#include "stele/schema/quant_format.h"
#include <vector>

namespace stele::compiler {

/// What the columns of a linear read, over the tokens of the calibration.
struct Statistics {
  std::vector<double> absolute; // sums of |x|
  std::vector<double> squared;  // sums of x^2
  int64_t count = 0;

  void add(const float *row, int64_t columns);
};

/// What the search found for a linear.
struct Search {
  std::vector<float> scales;     // per column; empty: all 1
  std::vector<float> importance; // mean x^2 per column; empty: unknown
  double alpha = 0;
  /// For every format the squared error of the outputs by their squared size,
  /// as far as errors of different columns are independent; in int4 with the
  /// scales.
  std::vector<double> errors;
  double nearestError = 0; // of the first, rounded plainly to nearest
};

/// Searches the scales mean|x|^alpha of `unit` for the least error of its
/// outputs in the first of `formats`. `statistics` may be null: then errors are
/// only measured.
llvm::Expected<Search>
searchScales(const Unit &unit, lm::WeightOp weight,
             const checkpoint::Checkpoint &checkpoint,
             const Statistics *statistics,
             llvm::ArrayRef<schema::QuantFormat> formats);

/// Rows [begin, end) of a weight without scales: [end - begin, columns].
llvm::Expected<std::vector<float>>
readRows(lm::WeightOp weight, const checkpoint::Checkpoint &checkpoint,
         int64_t begin, int64_t end);

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_AWQ_H
