// The order of a function's operations with its moves (PageSequence.h).

#include "stele/compiler/Schedule/PageSequence.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;

static constexpr int64_t computeStream = 0, moveStream = 1;

PageSequence::PageSequence(const PagedFunction &function, SlotSections sections,
                           MoveTimes times)
    : function(function), sections(sections), times(times) {
  int64_t selecting = 0;
  for (const PagedLayer &layer : function.layers)
    number.push_back(layer.selects() ? selecting++ : -1);
  arrival.resize(function.layers.size());
  correction.resize(function.layers.size());
  issueUntil(1);
  for (Operation *step : FunctionOp(function.op).getSteps())
    addStep(step);
  dropUnawaited();
}

/// Of the layer of that number among those that select.
int64_t PageSequence::sectionOf(int64_t layer) const {
  if (layer < sections.own)
    return layer;
  return sections.own + (layer - sections.own) % sections.shared;
}

int64_t PageSequence::signal(int64_t stream) {
  list.push_back({.kind = Kind::Signal, .stream = stream, .event = numEvents});
  return numEvents++;
}

/// Events of a stream come in the order of their numbers.
void PageSequence::wait(int64_t stream, int64_t event) {
  if (stream == computeStream && event <= arrived)
    return;
  if (stream == computeStream)
    arrived = event;
  list.push_back({.kind = Kind::Wait, .stream = stream, .event = event});
}

/// Signals that a later one made needless go, and events are numbered again.
void PageSequence::dropUnawaited() {
  llvm::DenseMap<int64_t, int64_t> numbers; // of those that are waited for
  for (const SequencedOp &op : list)
    if (op.kind == Kind::Wait)
      numbers[op.event] = 0;
  llvm::erase_if(list, [&](const SequencedOp &op) {
    return op.kind == Kind::Signal && !numbers.contains(op.event);
  });
  numEvents = 0;
  for (SequencedOp &op : list) {
    if (op.kind == Kind::Signal)
      numbers[op.event] = numEvents++;
    if (op.kind == Kind::Signal || op.kind == Kind::Wait)
      op.event = numbers[op.event];
  }
}

/// Moves that come before the first launches of layers up to `end`.
void PageSequence::issueUntil(size_t end) {
  for (end = std::min(end, function.layers.size()); issued < end; ++issued) {
    list.push_back({.kind = Kind::PageOut,
                    .stream = moveStream,
                    .ns = times.out,
                    .layer = issued});
    if (function.layers[issued].selects())
      list.push_back(
          {.kind = Kind::Ahead,
           .stream = moveStream,
           .ns = number[issued] < sections.own ? times.kept : times.ahead,
           .layer = issued,
           .slot = sectionOf(number[issued]) * sections.stride});
    arrival[issued] = signal(moveStream);
  }
}

/// Behind a layer's selection: what is missing, then moves of later layers.
void PageSequence::correct(size_t index) {
  list.push_back({.kind = Kind::Select, .layer = index});
  sync(computeStream, moveStream);
  over = index; // it waits behind the launches of all layers before
  list.push_back({.kind = Kind::PageIn,
                  .stream = moveStream,
                  .ns = times.correct,
                  .layer = index,
                  .slot = sectionOf(number[index]) * sections.stride});
  correction[index] = signal(moveStream);
  issueUntil(index + 1 + sections.lookahead);
}

/// Before a layer that does not select, so that nothing made stream 1 wait:
/// lets it wait where moves of layers up to `end` take slots of a layer that
/// may still run.
void PageSequence::reachSlotsUntil(size_t index, size_t end) {
  end = std::min(end, function.layers.size());
  for (size_t next = issued; next < end; ++next) {
    int64_t before = number[next] - sections.shared;
    if (number[next] < 0 || before < sections.own)
      continue;
    auto holder = llvm::find(number, before);
    if (size_t(holder - number.begin()) < over)
      continue;
    sync(computeStream, moveStream);
    over = index;
    return;
  }
}

void PageSequence::addStep(Operation *step) {
  auto isLaunch = [&](LaunchOp PagedLayer::*which) {
    auto found = llvm::find_if(function.layers, [&](const PagedLayer &layer) {
      return LaunchOp(layer.*which) && LaunchOp(layer.*which) == step;
    });
    return size_t(found - function.layers.begin());
  };
  const size_t none = function.layers.size();
  if (size_t index = isLaunch(&PagedLayer::first); index != none) {
    wait(computeStream, arrival[index]);
    if (!function.layers[index].selects()) {
      reachSlotsUntil(index, index + 1 + sections.lookahead);
      issueUntil(index + 1 + sections.lookahead);
    }
  }
  if (size_t index = isLaunch(&PagedLayer::attention);
      index != none && function.layers[index].selects())
    wait(computeStream, correction[index]);
  auto time = step->getAttrOfType<IntegerAttr>("modelled_ns");
  list.push_back({.kind = Kind::Step,
                  .stream = streamOf(step),
                  .ns = time ? time.getInt() : 0,
                  .step = step});
  if (size_t index = isLaunch(&PagedLayer::select); index != none)
    correct(index);
}

int64_t PageSequence::modelledNs() const {
  int64_t now[] = {0, 0};
  SmallVector<int64_t> signalled(numEvents);
  for (const SequencedOp &op : list) {
    int64_t &clock = now[op.stream];
    clock += op.ns;
    if (op.kind == Kind::Signal)
      signalled[op.event] = clock;
    if (op.kind == Kind::Wait)
      clock = std::max(clock, signalled[op.event]);
  }
  return std::max(now[0], now[1]);
}
