// The phases of a compile (Driver.h), one method each way: into a module, from
// phase to phase, out to disk.

#include "stele/compiler/Driver/Driver.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/Timing.h"
#include "stele/compiler/Codegen/Host/ObjectCache.h"
#include "stele/compiler/Conversion/Passes.h"
#include "stele/compiler/Driver/ArtifactWriter.h"
#include "stele/compiler/Driver/Diagnostics.h"
#include "stele/compiler/Driver/DumpFiles.h"
#include "stele/compiler/Driver/Executable.h"
#include "stele/compiler/Driver/FlatBuffer.h"
#include "stele/compiler/Driver/Limits.h"
#include "stele/compiler/Driver/MergePlans.h"
#include "stele/compiler/Driver/Segments.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/Gguf.h"
#include "stele/compiler/Import/Tokenizer.h"
#include "stele/compiler/Quantise/Quantise.h"
#include "stele/compiler/Schedule/Passes.h"
#include "stele/compiler/Targets/Sizes.h"
#include "stele/compiler/Targets/Targets.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"
#include "stele/dialects/Plan/PlanOps.h"
#include "stele/models/Families.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/SourceMgr.h"
#include <chrono>
#include <map>

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;
using checkpoint::Checkpoint;
using checkpoint::makeError;

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

static constexpr StringLiteral phaseNameList[] = {
    "import", "lm", "fused", "selected", "plan", "assigned", "artifact"};

StringRef compiler::phaseName(Phase phase) {
  return phaseNameList[static_cast<size_t>(phase)];
}

std::optional<Phase> compiler::parsePhase(StringRef name) {
  for (auto [index, known] : llvm::enumerate(phaseNameList))
    if (known == name)
      return static_cast<Phase>(index);
  return std::nullopt;
}

std::string compiler::phaseNames() {
  return llvm::join(ArrayRef(phaseNameList), ", ");
}

// What a module remembers between phases, so that its .mlir alone goes on.
static constexpr StringLiteral phaseAttr = "stele.phase";
static constexpr StringLiteral checkpointAttr = "stele.checkpoint";
static constexpr StringLiteral targetAttr = "stele.target";
static constexpr StringLiteral weightsAttr = "stele.weights";

//===----------------------------------------------------------------------===//
// What users see
//===----------------------------------------------------------------------===//

