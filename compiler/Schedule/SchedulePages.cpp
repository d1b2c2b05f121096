// stele-schedule-pages: what of a cache stays in device memory, and the moves
// of the rest (docs/paging.md).
//
// Everything that a run decides (which pages) goes into slots that are decided
// here: their number from what selections choose at most, the moves' places
// from the cost model, all of it within the memory that was given.

#include "mlir/IR/Builders.h"
#include "stele/compiler/Codegen/Host/HostCodegen.h"
#include "stele/compiler/Schedule/PageSequence.h"
#include "stele/compiler/Schedule/Passes.h"
#include "stele/compiler/Targets/Sizes.h"
#include "stele/compiler/Transforms/KernelTable.h"
#include "stele/dialects/Lm/LmAttrs.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "stele/dialects/Lm/LmTypes.h"
#include "stele/schema/key_index.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

namespace stele::compiler {
#define GEN_PASS_DEF_SCHEDULEPAGES
#include "stele/compiler/Schedule/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;

/// What share of a query block's choice the one before it has not made: the
/// next token of a decode, the next block of a prompt. An assumption, which
/// runs are compared with (`stele inspect --timeline --trace`).
static constexpr double freshInDecode = 1.0 / 20, freshInPrefill = 1.0 / 4;
static constexpr int64_t maxSlots = 1 << 24; // C1 of plan.kv_cache

namespace {

struct Budget {
  int64_t deviceMemory, hostMemory, hotWindow;
  std::string warm;
};

/// Bytes of device memory, item by item.
class MemoryBill {
public:
  void add(const llvm::Twine &what, int64_t bytes) {
    total += bytes;
    if (bytes > 0)
      items.push_back((what + " " + showBytes(bytes)).str());
  }
  std::string describe() const {
    return llvm::join(items, " + ") + " = " + showBytes(total);
  }
  int64_t total = 0;

private:
  SmallVector<std::string> items;
};

/// Pages one cache and the functions of its target.
class CachePager {
public:
  CachePager(KvCacheOp cache, const Target &target, const Budget &budget,
             int64_t context)
      : cache(cache), page(cache.getPage()), target(target), budget(budget),
        context(context), module(cache->getParentOfType<ModuleOp>()) {}

  LogicalResult run();

  int64_t numMoves = 0, numSlots = 0;

private:
  bool fits();
  InFlightDiagnostic doesNotFit();
  LogicalResult findFunctions();
  void makeGrid();
  LogicalResult chooseTiers();
  void alignSections(MutableArrayRef<SlotSections> sections);
  LogicalResult schedule();
  SlotSections sectionsOf(const PagedFunction &function, int64_t room);
  MoveTimes timesOf(const PagedFunction &function);
  LogicalResult makePaging();
  Type warmType() const;
  FailureOr<SymbolRefAttr> makeCodec(ExecutableOp executable, bool unpacks);
  void apply(const PagedFunction &function, const PageSequence &sequence,
             int64_t width);

  int64_t bytesOfPages(int64_t blocks) {
    return blocks * cache.getLayers() * page.getHeads() * page.getPageBytes();
  }
  MemoryBill billWithout(int64_t hotBlocks);
  int64_t minimalSlots(const PageGrid &grid) const;
  LogicalResult refuse(int64_t slots);
  std::string remedies(int64_t slots);

