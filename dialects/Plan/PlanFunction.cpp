// What the order of a function's operations must keep: lifetimes, apartness in
// the arena, and that nothing is read before it was written or has arrived.

#include "mlir/IR/Builders.h"
#include "stele/dialects/Plan/PlanOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace stele;
using namespace stele::plan_ir;

namespace {

/// What each stream knows to be over: streams run in any order but for waits,
/// so "before" is a vector clock. Steps are numbered from 0.
class StreamOrder {
public:
  explicit StreamOrder(int64_t streams) : known(streams, Clock(streams, -1)) {}

  /// Whether `step` of `stream` is over when the next step of `reader` starts.
  bool isOver(int64_t stream, int64_t step, int64_t reader) const {
    return known[reader][stream] >= step;
  }
  void issue(int64_t stream, int64_t step) { known[stream][stream] = step; }
  void signal(int64_t stream, int64_t event) { events[event] = known[stream]; }
  /// False when nothing has signalled the event.
  bool wait(int64_t stream, int64_t event) {
    auto signalled = events.find(event);
    if (signalled == events.end())
      return false;
    for (auto [mine, theirs] : llvm::zip(known[stream], signalled->second))
      mine = std::max(mine, theirs);
    return true;
  }
  bool isSignalled(int64_t event) const { return events.contains(event); }

private:
  using Clock = SmallVector<int64_t, 4>;
  SmallVector<Clock, 4> known; // [stream][stream]: last step known to be over
  llvm::DenseMap<int64_t, Clock> events;
};

/// Where something was written or fetched.
struct Origin {
  int64_t stream;
  int64_t step;
};

class FunctionVerifier {
public:
  FunctionVerifier(FunctionOp function, SymbolTableCollection &symbols)
      : function(function), symbols(symbols), order(function.getStreams()) {}

  LogicalResult run() {
    if (failed(verifyPlacements()) || failed(verifyApart()))
      return failure();
    for (auto [index, op] : llvm::enumerate(function.getSteps())) {
      step = index;
      if (failed(verifyStep(op)))
        return failure();
    }
    return verifyReturn();
  }

private:
  LogicalResult verifyPlacements();
  LogicalResult verifyApart();
  LogicalResult verifyStep(Operation *op);
  LogicalResult verifyLaunch(LaunchOp launch);
  LogicalResult verifyPages(LaunchOp launch, EntryOp entry);
  LogicalResult verifyReturn();

  LogicalResult use(Operation *op, Value buffer);
  LogicalResult read(Operation *op, Value buffer);
  void write(Operation *op, Value buffer) {
    written[buffer].push_back({streamOf(op), step});
  }

  using LayerKey = std::pair<Attribute, int64_t>; // cache, layer

  FunctionOp function;
  SymbolTableCollection &symbols;
  StreamOrder order;
  int64_t step = 0;
  llvm::DenseMap<Value, SmallVector<Origin, 2>> written;
  llvm::DenseSet<LayerKey> selected;
  llvm::DenseMap<LayerKey, SmallVector<Origin, 2>> fetched;
};

} // namespace

LogicalResult FunctionVerifier::verifyPlacements() {
  int64_t steps = function.getSteps().size();
  for (auto buffer : function.getBody().getOps<BufferOp>()) {
    PlacementAttr placement = buffer.getPlacementAttr();
    if (bool(placement) != bool(function.getArenaAttr()))
      return buffer.emitOpError()
             << (placement ? "has a placement, but its function no arena"
                           : "has no placement in its function's arena")
             << " (C5 of plan.function)";
    if (!placement)
      continue;
    if (placement.getOffset() + buffer.getBytes() >
        int64_t(*function.getArena()))
      return buffer.emitOpError()
             << "ends at " << placement.getOffset() + buffer.getBytes()
             << ", past the arena's " << *function.getArena()
             << " bytes (C5 of plan.function)";
    if (placement.getLast() >= steps)
      return buffer.emitOpError()
             << "lives to operation " << placement.getLast() << ", there are "
             << steps << " (C6 of plan.function)";
  }
  return success();
}