/// "134.5 M"
static std::string showParameters(int64_t count) {
  if (count >= 1'000'000'000)
    return llvm::formatv("{0:f2} B", count / 1e9);
  if (count >= 1'000'000)
    return llvm::formatv("{0:f1} M", count / 1e6);
  return std::to_string(count);
}

/// Where reproducers go: never beside the output.
static std::string reproducerPath(Phase phase) {
  SmallString<128> folder(cacheFolder());
  const bool isOff = folder.empty();
  llvm::sys::path::append(folder, "reproducers");
  if (isOff || llvm::sys::fs::create_directories(folder))
    llvm::sys::path::system_temp_directory(/*erasedOnReboot=*/true, folder);
  llvm::sys::path::append(folder,
                          llvm::formatv("{0}-{1}.mlir", phaseName(phase),
                                        llvm::sys::Process::getProcessId()));
  return folder.str().str();
}

namespace {

class Compilation {
public:
  /// Weights named in `wide` get scales in f32.
  Compilation(const CompileOptions &options, ArrayRef<std::string> wide,
              llvm::raw_ostream &progress)
      : options(options), wide(wide), progress(progress) {
    timing.setEnabled(options.timePhases);
    timing.setDisplayMode(DefaultTimingManager::DisplayMode::List);
    rootTiming = timing.getRootScope();
  }

  llvm::Error run();

private:
  bool isModule() const { return StringRef(options.input).ends_with(".mlir"); }
  llvm::Error load();
  llvm::Error checkWeights();
  llvm::Error importCheckpoint();
  llvm::Error parseModule();
  llvm::Error refuseLateChoices();
  llvm::Error findTargets(StringRef names);
  llvm::Error remember();

  llvm::Error runPhase(Phase phase);
  llvm::Error runPasses(ModuleOp on, Phase phase, const Target &target);
  std::string chooseArithmetic(const Target &target);
  void warnOfRequantising();
  void buildPasses(PassManager &manager, Phase phase, const Target &target);
  void buildSchedule(PassManager &manager);
  bool packsPages() const;
  std::string describePaging();
  llvm::Error planForTargets();
  std::string summary(Phase phase);
  llvm::Error checkKernelized();
  llvm::Error dump(Phase phase);
  llvm::Error writeModule();

  llvm::Error writeAll();
  llvm::Error openCheckpoint();
  llvm::Error addTokenizer();
  void addCalibration();
  void addSegment(StringRef name, SegmentKind kind, size_t length);
  llvm::Error generateCode();
  llvm::Expected<SegmentBytes> makeBytes(SegmentOp segment);

  void report(StringRef what, const llvm::Twine &details);

  const CompileOptions &options;
  ArrayRef<std::string> wide;
  llvm::raw_ostream &progress;
  MLIRContext context{MLIRContext::Threading::DISABLED};
  std::unique_ptr<Checkpoint> source;
  OwningOpRef<ModuleOp> module;
  Phase reached = Phase::Import;
  std::string weights;
  std::vector<Target> targets;
  std::map<std::string, std::vector<char>> code; // by segment
  std::vector<uint8_t> tokenizer;
  std::string calibration;
  DefaultTimingManager timing;
  TimingScope rootTiming;
  std::chrono::steady_clock::time_point start =
      std::chrono::steady_clock::now();
};

} // namespace

/// One line: what took how long since the last line, and what came of it.
void Compilation::report(StringRef what, const llvm::Twine &details) {
  auto now = std::chrono::steady_clock::now();
  double seconds = std::chrono::duration<double>(now - start).count();
  start = now;
  progress << llvm::formatv("{0,-10}{1,6:f2} s  {2}\n", what, seconds,
                            details.str());
}

//===----------------------------------------------------------------------===//
// Into a module
//===----------------------------------------------------------------------===//

static std::string textAttr(ModuleOp module, StringRef name) {
  auto attr = module->getAttrOfType<StringAttr>(name);
  return attr ? attr.str() : "";
}

static models::PositionKind positionKind(StringRef name) {
  return llvm::StringSwitch<models::PositionKind>(name)
      .Case("rope", models::PositionKind::Rope)
      .Case("yarn", models::PositionKind::Yarn)
      .Case("dca", models::PositionKind::DualChunk)
      .Default(models::PositionKind::Checkpoint);
}

llvm::Error Compilation::importCheckpoint() {
  llvm::Expected<std::unique_ptr<Checkpoint>> opened =
      Checkpoint::open(options.input);
  if (!opened)
    return opened.takeError();
  source = std::move(*opened);
  for (const std::string &note : source->config().notes)
    progress << "note: " << note << "\n";
  models::BuildOptions build;
  build.context = options.context;
  build.positions = positionKind(options.positions);
  build.dualChunk = options.dcaChunk;
  build.dualChunkLocal = options.dcaLocal;
  if (options.attention == "sparse" || options.attention == "hybrid")
    build.block = options.sparsity.block;
  llvm::Expected<OwningOpRef<ModuleOp>> built =
      models::buildModule(context, *source, build);
  if (!built)
    return built.takeError();
  module = std::move(*built);
  if (options.context > source->config().context)
    progress << "note: a context of " << options.context
             << " is beyond the model's " << source->config().context
             << " tokens; its positions reach there at some loss of quality\n";
  return llvm::Error::success();
}

llvm::Error Compilation::parseModule() {
  if (options.context)
    return makeError("{0}: --context is for checkpoints; an .mlir has its own "
                     "in lm.model",
                     options.input);
  if (options.positions != "auto")
    return makeError("{0}: --positions is for checkpoints; an .mlir has its "
                     "own in every lm.rope and lm.attention",
                     options.input);
  FirstError errors(context);
  module = parseSourceFile<ModuleOp>(options.input, &context);
  if (!module)
    return errors.take(options.input + ": cannot be read as .mlir");
  std::string name = textAttr(*module, phaseAttr);
  if (name.empty())
    return llvm::Error::success();
  std::optional<Phase> phase = parsePhase(name);
  if (!phase || *phase == Phase::Artifact)
    return makeError("{0}: {1} is \"{2}\"; it must be one of {3}",
                     options.input, phaseAttr, name, phaseNames());
  reached = *phase;
  return refuseLateChoices();
}

/// A choice that was made on the way to a phase says nothing to a module that
/// is there already.
llvm::Error Compilation::refuseLateChoices() {
  auto unlessAuto = [](const std::string &value) {
    return value == "auto" ? StringRef() : StringRef(value);
  };
  auto unlessZero = [](int64_t value) {
    return value == 0 ? std::string() : std::to_string(value);
  };
  const std::string device = unlessZero(options.paging.deviceMemory),
                    host = unlessZero(options.paging.hostMemory),
                    window = unlessZero(options.paging.hotWindow);
  const struct {
    StringRef flag, value; // no value: not made
    Phase last;            // that it acts on
  } choices[] = {
      {"--activations", unlessAuto(options.activations), Phase::Import},
      // Of pages that leave device memory, which the schedule decides.
      {"--kv", unlessAuto(options.kv),
       device.empty() ? Phase::Import : Phase::Plan},
      {"--device-memory", device, Phase::Plan},
      {"--host-memory", host, Phase::Plan},
      {"--hot-window", window, Phase::Plan},
      {"--attention", unlessAuto(options.attention), Phase::Import},
      // The gate begins with a fused module, the pass ends with one.
      {"--quant", options.quant,
       options.quant == "auto" ? Phase::Fused : Phase::Lm}};
  for (const auto &choice : choices)
    if (!choice.value.empty() && reached > choice.last)
      return makeError("{0}: {1} {2} acts on modules up to phase {3}, and this "
                       "one is at phase {4}; leave {1} out, or start from the "
                       "checkpoint or a module of phase {3}",
                       options.input, choice.flag, choice.value,
                       phaseName(choice.last), phaseName(reached));
  return llvm::Error::success();
}

/// The targets of a list of names; all of one arithmetic.
llvm::Error Compilation::findTargets(StringRef names) {
  SmallVector<StringRef> list;
  names.split(list, ',');
  for (StringRef name : list) {
    llvm::Expected<Target> target = findTarget(name);
    if (!target)
      return target.takeError();
    for (const Target &other : targets) {
      if (other.name == target->name)
        return makeError("target {0} is named twice", other.name);
      if (reached < Phase::Lm && options.activations == "auto" &&
          other.arithmetic != target->arithmetic)
        return makeError("{0} computes in {1}, {2} in {3}; say --activations, "
                         "since targets of one artifact share its weights",
                         other.name, other.arithmetic, target->name,
                         target->arithmetic);
    }
    targets.push_back(std::move(*target));
  }
  // The runtime takes the last that its machine runs.
  std::vector<StringRef> newestLast = targetNames();
  llvm::sort(targets, [&](const Target &a, const Target &b) {
    return llvm::find(newestLast, a.name) < llvm::find(newestLast, b.name);
  });
  return llvm::Error::success();
}

/// Settles what options and module say together, and has the module keep it.
llvm::Error Compilation::remember() {
  auto settle = [&](StringRef name, StringRef given, StringRef otherwise) {
    std::string before = textAttr(*module, name);
    std::string value = !given.empty()    ? given.str()
                        : !before.empty() ? before
                                          : otherwise.str();
    module.get()->setAttr(name, StringAttr::get(&context, value));
    return value;
  };
  std::string names = settle(targetAttr, options.target, "host");
  if (llvm::Error error = findTargets(names))
    return error;
  // "host" is this machine's; the module must mean the same elsewhere.
  if (names == "host")
    module.get()->setAttr(targetAttr,
                          StringAttr::get(&context, targets.front().name));
  weights = settle(weightsAttr, options.weights, "inline");

  SmallString<128> path(isModule() ? options.checkpoint : options.input);
  if (!path.empty())
    if (std::error_code code = llvm::sys::fs::make_absolute(path))
      return makeError("{0}: {1}", path, code.message());
  settle(checkpointAttr, path, "");
  return llvm::Error::success();
}

llvm::Error Compilation::load() {
  context.loadDialect<func::FuncDialect, lm::LmDialect, PlanDialect>();
  if (llvm::Error error = isModule() ? parseModule() : importCheckpoint())
    return error;
  if (llvm::Error error = remember())
    return error;
  warnOfRequantising();
  report(phaseName(reached), summary(reached));
  return dump(reached);
}

//===----------------------------------------------------------------------===//
// From phase to phase
//===----------------------------------------------------------------------===//

static int64_t countQuantised(ModuleOp module) {
  return llvm::count_if(module.getOps<lm::WeightOp>(), [](lm::WeightOp weight) {
    return weight.getQuantAttr() != nullptr;
  });
}

/// `auto`: codes are multiplied by codes where there are any.
std::string Compilation::chooseArithmetic(const Target &target) {
  if (options.activations != "auto")
    return options.activations;
  bool willQuantise = options.quant == "int4" || options.quant == "int8";
  bool isQuantised = options.quant != "none" && countQuantised(*module) > 0;
  return willQuantise || isQuantised ? "int8" : target.arithmetic;
}

/// Quantising again what is quantised loses twice; one asks for it knowingly.
void Compilation::warnOfRequantising() {
  int64_t count = countQuantised(*module);
  if (count == 0 || (options.quant != "int4" && options.quant != "int8"))
    return;
  progress << "warning: " << count << " weights of " << options.input
           << " are quantised already; --quant " << options.quant
           << " quantises them again, which loses more. Leave it out to keep "
              "them as they are\n";
}

/// Whether --kv is about pages that left device memory only: with
/// --device-memory, those in it are as the arithmetic computes.
bool Compilation::packsPages() const {
  return options.paging.deviceMemory != 0 &&
         (options.kv == "int8" || options.kv == "int4");
}

/// Places for buffers, then moves of pages among their launches.
void Compilation::buildSchedule(PassManager &manager) {
  ModelTimeOptions time;
  SchedulePagesOptions pages;
  for (const Target &target : targets) {
    time.targets.push_back(target.source);
    pages.targets.push_back(target.source);
  }
  pages.deviceMemory = options.paging.deviceMemory;
  pages.hostMemory = options.paging.hostMemory;
  if (options.paging.hotWindow != 0)
    pages.hotWindow = options.paging.hotWindow;
  // auto: codes, where pages can be rounded.
  const bool copies = options.kv != "auto" && !packsPages();
  pages.warm = copies ? "copy" : packsPages() ? options.kv : "int8";
  manager.addPass(createAssignBuffers());
  manager.addPass(createModelTime(time));
  manager.addPass(createSchedulePages(pages));
}

void Compilation::buildPasses(PassManager &manager, Phase phase,
                              const Target &target) {
  LmPipelineOptions lm;
  lm.arithmetic = chooseArithmetic(target);
  // What the gate decides comes after this phase.
  if (options.quant != "auto")
    lm.quant = options.quant;
  lm.group = options.group;
  lm.kv = packsPages() ? "auto" : options.kv;
  if (options.attention != "auto")
    lm.attention = options.attention;
  lm.randomFeatures = options.features;
  lm.block = options.sparsity.block;
  lm.local = options.sparsity.local;
  lm.adjacent = options.sparsity.adjacent;
  lm.sink = options.sparsity.sink;
  lm.topK = options.sparsity.topK;
  lm.topP = options.sparsity.mass;
  lm.topShare = options.sparsity.share;
  lm.limit = options.sparsity.limit;
  lm.fuse = options.fuse;
  lm.isa = target.isa;
  for (const std::string &feature : target.features)
    lm.features.push_back(feature);
  switch (phase) {
  case Phase::Lm:
    return buildInputPipeline(manager, lm);
  case Phase::Fused:
    return buildFusionPipeline(manager, lm);
  case Phase::Selected:
    return buildSelectionPipeline(manager, lm);
  case Phase::Plan: {
    ConvertLmToPlanOptions plan;
    plan.target = target.source;
    plan.weights = weights;
    if (weights == "external")
      plan.weights +=
          ":" + llvm::sys::path::filename(options.output).str() + ".weights";
    return manager.addPass(createConvertLmToPlan(plan));
  }
  case Phase::Assigned:
    return buildSchedule(manager);
  case Phase::Import:
  case Phase::Artifact:
    llvm_unreachable("no passes lead there");
  }
}

llvm::Error Compilation::runPasses(ModuleOp on, Phase phase,
                                   const Target &target) {
  FirstError errors(context);
  PassManager manager(&context);
  manager.enableCrashReproducerGeneration(reproducerPath(phase));
  TimingScope scope = rootTiming.nest(phaseName(phase));
  manager.enableTiming(scope);
  buildPasses(manager, phase, target);
  if (failed(manager.run(on)))
    return errors.take(phaseName(phase).str() + ": a pass failed");
  return llvm::Error::success();
}

/// Several targets: each gets a copy of the fused module, selects its kernels
/// and becomes a plan; the plans become one.
llvm::Error Compilation::planForTargets() {
  SmallVector<OwningOpRef<ModuleOp>> plans;
  for (const Target &target : targets) {
    plans.emplace_back(module->clone());
    for (Phase phase : {Phase::Selected, Phase::Plan})
      if (llvm::Error error = runPasses(*plans.back(), phase, target))
        return error;
  }
  if (llvm::Error error = mergePlans(plans))
    return error;
  module = std::move(plans.front());
  return llvm::Error::success();
}

llvm::Error Compilation::runPhase(Phase phase) {
  const bool merges = targets.size() > 1 && phase == Phase::Plan;
  if (llvm::Error error = merges ? planForTargets()
                                 : runPasses(*module, phase, targets.front()))
    return error;
  reached = phase;
  module.get()->setAttr(phaseAttr, StringAttr::get(&context, phaseName(phase)));
  report(phaseName(phase), summary(phase));
  if (phase == Phase::Lm && options.attention == "kernelized")
    if (llvm::Error error = checkKernelized())
      return error;
  return dump(phase);
}

template <typename OpT> static int64_t countOps(ModuleOp module) {
  int64_t count = 0;
  module.walk([&](OpT) { ++count; });
  return count;
}

/// Says what became of --attention kernelized, and that most checkpoints were
/// trained for something else.
llvm::Error Compilation::checkKernelized() {
  if (countOps<lm::KernelizedAttentionOp>(*module) == 0)
    return makeError("{0}: every layer has a sliding window, which --attention "
                     "kernelized leaves dense; leave it out",
                     options.input);
  if (int64_t windows = countOps<lm::AttentionOp>(*module))
    progress << "note: " << windows
             << " layers have a sliding window and keep dense attention\n";
  progress << "note: kernelized attention is for models that were trained with "
              "it; it ruins one that was trained with softmax attention "
              "(docs/long-context.md)\n";
  return llvm::Error::success();
}

/// What came of --device-memory.
std::string Compilation::describePaging() {
  std::string text;
  for (auto cache : module->getOps<KvCacheOp>())
    if (PagingAttr paging = cache.getPagingAttr())
      text +=
          llvm::formatv("; paged: the last {0} tokens and {1} slots of {2} "
                        "stay, others are records of {3}",
                        showCount(paging.getHot()), showCount(cache.getSlots()),
                        showBytes(cache.getPage().getPageBytes()),
                        showBytes(paging.getWarmBytes()));
  if (text.empty() && options.paging.deviceMemory != 0)
    return "; all pages fit into --device-memory";
  return text;
}

/// What a phase's line says about its module.
std::string Compilation::summary(Phase phase) {
  if (phase >= Phase::Assigned) {
    std::string text;
    for (auto function : module->getOps<FunctionOp>())
      text += llvm::formatv("{0}{1}: {2} of activations",
                            text.empty() ? "" : ", ", function.getSymName(),
                            showBytes(function.getArena().value_or(0)));
    return text + describePaging();
  }
  if (phase == Phase::Plan)
    return llvm::formatv(
        "{0} kernels, {1} launches, {2} tensors", countOps<EntryOp>(*module),
        countOps<LaunchOp>(*module), countOps<TensorOp>(*module));
  auto model =
      module.get()->getAttrOfType<lm::ModelAttr>(lm::LmDialect::modelAttrName);
  std::string parameters =
      model ? showParameters(model.getParameters()) + " parameters, " : "";
  return llvm::formatv("{0}{1} operations, {2} weights", parameters,
                       countOps<lm::KernelOpInterface>(*module),
                       countOps<lm::WeightOp>(*module));
}

static std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  stream << "\n";
  return text;
}

