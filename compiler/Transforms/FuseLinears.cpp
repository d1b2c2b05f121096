// stele-fuse-linears: one long product streams its weights better than three
// short ones, and gate and up meet in registers. The fused weight keeps a named
// segment for each part.

#include "mlir/IR/Builders.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/compiler/Transforms/Weights.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/ADT/MapVector.h"

namespace stele::compiler {
#define GEN_PASS_DEF_FUSELINEARS
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

/// Whether the reader can take columns of a wider buffer instead.
static bool takesColumns(OpOperand &use) {
  Operation *user = use.getOwner();
  if (auto append = dyn_cast<lm::KvAppendOp>(user))
    return use.get() == append.getKey() || use.get() == append.getValue();
  auto attention = dyn_cast<lm::AttentionOpInterface>(user);
  return attention && &attention.getQueryMutable() == &use;
}

/// Has the reader take its columns of `buffer` from `offset` on.
static void moveColumns(OpOperand &use, Value buffer, int64_t offset) {
  if (auto append = dyn_cast<lm::KvAppendOp>(use.getOwner())) {
    if (&append.getKeyMutable() == &use)
      append.setKeyOffset(append.getKeyOffset() + offset);
    else
      append.setValueOffset(append.getValueOffset() + offset);
  } else {
    auto attention = cast<lm::AttentionOpInterface>(use.getOwner());
    attention.setQueryOffset(attention.getQueryOffset() + offset);
  }
  use.set(buffer);
}

static int64_t columns(Value value) {
  return cast<RankedTensorType>(value.getType()).getDimSize(1);
}

/// Whether it is one tensor of the checkpoint as that has it.
static bool isWhole(lm::WeightOp weight) {
  return !weight.getSegmentsAttr() && !weight.getValueAttr() &&
         !weight.getRowScaleAttr() && !weight.getColumnScaleAttr() &&
         !weight.getImportanceAttr();
}

/// Whether nothing but a product and a bias happens in it.
static bool isPlain(lm::LinearOp linear) {
  return !linear.getNormWeightAttr() && !linear.getGlu() &&
         !linear.getResidual();
}

namespace {

struct FuseLinears : compiler::impl::FuseLinearsBase<FuseLinears> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::MapVector<Value, SmallVector<lm::LinearOp>> projections;
    SmallVector<lm::GluOp> glus;
    module.walk([&](Operation *op) {
      if (auto glu = dyn_cast<lm::GluOp>(op))
        glus.push_back(glu);
      auto linear = dyn_cast<lm::LinearOp>(op);
      if (linear && isPlain(linear) && !linear->use_empty() &&
          llvm::all_of(linear->getUses(), takesColumns))
        projections[linear.getInput()].push_back(linear);
    });
    for (auto &[input, group] : projections)
      for (ArrayRef<lm::LinearOp> part : partition(group))
        if (part.size() > 1)
          fuseProjections(part);
    for (lm::GluOp glu : glus)
      fuseGlu(glu);
    compiler::eraseUnusedWeights(module);
  }

  lm::WeightOp lookup(FlatSymbolRefAttr name) {
    return cast<lm::WeightOp>(
        SymbolTable::lookupSymbolIn(getOperation(), name.getAttr()));
  }

  /// Whether the weights can lie one under the other.
  bool canJoin(lm::LinearOp a, lm::LinearOp b) {
    lm::WeightOp weightA = lookup(a.getWeightAttr());
    lm::WeightOp weightB = lookup(b.getWeightAttr());
    return weightA != weightB && isWhole(weightA) && isWhole(weightB) &&
           weightA.getTensorType().getElementType() ==
               weightB.getTensorType().getElementType() &&
           weightA.getQuantAttr() == weightB.getQuantAttr() &&
           weightA.getRoundingAttr() == weightB.getRoundingAttr() &&
           getOrder(a) == getOrder(b) &&
           bool(a.getBiasAttr()) == bool(b.getBiasAttr());
  }

  /// In which order the columns of the weight are; null for the natural one.
  ElementsAttr getOrder(lm::LinearOp linear) {
    FlatSymbolRefAttr permutation = linear.getPermutationAttr();
    return permutation ? lookup(permutation).getValueAttr() : ElementsAttr();
  }

  /// The linears in groups that can join; those of a mixed checkpoint may be
  /// quantised in several ways.
  SmallVector<SmallVector<lm::LinearOp>>
  partition(ArrayRef<lm::LinearOp> linears) {
    SmallVector<SmallVector<lm::LinearOp>> parts;
    for (lm::LinearOp linear : linears) {
      auto part = llvm::find_if(parts, [&](ArrayRef<lm::LinearOp> part) {
        return llvm::all_of(
            part, [&](lm::LinearOp other) { return canJoin(other, linear); });
      });
      if (part == parts.end())
        parts.push_back({linear});
      else
        part->push_back(linear);
    }
    return parts;
  }

  /// One linear, where the first was, over the weights of all.
  lm::LinearOp join(ArrayRef<lm::LinearOp> linears, int64_t width,
                    lm::GluKindAttr glu) {
    SmallVector<lm::WeightOp> weights, biases;
    SmallVector<Location> locations;
    for (lm::LinearOp linear : linears) {
      weights.push_back(lookup(linear.getWeightAttr()));
      if (linear.getBiasAttr())
        biases.push_back(lookup(linear.getBiasAttr()));
      locations.push_back(linear.getLoc());
    }
    ModuleOp module = getOperation();
    auto weight =
        FlatSymbolRefAttr::get(compiler::concatenateWeights(module, weights));
    FlatSymbolRefAttr bias;
    if (!biases.empty())
      bias =
          FlatSymbolRefAttr::get(compiler::concatenateWeights(module, biases));

    lm::LinearOp first = linears.front();
    OpBuilder builder(first);
    auto type = RankedTensorType::get({ShapedType::kDynamic, width},
                                      builder.getF32Type());
    return lm::LinearOp::create(builder, builder.getFusedLoc(locations), type,
                                first.getInput(), /*residual=*/Value(), weight,
                                /*norm_weight=*/FlatSymbolRefAttr(),
                                /*norm_eps=*/FloatAttr(), bias,
                                first.getPermutationAttr(), glu,
                                /*kernel=*/lm::KernelAttr());
  }

  void fuseProjections(ArrayRef<lm::LinearOp> linears) {
    int64_t width = 0;
    for (lm::LinearOp linear : linears)
      width += columns(linear);
    Value buffer = join(linears, width, /*glu=*/lm::GluKindAttr());
    int64_t offset = 0;
    for (lm::LinearOp linear : linears) {
      int64_t next = offset + columns(linear);
      for (OpOperand &use : llvm::make_early_inc_range(linear->getUses()))
        moveColumns(use, buffer, offset);
      offset = next;
      linear->erase();
    }
    ++numProjections;
  }

  void fuseGlu(lm::GluOp glu) {
    auto gate = glu.getGate().getDefiningOp<lm::LinearOp>();
    auto up = glu.getUp().getDefiningOp<lm::LinearOp>();
    if (!gate || !up || gate == up || !isPlain(gate) || !isPlain(up) ||
        gate.getInput() != up.getInput() || !gate->hasOneUse() ||
        !up->hasOneUse() || !canJoin(gate, up))
      return;
    lm::LinearOp joined = join({gate, up}, columns(glu), glu.getKindAttr());
    glu.getOutput().replaceAllUsesWith(joined.getOutput());
    glu.erase();
    gate.erase();
    up.erase();
    ++numGlus;
  }
};

} // namespace
