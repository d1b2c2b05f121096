// The accuracy gate (Gate.h): measures, searches, tries, and keeps what holds.
//
// Everything starts as int4 (the matrices of embedding and logits as int8).
// When that loses too much, one run for every kind of linear (all of q/k/v, all
// of down, ...) and one for every band of layers says how far predictions move
// when nothing else is quantised; Sensitivity.h spreads that over the matrices
// by the error of their outputs. They are then raised to smaller groups, int8
// and floats, what saves most for a bit first, and the least number of raises
// that holds is found by bisection on perplexity.

#include "stele/compiler/Calibrate/Gate.h"
#include "mlir/Pass/PassManager.h"
#include "stele/compiler/Calibrate/Bisect.h"
#include "stele/compiler/Calibrate/Decision.h"
#include "stele/compiler/Calibrate/Sensitivity.h"
#include "stele/compiler/Calibrate/Text.h"
#include "stele/compiler/Calibrate/Trials.h"
#include "stele/compiler/Driver/Diagnostics.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Quantise/Quantise.h"
#include "stele/compiler/Transforms/Passes.h"
#include "llvm/ADT/StringMap.h"
#include <cmath>
#include <map>

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using checkpoint::Checkpoint;
using checkpoint::makeError;

/// Tokens in a window, or the model's context if that is shorter.
static constexpr size_t windowTokens = 512;
/// Of the texts no more is read.
static constexpr size_t mostCalibrationWindows = 64;
static constexpr size_t mostGateWindows = 16;
/// Of the calibration text, to compare predictions on; they say more than
/// perplexity does on as many tokens.
static constexpr size_t mostSensitivityWindows = 4;
/// Layers are measured in so many bands.
static constexpr size_t mostBands = 8;
/// What a step may leave in named outputs at a time.
static constexpr int64_t watchedBytes = int64_t(512) << 20;

namespace {

/// The linears as cells of a table: a row for each role, a column for each band
/// of layers.
struct Grid {
  std::vector<size_t> linears; // candidates, by cell
  Marginals marginals;
  std::vector<std::string> roles, bands; // what rows and columns are called
};

class Gate {
public:
  Gate(const CompileOptions &options, const GateOptions &gate,
       llvm::raw_ostream &progress)
      : options(options), gate(gate), progress(progress), trials(options) {}

  llvm::Error run();

private:
  llvm::Error fuse();
  llvm::Error readTexts();
  llvm::Error tokenizeTexts(const CompiledModel &model);
  llvm::Error scoreBase(CompiledModel &model);
  llvm::Error measureBase();
  llvm::Error watch(CompiledModel &model, ArrayRef<std::string> names);
  llvm::Error search();
  llvm::Error decide();
  llvm::Error measureSensitivity();
  llvm::Expected<double> measureAlone(ArrayRef<size_t> quantised,
                                      StringRef what);
  llvm::Error measureLines(const Grid &grid, ArrayRef<size_t> lines,
                           ArrayRef<std::string> names,
                           std::vector<double> &sums);
  llvm::Expected<double> measureLeast();
  llvm::Error bisect();
  llvm::Error write();

  llvm::Expected<std::unique_ptr<CompiledModel>>
  compileAndLoad(ModuleOp compiled) {
    return trials.load(compiled, compileAsSaid);
  }
  OwningOpRef<ModuleOp> quantise(ArrayRef<Candidate> tried) const;
  ArrayRef<int32_t> sensitivityTokens() const {
    return ArrayRef(calibrationTokens)
        .take_front(window * mostSensitivityWindows);
  }
  /// The growth of the negative log-likelihood with the candidates' levels.
  llvm::Expected<double> measure(ArrayRef<Candidate> tried, StringRef what);
  /// The same after the first `count` raises.
  llvm::Expected<double> measureRaised(size_t count);
  std::vector<Candidate> raise(size_t count) const;
  bool holds(double growth) const { return std::expm1(growth) <= gate.maxLoss; }
  std::string makeTable(ModuleOp module, ArrayRef<Candidate> decided) const;

  const CompileOptions &options;
  const GateOptions &gate;
  llvm::raw_ostream &progress;
  Trials trials;
  OwningOpRef<ModuleOp> module; // fused
  std::unique_ptr<Checkpoint> source;
  Text calibrationText, gateText;
  std::vector<int32_t> calibrationTokens, gateTokens;
  size_t window = 0;
  double baseLoss = 0; // negative log-likelihood of the unquantised artifact
  llvm::StringMap<Statistics> statistics;
  std::vector<Candidate> candidates;
  std::vector<Prediction> basePredictions; // on sensitivityTokens
  std::vector<Raise> raises;
  std::map<size_t, double> measured; // number of raises -> growth
  size_t chosen = 0;                 // raises
};

} // namespace

