// Finds the units of a module and the folds of their scales (Units.h).

#include "stele/compiler/Calibrate/Units.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;

std::string Unit::role() const {
  std::string role;
  for (char c : weight)
    if (!llvm::isDigit(c))
      role += c;
    else if (!StringRef(role).ends_with("#"))
      role += '#';
  return role;
}

namespace {

class UnitFinder {
public:
  explicit UnitFinder(ModuleOp module) : module(module), symbols(module) {
    if (auto uses = SymbolTable::getSymbolUses(&module.getBodyRegion()))
      for (SymbolTable::SymbolUse use : *uses)
        ++useCounts[use.getSymbolRef().getRootReference()];
  }

  std::vector<Unit> run() {
    llvm::MapVector<StringAttr, Unit> units;
    auto add = [&](FlatSymbolRefAttr name) -> Unit * {
      auto weight = symbols.lookup<lm::WeightOp>(name.getAttr());
      if (weight.getQuantAttr() || weight.getValueAttr())
        return nullptr;
      RankedTensorType type = weight.getTensorType();
      Unit &unit = units[name.getAttr()];
      unit.weight = name.getValue().str();
      unit.rows = type.getDimSize(0);
      unit.columns = type.getDimSize(1);
      return &unit;
    };
    module.walk([&](Operation *op) {
      if (auto linear = dyn_cast<lm::LinearOp>(op)) {
        if (Unit *unit = add(linear.getWeightAttr()))
          describe(linear, *unit);
      } else if (auto logits = dyn_cast<lm::LogitsOp>(op)) {
        if (Unit *unit = add(logits.getWeightAttr()))
          unit->isEnd = true;
      } else if (auto embed = dyn_cast<lm::EmbedOp>(op)) {
        if (Unit *unit = add(embed.getTableAttr()))
          unit->isEnd = true;
      }
    });
    std::vector<Unit> found;
    for (auto &[name, unit] : units)
      found.push_back(std::move(unit));
    return found;
  }

private:
  void describe(lm::LinearOp linear, Unit &unit) {
    // A weight that several linears read has no statistics of its own.
    const bool isOwn = hasOneUse(linear.getWeightAttr());
    if (auto norm = linear.getNormWeightAttr()) {
      unit.norm = norm.getValue().str();
      unit.normEps = linear.getNormEpsAttr().getValueAsDouble();
      if (isOwn && hasOneUse(norm))
        unit.fold = {{unit.norm}, 0, unit.columns};
    } else if (isOwn) {
      unit.fold = findProducer(linear.getInput());
    }
  }

  bool hasOneUse(FlatSymbolRefAttr name) {
    return useCounts.lookup(name.getAttr()) == 1;
  }

  /// Whether rows of what the linear multiplies by can be scaled.
  bool takesScales(lm::LinearOp linear) {
    auto weight =
        symbols.lookup<lm::WeightOp>(linear.getWeightAttr().getAttr());
    return !weight.getQuantAttr() && hasOneUse(linear.getWeightAttr()) &&
           (!linear.getBiasAttr() || hasOneUse(linear.getBiasAttr()));
  }

  static std::vector<std::string> weightsOf(lm::LinearOp linear) {
    std::vector<std::string> names = {linear.getWeight().str()};
    if (auto bias = linear.getBiasAttr())
      names.push_back(bias.getValue().str());
    return names;
  }

  Fold findProducer(Value input) {
    if (!input.hasOneUse())
      return {};
    if (auto linear = input.getDefiningOp<lm::LinearOp>())
      return foldIntoUp(linear);
    if (auto attention = input.getDefiningOp<lm::AttentionOpInterface>())
      return foldIntoValues(attention);
    return {};
  }

  /// act(gate) * up is linear in up, the second half of the rows.
  Fold foldIntoUp(lm::LinearOp linear) {
    if (!linear.getGlu() || !takesScales(linear))
      return {};
    auto type = cast<RankedTensorType>(linear.getType());
    return {weightsOf(linear), type.getDimSize(1), type.getDimSize(1)};
  }

  /// Attention is linear in the values of its layer.
  Fold foldIntoValues(lm::AttentionOpInterface attention) {
    auto append = attention.getCache().getDefiningOp<lm::KvAppendOp>();
    if (!append || append.getLayer() != attention.getLayer() ||
        countReaders(attention.getLayer()) != 1)
      return {};
    auto linear = append.getValue().getDefiningOp<lm::LinearOp>();
    if (!linear || linear.getGlu() || linear.getResidual() ||
        !takesScales(linear))
      return {};
    lm::KvCacheType cache = attention.getCache().getType();
    return {weightsOf(linear), int64_t(append.getValueOffset()),
            cache.getHeads() * cache.getHeadDim(), cache.getHeadDim(),
            attention.getHeads() / cache.getHeads()};
  }

  int64_t countReaders(int64_t layer) {
    int64_t count = 0;
    module.walk([&](lm::AttentionOpInterface reader) {
      count += reader.getLayer() == layer;
    });
    return count;
  }

  ModuleOp module;
  SymbolTable symbols;
  llvm::DenseMap<StringAttr, int64_t> useCounts;
};

} // namespace

std::vector<Unit> compiler::findUnits(ModuleOp module) {
  return UnitFinder(module).run();
}

void compiler::normalise(ArrayRef<float> row, ArrayRef<float> weight,
                         double eps, std::vector<float> &out) {
  double sum = 0;
  for (float x : row)
    sum += double(x) * x;
  const double scale = 1 / std::sqrt(sum / double(row.size()) + eps);
  out.resize(row.size());
  for (size_t i = 0; i < row.size(); ++i)
    out[i] = float(row[i] * scale * weight[i]);
}
