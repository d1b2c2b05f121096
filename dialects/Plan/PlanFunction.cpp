// What the order of a function's operations must keep: lifetimes, apartness in
// the arena, and that nothing is read before it was written or has arrived.

#include "mlir/IR/Builders.h"
#include "stele/dialects/Plan/PlanOps.h"
#include "stele/schema/page_schedule.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace stele;
using namespace stele::plan_ir;
using schema::PagedLayer;
using schema::PageFault;
using schema::PageSchedule;
using schema::StreamPoint;

namespace {

class FunctionVerifier {
public:
  FunctionVerifier(FunctionOp function, SymbolTableCollection &symbols)
      : function(function), symbols(symbols), order(function.getStreams()),
        pages(order) {}

  LogicalResult run() {
    if (failed(verifyPlacements()) || failed(verifyApart()))
      return failure();
    for (auto [index, op] : llvm::enumerate(function.getSteps())) {
      step = index;
      if (failed(verifyStep(op)))
        return failure();
    }
    if (PageSchedule::Fault fault = pages.End())
      return report(function, *fault);
    return verifyReturn();
  }

private:
  LogicalResult verifyPlacements();
  LogicalResult verifyApart();
  LogicalResult verifyStep(Operation *op);
  LogicalResult verifyLaunch(LaunchOp launch);
  LogicalResult verifyPages(LaunchOp launch, EntryOp entry);
  LogicalResult verifySelection(SelectPagesOp select);
  LogicalResult verifySignal(SignalOp signal);
  LogicalResult verifyReturn();

  LogicalResult use(Operation *op, Value buffer);
  LogicalResult read(Operation *op, Value buffer);
  void write(Operation *op, Value buffer) {
    written[buffer].push_back(pointOf(op));
  }

  StreamPoint pointOf(Operation *op) const {
    return {uint32_t(streamOf(op)), step};
  }
  PagedLayer layerOf(FlatSymbolRefAttr cache, int64_t layer) {
    return {caches.try_emplace(cache, caches.size()).first->second, layer};
  }
  /// The cache of an operation that moves pages, when it and the layer exist;
  /// otherwise the operation's own verifier says so.
  template <typename OpT> KvCacheOp lookupCache(OpT op) {
    auto cache =
        symbols.lookupNearestSymbolFrom<KvCacheOp>(op, op.getCacheAttr());
    bool exists = cache && op.getLayer() >= 0 &&
                  int64_t(op.getLayer()) < int64_t(cache.getLayers());
    return exists ? cache : KvCacheOp();
  }
  LogicalResult report(Operation *op, const PageFault &fault) {
    return op->emitOpError()
           << fault.text << " (C" << int(fault.rule) << " of plan.function)";
  }
  LogicalResult report(Operation *op, const PageSchedule::Fault &fault) {
    return fault ? report(op, *fault) : success();
  }

  FunctionOp function;
  SymbolTableCollection &symbols;
  schema::StreamOrder order;
  PageSchedule pages;
  int64_t step = 0;
  llvm::DenseMap<Value, SmallVector<StreamPoint, 2>> written;
  llvm::DenseMap<Attribute, uint32_t> caches; // numbered as they come
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
  ArrayRef<StreamPoint> origins = written[buffer];
  bool ordered = llvm::all_of(origins, [&](StreamPoint origin) {
    return order.IsOver(origin, streamOf(op));
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
  LogicalResult result = success();
  launch.visitCaches(
      entry, [&](ParameterAttr parameter, FlatSymbolRefAttr name) {
        auto cache = symbols.lookupNearestSymbolFrom<KvCacheOp>(launch, name);
        bool isPaged = cache && cache.getPagingAttr();
        for (int64_t layer : launch.getImmediates())
          if (succeeded(result))
            result = report(launch, pages.Launch(layerOf(name, layer),
                                                 !writes(parameter.getAccess()),
                                                 isPaged, pointOf(launch)));
      });
  return result;
}

LogicalResult FunctionVerifier::verifySelection(SelectPagesOp select) {
  if (lookupCache(select))
    pages.Select(layerOf(select.getCacheAttr(), select.getLayer()),
                 select.getSlots(), pointOf(select));
  return read(select, select.getSelection());
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

static LogicalResult badEvent(Operation *op, int64_t event, StringRef what) {
  return op->emitOpError() << "event " << event << what
                           << " (C10 of plan.function)";
}

LogicalResult FunctionVerifier::verifySignal(SignalOp signal) {
  int64_t event = signal.getEvent();
  if (event < 0 || event >= int64_t(function.getEvents()))
    return badEvent(signal, event, " is not below the function's events");
  if (order.IsSignalled(event))
    return badEvent(signal, event, " is signalled twice");
  order.Signal(streamOf(signal), event);
  return success();
}

LogicalResult FunctionVerifier::verifyStep(Operation *op) {
  int64_t stream = streamOf(op);
  if (stream < 0 || stream >= int64_t(function.getStreams()))
    return op->emitOpError() << "stream must be below " << function.getStreams()
                             << ", got " << stream << " (C11 of plan.function)";
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
          .Case([&](SelectPagesOp select) { return verifySelection(select); })
          .Case([&](PageInOp move) -> LogicalResult {
            KvCacheOp cache = lookupCache(move);
            if (!cache)
              return success();
            return report(
                move,
                pages.PageIn(
                    layerOf(move.getCacheAttr(), move.getLayer()),
                    {uint64_t(move.getFirstSlot()), uint64_t(move.getSlots())},
                    move.getAhead(), cache.getSlots(), pointOf(move)));
          })
          .Case([&](PageOutOp move) -> LogicalResult {
            return lookupCache(move)
                       ? report(move, pages.PageOut(layerOf(move.getCacheAttr(),
                                                            move.getLayer()),
                                                    pointOf(move)))
                       : success();
          })
          .Case([&](CollectiveOp collective) {
            if (failed(read(collective, collective.getBuffer())))
              return failure();
            write(collective, collective.getBuffer());
            return success();
          })
          .Case([&](SignalOp signal) { return verifySignal(signal); })
          .Case([&](WaitOp wait) -> LogicalResult {
            if (order.Wait(stream, wait.getEvent()))
              return success();
            return badEvent(wait, wait.getEvent(),
                            " is waited for before it is signalled");
          })
          .Default(success());
  order.Issue(pointOf(op));
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
  if (getRanks() <= 0 || getStreams() <= 0 || getStreams() > 64 ||
      getEvents() < 0 || getScratch() < 0 || getShared() < 0 ||
      (getArena() && *getArena() < 0))
    return emitOpError() << "ranks must be positive, streams in 1..64, events, "
                            "arena, scratch and shared not negative (C2)";
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
