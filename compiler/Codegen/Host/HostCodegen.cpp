// Specialises bitcode templates, optimises and links them (HostCodegen.h).
//
// A template declares `extern "C" const int32_t stele_<constant>`; giving these
// symbols a value is all that specialisation does, LLVM folds the rest.
#include "stele/compiler/Codegen/Host/HostCodegen.h"
#include "stele/compiler/Codegen/Host/Link.h"
#include "stele/compiler/Codegen/Host/Templates.h"
#include "llvm-c/Core.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/ThreadPool.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

using namespace llvm;

namespace stele::compiler {
namespace {

constexpr StringLiteral kTriple = "x86_64-unknown-linux-gnu";
constexpr StringLiteral kConstantPrefix = "stele_";
constexpr StringLiteral kEntry = "stele_kernel";
constexpr StringLiteral kScratch = "stele_scratch_bytes";
constexpr StringLiteral kShared = "stele_shared_bytes_per_token";

// What templates are compiled for, oldest to newest.
struct Isa {
  StringLiteral name;
  StringLiteral level;
  std::vector<StringLiteral> features;
};

const Isa kIsas[] = {
    {"x86-64-v3", "x86-64-v3", {}},
    {"x86-64-v4", "x86-64-v4", {}},
    {"x86-64-v4-bf16", "x86-64-v4", {"avx512vnni", "avx512bf16"}},
};

Error failure(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

// The newest that runs on a machine of that level with those features.
const Isa *findIsa(StringRef level, ArrayRef<std::string> features) {
  const Isa *found = nullptr;
  for (const Isa &isa : kIsas)
    if (isa.level == level && all_of(isa.features, [&](StringRef feature) {
          return is_contained(features, feature);
        }))
      found = &isa;
  return found;
}

// The given name that is closest to `wanted`, for error messages.
std::string nearest(StringRef wanted, ArrayRef<std::string> known) {
  if (known.empty())
    return "none";
  return *min_element(known, [&](StringRef a, StringRef b) {
    return wanted.edit_distance(a) < wanted.edit_distance(b);
  });
}

std::vector<std::string> constantsOf(const Module &module) {
  std::vector<std::string> names;
  for (const GlobalVariable &global : module.globals())
    if (global.isDeclaration() && global.getName().starts_with(kConstantPrefix))
      names.push_back(
          global.getName().drop_front(kConstantPrefix.size()).str());
  return names;
}

// Gives a declared constant its value, or says why it cannot have it.
Error define(GlobalVariable &global, const KernelInstance &instance) {
  std::string name = global.getName().drop_front(kConstantPrefix.size()).str();
  Type *type = global.getValueType();
  Constant *value = nullptr;
  if (auto given = instance.ints.find(name);
      type->isIntegerTy() && given != instance.ints.end()) {
    if (!isIntN(type->getIntegerBitWidth() - 1, std::abs(given->second)))
      return failure("kernel template " + instance.templateName +
                     ": constant " + name + " = " + Twine(given->second) +
                     " does not fit 32 bits");
    value = ConstantInt::getSigned(type, given->second);
  }
  if (auto given = instance.floats.find(name);
      type->isFloatTy() && given != instance.floats.end())
    value = ConstantFP::get(type, given->second);
  if (!value)
    return failure("kernel template " + instance.templateName + " needs the " +
                   (type->isFloatTy() ? "float" : "integer") + " constant " +
                   name);
  global.setInitializer(value);
  global.setLinkage(GlobalValue::InternalLinkage);
  return Error::success();
}

Error rejectUnknown(const KernelInstance &instance,
                    ArrayRef<std::string> known) {
  auto check = [&](StringRef name) -> Error {
    if (is_contained(known, name))
      return Error::success();
    return failure("kernel template " + instance.templateName +
                   " has no constant " + name + "; the nearest is " +
                   nearest(name, known));
  };
  for (const auto &entry : instance.ints)
    if (Error error = check(entry.first))
      return error;
  for (const auto &entry : instance.floats)
    if (Error error = check(entry.first))
      return error;
  return Error::success();
}

// All but the entry and the functions that tell sizes become internal, so that
// what the constants make unreachable goes away.
void internalise(Module &module, StringRef entry) {
  for (GlobalObject &object : module.global_objects())
    if (!object.isDeclaration() && object.getName() != entry &&
        object.getName() != kScratch && object.getName() != kShared)
      object.setLinkage(GlobalValue::InternalLinkage);
}

void optimise(Module &module, TargetMachine &machine) {
  PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  PassBuilder builder(&machine, tuning);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager components;
  ModuleAnalysisManager modules;
  // No C library is there to call.
  TargetLibraryInfoImpl library{Triple(kTriple)};
  library.disableAllFunctions();
  functions.registerPass([&] { return TargetLibraryAnalysis(library); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O3)
      .run(module, modules);
}

// A template computes its sizes from its constants; optimised, each is one
// returned number. Reads it and removes the function.
Expected<uint64_t> takeSize(Module &module, StringRef name) {
  Function *function = module.getFunction(name);
  if (!function)
    return 0;
  auto *ret = dyn_cast<ReturnInst>(function->getEntryBlock().getTerminator());
  auto *bytes = ret ? dyn_cast<ConstantInt>(ret->getReturnValue()) : nullptr;
  if (!bytes)
    return failure(name + " does not fold to a constant");
  uint64_t result = bytes->getZExtValue();
  function->eraseFromParent();
  return result;
}

Expected<std::string> emitObject(Module &module, TargetMachine &machine) {
  SmallString<0> object;
  raw_svector_ostream stream(object);
  legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, stream, nullptr,
                                  CodeGenFileType::ObjectFile))
    return failure("this LLVM emits no x86-64 object files");
  passes.run(module);
  return object.str().str();
}

} // namespace

std::string KernelInstance::symbol() const {
  std::string name = templateName;
  for (const auto &[key, value] : ints)
    name += "__" + key + "_" + (value < 0 ? "m" : "") +
            std::to_string(std::abs(value));
  for (const auto &[key, value] : floats)
    name +=
        "__" + key + "_x" +
        utohexstr(llvm::bit_cast<uint32_t>(static_cast<float>(value)), true);
  return name;
}

namespace {

struct Compiled {
  std::string object;
  uint64_t scratchBytes = 0;
  uint64_t sharedBytesPerToken = 0;
  bool isCached = false;
};

// What a cached instance is found by: all that its object follows from.
ObjectCache::Key cacheKey(const TemplateBitcode &bitcode, StringRef symbol) {
  unsigned major, minor, patch;
  LLVMGetVersion(&major, &minor, &patch);
  SHA256 hash;
  // No part holds a zero byte, but for the last.
  for (const std::string &part :
       {std::string(STELE_CODEGEN_DIGEST),
        formatv("LLVM {0}.{1}.{2}", major, minor, patch).str(),
        bitcode.isa.str(), symbol.str()}) {
    hash.update(part);
    hash.update(StringRef("", 1));
  }
  hash.update(bitcode.bitcode);
  return hash.final();
}

// An entry of the cache: the two sizes, then the object.
std::string encode(const Compiled &compiled) {
  char sizes[2 * sizeof(uint64_t)];
  support::endian::write64le(sizes, compiled.scratchBytes);
  support::endian::write64le(sizes + sizeof(uint64_t),
                             compiled.sharedBytesPerToken);
  return std::string(sizes, sizeof sizes) + compiled.object;
}

Compiled decode(StringRef bytes) {
  return {bytes.drop_front(2 * sizeof(uint64_t)).str(),
          support::endian::read64le(bytes.data()),
          support::endian::read64le(bytes.data() + sizeof(uint64_t)),
          /*isCached=*/true};
}

} // namespace

struct HostCodegen::State {
  const Isa *isa = nullptr;
  const Target *target = nullptr;
  ObjectCache cache;
  std::map<std::string, Compiled> compiled; // by symbol, in a stable order

