// What a paged cache's functions do with it, layer by layer, and how many pages
// of a layer a step can ask for at most.
//
// Place on the road: read from the plan by stele-schedule-pages, which makes
// room for these pages (PageSequence.h).
#ifndef STELE_COMPILER_SCHEDULE_PAGEDFUNCTIONS_H
#define STELE_COMPILER_SCHEDULE_PAGEDFUNCTIONS_H

#include "stele/compiler/Schedule/CostModel.h"

namespace stele::compiler {

/// A layer of the cache in one function.
struct PagedLayer {
  int64_t layer = 0;
  plan_ir::LaunchOp first; // that binds the cache
  // Of a layer that attends to chosen blocks; null otherwise.
  plan_ir::LaunchOp select, attention;
  mlir::Value selection;
  BlockChoice choice{};
  int64_t window = 0; // of a layer with a sliding window

  bool selects() const { return bool(select); }
};

/// The cache's shape and the cells that steps stay in.
struct PageGrid {
  int64_t block = 0;   // tokens
  int64_t heads = 0;   // KV heads
  int64_t cell = 0;    // tokens, a multiple of the block
  int64_t context = 0; // tokens
  int64_t hot = 0;     // tokens, a multiple of the cell
  int64_t sinks = 0;   // blocks

  int64_t blocksOfCell() const { return cell / block; }
  /// Blocks that fell out when the cell begins that `block` lies in.
  int64_t fallenAt(int64_t blockIndex) const;
  /// The most that ever have: in the context's last cell.
  int64_t fallen() const;
  /// Blocks in device memory, at most: with the cell at work, and one that
  /// waits for its packing.
  int64_t hotBlocks() const;
};

struct PagedFunction {
  plan_ir::FunctionOp op;
  int64_t tokens = 0;   // of a step, at most
  bool decodes = false; // takes a token of each sequence
  ModelledStep step{};
  llvm::SmallVector<PagedLayer> layers; // in the order of their launches

  /// Layers that select.
  int64_t selecting() const;
  /// Query blocks of a session that a step touches at most.
  int64_t queryBlocks(const PageGrid &grid) const;
  /// Pages of a layer and session, of all KV heads, that a step can choose
  /// among those that fell out, at most. Every layer's choice is bounded.
  int64_t mostChosen(const PageGrid &grid) const;
};

/// The layers of `cache` in `function`. A layer that cannot be paged ends the
/// error that `refuse` begins, which says why pages have to leave.
mlir::FailureOr<PagedFunction>
findLayers(plan_ir::FunctionOp function, plan_ir::KvCacheOp cache,
           int64_t context, mlir::SymbolTableCollection &symbols,
           llvm::function_ref<mlir::InFlightDiagnostic()> refuse);

} // namespace stele::compiler

#endif // STELE_COMPILER_SCHEDULE_PAGEDFUNCTIONS_H