llvm::Error Compilation::dump(Phase phase) {
  if (options.dumpDir.empty())
    return llvm::Error::success();
  if (llvm::Error error = makeFolder(options.dumpDir))
    return error;
  std::string path =
      llvm::formatv("{0}/{1}-{2}.mlir", options.dumpDir,
                    static_cast<int>(phase) + 1, phaseName(phase));
  return writeFile(path, print(*module));
}

llvm::Error Compilation::writeModule() {
  if (!options.output.empty())
    return writeFile(options.output, print(*module));
  llvm::raw_fd_ostream &out = llvm::outs();
  out << print(*module);
  out.flush();
  if (!out.has_error())
    return llvm::Error::success();
  std::error_code code = out.error();
  out.clear_error(); // told here, not when the program ends
  return makeError("cannot write standard output: {0}", code.message());
}

//===----------------------------------------------------------------------===//
// Out to disk
//===----------------------------------------------------------------------===//

/// A configuration alone has no weights to write.
llvm::Error Compilation::checkWeights() {
  if (options.stopAfter != Phase::Artifact || !source ||
      !source->tensors().empty() || StringRef(weights).starts_with("synthetic"))
    return llvm::Error::success();
  return makeError("{0}: there are no weights beside the configuration; name "
                   "the checkpoint's folder, or add --weights synthetic:SEED",
                   source->path());
}

