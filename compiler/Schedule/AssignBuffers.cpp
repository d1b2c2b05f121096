// stele-assign-buffers: lifetimes and places of a function's buffers.
//
// Steps run in order on one stream so far; with more, a buffer lives from its
// first to its last step in issue order, which waits must make true (the
// dialect's verifier checks it).

#include "stele/compiler/Schedule/Passes.h"
#include "stele/dialects/Plan/PlanOps.h"
#include "llvm/ADT/MapVector.h"

namespace stele::compiler {
#define GEN_PASS_DEF_ASSIGNBUFFERS
#include "stele/compiler/Schedule/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;
using namespace stele::plan_ir;

static constexpr int64_t bufferAlignment = 64;

namespace {

struct Lifetime {
  int64_t first = -1;
  int64_t last = -1;

  void extend(int64_t step) {
    if (first < 0)
      first = step;
    last = step;
  }
  bool meets(const Lifetime &other) const {
    return first <= other.last && other.first <= last;
  }
};

struct PlacedBuffer {
  BufferOp op;
  Lifetime lifetime;
  int64_t offset;

  int64_t bytes() const { return BufferOp(op).getBytes(); }
  int64_t end() const { return offset + bytes(); }
};

struct AssignBuffers : compiler::impl::AssignBuffersBase<AssignBuffers> {
  void runOnOperation() override {
    SymbolTableCollection symbols;
    for (auto function : getOperation().getOps<FunctionOp>()) {
      if (function.getArena())
        continue;
      reuseInPlace(function, symbols);
      place(function);
    }
  }

  void reuseInPlace(FunctionOp function, SymbolTableCollection &symbols);
  void place(FunctionOp function);
};

} // namespace

using Lifetimes = llvm::MapVector<BufferOp, Lifetime>;

static Lifetimes findLifetimes(FunctionOp function) {
  Lifetimes lifetimes;
  for (auto buffer : function.getBody().getOps<BufferOp>())
    lifetimes[buffer] = {};
  int64_t step = 0;
  for (Operation *op : function.getSteps()) {
    for (Value operand : op->getOperands())
      lifetimes[operand.getDefiningOp<BufferOp>()].extend(step);
    ++step;
  }
  for (auto &[buffer, lifetime] : lifetimes)
    if (buffer.getRole() == BufferRole::Output)
      lifetime.extend(step - 1);
  return lifetimes;
}

/// Whether `written`, first used at `step`, can be the buffer `read` that dies
/// there.
static bool canShare(BufferOp read, BufferOp written, int64_t step,
                     const Lifetimes &lifetimes) {
  return read != written && read.getBytes() == written.getBytes() &&
         read.getElementType() == written.getElementType() &&
         read.getDevice() == written.getDevice() &&
         read.getRole() == BufferRole::Temporary &&
         written.getRole() == BufferRole::Temporary &&
         lifetimes.lookup(read).last == step &&
         lifetimes.lookup(written).first == step;
}

void AssignBuffers::reuseInPlace(FunctionOp function,
                                 SymbolTableCollection &symbols) {
  Lifetimes lifetimes = findLifetimes(function);
  int64_t step = -1;
  for (Operation *op : function.getSteps()) {
    ++step;
    auto launch = dyn_cast<LaunchOp>(op);
    EntryOp entry = launch ? launch.lookupEntry(symbols) : EntryOp();
    if (!entry)
      continue;
    BufferOp read, written;
    // A buffer that is bound again, not in place, must stay as it is.
    llvm::SmallPtrSet<Operation *, 4> kept;
    launch.visitBuffers(entry, [&](ParameterAttr parameter, Value value) {
      auto buffer = value.getDefiningOp<BufferOp>();
      if (writes(parameter.getAccess()))
        written = buffer;
      else if (!parameter.getInPlace())
        kept.insert(buffer);
    });
    launch.visitBuffers(entry, [&](ParameterAttr parameter, Value value) {
      auto buffer = value.getDefiningOp<BufferOp>();
      if (!read && written && parameter.getInPlace() &&
          !kept.contains(buffer) && canShare(buffer, written, step, lifetimes))
        read = buffer;
    });
    if (!read)
      continue;
    lifetimes[read].extend(lifetimes[written].last);
    written.getBuffer().replaceAllUsesWith(read.getBuffer());
    lifetimes.erase(written);
    written.erase();
    ++numInPlace;
  }
}

void AssignBuffers::place(FunctionOp function) {
  SmallVector<PlacedBuffer> buffers;
  for (auto &[op, lifetime] : findLifetimes(function)) {
    if (lifetime.first < 0)
      op.erase(); // nothing uses it
    else
      buffers.push_back({op, lifetime, 0});
  }
  llvm::sort(buffers, [](const PlacedBuffer &a, const PlacedBuffer &b) {
    return std::make_pair(-a.bytes(), a.lifetime.first) <
           std::make_pair(-b.bytes(), b.lifetime.first);
  });

  int64_t arena = 0;
  SmallVector<PlacedBuffer> placed; // by offset
  for (PlacedBuffer &buffer : buffers) {
    for (const PlacedBuffer &other : placed) {
      if (!other.lifetime.meets(buffer.lifetime))
        continue;
      if (buffer.end() <= other.offset)
        break; // fits into the gap before it
      buffer.offset = std::max(
          buffer.offset, int64_t(llvm::alignTo(other.end(), bufferAlignment)));
    }
    auto behind = llvm::upper_bound(
        placed, buffer, [](const PlacedBuffer &a, const PlacedBuffer &b) {
          return a.offset < b.offset;
        });
    placed.insert(behind, buffer);
    arena = std::max(arena, buffer.end());
    buffer.op.setPlacementAttr(PlacementAttr::get(&getContext(), buffer.offset,
                                                  buffer.lifetime.first,
                                                  buffer.lifetime.last));
  }
  arena = llvm::alignTo(arena, bufferAlignment);
  function.setArena(arena);
  numBytes += arena;
}
