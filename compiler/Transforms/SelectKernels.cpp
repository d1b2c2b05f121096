// stele-select-kernels: kernels-templates/selection.inc applied to a module.
// After it, operation and weight say all that code generation needs.

#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

namespace stele::compiler {
#define GEN_PASS_DEF_SELECTKERNELS
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

namespace {

struct TileConstant {
  StringRef name;
  int64_t value;
};

struct KernelRow {
  StringRef operation;
  StringRef arithmetic;
  StringRef isa;
  StringRef features;
  StringRef templateName;
  StringRef layout;
  std::vector<TileConstant> tile;
};

} // namespace

static ArrayRef<KernelRow> getKernelRows() {
  static const std::vector<KernelRow> rows = {
#define STELE_TILE(name, value) TileConstant{name, value}
#define STELE_KERNEL(operation, arithmetic, isa, features, kernel, layout,     \
                     ...)                                                      \
  KernelRow{operation, arithmetic, isa,          features,                     \
            kernel,    layout,     {__VA_ARGS__}},
#include "selection.inc"
#undef STELE_KERNEL
#undef STELE_TILE
  };
  return rows;
}

/// Whether a machine of level `target` runs code of level `needed`.
static bool isaRuns(StringRef target, StringRef needed) {
  return target == needed || (target == "x86-64-v4" && needed == "x86-64-v3");
}

/// The operation's name in the table.
static std::string getTableKey(Operation *op) {
  std::string key = op->getName().stripDialect().str();
  auto linear = dyn_cast<lm::LinearOp>(op);
  return linear && linear.getGlu() ? key + "_glu" : key;
}

/// The weight matrix whose layout the operation's kernel dictates.
static FlatSymbolRefAttr getMatrix(Operation *op) {
  return llvm::TypeSwitch<Operation *, FlatSymbolRefAttr>(op)
      .Case<lm::LinearOp, lm::LogitsOp>(
          [](auto product) { return product.getWeightAttr(); })
      .Default(FlatSymbolRefAttr());
}

namespace {

struct SelectKernels : compiler::impl::SelectKernelsBase<SelectKernels> {
  using SelectKernelsBase::SelectKernelsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (const std::string &feature : features)
      targetFeatures.insert(feature);
    auto kind = module->getAttrOfType<lm::ArithmeticAttr>(
        lm::LmDialect::arithmeticAttrName);
    arithmetic =
        lm::stringifyArithmetic(kind ? kind.getValue() : lm::Arithmetic::F32);
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
    const KernelRow *row = findRow(getTableKey(op));
    if (!row)
      return op->emitOpError("has no kernel for arithmetic ")
             << arithmetic << " on " << isa
             << ": kernels-templates/selection.inc has no row that fits";
    op.setKernelAttr(makeKernel(*row));
    ++numKernels;
    FlatSymbolRefAttr matrix = getMatrix(op);
    return matrix
               ? setLayout(op, symbols.lookup<lm::WeightOp>(matrix.getAttr()),
                           row->layout)
               : success();
  }

  /// The newest row that fits.
  const KernelRow *findRow(StringRef key) {
    const KernelRow *found = nullptr;
    for (const KernelRow &row : getKernelRows())
      if (row.operation == key && isaRuns(isa, row.isa) &&
          (row.arithmetic == "any" || row.arithmetic == arithmetic) &&
          hasFeatures(row.features))
        found = &row;
    return found;
  }

  bool hasFeatures(StringRef needed) {
    SmallVector<StringRef> names;
    needed.split(names, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
    return llvm::all_of(
        names, [&](StringRef name) { return targetFeatures.contains(name); });
  }

  lm::KernelAttr makeKernel(const KernelRow &row) {
    SmallVector<lm::TileAttr> tile;
    for (const TileConstant &constant : row.tile)
      tile.push_back(
          lm::TileAttr::get(&getContext(), constant.name, constant.value));
    return lm::KernelAttr::get(&getContext(), row.templateName, isa, tile);
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

  llvm::StringSet<> targetFeatures;
  StringRef arithmetic;
};

} // namespace