/// For an .mlir input that needs bytes of its checkpoint.
llvm::Error Compilation::openCheckpoint() {
  std::string path = textAttr(*module, checkpointAttr);
  if (source || path.empty())
    return llvm::Error::success();
  llvm::Expected<std::unique_ptr<Checkpoint>> opened = Checkpoint::open(path);
  if (!opened)
    return opened.takeError();
  source = std::move(*opened);
  return checkWeights();
}

llvm::Error Compilation::addTokenizer() {
  if (source) {
    llvm::Expected<std::vector<uint8_t>> bytes =
        checkpoint::importTokenizer(*source);
    if (!bytes)
      return bytes.takeError();
    tokenizer = std::move(*bytes);
  }
  if (tokenizer.empty()) {
    progress << "note: no tokenizer is there; the artifact takes token ids "
                "only\n";
    return llvm::Error::success();
  }
  if (options.tokenizerProblem)
    if (std::string problem = options.tokenizerProblem(tokenizer);
        !problem.empty())
      return makeError("{0}: tokenizer: {1}", options.input, problem);
  if (options.templateProblem)
    if (std::string problem = options.templateProblem(tokenizer);
        !problem.empty())
      progress << "warning: " << options.input << ": " << problem
               << "; chats with the artifact fail there, correct the "
                  "checkpoint's template or use run --raw\n";
  addSegment("tokenizer", SegmentKind::Tokenizer, tokenizer.size());
  report("tokenizer", showBytes(tokenizer.size()));
  return llvm::Error::success();
}

