// What every matrix costs, from measurements of a few sets of them; and in
// which order it pays to give them more bits.
//
// Place on the road: Gate.cpp measures each kind of linear alone, and each band
// of layers alone, and asks here what that says about a single matrix.
// Measuring every one would take a compile and a run for each.
#ifndef STELE_COMPILER_CALIBRATE_SENSITIVITY_H
#define STELE_COMPILER_CALIBRATE_SENSITIVITY_H

#include "stele/compiler/Calibrate/Decision.h"

namespace stele::compiler {

/// A table of which the sums are known: cells of one row and one column each.
struct Marginals {
  std::vector<size_t> rows, columns; // of each cell
  std::vector<double> rowSums, columnSums;
};

/// Cells proportional to `start`, but for a factor for each row and one for
/// each column, with these sums (iterative proportional fitting). Column sums
/// are brought to the total of the rows'.
std::vector<double> fitCells(llvm::ArrayRef<double> start, Marginals marginals);

struct Raise {
  size_t candidate;
  size_t level;
};

/// All raises that pay, up to floats, by the divergence that an added bit
/// saves: the first are the best. Candidates have a sensitivity.
std::vector<Raise> orderRaises(llvm::ArrayRef<Candidate> candidates);

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_SENSITIVITY_H
