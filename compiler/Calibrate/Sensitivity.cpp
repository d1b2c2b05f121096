// Estimating what single matrices cost (Sensitivity.h).

#include "stele/compiler/Calibrate/Sensitivity.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <numeric>
#include <tuple>

using namespace llvm;
using namespace stele;
using namespace stele::compiler;

/// Converged to more digits than the measurements have.
static constexpr int fitSteps = 64;
/// Nothing costs nothing, and sums of noise may be below 0.
static constexpr double leastCost = 1e-12;

static void scaleTo(std::vector<double> &cells, ArrayRef<size_t> lines,
                    ArrayRef<double> sums) {
  std::vector<double> now(sums.size());
  for (auto [cell, line] : zip_equal(cells, lines))
    now[line] += cell;
  for (auto [cell, line] : zip_equal(cells, lines))
    cell *= sums[line] / now[line];
}

std::vector<double> compiler::fitCells(ArrayRef<double> start,
                                       Marginals marginals) {
  for (std::vector<double> *sums : {&marginals.rowSums, &marginals.columnSums})
    for (double &sum : *sums)
      sum = std::max(sum, leastCost);
  auto total = [](ArrayRef<double> sums) {
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  };
  const double scale = total(marginals.rowSums) / total(marginals.columnSums);
  for (double &sum : marginals.columnSums)
    sum *= scale;
  std::vector<double> cells(start);
  for (double &cell : cells)
    cell = std::max(cell, leastCost);
  for (int i = 0; i < fitSteps; ++i) {
    scaleTo(cells, marginals.columns, marginals.columnSums);
    scaleTo(cells, marginals.rows, marginals.rowSums);
  }
  return cells;
}

namespace {

/// Where a raise may lead: what is stored, and what it costs.
struct Point {
  size_t level;
  double bits, cost;
};

struct RatedRaise {
  double savedPerBit;
  Raise raise;
};

} // namespace

static std::vector<Point> pointsOf(const Candidate &candidate) {
  const Unit &unit = candidate.unit;
  const std::vector<double> &errors = candidate.search.errors;
  const double costOfError =
      *candidate.sensitivity / std::max(errors.front(), leastCost);
  std::vector<Point> points;
  for (auto [level, format] : enumerate(candidate.formats))
    points.push_back({level,
                      bitsPerWeight(format, unit.columns) * unit.elements(),
                      costOfError * errors[level]});
  // Floats: of 32 bits if the arithmetic is f32, which changes no order.
  points.push_back({points.size(), 16.0 * unit.elements(), 0});
  return points;
}

/// The raises along the lower hull: each saves less for a bit than the one
/// before, and what lies above the hull is never a good choice.
static void addRaises(const Candidate &candidate, size_t index,
                      std::vector<RatedRaise> &rated) {
  const std::vector<Point> points = pointsOf(candidate);
  auto rate = [&](size_t from, size_t to) {
    return (points[from].cost - points[to].cost) /
           (points[to].bits - points[from].bits);
  };
  for (size_t at = 0; at + 1 < points.size();) {
    size_t best = at + 1;
    for (size_t to = best + 1; to < points.size(); ++to)
      if (rate(at, to) >= rate(at, best))
        best = to;
    rated.push_back({rate(at, best), {index, points[best].level}});
    at = best;
  }
}

std::vector<Raise> compiler::orderRaises(ArrayRef<Candidate> candidates) {
  std::vector<RatedRaise> rated;
  for (auto [index, candidate] : enumerate(candidates))
    addRaises(candidate, index, rated);
  // Equal ones stay in the order of the module, those of a unit in theirs.
  llvm::sort(rated, [](const RatedRaise &a, const RatedRaise &b) {
    return std::tuple(-a.savedPerBit, a.raise.candidate, a.raise.level) <
           std::tuple(-b.savedPerBit, b.raise.candidate, b.raise.level);
  });
  std::vector<Raise> raises;
  for (const RatedRaise &each : rated)
    raises.push_back(each.raise);
  return raises;
}