/// A segment that all targets use, behind that of the weights.
void Compilation::addSegment(StringRef name, SegmentKind kind, size_t length) {
  SmallVector<Attribute> targets;
  for (auto target : module->getOps<TargetOp>())
    targets.push_back(FlatSymbolRefAttr::get(target.getSymNameAttr()));
  OpBuilder builder(&context);
  builder.setInsertionPointAfter(*module->getOps<SegmentOp>().begin());
  SegmentOp::create(builder, module->getLoc(), builder.getStringAttr(name),
                    SegmentKindAttr::get(&context, kind),
                    StorageAttr::get(&context, Storage::Inline),
                    builder.getArrayAttr(targets), /*file=*/nullptr,
                    /*seed=*/nullptr, builder.getI64IntegerAttr(length),
                    /*offset=*/nullptr, /*xxh3=*/nullptr,
                    /*sha256=*/nullptr, builder.getI64IntegerAttr(0));
}

void Compilation::addCalibration() {
  calibration = textAttr(*module, calibrationAttrName);
  if (!calibration.empty())
    addSegment("calibration", SegmentKind::Calibration, calibration.size());
}

template <typename T> static SegmentBytes bytesOf(const T &bytes) {
  return {bytes.size(), [&bytes](llvm::raw_ostream &out) {
            out.write(reinterpret_cast<const char *>(bytes.data()),
                      bytes.size());
            return llvm::Error::success();
          }};
}

