// What the gate decided, written into a module and told to people.
//
// Place on the road: Gate.cpp turns every candidate into a module with
// applyDecision, and the last into the artifact's table with makeTable.
#ifndef STELE_COMPILER_CALIBRATE_DECISION_H
#define STELE_COMPILER_CALIBRATE_DECISION_H

#include "stele/compiler/Calibrate/Awq.h"
#include "stele/compiler/Calibrate/Units.h"
#include "llvm/Support/JSON.h"
#include <optional>

namespace stele::compiler {

/// The formats that a unit may have, from the fewest bits up: int4 in groups of
/// `group` and fewer, then int8.
std::vector<schema::QuantFormat> formatsOf(const Unit &unit, int64_t group);

/// A unit and all that is known of it.
struct Candidate {
  Unit unit;
  std::vector<schema::QuantFormat> formats;
  Search search;
  /// Estimated divergence of the predictions with the first format; nothing
  /// before the gate had to choose.
  std::optional<double> sensitivity;
  size_t level = 0; // among formats; behind the last: floats

  const schema::QuantFormat *format() const {
    return level < formats.size() ? &formats[level] : nullptr;
  }
};

/// Multiplies the columns of units in int4 by their scales and divides what
/// makes them.
void applyScales(mlir::ModuleOp module, llvm::ArrayRef<Candidate> candidates);

/// Gives the units' weights their formats and scales. With `chooseInt8` the
/// module's arithmetic becomes int8 as soon as one is quantised.
void applyDecision(mlir::ModuleOp module, llvm::ArrayRef<Candidate> candidates,
                   bool chooseInt8);

/// Stored bits per element of a row, scales included.
double bitsPerWeight(const schema::QuantFormat &format, int64_t columns);

/// Stored bits per element, scales included, over all matrices of the module.
double bitsPerWeight(mlir::ModuleOp module);

/// A row for every matrix of the module.
llvm::json::Array makeRows(mlir::ModuleOp module,
                           llvm::ArrayRef<Candidate> candidates);

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_DECISION_H