LogicalResult FunctionVerifier::verifyApart() {
  if (!function.getArenaAttr())
    return success();
  SmallVector<BufferOp> buffers(function.getBody().getOps<BufferOp>());
  llvm::sort(buffers, [](BufferOp a, BufferOp b) {
    return a.getPlacementAttr().getOffset() < b.getPlacementAttr().getOffset();
  });
  for (auto [i, a] : llvm::enumerate(buffers)) {
    PlacementAttr mine = a.getPlacementAttr();
    for (BufferOp b : ArrayRef(buffers).drop_front(i + 1)) {
      PlacementAttr other = b.getPlacementAttr();
      if (other.getOffset() >= mine.getOffset() + a.getBytes())
        break;
      if (a.getDevice() == b.getDevice() &&
          mine.getFirst() <= other.getLast() &&
          other.getFirst() <= mine.getLast())
        return b.emitOpError() << "overlaps buffer " << a.getNameAttr()
                               << " while both live (C7 of plan.function)";
    }
  }
  return success();
}

LogicalResult FunctionVerifier::use(Operation *op, Value buffer) {
  auto definition = buffer.getDefiningOp<BufferOp>();
  PlacementAttr placement = definition.getPlacementAttr();
  if (placement && (step < placement.getFirst() || step > placement.getLast()))
    return op->emitOpError()
           << "is operation " << step << " and uses buffer "
           << definition.getNameAttr() << ", which lives from "
           << placement.getFirst() << " to " << placement.getLast()
           << " (C6 of plan.function)";
  return success();
}

LogicalResult FunctionVerifier::read(Operation *op, Value buffer) {
  if (failed(use(op, buffer)))
    return failure();
  ArrayRef<Origin> origins = written[buffer];
  bool ordered = llvm::all_of(origins, [&](Origin origin) {
    return order.isOver(origin.stream, origin.step, streamOf(op));
  });
  if (!origins.empty() && ordered)
    return success();
  return op->emitOpError()
         << "reads buffer " << buffer.getDefiningOp<BufferOp>().getNameAttr()
         << (origins.empty()
                 ? " before it is written"
                 : ", which another stream writes without a wait in between")
         << " (C8 of plan.function)";
}

LogicalResult FunctionVerifier::verifyPages(LaunchOp launch, EntryOp entry) {
  for (FlatSymbolRefAttr cache : launch.getCaches(entry))
    for (int64_t layer : launch.getImmediates())
      for (Origin origin : fetched.lookup({cache, layer}))
        if (!order.isOver(origin.stream, origin.step, streamOf(launch)))
          return launch.emitOpError()
                 << "reads pages of layer " << layer << " of " << cache
                 << " that operation " << origin.step
                 << " fetches, without a wait for their arrival (C9 of "
                    "plan.function)";
  return success();
}

LogicalResult FunctionVerifier::verifyLaunch(LaunchOp launch) {
  EntryOp entry = launch.lookupEntry(symbols);
  if (!entry)
    return success(); // the launch says so itself
  if (failed(verifyPages(launch, entry)))
    return failure();
  LogicalResult result = success();
  launch.visitBuffers(entry, [&](ParameterAttr parameter, Value buffer) {
    if (succeeded(result))
      result = reads(parameter.getAccess()) ? read(launch, buffer)
                                            : use(launch, buffer);
  });
  launch.visitBuffers(entry, [&](ParameterAttr parameter, Value buffer) {
    if (writes(parameter.getAccess()))
      write(launch, buffer);
  });
  return result;
}