llvm::Error Compilation::generateCode() {
  for (auto executable : module->getOps<ExecutableOp>()) {
    llvm::Expected<CompiledCode> made =
        compileExecutable(executable, options.jobs, options.dumpDir);
    if (!made)
      return made.takeError();
    std::vector<char> &image = made->image;
    report("code",
           llvm::formatv("{0} for {1}; {2} kernels, {3} of them cached",
                         showBytes(image.size()), executable.getTarget(),
                         made->numKernels, made->numCached));
    std::string name = executable.getSegment().str();
    if (!options.dumpDir.empty())
      if (llvm::Error error = writeFile(options.dumpDir + "/" + name + ".so",
                                        StringRef(image.data(), image.size())))
        return error;
    code[name] = std::move(image);
  }
  return dump(Phase::Artifact);
}

llvm::Expected<SegmentBytes> Compilation::makeBytes(SegmentOp segment) {
  switch (segment.getKind()) {
  case SegmentKind::Executable:
    return bytesOf(code[segment.getSymName().str()]);
  case SegmentKind::Tokenizer:
    return bytesOf(tokenizer);
  case SegmentKind::Calibration:
    return bytesOf(calibration);
  case SegmentKind::Weights:
    break;
  }
  if (!source)
    return makeError("{0}: says no checkpoint to take weights from; name it "
                     "with --checkpoint",
                     options.input);
  SegmentBytes bytes = makeWeights(segment, *source);
  if (auto file = segment.getFile()) {
    SmallString<128> path(llvm::sys::path::parent_path(options.output));
    llvm::sys::path::append(path, *file);
    bytes.file = path.str().str();
  }
  return bytes;
}