  explicit State(ObjectCache cache) : cache(std::move(cache)) {}
  std::unique_ptr<TargetMachine> makeMachine() const;
  Expected<const TemplateBitcode *>
  findTemplate(const KernelInstance &instance) const;
  Expected<Compiled> compile(const KernelInstance &instance,
                             const TemplateBitcode &bitcode) const;
  Expected<Compiled> get(const KernelInstance &instance) const;
};

// Machines and contexts are not for several threads, so that each instance has
// its own.
std::unique_ptr<TargetMachine> HostCodegen::State::makeMachine() const {
  std::string features;
  for (StringRef feature : isa->features)
    features += (features.empty() ? "+" : ",+") + feature.str();
  return std::unique_ptr<TargetMachine>(target->createTargetMachine(
      Triple(kTriple), isa->level, features, TargetOptions(), Reloc::PIC_,
      CodeModel::Small, CodeGenOptLevel::Aggressive));
}

Expected<const TemplateBitcode *>
HostCodegen::State::findTemplate(const KernelInstance &instance) const {
  std::vector<std::string> known;
  for (const TemplateBitcode &entry : hostTemplates()) {
    if (entry.isa != isa->name)
      continue;
    if (entry.name == instance.templateName)
      return &entry;
    known.push_back(entry.name.str());
  }
  return failure("no kernel template " + instance.templateName + " for " +
                 isa->name + "; the nearest is " +
                 nearest(instance.templateName, known));
}

Expected<Compiled>
HostCodegen::State::compile(const KernelInstance &instance,
                            const TemplateBitcode &bitcode) const {
  LLVMContext context;
  Expected<std::unique_ptr<Module>> loaded = parseBitcodeFile(
      MemoryBufferRef(bitcode.bitcode, instance.templateName), context);
  if (!loaded)
    return loaded.takeError();
  Module &module = **loaded;
  if (Error error = rejectUnknown(instance, constantsOf(module)))
    return error;
  for (GlobalVariable &global : module.globals())
    if (global.isDeclaration() && global.getName().starts_with(kConstantPrefix))
      if (Error error = define(global, instance))
        return error;
  Function *entry = module.getFunction(kEntry);
  if (!entry)
    return failure("kernel template " + instance.templateName +
                   " does not define " + kEntry);
  entry->setName(instance.symbol());
  entry->setVisibility(GlobalValue::DefaultVisibility);
  internalise(module, instance.symbol());
  std::unique_ptr<TargetMachine> machine = makeMachine();
  module.setTargetTriple(Triple(kTriple));
  module.setDataLayout(machine->createDataLayout());
  optimise(module, *machine);
  Expected<uint64_t> scratch = takeSize(module, kScratch);
  if (!scratch)
    return scratch.takeError();
  Expected<uint64_t> shared = takeSize(module, kShared);
  if (!shared)
    return shared.takeError();
  Expected<std::string> object = emitObject(module, *machine);
  if (!object)
    return object.takeError();
  return Compiled{std::move(*object), *scratch, *shared};
}

// From the cache, or compiled for it.
Expected<Compiled>
HostCodegen::State::get(const KernelInstance &instance) const {
  Expected<const TemplateBitcode *> bitcode = findTemplate(instance);
  if (!bitcode)
    return bitcode.takeError();
  const ObjectCache::Key key = cacheKey(**bitcode, instance.symbol());
  if (std::optional<std::string> found = cache.find(key))
    return decode(*found);
  Expected<Compiled> compiled = compile(instance, **bitcode);
  if (compiled)
    cache.insert(key, encode(*compiled));
  return compiled;
}

HostCodegen::HostCodegen(ObjectCache cache)
    : state(std::make_unique<State>(std::move(cache))) {}
HostCodegen::~HostCodegen() = default;

Expected<std::unique_ptr<HostCodegen>>
HostCodegen::create(StringRef level, ArrayRef<std::string> wanted,
                    ObjectCache cache) {
  const Isa *isa = findIsa(level, wanted);
  if (!isa)
    return failure("no host kernels for the ISA level " + level +
                   "; there are x86-64-v3 and x86-64-v4");
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  std::string message;
  const Target *target = TargetRegistry::lookupTarget(Triple(kTriple), message);
  if (!target)
    return failure(message);
  std::unique_ptr<HostCodegen> codegen(new HostCodegen(std::move(cache)));
  codegen->state->isa = isa;
  codegen->state->target = target;
  return codegen;
}

Error HostCodegen::add(ArrayRef<KernelInstance> instances, unsigned jobs) {
  using Result = std::optional<Expected<Compiled>>;
  std::map<std::string, Result> results;
  DefaultThreadPool pool(hardware_concurrency(jobs));
  for (const KernelInstance &instance : instances) {
    auto [place, isNew] = results.try_emplace(instance.symbol());
    if (isNew && !state->compiled.count(place->first))
      pool.async([this, &instance, &result = place->second] {
        result.emplace(state->get(instance));
      });
  }
  pool.wait();
  Error first = Error::success();
  bool isCacheFuller = false;
  for (auto &[symbol, result] : results) {
    if (!result)
      continue;
    if (!*result) {
      if (first)
        consumeError(result->takeError());
      else
        first = result->takeError();
      continue;
    }
    isCacheFuller |= !(*result)->isCached;
    state->compiled.emplace(symbol, std::move(**result));
  }
  if (isCacheFuller)
    state->cache.prune();
  return first;
}

uint64_t HostCodegen::scratchBytes(const KernelInstance &instance) const {
  auto found = state->compiled.find(instance.symbol());
  return found == state->compiled.end() ? 0 : found->second.scratchBytes;
}

uint64_t
HostCodegen::sharedBytesPerToken(const KernelInstance &instance) const {
  auto found = state->compiled.find(instance.symbol());
  return found == state->compiled.end() ? 0 : found->second.sharedBytesPerToken;
}

unsigned HostCodegen::numCached() const {
  return count_if(state->compiled,
                  [](const auto &entry) { return entry.second.isCached; });
}

void HostCodegen::forEachObject(
    function_ref<void(StringRef, StringRef)> take) const {
  for (const auto &[symbol, compiled] : state->compiled)
    take(symbol, compiled.object);
}

Expected<std::vector<char>> HostCodegen::link() {
  std::vector<StringRef> objects;
  for (const auto &entry : state->compiled)
    objects.push_back(entry.second.object);
  return linkSharedObject(objects);
}

} // namespace stele::compiler