//===----------------------------------------------------------------------===//
// Compiling and running
//===----------------------------------------------------------------------===//

/// Scales beyond f16 are stored in f32, and counted so.
static void widen(Candidate &candidate) {
  using Real = schema::QuantFormat::Real;
  for (schema::QuantFormat &format : candidate.formats) {
    format.scale = Real::kF32;
    if (format.offset != Real::kNone)
      format.offset = Real::kF32;
  }
}

/// Compiles as far as the fused module, which everything else starts from.
llvm::Error Gate::fuse() {
  llvm::Expected<OwningOpRef<ModuleOp>> fused = trials.fuse(options, progress);
  if (!fused)
    return fused.takeError();
  module = std::move(*fused);
  llvm::Expected<std::unique_ptr<Checkpoint>> opened = openSource(*module);
  if (!opened)
    return opened.takeError();
  source = std::move(*opened);
  return llvm::Error::success();
}

OwningOpRef<ModuleOp> Gate::quantise(ArrayRef<Candidate> tried) const {
  OwningOpRef<ModuleOp> quantised(module.get().clone());
  applyDecision(*quantised, tried, options.activations == "auto");
  return quantised;
}

llvm::Expected<double> Gate::measure(ArrayRef<Candidate> tried,
                                     StringRef what) {
  OwningOpRef<ModuleOp> quantised = quantise(tried);
  llvm::Expected<std::unique_ptr<CompiledModel>> model =
      compileAndLoad(*quantised);
  if (!model)
    return model.takeError();
  llvm::Expected<double> loss = (*model)->score(gateTokens, window);
  if (!loss)
    return loss.takeError();
  const double growth = *loss - baseLoss;
  progress << llvm::formatv(
      "gate      {0}: perplexity {1:f3}, loss {2:f2}%, {3:f2} bits per "
      "weight\n",
      what, std::exp(*loss), 100 * std::expm1(growth),
      bitsPerWeight(*quantised));
  return growth;
}

//===----------------------------------------------------------------------===//
// Statistics
//===----------------------------------------------------------------------===//

llvm::Error Gate::readTexts() {
  if (gate.calibrate.empty()) {
    calibrationText = bundledCalibrationText();
    gateText = bundledGateText();
    return llvm::Error::success();
  }
  llvm::Expected<Text> text = readText(gate.calibrate);
  if (!text)
    return text.takeError();
  std::tie(calibrationText, gateText) = splitText(*text);
  return llvm::Error::success();
}

llvm::Error Gate::watch(CompiledModel &model, ArrayRef<std::string> names) {
  struct Watched {
    Statistics *statistics;
    std::vector<float> norm; // weight; empty: no norm
    double eps;
  };
  llvm::StringMap<Watched> watched;
  for (const Candidate &candidate : candidates) {
    const Unit &unit = candidate.unit;
    if (!llvm::is_contained(names, unit.weight))
      continue;
    Watched &entry = watched[unit.weight];
    entry.statistics = &statistics[unit.weight];
    entry.eps = unit.normEps;
    if (unit.norm.empty())
      continue;
    llvm::Expected<std::vector<float>> norm =
        readRows(module->lookupSymbol<lm::WeightOp>(unit.norm), *source, 0,
                 unit.columns);
    if (!norm)
      return norm.takeError();
    entry.norm = std::move(*norm);
  }
  std::vector<float> normalised;
  return model.watch(
      calibrationTokens, window, names,
      [&](StringRef name, const float *rows, int64_t count, int64_t width) {
        Watched &entry = watched[name];
        for (const float *row = rows; row != rows + count * width;
             row += width) {
          if (entry.norm.empty()) {
            entry.statistics->add(row, width);
            continue;
          }
          normalise({row, size_t(width)}, entry.norm, entry.eps, normalised);
          entry.statistics->add(normalised.data(), width);
        }
      });
}

static llvm::Error expose(ModuleOp module, ArrayRef<std::string> names) {
  FirstError errors(*module.getContext());
  PassManager manager(module.getContext());
  ExposeInputsOptions options;
  options.weights.assign(names.begin(), names.end());
  manager.addPass(createExposeInputs(options));
  if (failed(manager.run(module)))
    return errors.take("cannot expose the inputs of linears");
  return llvm::Error::success();
}