llvm::Error Compilation::writeAll() {
  if (llvm::Error error = openCheckpoint())
    return error;
  if (llvm::Error error = addTokenizer())
    return error;
  addCalibration();
  if (llvm::Error error = generateCode())
    return error;

  FirstError errors(context);
  if (failed(verify(*module)) || failed(verifyExportable(*module)))
    return errors.take("the plan is not valid");

  std::vector<SegmentOp> written;
  std::vector<SegmentBytes> bytes;
  for (auto segment : module->getOps<SegmentOp>()) {
    if (segment.getStorage() == Storage::Synthetic)
      continue;
    llvm::Expected<SegmentBytes> made = makeBytes(segment);
    if (!made)
      return made.takeError();
    written.push_back(segment);
    bytes.push_back(std::move(*made));
  }
  auto serialise = [&](ArrayRef<PlacedSegment> placed) {
    auto unsigned64 = IntegerType::get(&context, 64, IntegerType::Unsigned);
    for (auto [op, place] : llvm::zip_equal(written, placed)) {
      SegmentOp segment = op;
      segment.setOffset(place.offset);
      segment.setXxh3Attr(IntegerAttr::get(unsigned64, place.xxh3));
      if (place.file.empty())
        continue;
      segment.setFile(place.file);
      segment.setSha256(llvm::toHex(place.sha256, /*LowerCase=*/true));
    }
    return exportPlan(*module);
  };
  llvm::Expected<uint64_t> size =
      writeArtifact(options.output, bytes, serialise);
  if (!size)
    return size.takeError();
  report("artifact", showBytes(*size) + " in " + options.output);
  for (const Target &target : targets)
    progress << describeLimits(*module, target) << "\n";
  if (!options.dumpDir.empty())
    return writeFile(options.dumpDir + "/7-artifact.json",
                     planToJson(exportPlan(*module)));
  return llvm::Error::success();
}

