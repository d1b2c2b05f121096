// stele-select-kernels: kernels-templates/selection.inc applied to a module.
// After it, operation and weight say all that code generation needs.

#include "stele/compiler/Transforms/KernelTable.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/ADT/TypeSwitch.h"

namespace stele::compiler {
#define GEN_PASS_DEF_SELECTKERNELS
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;
using namespace stele::compiler;

/// The weight matrix that the operation's kernel reads.
static lm::WeightOp getMatrix(Operation *op, SymbolTable &symbols) {
  auto name = llvm::TypeSwitch<Operation *, FlatSymbolRefAttr>(op)
                  .Case<lm::LinearOp, lm::LogitsOp>(
                      [](auto product) { return product.getWeightAttr(); })
                  .Case([](lm::EmbedOp embed) { return embed.getTableAttr(); })
                  .Case([](lm::KernelizedAttentionOp attention) {
                    return attention.getFeaturesAttr();
                  })
                  .Default(FlatSymbolRefAttr());
  return name ? symbols.lookup<lm::WeightOp>(name.getAttr()) : lm::WeightOp();
}

/// How the operation's matrix is quantised, or null.
static lm::QuantAttr getQuant(lm::WeightOp matrix) {
  return matrix ? matrix.getQuantAttr() : lm::QuantAttr();
}

/// The operation's name in the table: "linear", "linear_glu", "linear_q4".
static std::string getTableKey(Operation *op, lm::WeightOp matrix) {
  std::string key = op->getName().stripDialect().str();
  if (auto linear = dyn_cast<lm::LinearOp>(op); linear && linear.getGlu())
    key += "_glu";
  if (lm::QuantAttr quant = getQuant(matrix))
    key += "_q" + std::to_string(quant.getFormat().bits);
  return key;
}

namespace {

struct SelectKernels : compiler::impl::SelectKernelsBase<SelectKernels> {
  using SelectKernelsBase::SelectKernelsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::append_range(targetFeatures, features);
    auto kind = module->getAttrOfType<lm::ArithmeticAttr>(
        lm::LmDialect::arithmeticAttrName);
    if (kind)
      arithmetic = kind.getValue();
    SymbolTable symbols(module);
    WalkResult result = module.walk([&](lm::KernelOpInterface op) {
      return WalkResult(choose(op, symbols));
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    for (auto weight : module.getOps<lm::WeightOp>())
      if (!weight.getLayoutAttr())
        weight.setLayout("rows");
  }

  LogicalResult choose(lm::KernelOpInterface op, SymbolTable &symbols) {
    if (op.getKernelAttr())
      return success();
    lm::WeightOp matrix = getMatrix(op, symbols);
    std::string key = getTableKey(op, matrix);
    StringRef computed = lm::stringifyArithmetic(getArithmetic(op, matrix));
    const KernelRow *row = findKernelRow(key, computed, isa, targetFeatures);
    if (!row)
      return op->emitOpError("has no kernel for ")
             << key << " in arithmetic " << computed << " on " << isa
             << ": kernels-templates/selection.inc has no row that fits";
    op.setKernelAttr(makeKernel(*row));
    ++numKernels;
    return row->layout.empty() ? success() : setLayout(op, matrix, row->layout);
  }

  /// int8 is for products with codes; all else goes with it as bf16. f32 and
  /// f16 keys and values have more digits than products of bf16 would keep.
  lm::Arithmetic getArithmetic(Operation *op, lm::WeightOp matrix) {
    for (Type type : op->getOperandTypes())
      if (auto cache = dyn_cast<lm::KvCacheType>(type);
          cache &&
          (cache.getElementType().isF32() || cache.getElementType().isF16()))
        return lm::Arithmetic::F32;
    return arithmetic == lm::Arithmetic::Int8 && !getQuant(matrix)
               ? lm::Arithmetic::BF16
               : arithmetic;
  }

  lm::KernelAttr makeKernel(const KernelRow &row) {
    SmallVector<lm::TileAttr> tile;
    for (const TileConstant &constant : row.tile)
      tile.push_back(
          lm::TileAttr::get(&getContext(), constant.name, constant.value));
    return lm::KernelAttr::get(&getContext(), row.templateName, isa,
                               StringAttr::get(&getContext(), row.describe()),
                               tile);
  }

  LogicalResult setLayout(Operation *op, lm::WeightOp weight,
                          StringRef layout) {
    if (!weight.getLayoutAttr())
      weight.setLayout(layout);
    if (*weight.getLayout() != layout)
      return op->emitOpError("needs layout ")
             << layout << " of @" << weight.getSymName() << ", which has "
             << *weight.getLayout();
    return success();
  }

  std::vector<std::string> targetFeatures;
  lm::Arithmetic arithmetic = lm::Arithmetic::F32;
};

} // namespace