/// Linears in groups whose inputs fit into memory beside each other.
static std::vector<std::vector<std::string>>
splitByMemory(ArrayRef<Candidate> candidates) {
  std::vector<std::vector<std::string>> groups(1);
  int64_t bytes = 0;
  for (const Candidate &candidate : candidates) {
    if (candidate.unit.isEnd)
      continue;
    const int64_t more =
        candidate.unit.columns * int64_t(windowTokens * sizeof(float));
    if (bytes + more > watchedBytes && !groups.back().empty()) {
      groups.emplace_back();
      bytes = 0;
    }
    groups.back().push_back(candidate.unit.weight);
    bytes += more;
  }
  return groups;
}

llvm::Error Gate::tokenizeTexts(const CompiledModel &model) {
  window = std::min<uint64_t>(windowTokens, model.context());
  auto tokenize = [&](const Text &text, size_t mostWindows,
                      std::vector<int32_t> &tokens) -> llvm::Error {
    llvm::Expected<std::vector<int32_t>> ids = model.tokenize(text.bytes);
    if (!ids)
      return makeError("{0}: {1}; --quant auto reads texts: name a checkpoint "
                       "with its tokenizer, or say --quant int4 or int8",
                       options.input, llvm::toString(ids.takeError()));
    if (ids->size() < window)
      return makeError("{0}: has {1} tokens, a window of calibration has {2}; "
                       "name a longer text with --calibrate",
                       text.name, ids->size(), window);
    tokens = std::move(*ids);
    tokens.resize(std::min(tokens.size(), window * mostWindows));
    return llvm::Error::success();
  };
  if (llvm::Error error =
          tokenize(calibrationText, mostCalibrationWindows, calibrationTokens))
    return error;
  return tokenize(gateText, mostGateWindows, gateTokens);
}

llvm::Error Gate::scoreBase(CompiledModel &model) {
  llvm::Expected<double> loss = model.score(gateTokens, window);
  if (!loss)
    return loss.takeError();
  baseLoss = *loss;
  progress << llvm::formatv(
      "gate      unquantised: perplexity {0:f3} on {1} tokens of {2}\n",
      std::exp(baseLoss), gateTokens.size(), gateText.name);
  llvm::Expected<std::vector<Prediction>> predictions =
      model.predict(sensitivityTokens(), window);
  if (!predictions)
    return predictions.takeError();
  basePredictions = std::move(*predictions);
  return llvm::Error::success();
}