llvm::Error Compilation::run() {
  if (options.stopAfter == Phase::Artifact)
    if (llvm::Error error = checkOutput(options.output))
      return error;
  if (llvm::Error error = load())
    return error;
  if (llvm::Error error = checkWeights())
    return error;
  if (reached > options.stopAfter)
    return makeError("{0}: is of phase {1}, after {2} that --compile-to asks "
                     "for",
                     options.input, phaseName(reached),
                     phaseName(options.stopAfter));
  if (targets.size() > 1 && options.stopAfter == Phase::Selected)
    return makeError("--compile-to selected is for one target; kernels of "
                     "several are in the plan");
  while (reached < options.stopAfter && reached < Phase::Assigned) {
    // Formats are known by then, and kernels are not chosen yet.
    if (reached == Phase::Fused && !wide.empty()) {
      progress << "note: f16 does not hold all scales of "
               << llvm::join(wide, ", ") << "; they are stored in f32\n";
      widenScales(*module, wide);
    }
    auto next = static_cast<Phase>(static_cast<int>(reached) + 1);
    // Kernels of several targets are selected on the way to their plan.
    if (targets.size() > 1 && next == Phase::Selected)
      next = Phase::Plan;
    if (llvm::Error error = runPhase(next))
      return error;
  }
  return options.stopAfter == Phase::Artifact ? writeAll() : writeModule();
}

void compiler::widenScales(ModuleOp module, ArrayRef<std::string> weights) {
  using Real = schema::QuantFormat::Real;
  for (const std::string &name : weights) {
    auto weight = module.lookupSymbol<lm::WeightOp>(name);
    schema::QuantFormat format = weight.getQuantAttr().getFormat();
    format.scale = Real::kF32;
    if (format.offset != Real::kNone)
      format.offset = Real::kF32;
    weight.setQuantAttr(lm::QuantAttr::get(module.getContext(), format));
  }
}

llvm::Error compiler::compileAsSaid(const CompileOptions &options,
                                    llvm::raw_ostream &progress) {
  return Compilation(options, /*wide=*/{}, progress).run();
}

/// Which weights need wide scales is known when all of them were read, and by
/// then kernels are chosen. So rare that it may take a second compile.
llvm::Error compiler::compile(const CompileOptions &options,
                              llvm::raw_ostream &progress) {
  std::vector<std::string> wide;
  if (llvm::Error error = llvm::handleErrors(
          compileAsSaid(options, progress),
          [&](std::unique_ptr<ScaleOverflow> overflow) -> llvm::Error {
            wide = overflow->weights;
            return llvm::Error::success();
          }))
    return error;
  if (wide.empty())
    return llvm::Error::success();
  return Compilation(options, wide, progress).run();
}