LogicalResult FunctionVerifier::verifyStep(Operation *op) {
  int64_t stream = streamOf(op);
  if (stream < 0 || stream >= int64_t(function.getStreams()))
    return op->emitOpError() << "stream must be below " << function.getStreams()
                             << ", got " << stream << " (C11 of plan.function)";
  auto badEvent = [&](int64_t event, StringRef what) {
    return op->emitOpError()
           << "event " << event << what << " (C10 of plan.function)";
  };
  LogicalResult result =
      llvm::TypeSwitch<Operation *, LogicalResult>(op)
          .Case([&](LaunchOp launch) { return verifyLaunch(launch); })
          .Case([&](CopyOp copy) {
            if (failed(read(copy, copy.getSource())) ||
                failed(use(copy, copy.getDestination())))
              return failure();
            write(copy, copy.getDestination());
            return success();
          })
          .Case([&](SelectPagesOp select) {
            selected.insert({select.getCacheAttr(), select.getLayer()});
            return read(select, select.getSelection());
          })
          .Case([&](PageInOp pages) -> LogicalResult {
            LayerKey key(pages.getCacheAttr(), pages.getLayer());
            fetched[key].push_back({stream, step});
            if (selected.contains(key))
              return success();
            return pages.emitOpError()
                   << "has no plan.select_pages of layer " << pages.getLayer()
                   << " before it (C12 of plan.function)";
          })
          .Case([&](CollectiveOp collective) {
            if (failed(read(collective, collective.getBuffer())))
              return failure();
            write(collective, collective.getBuffer());
            return success();
          })
          .Case([&](SignalOp signal) -> LogicalResult {
            int64_t event = signal.getEvent();
            if (event < 0 || event >= int64_t(function.getEvents()))
              return badEvent(event, " is not below the function's events");
            if (order.isSignalled(event))
              return badEvent(event, " is signalled twice");
            order.signal(stream, event);
            return success();
          })
          .Case([&](WaitOp wait) -> LogicalResult {
            if (!order.wait(stream, wait.getEvent()))
              return badEvent(wait.getEvent(),
                              " is waited for before it is signalled");
            return success();
          })
          .Default(success());
  order.issue(stream, step);
  return result;
}

LogicalResult FunctionVerifier::verifyReturn() {
  ReturnOp returned = function.getReturn();
  int64_t last = int64_t(function.getSteps().size()) - 1;
  for (Value value : returned.getBuffers()) {
    auto buffer = value.getDefiningOp<BufferOp>();
    if (!written.contains(value))
      return returned.emitOpError()
             << "buffer " << buffer.getNameAttr() << " is never written (C2)";
    PlacementAttr placement = buffer.getPlacementAttr();
    if (placement && placement.getLast() != last)
      return returned.emitOpError()
             << "buffer " << buffer.getNameAttr() << " lives to "
             << placement.getLast() << ", but outputs live to operation "
             << last << " (C6 of plan.function)";
  }
  return success();
}

SmallVector<Operation *> FunctionOp::getSteps() {
  SmallVector<Operation *> steps;
  for (Operation &op : getBody().front())
    if (!isa<BufferOp, ReturnOp>(op))
      steps.push_back(&op);
  return steps;
}

ReturnOp FunctionOp::getReturn() {
  return cast<ReturnOp>(getBody().front().getTerminator());
}

LogicalResult FunctionOp::verify() {
  int64_t tokens = getTokens();
  if (tokens <= 0 || getSequences() <= 0 || getLogitRows() <= 0 ||
      getSequences() > tokens || getLogitRows() > tokens)
    return emitOpError() << "tokens must be positive, sequences and logit_rows "
                            "in 1..tokens, got "
                         << tokens << ", " << getSequences() << " and "
                         << getLogitRows() << " (C1)";
  if (getRanks() <= 0 || getStreams() <= 0 || getEvents() < 0 ||
      getScratch() < 0 || (getArena() && *getArena() < 0))
    return emitOpError() << "ranks and streams must be positive, events, arena "
                            "and scratch not negative (C2)";
  if (getBody().front().empty() || !isa<ReturnOp>(getBody().front().back()))
    return emitOpError() << "must end with plan.return";
  bool started = false;
  for (Operation &op : getBody().front()) {
    if (started && isa<BufferOp>(op))
      return op.emitOpError() << "comes after an operation that runs (C4 of "
                                 "plan.function)";
    started |= !isa<BufferOp>(op);
  }
  return success();
}

LogicalResult FunctionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (!symbols.lookupNearestSymbolFrom<TargetOp>(*this, getTargetAttr()))
    return emitOpError() << getTargetAttr() << " is not a target (C3)";
  return FunctionVerifier(*this, symbols).run();
}