/// The unquantised artifact: what it loses on the gate's text, and what its
/// linears read on the calibration's.
llvm::Error Gate::measureBase() {
  for (const std::vector<std::string> &names : splitByMemory(candidates)) {
    OwningOpRef<ModuleOp> exposed = module->clone();
    if (llvm::Error error = expose(*exposed, names))
      return error;
    llvm::Expected<std::unique_ptr<CompiledModel>> model =
        compileAndLoad(*exposed);
    if (!model)
      return model.takeError();
    if (basePredictions.empty()) {
      if (llvm::Error error = tokenizeTexts(**model))
        return error;
      if (llvm::Error error = scoreBase(**model))
        return error;
    }
    if (llvm::Error error = watch(**model, names))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error Gate::search() {
  double error = 0, nearestError = 0;
  int64_t scaled = 0;
  for (Candidate &candidate : candidates) {
    const Unit &unit = candidate.unit;
    auto found = statistics.find(unit.weight);
    auto search = [&] {
      return searchScales(unit, module->lookupSymbol<lm::WeightOp>(unit.weight),
                          *source,
                          found == statistics.end() ? nullptr : &found->second,
                          candidate.formats);
    };
    llvm::Expected<Search> result = search();
    if (result.errorIsA<ScaleOverflow>()) {
      llvm::consumeError(result.takeError());
      widen(candidate);
      result = search();
    }
    if (!result)
      return result.takeError();
    candidate.search = std::move(*result);
    if (unit.isEnd)
      continue;
    error += candidate.search.errors.front();
    nearestError += candidate.search.nearestError;
    scaled += !candidate.search.scales.empty();
  }
  if (nearestError > 0) // else there are no linears, or of zeros
    progress << llvm::formatv(
        "scales    {0} of {1} matrices scaled; error of their outputs {2:f2} "
        "of plain rounding's\n",
        scaled, candidates.size(), error / nearestError);
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// The gate
//===----------------------------------------------------------------------===//

/// How far predictions move when only the named candidates are quantised.
llvm::Expected<double> Gate::measureAlone(ArrayRef<size_t> quantised,
                                          StringRef what) {
  std::vector<Candidate> alone = candidates;
  for (Candidate &candidate : alone)
    candidate.level = candidate.formats.size();
  for (size_t index : quantised)
    alone[index].level = 0;
  llvm::Expected<std::unique_ptr<CompiledModel>> model =
      compileAndLoad(*quantise(alone));
  if (!model)
    return model.takeError();
  llvm::Expected<double> moved =
      (*model)->divergence(sensitivityTokens(), window, basePredictions);
  if (moved)
    progress << llvm::formatv("gate      only {0}: divergence {1:f5}\n", what,
                              *moved);
  return moved;
}

/// The n-th linear of a role is taken to be of layer n.
static Grid makeGrid(ArrayRef<Candidate> candidates) {
  Grid grid;
  llvm::StringMap<size_t> rowOfRole;
  std::vector<size_t> layers; // so far, by row
  for (auto [index, candidate] : llvm::enumerate(candidates)) {
    if (candidate.unit.isEnd)
      continue;
    auto [row, isNew] =
        rowOfRole.try_emplace(candidate.unit.role(), layers.size());
    if (isNew) {
      grid.roles.push_back(row->first().str());
      layers.push_back(0);
    }
    grid.linears.push_back(index);
    grid.marginals.rows.push_back(row->second);
    grid.marginals.columns.push_back(layers[row->second]++);
  }
  if (layers.empty())
    return grid;
  const size_t numLayers = *llvm::max_element(layers);
  const size_t numBands = std::min(numLayers, mostBands);
  for (size_t &column : grid.marginals.columns)
    column = column * numBands / numLayers;
  auto begin = [&](size_t band) {
    return (band * numLayers + numBands - 1) / numBands;
  };
  for (size_t band = 0; band < numBands; ++band)
    grid.bands.push_back(
        llvm::formatv("layers {0} to {1}", begin(band), begin(band + 1) - 1));
  return grid;
}

/// Measures each row or column of the grid alone.
llvm::Error Gate::measureLines(const Grid &grid, ArrayRef<size_t> lines,
                               ArrayRef<std::string> names,
                               std::vector<double> &sums) {
  for (auto [line, name] : llvm::enumerate(names)) {
    std::vector<size_t> members;
    for (auto [index, of] : llvm::zip_equal(grid.linears, lines))
      if (of == line)
        members.push_back(index);
    llvm::Expected<double> moved = measureAlone(members, name);
    if (!moved)
      return moved.takeError();
    sums.push_back(*moved);
  }
  return llvm::Error::success();
}

llvm::Error Gate::measureSensitivity() {
  for (auto [index, candidate] : llvm::enumerate(candidates)) {
    if (!candidate.unit.isEnd)
      continue;
    llvm::Expected<double> moved = measureAlone({index}, candidate.unit.weight);
    if (!moved)
      return moved.takeError();
    candidate.sensitivity = *moved;
  }
  Grid grid = makeGrid(candidates);
  Marginals &marginals = grid.marginals;
  if (llvm::Error error =
          measureLines(grid, marginals.rows, grid.roles, marginals.rowSums))
    return error;
  if (llvm::Error error = measureLines(grid, marginals.columns, grid.bands,
                                       marginals.columnSums))
    return error;
  std::vector<double> errors;
  for (size_t index : grid.linears)
    errors.push_back(candidates[index].search.errors.front());
  for (auto [index, cost] :
       llvm::zip_equal(grid.linears, fitCells(errors, marginals)))
    candidates[index].sensitivity = cost;
  return llvm::Error::success();
}

std::vector<Candidate> Gate::raise(size_t count) const {
  std::vector<Candidate> raised = candidates;
  for (const Raise &each : ArrayRef(raises).take_front(count))
    raised[each.candidate].level = each.level;
  return raised;
}

llvm::Expected<double> Gate::measureRaised(size_t count) {
  if (auto known = measured.find(count); known != measured.end())
    return known->second;
  std::vector<Candidate> raised = raise(count);
  int64_t int4 = 0, int8 = 0, floats = 0;
  for (const Candidate &candidate : raised)
    ++(!candidate.format()             ? floats
       : candidate.format()->bits == 4 ? int4
                                       : int8);
  llvm::Expected<double> growth = measure(
      raised,
      llvm::formatv("{0} int4, {1} int8, {2} float", int4, int8, floats).str());
  if (!growth)
    return growth.takeError();
  return measured[count] = *growth;
}

/// Sets `chosen` to the least number of raises that holds, or to the best with
/// --force.
llvm::Error Gate::bisect() {
  // With all raises nothing is quantised, which is not what was asked for. All
  // int8, or about that, halves the search.
  const size_t likely = llvm::count_if(raises, [&](const Raise &raise) {
    return raise.level < candidates[raise.candidate].formats.size();
  });
  llvm::Expected<std::optional<size_t>> fewest = fewestRaises(
      raises.size() - 1, likely, [&](size_t count) -> llvm::Expected<bool> {
        llvm::Expected<double> growth = measureRaised(count);
        if (!growth)
          return growth.takeError();
        return holds(*growth);
      });
  if (!fewest)
    return fewest.takeError();
  auto best = llvm::min_element(
      measured, [](auto &a, auto &b) { return a.second < b.second; });
  chosen = fewest->value_or(best->first);
  if (*fewest || gate.force)
    return llvm::Error::success();
  return makeError(
      "{0}: --max-loss {1:f2}% cannot be met: the best that was reached is "
      "{2:f2}%; allow that, or write it anyway with --force",
      options.input, 100 * gate.maxLoss, 100 * std::expm1(best->second));
}

/// With everything in the fewest bits. The search saw some rows only; here all
/// are rounded, so that whatever has scales beyond f16 shows.
llvm::Expected<double> Gate::measureLeast() {
  llvm::Expected<double> growth = measureRaised(0);
  if (growth || !growth.errorIsA<ScaleOverflow>())
    return growth;
  llvm::handleAllErrors(growth.takeError(), [&](const ScaleOverflow &overflow) {
    for (Candidate &candidate : candidates)
      if (llvm::is_contained(overflow.weights, candidate.unit.weight))
        widen(candidate);
  });
  return measureRaised(0);
}

llvm::Error Gate::decide() {
  llvm::Expected<double> growth = measureLeast();
  if (!growth)
    return growth.takeError();
  if (holds(*growth))
    return llvm::Error::success();
  if (llvm::Error error = measureSensitivity())
    return error;
  raises = orderRaises(candidates);
  return bisect();
}

//===----------------------------------------------------------------------===//
// The end
//===----------------------------------------------------------------------===//

/// What the products of the measured artifact are computed in.
static std::string arithmeticOf(ModuleOp module) {
  auto attr = module->getAttrOfType<lm::ArithmeticAttr>(
      lm::LmDialect::arithmeticAttrName);
  return attr ? lm::stringifyArithmetic(attr.getValue()).str() : "f32";
}

std::string Gate::makeTable(ModuleOp quantised,
                            ArrayRef<Candidate> decided) const {
  const double growth = measured.at(chosen);
  llvm::json::Object table{
      {"max_loss", gate.maxLoss},
      {"loss", std::expm1(growth)},
      {"met", holds(growth)},
      {"perplexity",
       llvm::json::Object{{"unquantised", std::exp(baseLoss)},
                          {"quantised", std::exp(baseLoss + growth)}}},
      {"bits_per_weight", bitsPerWeight(quantised)},
      {"arithmetic", arithmeticOf(quantised)},
      {"window", int64_t(window)},
      {"texts",
       llvm::json::Object{
           {"calibration", describe(calibrationText, calibrationTokens.size())},
           {"gate", describe(gateText, gateTokens.size())}}},
      {"weights", makeRows(quantised, decided)}};
  return llvm::formatv("{0}", llvm::json::Value(std::move(table)));
}

llvm::Error Gate::write() {
  const std::vector<Candidate> decided = raise(chosen);
  OwningOpRef<ModuleOp> quantised = quantise(decided);
  quantised.get()->setAttr(
      calibrationAttrName,
      StringAttr::get(&trials.getContext(), makeTable(*quantised, decided)));
  return trials.finish(*quantised, progress);
}

llvm::Error Gate::run() {
  if (llvm::Error error = readTexts())
    return error;
  if (llvm::Error error = fuse())
    return error;
  for (Unit &unit : findUnits(*module)) {
    Candidate candidate;
    candidate.formats = formatsOf(unit, options.group);
    candidate.unit = std::move(unit);
    candidates.push_back(std::move(candidate));
  }
  if (candidates.empty()) {
    progress << "note: the checkpoint's matrices are quantised already, and "
                "stay as they are\n";
    CompileOptions plain = options;
    plain.quant.clear();
    return compile(plain, progress);
  }
  if (llvm::Error error = measureBase())
    return error;
  if (llvm::Error error = search())
    return error;
  if (llvm::Error error = decide())
    return error;
  return write();
}

llvm::Error compiler::compileCalibrated(const CompileOptions &options,
                                        const GateOptions &gate,
                                        llvm::raw_ostream &progress) {
  if (StringRef(options.weights).starts_with("synthetic"))
    return makeError(
        "--quant auto measures what the weights can bear; it needs "
        "the checkpoint's own, not --weights {0}",
        options.weights);
  return Gate(options, gate, progress).run();
}
