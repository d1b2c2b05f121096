// What calibration decides about sparse attention: how much of the attention
// each KV head keeps by its own estimate, so that what is really kept is
// enough.
//
// Place on the road: AttentionGate.cpp measures, and writes these decisions
// into the fused module, as budgets and targets of lm.select_blocks.
#ifndef STELE_COMPILER_CALIBRATE_ATTENTION_H
#define STELE_COMPILER_CALIBRATE_ATTENTION_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/compiler/Calibrate/CompiledModel.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/Support/JSON.h"
#include <map>
#include <optional>

namespace stele::compiler {

/// How many blocks are chosen: one of lm.select_blocks's ways.
struct Budget {
  lm::BlockSelect select = lm::BlockSelect::TopP;
  int64_t topK = 0; // of TopK
  double share = 0; // of the mass, or of the blocks

  /// "mass 0.95", for messages and tables.
  std::string describe() const;
  /// A larger one; nothing when that would keep about everything. `blocks` are
  /// those of a window.
  std::optional<Budget> raised(int64_t blocks) const;
};

/// The shares of the mass, by their estimates, that KV heads keep: by layer.
using Targets = std::map<int64_t, std::vector<double>>;

/// The target that makes a head keep `wanted` of the mass, if it keeps `kept`
/// with `target`: what is missing is taken to be in proportion. Never lower.
double raiseTarget(double target, double kept, double wanted);

/// The target of a raised budget (Budget::raised).
double raiseTarget(double target);

/// The layers whose blocks are chosen, in the module's order.
std::vector<lm::SelectBlocksOp> findSelections(mlir::ModuleOp module);

/// Writes a budget, and targets where there are any, into all of them.
void applyBudget(mlir::ModuleOp module, const Budget &budget,
                 const Targets &targets);

/// Of every head in all windows, and of the same in the first part of each.
class HeadSeries {
public:
  explicit HeadSeries(size_t window) : window(window) {}

  /// To be called behind every step, with the sums by then.
  void add(std::vector<HeadSums> now, size_t processed);

  llvm::ArrayRef<HeadSums> whole() const { return sums; }
  /// g, if a query at depth n reads about n^g keys: 0 for a fixed number, 1 for
  /// a fixed share. Nothing for windows of one step.
  std::optional<double> growth(size_t head) const;

private:
  size_t window;
  size_t cut = 0;                     // tokens of the first part
  std::vector<HeadSums> sums, before; // now, and when the window began
  std::vector<double> firstKeys;      // kept in the first parts
};

/// The share of the attention that heads kept, mean over queries.
double meanKept(llvm::ArrayRef<HeadSums> heads);
/// The share of the keys that they read.
double shareRead(llvm::ArrayRef<HeadSums> heads);

/// A row for every query head of the selections.
llvm::json::Array makeHeadRows(llvm::ArrayRef<lm::SelectBlocksOp> selections,
                               const Targets &targets,
                               const HeadSeries &series);

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_ATTENTION_H
