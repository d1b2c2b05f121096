// How long launches and moves of pages should take on a target, in nanoseconds:
// what they read and write over the speed of memory, or what they compute over
// the speed of their arithmetic, whichever is longer.
//
// Place on the road: stele-model-time writes it on the operations of a plan,
// stele-schedule-pages schedules by it, and `stele inspect --timeline` draws
// it. It is an estimate from declared speeds (compiler/Targets) and perfect
// kernels: right in what is longer than what, not in the last digit.
#ifndef STELE_COMPILER_SCHEDULE_COSTMODEL_H
#define STELE_COMPILER_SCHEDULE_COSTMODEL_H

#include "stele/compiler/Targets/Targets.h"
#include "stele/dialects/Plan/PlanOps.h"

namespace stele::compiler {

/// The constant of that name that an entry's kernel is made from, or nothing.
std::optional<int64_t> constantOf(plan_ir::EntryOp entry, llvm::StringRef name);
/// Whether an entry's kernel is made from a template of that family: "linear"
/// for linear_f32, linear_q_int8.
bool isMadeFrom(plan_ir::EntryOp entry, llvm::StringRef family);

/// The step that is modelled: of one session, at the end of the context; of one
/// token where a function takes as many sequences as tokens, which is for
/// decoding, otherwise of as many as it takes.
struct ModelledStep {
  int64_t tokens;
  int64_t logitRows;
  int64_t context;

  static ModelledStep of(plan_ir::FunctionOp function, int64_t context);
};

/// A choice of key blocks, as the constants of a launch say it.
struct BlockChoice {
  int64_t always; // kept before a query block, with itself
  int64_t sinks;
  int64_t dense; // first query blocks, which keep all
  /// Chosen beyond these, at most; nothing: as many as it takes.
  std::optional<int64_t> chosen;

  /// Of select_blocks, or of block_sparse where none are chosen.
  static BlockChoice of(plan_ir::EntryOp entry);
};

/// Pages of one session that a move takes, and how many of them come from disk.
struct PageMove {
  double pages = 0;
  double coldPages = 0;
  int64_t pageBytes = 0;   // in device memory
  int64_t recordBytes = 0; // below it
};

class CostModel {
public:
  CostModel(const MachineLimits &limits, mlir::SymbolTableCollection &symbols)
      : limits(limits), symbols(symbols) {}

  int64_t ofLaunch(plan_ir::LaunchOp launch, const ModelledStep &step);
  int64_t ofCopy(plan_ir::CopyOp copy) const;
  int64_t ofPageOut(const PageMove &move) const;
  int64_t ofPageIn(const PageMove &move) const;

private:
  double latencyOf(const PageMove &move) const;
  double operationsOf(plan_ir::LaunchOp launch, plan_ir::EntryOp entry,
                      const ModelledStep &step);
  double bytesOf(plan_ir::LaunchOp launch, plan_ir::EntryOp entry,
                 const ModelledStep &step);
  double keysRead(plan_ir::LaunchOp launch, plan_ir::EntryOp entry,
                  const ModelledStep &step);
  double bytesOfCache(plan_ir::LaunchOp launch, plan_ir::EntryOp entry,
                      plan_ir::ParameterAttr parameter,
                      const ModelledStep &step);

  const MachineLimits &limits;
  mlir::SymbolTableCollection &symbols;
};

} // namespace stele::compiler

#endif // STELE_COMPILER_SCHEDULE_COSTMODEL_H
