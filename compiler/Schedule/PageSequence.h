// A function's operations with the moves of its pages among them: their order,
// their streams, and how long the whole should take.
//
// Stream 0 computes, stream 1 moves. A layer's moves come before its first
// launch, `lookahead` layers early: what fell out leaves, and what the layer's
// last selection asked for comes into its slots. Once the layer has selected,
// what is missing comes over them, and its attention waits for that.
//
//   stream 0   append i   select i  .                 . attend i   mlp i append
//   i+1
//                                    \               /                    /
//   stream 1                          correct i -----   out i+1, ahead i+1
#ifndef STELE_COMPILER_SCHEDULE_PAGESEQUENCE_H
#define STELE_COMPILER_SCHEDULE_PAGESEQUENCE_H

#include "stele/compiler/Schedule/PagedFunctions.h"

namespace stele::compiler {

/// Slots of the layers that select, `stride` apart: the first `own` layers have
/// a section each, which keeps what it holds from step to step; the others take
/// turns with `shared` ones.
struct SlotSections {
  int64_t lookahead = 1; // layers, fewer than `shared`
  int64_t own = 0;
  int64_t shared = 0;
  int64_t width = 0;  // slots that a layer uses
  int64_t stride = 0; // at least the width

  int64_t slots() const { return (own + shared) * stride; }
};

/// What moves should take, each of a layer.
struct MoveTimes {
  int64_t out = 0;     // pages of a cell leave
  int64_t ahead = 0;   // what the last selection asked for
  int64_t kept = 0;    // the same, where slots still hold it
  int64_t correct = 0; // what is missing
};

struct SequencedOp {
  enum class Kind { Step, PageOut, PageIn, Ahead, Select, Signal, Wait };
  Kind kind;
  int64_t stream = 0;
  int64_t ns = 0;
  size_t layer = 0;                // index into the function's, of moves
  int64_t slot = 0;                // first one, of fetches
  int64_t event = 0;               // of signals and waits
  mlir::Operation *step = nullptr; // one that was there
};

class PageSequence {
public:
  PageSequence(const PagedFunction &function, SlotSections sections,
               MoveTimes times);

  llvm::ArrayRef<SequencedOp> ops() const { return list; }
  int64_t events() const { return numEvents; }
  /// When the last stream is done, from the operations' modelled times.
  int64_t modelledNs() const;

private:
  using Kind = SequencedOp::Kind;
  void addStep(mlir::Operation *step);
  void issueUntil(size_t end);
  void correct(size_t index);
  void reachSlotsUntil(size_t index, size_t end);
  int64_t signal(int64_t stream);
  void wait(int64_t stream, int64_t event);
  void dropUnawaited();
  void sync(int64_t from, int64_t to) { wait(to, signal(from)); }
  int64_t sectionOf(int64_t layer) const;

  const PagedFunction &function;
  SlotSections sections;
  MoveTimes times;
  std::vector<SequencedOp> list;
  int64_t numEvents = 0;
  size_t issued = 0;                 // layers whose moves are in the list
  size_t over = 0;                   // layers that stream 1 knows to be over
  int64_t arrived = -1;              // last event that stream 0 waited for
  llvm::SmallVector<int64_t> number; // of a layer among those that select
  llvm::SmallVector<int64_t> arrival, correction; // events, by layer
};

} // namespace stele::compiler

#endif // STELE_COMPILER_SCHEDULE_PAGESEQUENCE_H
