// Weight symbols: making, joining, and sweeping up what fusion left over.

#include "stele/compiler/Transforms/Weights.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace stele;

/// `name`, or `name.1`, `name.2`, ... if that is taken.
static std::string uniqueSymbol(ModuleOp module, StringRef name) {
  std::string candidate = name.str();
  for (int i = 1; module.lookupSymbol(candidate); ++i)
    candidate = (name + "." + Twine(i)).str();
  return candidate;
}

lm::WeightOp compiler::makeWeight(Operation *op, StringRef name,
                                  ArrayRef<int64_t> shape,
                                  ArrayRef<float> values) {
  OpBuilder builder(op->getParentOfType<func::FuncOp>());
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  auto weight = lm::WeightOp::create(
      builder, op->getLoc(),
      uniqueSymbol(op->getParentOfType<ModuleOp>(), name), type);
  weight.setValueAttr(DenseElementsAttr::get(type, values));
  return weight;
}

void compiler::eraseUnusedWeights(ModuleOp module) {
  // One walk for all uses: a symbol table query per weight would walk the
  // module as often as there are weights.
  llvm::DenseSet<StringAttr> used;
  if (auto uses = SymbolTable::getSymbolUses(&module.getBodyRegion()))
    for (SymbolTable::SymbolUse use : *uses)
      used.insert(use.getSymbolRef().getRootReference());
  for (auto weight : llvm::make_early_inc_range(module.getOps<lm::WeightOp>()))
    if (!used.contains(weight.getSymNameAttr()))
      weight.erase();
}

/// The part of each name between what all begin with (whole components, up to a
/// '.') and what all end with (from a '.' on): "q_proj" of
/// "model.layers.0.self_attn.q_proj.weight".
static void splitNames(ArrayRef<StringRef> names, StringRef &prefix,
                       SmallVectorImpl<StringRef> &middles, StringRef &suffix) {
  auto startsAll = [&](StringRef text) {
    return llvm::all_of(names,
                        [&](StringRef n) { return n.starts_with(text); });
  };
  prefix = names.front();
  while (!prefix.empty() && !(prefix.ends_with(".") && startsAll(prefix)))
    prefix = prefix.drop_back();
  auto endsAll = [&](StringRef text) {
    return llvm::all_of(names, [&](StringRef name) {
      return name.size() > prefix.size() + text.size() && name.ends_with(text);
    });
  };
  suffix = names.front().drop_front(prefix.size());
  while (!suffix.empty() && !(suffix.starts_with(".") && endsAll(suffix)))
    suffix = suffix.drop_front();
  for (StringRef name : names)
    middles.push_back(name.drop_front(prefix.size()).drop_back(suffix.size()));
}

lm::WeightOp compiler::concatenateWeights(ModuleOp module,
                                          ArrayRef<lm::WeightOp> parts) {
  SmallVector<StringRef> names, middles;
  for (lm::WeightOp part : parts)
    names.push_back(part.getSymName());
  StringRef prefix, suffix;
  splitNames(names, prefix, middles, suffix);

  SmallVector<Attribute> segments;
  lm::WeightOp last = parts.front();
  SmallVector<int64_t> shape(last.getTensorType().getShape());
  shape[0] = 0;
  for (auto [i, part] : llvm::enumerate(parts)) {
    lm::WeightOp weight = part;
    int64_t rows = weight.getTensorType().getDimSize(0);
    shape[0] += rows;
    segments.push_back(lm::SegmentAttr::get(module.getContext(), middles[i],
                                            weight.getSymName(), rows,
                                            /*first_row=*/0));
    if (last->isBeforeInBlock(weight))
      last = weight;
  }

  std::string name =
      uniqueSymbol(module, (prefix + llvm::join(middles, "+") + suffix).str());
  OpBuilder builder(module.getContext());
  builder.setInsertionPointAfter(last);
  auto type =
      RankedTensorType::get(shape, last.getTensorType().getElementType());
  auto joined =
      lm::WeightOp::create(builder, last.getLoc(), name, type, segments);
  joined.setQuantAttr(last.getQuantAttr());
  joined.setRoundingAttr(last.getRoundingAttr());
  return joined;
}
