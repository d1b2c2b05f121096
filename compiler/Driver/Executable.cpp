// Instances from entries, objects from instances, one image (Executable.h).

#include "stele/compiler/Driver/Executable.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "stele/compiler/Codegen/Host/HostCodegen.h"
#include "stele/compiler/Driver/DumpFiles.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;
using checkpoint::makeError;

static KernelInstance makeInstance(InstanceAttr attribute) {
  KernelInstance instance;
  instance.templateName = attribute.getTemplateName().str();
  for (NamedAttribute constant : attribute.getConstants()) {
    std::string name = constant.getName().str();
    if (auto integer = dyn_cast<IntegerAttr>(constant.getValue()))
      instance.ints[name] = integer.getInt();
    else
      instance.floats[name] =
          cast<FloatAttr>(constant.getValue()).getValueAsDouble();
  }
  return instance;
}

/// The function's scratch becomes the most that its launches need.
static void raiseScratch(FunctionOp function) {
  SymbolTableCollection symbols;
  int64_t scratch = function.getScratch(), shared = function.getShared();
  for (auto launch : function.getBody().getOps<LaunchOp>())
    if (EntryOp entry = launch.lookupEntry(symbols)) {
      scratch = std::max<int64_t>(scratch, entry.getScratch());
      shared =
          std::max<int64_t>(shared, entry.getShared() * function.getTokens());
    }
  function.setScratch(scratch);
  function.setShared(shared);
}

/// The instances that the entries are made from, in their order.
static llvm::Expected<std::vector<KernelInstance>>
makeInstances(ExecutableOp executable) {
  std::vector<KernelInstance> instances;
  for (auto entry : executable.getBody().getOps<EntryOp>()) {
    if (!entry.getInstance())
      return makeError("kernel @{0} has no template to be compiled from; "
                       "compile from a phase before the artifact",
                       entry.getSymName());
    instances.push_back(makeInstance(*entry.getInstance()));
    if (instances.back().symbol() != entry.getSymName())
      return makeError("kernel @{0} is made from {1}; its name must follow "
                       "from its template and constants",
                       entry.getSymName(), instances.back().symbol());
  }
  return instances;
}

/// Each kernel's object as DIR/kernels-TARGET/NUMBER-TEMPLATE.o: symbols are
/// longer than file names may be.
static llvm::Error dumpObjects(const HostCodegen &codegen, llvm::StringRef dir,
                               llvm::StringRef target) {
  llvm::SmallString<128> folder(dir);
  llvm::sys::path::append(folder, "kernels-" + target);
  if (llvm::Error error = makeFolder(folder))
    return error;
  llvm::Error result = llvm::Error::success();
  int number = 0;
  codegen.forEachObject([&](llvm::StringRef symbol, llvm::StringRef object) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(
        path, llvm::formatv("{0:d3}-{1}.o", number++, symbol.split("__").first)
                  .str());
    if (!result)
      result = writeFile(path, object);
  });
  return result;
}

llvm::Expected<CompiledCode>
compiler::compileExecutable(ExecutableOp executable, unsigned jobs,
                            llvm::StringRef dumpDir) {
  auto module = executable->getParentOfType<ModuleOp>();
  auto target = module.lookupSymbol<TargetOp>(executable.getTarget());
  std::vector<std::string> features;
  for (auto feature : target.getFeatures().getAsValueRange<StringAttr>())
    features.push_back(feature.str());
  llvm::Expected<std::unique_ptr<HostCodegen>> codegen =
      HostCodegen::create(target.getIsa(), features);
  if (!codegen)
    return codegen.takeError();
  llvm::Expected<std::vector<KernelInstance>> instances =
      makeInstances(executable);
  if (!instances)
    return instances.takeError();
  if (llvm::Error error = (*codegen)->add(*instances, jobs))
    return std::move(error);
  for (auto [entry, instance] :
       llvm::zip_equal(executable.getBody().getOps<EntryOp>(), *instances)) {
    EntryOp each = entry;
    each.setScratch((*codegen)->scratchBytes(instance));
    each.setShared((*codegen)->sharedBytesPerToken(instance));
  }
  for (auto function : module.getOps<FunctionOp>())
    raiseScratch(function);
  if (!dumpDir.empty())
    if (llvm::Error error =
            dumpObjects(**codegen, dumpDir, target.getSymName()))
      return std::move(error);

  llvm::Expected<std::vector<char>> image = (*codegen)->link();
  if (!image)
    return image.takeError();
  module.lookupSymbol<SegmentOp>(executable.getSegment())
      .setLength(image->size());
  return CompiledCode{std::move(*image), instances->size(),
                      (*codegen)->numCached()};
}
