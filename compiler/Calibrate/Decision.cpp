// Decisions as attributes and as a table (Decision.h).

#include "stele/compiler/Calibrate/Decision.h"
#include "mlir/IR/BuiltinAttributes.h"
#include <map>

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using Stored = schema::QuantFormat::Real;

/// Of --group.
static constexpr int64_t smallestGroup = 32;

std::vector<schema::QuantFormat> compiler::formatsOf(const Unit &unit,
                                                     int64_t group) {
  std::vector<schema::QuantFormat> formats;
  // Half of such a group would hold the row as well, in as many bits.
  auto isTooWide = [&](int64_t size) {
    return size > smallestGroup && size / 2 >= unit.columns;
  };
  // An offset costs int4 half a bit at worst and saves it much; int8 has codes
  // to spare.
  if (!unit.isEnd)
    for (int64_t size = group; size >= smallestGroup; size /= 2)
      if (!isTooWide(size))
        formats.push_back({4, uint32_t(size), Stored::kF16, Stored::kF16});
  formats.push_back({8, uint32_t(group), Stored::kF16, Stored::kNone});
  return formats;
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

static bool isScaled(const Candidate &candidate) {
  const schema::QuantFormat *format = candidate.format();
  return format && format->bits == 4 && !candidate.search.scales.empty();
}

void compiler::applyScales(ModuleOp module, ArrayRef<Candidate> candidates) {
  SymbolTable symbols(module);
  std::map<std::string, std::vector<float>> rowScales;
  for (const Candidate &candidate : candidates) {
    if (!isScaled(candidate))
      continue;
    symbols.lookup<lm::WeightOp>(candidate.unit.weight)
        .setColumnScaleAttr(
            toAttribute(module.getContext(), candidate.search.scales));
    fold(candidate, symbols, rowScales);
  }
  for (auto &[name, scales] : rowScales)
    symbols.lookup<lm::WeightOp>(name).setRowScaleAttr(
        toAttribute(module.getContext(), scales));
}

static void quantise(const Candidate &candidate, lm::WeightOp weight) {
  MLIRContext *context = weight.getContext();
  weight.setQuantAttr(lm::QuantAttr::get(context, *candidate.format()));
  weight.setRoundingAttr(lm::RoundingAttr::get(
      context, lm::RoundingKind::Clipped, /*per_channel=*/false));
  std::vector<float> importance = candidate.search.importance;
  // An error of a column that was multiplied counts the less.
  if (isScaled(candidate))
    for (auto [weightOfError, scale] :
         llvm::zip_equal(importance, candidate.search.scales))
      weightOfError /= scale * scale;
  if (!importance.empty())
    weight.setImportanceAttr(toAttribute(context, importance));
}

void compiler::applyDecision(ModuleOp module, ArrayRef<Candidate> candidates,
                             bool chooseInt8) {
  SymbolTable symbols(module);
  bool isQuantised = false;
  for (const Candidate &candidate : candidates) {
    if (!candidate.format())
      continue;
    isQuantised = true;
    quantise(candidate, symbols.lookup<lm::WeightOp>(candidate.unit.weight));
  }
  applyScales(module, candidates);
  if (chooseInt8 && isQuantised)
    module->setAttr(
        lm::LmDialect::arithmeticAttrName,
        lm::ArithmeticAttr::get(module.getContext(), lm::Arithmetic::Int8));
}

static int64_t bitsOf(Stored type) {
  return type == Stored::kNone ? 0 : type == Stored::kF16 ? 16 : 32;
}

double compiler::bitsPerWeight(const schema::QuantFormat &format,
                               int64_t columns) {
  const int64_t groups = (columns + format.group - 1) / format.group;
  return format.bits +
         double(groups * (bitsOf(format.scale) + bitsOf(format.offset))) /
             columns;
}

static double bitsOf(lm::WeightOp weight) {
  RankedTensorType type = weight.getTensorType();
  if (lm::QuantAttr quant = weight.getQuantAttr())
    return bitsPerWeight(quant.getFormat(), type.getDimSize(1));
  return type.getElementTypeBitWidth();
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
      row["error"] = candidate->format()
                         ? candidate->search.errors[candidate->level]
                         : 0.0;
      row["sensitivity"] = nullptr;
      if (candidate->sensitivity)
        row["sensitivity"] = *candidate->sensitivity;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}
