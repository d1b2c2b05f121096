// Decisions as attributes and as a table (Decision.h).

#include "stele/compiler/Calibrate/Decision.h"
#include "mlir/IR/BuiltinAttributes.h"
#include <map>

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using Stored = schema::QuantFormat::Real;

schema::QuantFormat compiler::formatOf(Level level, int64_t group) {
  // An offset costs int4 half a bit at worst and saves it much; int8 has codes
  // to spare.
  return level == Level::Int4
             ? schema::QuantFormat{4, uint32_t(group), Stored::kF16,
                                   Stored::kF16}
             : schema::QuantFormat{8, uint32_t(group), Stored::kF16,
                                   Stored::kNone};
}

static DenseFPElementsAttr toAttribute(MLIRContext *context,
                                       ArrayRef<float> values) {
  auto type = RankedTensorType::get({int64_t(values.size())},
                                    Float32Type::get(context));
  return cast<DenseFPElementsAttr>(DenseElementsAttr::get(type, values));
}

/// Divides the rows that make the unit's columns by their scales.
static void fold(const Candidate &candidate, SymbolTable &symbols,
                 std::map<std::string, std::vector<float>> &rowScales) {
  const Fold &fold = candidate.unit.fold;
  for (const std::string &name : fold.weights) {
    std::vector<float> &scales = rowScales[name];
    auto weight = symbols.lookup<lm::WeightOp>(name);
    scales.resize(weight.getTensorType().getDimSize(0), 1);
    for (int64_t c = 0; c < candidate.unit.columns; ++c)
      scales[fold.firstRow + fold.rowOf(c)] = 1 / candidate.search.scales[c];
  }
}

static void quantise(const Candidate &candidate, lm::WeightOp weight,
                     int64_t group) {
  MLIRContext *context = weight.getContext();
  weight.setQuantAttr(
      lm::QuantAttr::get(context, formatOf(candidate.level, group)));
  weight.setRoundingAttr(lm::RoundingAttr::get(
      context, lm::RoundingKind::Clipped, /*per_channel=*/false));
  std::vector<float> importance = candidate.search.importance;
  const std::vector<float> &scales = candidate.search.scales;
  if (candidate.level == Level::Int4 && !scales.empty()) {
    weight.setColumnScaleAttr(toAttribute(context, scales));
    // An error of a column that was multiplied counts the less.
    for (auto [weightOfError, scale] : llvm::zip_equal(importance, scales))
      weightOfError /= scale * scale;
  }
  if (!importance.empty())
    weight.setImportanceAttr(toAttribute(context, importance));
}

void compiler::applyDecision(ModuleOp module, ArrayRef<Candidate> candidates,
                             int64_t group, bool chooseInt8) {
  SymbolTable symbols(module);
  std::map<std::string, std::vector<float>> rowScales;
  bool isQuantised = false;
  for (const Candidate &candidate : candidates) {
    if (candidate.level == Level::Float)
      continue;
    isQuantised = true;
    quantise(candidate, symbols.lookup<lm::WeightOp>(candidate.unit.weight),
             group);
    if (candidate.level == Level::Int4 && !candidate.search.scales.empty())
      fold(candidate, symbols, rowScales);
  }
  for (auto &[name, scales] : rowScales)
    symbols.lookup<lm::WeightOp>(name).setRowScaleAttr(
        toAttribute(module.getContext(), scales));
  if (chooseInt8 && isQuantised)
    module->setAttr(
        lm::LmDialect::arithmeticAttrName,
        lm::ArithmeticAttr::get(module.getContext(), lm::Arithmetic::Int8));
}

static int64_t bitsOf(Stored type) {
  return type == Stored::kNone ? 0 : type == Stored::kF16 ? 16 : 32;
}

static double bitsOf(lm::WeightOp weight) {
  RankedTensorType type = weight.getTensorType();
  lm::QuantAttr quant = weight.getQuantAttr();
  if (!quant)
    return type.getElementTypeBitWidth();
  const schema::QuantFormat format = quant.getFormat();
  const int64_t columns = type.getDimSize(1);
  const int64_t groups = (columns + format.group - 1) / format.group;
  return format.bits +
         double(groups * (bitsOf(format.scale) + bitsOf(format.offset))) /
             columns;
}

/// Everything with two dimensions that is not computed: what products read.
static bool isMatrix(lm::WeightOp weight) {
  return weight.getTensorType().getRank() == 2 && !weight.getValueAttr();
}

double compiler::bitsPerWeight(ModuleOp module) {
  double bits = 0, elements = 0;
  for (auto weight : module.getOps<lm::WeightOp>()) {
    if (!isMatrix(weight))
      continue;
    const double count = double(weight.getTensorType().getNumElements());
    bits += bitsOf(weight) * count;
    elements += count;
  }
  return bits / elements;
}

static std::string describe(lm::WeightOp weight) {
  lm::QuantAttr quant = weight.getQuantAttr();
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (!quant) {
    stream << weight.getTensorType().getElementType();
    return text;
  }
  stream << "int" << quant.getFormat().bits << " group "
         << quant.getFormat().group;
  if (quant.getFormat().offset == Stored::kNone)
    stream << " symmetric";
  return text;
}

llvm::json::Array compiler::makeRows(ModuleOp module,
                                     ArrayRef<Candidate> candidates) {
  llvm::StringMap<const Candidate *> known;
  for (const Candidate &candidate : candidates)
    known[candidate.unit.weight] = &candidate;
  llvm::json::Array rows;
  for (auto weight : module.getOps<lm::WeightOp>()) {
    if (!isMatrix(weight))
      continue;
    llvm::json::Object row{{"name", weight.getSymName()},
                           {"format", describe(weight)},
                           {"bits", bitsOf(weight)}};
    // Without one the checkpoint quantised it.
    if (const Candidate *candidate = known.lookup(weight.getSymName())) {
      row["alpha"] =
          weight.getColumnScaleAttr() ? candidate->search.alpha : 0.0;
      row["error"] = candidate->search.error;
      row["sensitivity"] = nullptr;
      if (candidate->sensitivity)
        row["sensitivity"] = *candidate->sensitivity;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}
