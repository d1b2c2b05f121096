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

enum class Level { Int4, Int8, Float };

/// A unit and all that is known of it.
struct Candidate {
  Unit unit;
  Search search;
  /// Estimated growth of the negative log-likelihood; nothing before the gate
  /// had to choose.
  std::optional<double> sensitivity;
  Level level = Level::Int4;
};

schema::QuantFormat formatOf(Level level, int64_t group);

/// Gives the units' weights their formats and scales. With `chooseInt8` the
/// module's arithmetic becomes int8 as soon as one is quantised.
void applyDecision(mlir::ModuleOp module, llvm::ArrayRef<Candidate> candidates,
                   int64_t group, bool chooseInt8);

/// Stored bits per element, scales included, over all matrices of the module.
double bitsPerWeight(mlir::ModuleOp module);

/// A row for every matrix of the module.
llvm::json::Array makeRows(mlir::ModuleOp module,
                           llvm::ArrayRef<Candidate> candidates);

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_DECISION_H