  KvCacheOp cache;
  PageShapeAttr page;
  const Target &target;
  const Budget &budget;
  int64_t context;
  ModuleOp module;
  SymbolTableCollection symbols;
  PageGrid grid;
  int64_t smallestWindow = 0; // that layers need, in whole cells
  int64_t recordBytes = 0;
  int64_t warmTokens = 0; // in host memory; 0: all
  SmallVector<PagedFunction> functions;
};

struct SchedulePages : compiler::impl::SchedulePagesBase<SchedulePages> {
  using SchedulePagesBase::SchedulePagesBase;
  void runOnOperation() override;
};

} // namespace

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// All that device memory holds beside slots, with so many blocks of the cache.
MemoryBill CachePager::billWithout(int64_t hotBlocks) {
  MemoryBill bill;
  int64_t weights = 0, arena = 0;
  for (auto segment : module.getOps<SegmentOp>())
    if (segment.getKind() == SegmentKind::Weights &&
        llvm::is_contained(segment.getTargets(), cache.getTargetAttr()))
      weights += segment.getLength().value_or(0);
  for (auto function : module.getOps<FunctionOp>())
    if (function.getTarget() == target.name)
      arena = std::max<int64_t>(arena, function.getArena().value_or(0));
  bill.add("weights", weights);
  bill.add("activations", arena);
  bill.add(llvm::formatv("{0} blocks of {1} tokens", showCount(hotBlocks),
                         page.getBlock())
               .str(),
           bytesOfPages(hotBlocks));
  if (page.getKeyIndex())
    bill.add("key index", cache.getLayers() * page.getHeads() *
                              schema::KeyIndexRowBytes(
                                  llvm::divideCeil(context, page.getBlock()),
                                  page.getHeadDim(), page.getValueIndex()));
  return bill;
}

bool CachePager::fits() {
  int64_t blocks = llvm::divideCeil(context, page.getBlock());
  return billWithout(blocks).total <= budget.deviceMemory;
}

/// The fewest slots with which every function can run: those of the layer at
/// work and of the one that moves.
int64_t CachePager::minimalSlots(const PageGrid &grid) const {
  int64_t slots = 0;
  for (const PagedFunction &function : functions)
    slots = std::max(slots, std::min<int64_t>(2, function.selecting()) *
                                function.mostChosen(grid));
  return slots;
}

/// What would fit instead, flag by flag.
std::string CachePager::remedies(int64_t slots) {
  const int64_t pageBytes = page.getPageBytes();
  auto needed = [&](const PageGrid &tried, int64_t slots) {
    return billWithout(tried.hotBlocks()).total + (slots + 1) * pageBytes;
  };
  std::string text =
      llvm::formatv("raise --device-memory to {0}MiB",
                    llvm::divideCeil(needed(grid, slots), int64_t(1) << 20));
  PageGrid smaller = grid;
  auto fitsNow = [&] {
    return needed(smaller, minimalSlots(smaller)) <= budget.deviceMemory;
  };
  while (smaller.hot > smallestWindow && !fitsNow())
    smaller.hot -= grid.cell;
  if (smaller.hot < grid.hot && fitsNow())
    text += llvm::formatv(", or lower --hot-window to {0}", smaller.hot);
  int64_t perBlock = 0; // slots that one more chosen block takes
  for (const PagedFunction &function : functions)
    perBlock = std::max(perBlock, std::min<int64_t>(2, function.selecting()) *
                                      function.queryBlocks(grid) * grid.heads);
  int64_t room = (budget.deviceMemory - needed(grid, 0)) / pageBytes;
  if (perBlock > 0 && room >= perBlock && room < slots)
    text += llvm::formatv(
        ", or choose fewer blocks: --top-k {0} or --max-blocks {0}",
        room / perBlock);
  int64_t all = (budget.deviceMemory - billWithout(0).total) / bytesOfPages(1) *
                page.getBlock();
  if (all > 0)
    text += llvm::formatv(", or lower --context: {0} tokens fit as they are",
                          showCount(all));
  return text;
}

LogicalResult CachePager::refuse(int64_t slots) {
  MemoryBill bill = billWithout(grid.hotBlocks());
  bill.add(llvm::formatv("{0} staging slots of {1}", showCount(slots),
                         showBytes(page.getPageBytes()))
               .str(),
           slots * page.getPageBytes());
  bill.add("a page that stands for those elsewhere", page.getPageBytes());
  return cache.emitError("a context of ")
         << showCount(context) << " tokens does not fit into --device-memory "
         << showBytes(budget.deviceMemory) << " (target " << target.name
         << "), even with a hot window of " << showCount(grid.hot)
         << " tokens, " << grid.sinks
         << (grid.sinks == 1 ? " sink block" : " sink blocks")
         << " and cells of " << grid.cell << ": " << bill.describe() << "; "
         << remedies(slots);
}

/// What of the records host memory holds.
LogicalResult CachePager::chooseTiers() {
  Type warm = warmType();
  std::optional<int64_t> bytes = page.getRecordBytes(warm);
  if (!bytes)
    return cache.emitError("pages of ")
           << page.getType() << " cannot be packed as " << budget.warm
           << "; compile with --kv f16, f32 or bf16 to keep them as they are";
  recordBytes = *bytes;
  int64_t block = recordBytes * cache.getLayers() * page.getHeads();
  if (budget.hostMemory == 0 || grid.fallen() * block <= budget.hostMemory)
    return success();
  warmTokens =
      budget.hostMemory / block * page.getBlock() / grid.cell * grid.cell;
  // One cell falls out while another one goes to disk.
  const int64_t least = 2 * grid.blocksOfCell();
  if (warmTokens >= 2 * grid.cell)
    return success();
  return cache.emitError("--host-memory ")
         << showBytes(budget.hostMemory) << " does not hold the records of two "
         << "cells of " << grid.cell << " tokens, of which one falls out while "
         << "the other goes to disk: " << least << " blocks of "
         << showBytes(block) << " = " << showBytes(least * block)
         << "; raise it to that";
}

//===----------------------------------------------------------------------===//
// Slots and lookahead
//===----------------------------------------------------------------------===//

/// Why pages have to leave; what is in the way follows.
InFlightDiagnostic CachePager::doesNotFit() {
  int64_t blocks = llvm::divideCeil(context, page.getBlock());
  return cache.emitError("a context of ")
         << showCount(context) << " tokens does not fit into --device-memory "
         << showBytes(budget.deviceMemory) << " as it is (target "
         << target.name << "): " << billWithout(blocks).describe() << "; and ";
}

LogicalResult CachePager::findFunctions() {
  for (auto function : module.getOps<FunctionOp>()) {
    if (function.getTarget() != target.name)
      continue;
    FailureOr<PagedFunction> found = findLayers(
        function, cache, context, symbols, [&] { return doesNotFit(); });
    if (failed(found))
      return failure();
    if (!found->layers.empty())
      functions.push_back(*found);
  }
  return success();
}

void CachePager::makeGrid() {
  grid.block = page.getBlock();
  grid.heads = page.getHeads();
  grid.context = context;
  int64_t window = 0;
  for (PagedFunction &function : functions) {
    grid.cell = std::max(grid.cell, function.tokens);
    for (const PagedLayer &layer : function.layers) {
      grid.sinks = std::max(grid.sinks, layer.choice.sinks);
      window =
          std::max({window, layer.window, layer.choice.always * grid.block});
    }
  }
  grid.cell = llvm::alignTo(grid.cell, grid.block);
  smallestWindow = llvm::alignTo(std::max<int64_t>(window, 1), grid.cell);
  grid.hot = std::max<int64_t>(smallestWindow,
                               llvm::alignTo(budget.hotWindow, grid.cell));
}

MoveTimes CachePager::timesOf(const PagedFunction &function) {
  double fallen = double(grid.fallen());
  double fresh = function.decodes ? freshInDecode : freshInPrefill;
  double queryBlocks =
      double(llvm::divideCeil(function.step.tokens, grid.block));
  double chosen = 0;
  for (const PagedLayer &layer : function.layers)
    if (layer.selects())
      chosen = std::max(chosen, std::min(fallen, double(*layer.choice.chosen)));
  double fetched = std::min(fallen, chosen * (1 + (queryBlocks - 1) * fresh));
  double missing = std::min(fetched, chosen * queryBlocks * fresh);
  double cold =
      warmTokens ? std::max(0.0, 1 - double(warmTokens) / grid.block / fallen)
                 : 0;
  auto move = [&](double blocks) {
    double pages = blocks * double(grid.heads);
    return PageMove{pages, pages * cold, page.getPageBytes(), recordBytes};
  };
  SymbolTableCollection unused;
  CostModel cost(target.limits, unused);
  double left = double(function.step.tokens) / double(grid.block);
  // What slots keep from step to step was all fetched by the last one.
  return {.out = cost.ofPageOut(move(left)),
          .ahead = cost.ofPageIn(move(fetched)),
          .kept = cost.ofPageIn(move(0)),
          .correct = cost.ofPageIn(move(missing))};
}

/// A section for every layer if there is room, and twice as wide for decoding,
/// where what was chosen lately may be chosen again. Otherwise the lookahead
/// for which the step should be shortest: farther takes sections from layers
/// that could have kept theirs.
SlotSections CachePager::sectionsOf(const PagedFunction &function,
                                    int64_t room) {
  const int64_t selecting = function.selecting();
  const int64_t most = function.mostChosen(grid);
  const int64_t sections =
      most == 0 ? selecting : std::min(selecting, room / most);
  const bool all = sections == selecting;
  SlotSections tried;
  tried.width = most;
  if (all && function.decodes && 2 * selecting * most <= room)
    tried.width = 2 * most;
  tried.stride = tried.width;
  int64_t farthest = all ? int64_t(function.layers.size()) - 1 : sections - 1;
  SlotSections best;
  int64_t shortest = std::numeric_limits<int64_t>::max();
  MoveTimes times = timesOf(function);
  do {
    tried.shared = all ? 0 : tried.lookahead + 1;
    tried.own = sections - tried.shared;
    int64_t ns = PageSequence(function, tried, times).modelledNs();
    if (ns < shortest)
      best = tried;
    shortest = std::min(shortest, ns);
  } while (++tried.lookahead <= farthest);
  return best;
}

/// Where all layers of several functions have their own slots, they are the
/// same, so that what one fetches is there for the other.
void CachePager::alignSections(MutableArrayRef<SlotSections> sections) {
  int64_t widest = 0;
  for (const SlotSections &each : sections)
    if (each.shared == 0)
      widest = std::max(widest, each.width);
  for (SlotSections &each : sections)
    if (each.shared == 0)
      each.stride = widest;
}

LogicalResult CachePager::schedule() {
  int64_t taken =
      billWithout(grid.hotBlocks()).total + int64_t(page.getPageBytes());
  int64_t room = std::min(
      (budget.deviceMemory - taken) / int64_t(page.getPageBytes()), maxSlots);
  int64_t needed = minimalSlots(grid);
  if (taken > budget.deviceMemory || room < needed || grid.fallen() == 0)
    return refuse(needed);
  SmallVector<SlotSections> sections;
  for (const PagedFunction &function : functions)
    sections.push_back(sectionsOf(function, room));
  alignSections(sections);
  for (const SlotSections &chosen : sections)
    numSlots = std::max(numSlots, chosen.slots());
  if (failed(makePaging()))
    return failure();
  for (auto [function, chosen] : llvm::zip_equal(functions, sections))
    apply(function, PageSequence(function, chosen, timesOf(function)),
          chosen.width);
  return success();
}

//===----------------------------------------------------------------------===//
// Into the plan
//===----------------------------------------------------------------------===//

Type CachePager::warmType() const {
  MLIRContext *context = page.getContext();
  if (budget.warm == "copy")
    return page.getType();
  return IntegerType::get(context, budget.warm == "int4" ? 4 : 8);
}

/// The entry that packs pages into records, or the reverse.
FailureOr<SymbolRefAttr> CachePager::makeCodec(ExecutableOp executable,
                                               bool unpacks) {
  // As kernels of the cache multiply (SelectKernels.cpp).
  auto kind = module->getAttrOfType<lm::ArithmeticAttr>(
      lm::LmDialect::arithmeticAttrName);
  bool isF32 = page.getType().isF32() || page.getType().isF16() || !kind ||
               kind.getValue() == lm::Arithmetic::F32;
  const KernelRow *row = findKernelRow("page_codec", isF32 ? "f32" : "bf16",
                                       target.isa, target.features);
  if (!row)
    return cache.emitError("there is no kernel that packs pages for ")
           << target.isa;
  auto element = [](Type type) {
    return int64_t(type.isSignlessInteger(4) ? schema::KvElement::kInt4
                                             : *lm::cacheElement(type));
  };
  KernelInstance instance;
  instance.templateName = row->templateName.str();
  instance.ints = {{"kv", element(page.getType())},
                   {"block", page.getBlock()},
                   {"head_dim", page.getHeadDim()},
                   {"warm", element(warmType())},
                   {"unpack", unpacks}};
  OpBuilder builder = OpBuilder::atBlockEnd(&executable.getBody().front());
  SmallVector<NamedAttribute> constants; // by name, as a map is
  for (const auto &[name, value] : instance.ints)
    constants.push_back(
        builder.getNamedAttr(name, builder.getI64IntegerAttr(value)));
  auto buffer = [&](Access access, int64_t bytes) {
    return ParameterAttr::get(builder.getContext(), BindingKind::Buffer, access,
                              /*in_place=*/false, bytes, /*per_token=*/0,
                              /*per_logit_row=*/0, PageShapeAttr());
  };
  int64_t from = page.getPageBytes(), to = recordBytes;
  if (unpacks)
    std::swap(from, to);
  IntegerAttr zero = builder.getI64IntegerAttr(0);
  StringAttr symbol = builder.getStringAttr(instance.symbol());
  EntryOp::create(
      builder, cache.getLoc(), symbol,
      InstanceAttr::get(builder.getContext(), instance.templateName, constants),
      builder.getArrayAttr(
          {buffer(Access::Read, from), buffer(Access::Write, to)}),
      builder.getArrayAttr({}), zero, zero, zero, zero,
      builder.getStringAttr(row->describe()), lm::BlockSparsityAttr());
  return SymbolRefAttr::get(executable.getSymNameAttr(),
                            {FlatSymbolRefAttr::get(symbol)});
}

LogicalResult CachePager::makePaging() {
  auto executables = module.getOps<ExecutableOp>();
  auto executable = llvm::find_if(executables, [&](ExecutableOp op) {
    return op.getTargetAttr() == cache.getTargetAttr();
  });
  if (executable == executables.end())
    return cache.emitError("there is no executable for its target");
  FailureOr<SymbolRefAttr> pack = makeCodec(*executable, /*unpacks=*/false);
  FailureOr<SymbolRefAttr> unpack = makeCodec(*executable, /*unpacks=*/true);
  if (failed(pack) || failed(unpack))
    return failure();
  cache.setPagingAttr(PagingAttr::get(module.getContext(), grid.hot, grid.sinks,
                                      grid.cell, warmType(), recordBytes,
                                      warmTokens, *pack, *unpack));
  cache.setSlots(numSlots);
  return success();
}

/// Makes one operation of the sequence, where the builder is.
static Operation *create(OpBuilder &builder, const SequencedOp &op,
                         const PagedLayer *layer, KvCacheOp cache,
                         int64_t slots, int64_t pages) {
  using Kind = SequencedOp::Kind;
  auto number = [&](int64_t value) { return builder.getI64IntegerAttr(value); };
  auto name = FlatSymbolRefAttr::get(cache.getSymNameAttr());
  Location loc = cache.getLoc();
  IntegerAttr stream = number(op.stream), device = number(0),
              ns = number(op.ns);
  FlatSymbolRefAttr target; // the function's
  switch (op.kind) {
  case Kind::Step:
    return op.step;
  case Kind::PageOut:
    return PageOutOp::create(builder, loc, name, number(layer->layer),
                             number(pages), stream, device, target, ns);
  case Kind::PageIn:
  case Kind::Ahead:
    return PageInOp::create(builder, loc, name, number(layer->layer),
                            number(op.slot), number(slots),
                            op.kind == Kind::Ahead ? builder.getUnitAttr()
                                                   : UnitAttr(),
                            stream, device, target, ns);
  case Kind::Select:
    return SelectPagesOp::create(builder, loc, name, number(layer->layer),
                                 layer->selection, number(slots), stream,
                                 device, target, ns);
  case Kind::Signal:
    return SignalOp::create(builder, loc, number(op.event), stream, device,
                            target, ns);
  case Kind::Wait:
    return WaitOp::create(builder, loc, number(op.event), stream, device,
                          target, ns);
  }
  llvm_unreachable("covered switch");
}

void CachePager::apply(const PagedFunction &paged, const PageSequence &sequence,
                       int64_t width) {
  FunctionOp function = paged.op;
  SmallVector<Operation *> before = function.getSteps();
  OpBuilder builder(before.front());
  for (const SequencedOp &op : sequence.ops()) {
    const PagedLayer *layer =
        op.layer < paged.layers.size() ? &paged.layers[op.layer] : nullptr;
    Operation *made = create(builder, op, layer, cache, width,
                             grid.heads * grid.blocksOfCell());
    builder.setInsertionPointAfter(made);
    numMoves += isa<PageInOp, PageOutOp>(made);
  }
  function.setStreams(2);
  function.setEvents(sequence.events());

  // Buffers stay where they are; their operations have other numbers.
  llvm::DenseMap<Operation *, int64_t> number;
  for (auto [index, op] : llvm::enumerate(function.getSteps()))
    number[op] = index;
  for (auto buffer : function.getBody().getOps<BufferOp>())
    if (PlacementAttr placement = buffer.getPlacementAttr())
      buffer.setPlacementAttr(
          PlacementAttr::get(builder.getContext(), placement.getOffset(),
                             number[before[placement.getFirst()]],
                             number[before[placement.getLast()]]));
}

LogicalResult CachePager::run() {
  if (fits())
    return success();
  if (failed(findFunctions()))
    return failure();
  makeGrid();
  if (failed(chooseTiers()))
    return failure();
  return schedule();
}

void SchedulePages::runOnOperation() {
  ModuleOp module = getOperation();
  auto model =
      module->getAttrOfType<lm::ModelAttr>(lm::LmDialect::modelAttrName);
  if (deviceMemory == 0)
    return;
  if (!model) {
    module.emitError("has no lm.model, whose context is planned for");
    return signalPassFailure();
  }
  const Budget budget{deviceMemory, hostMemory, hotWindow, warm};
  for (const std::string &name : targets) {
    llvm::Expected<Target> target = findTarget(name);
    if (!target) {
      module.emitError(llvm::toString(target.takeError()));
      return signalPassFailure();
    }
    for (auto cache : module.getOps<KvCacheOp>()) {
      // States do not grow, and a step's pages are gone after it.
      if (cache.getTarget() != target->name || cache.getTransient() ||
          cache.getPage().getFeatures() != 0 || cache.getPagingAttr())
        continue;
      CachePager pager(cache, *target, budget, model.getContextLength());
      if (failed(pager.run()))
        return signalPassFailure();
      numMoves += pager.numMoves;
      numSlots += pager.numSlots;
    }
  }
}
