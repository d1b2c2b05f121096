// Compiling and loading variants of a module (Trials.h).

#include "stele/compiler/Calibrate/Trials.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "stele/compiler/Driver/Diagnostics.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using checkpoint::makeError;

llvm::Expected<std::unique_ptr<checkpoint::Checkpoint>>
compiler::openSource(ModuleOp module) {
  auto path = module->getAttrOfType<StringAttr>("stele.checkpoint");
  return checkpoint::Checkpoint::open(path ? path.getValue() : StringRef());
}

ScratchFile::ScratchFile(const llvm::Twine &name) : path(name.str()) {
  llvm::sys::RemoveFileOnSignal(path);
}

ScratchFile::~ScratchFile() {
  llvm::sys::fs::remove(path);
  llvm::sys::DontRemoveFileOnSignal(path);
}

static std::string scratchName(const CompileOptions &options,
                               StringRef extension) {
  return llvm::formatv("{0}.calibrate-{1}.{2}", options.output,
                       llvm::sys::Process::getProcessId(), extension);
}

Trials::Trials(const CompileOptions &options)
    : options(options), moduleFile(scratchName(options, "mlir")),
      artifactFile(scratchName(options, "stele")) {}

llvm::Expected<OwningOpRef<ModuleOp>>
Trials::fuse(const CompileOptions &given, llvm::raw_ostream &progress) {
  CompileOptions front = given;
  front.output = moduleFile.path;
  front.stopAfter = Phase::Fused;
  front.dumpDir.clear();
  if (llvm::Error error = compile(front, progress))
    return std::move(error);
  context.loadDialect<func::FuncDialect, lm::LmDialect>();
  FirstError errors(context);
  OwningOpRef<ModuleOp> module =
      parseSourceFile<ModuleOp>(moduleFile.path, &context);
  if (!module)
    return errors.take(moduleFile.path + ": cannot be read back");
  return module;
}

llvm::Error Trials::write(ModuleOp written) {
  std::error_code code;
  llvm::raw_fd_ostream stream(moduleFile.path, code);
  if (!code) {
    written.print(stream);
    stream.close();
    code = stream.error();
    stream.clear_error();
  }
  if (code)
    return makeError("cannot write {0}: {1}", moduleFile.path, code.message());
  return llvm::Error::success();
}

llvm::Expected<std::unique_ptr<CompiledModel>>
Trials::load(ModuleOp module, llvm::function_ref<Compile> compile,
             bool measuresHeads) {
  if (llvm::Error error = write(module))
    return std::move(error);
  CompileOptions back;
  back.input = moduleFile.path;
  back.output = artifactFile.path;
  back.weights = "inline";
  back.jobs = options.jobs;
  if (llvm::Error error = compile(back, llvm::nulls()))
    return std::move(error);
  return CompiledModel::open(artifactFile.path, measuresHeads);
}

llvm::Error Trials::finish(ModuleOp module, llvm::raw_ostream &progress) {
  if (llvm::Error error = write(module))
    return error;
  CompileOptions back = options;
  back.input = moduleFile.path;
  // What was said of the checkpoint is in the module by now.
  back.checkpoint.clear();
  back.context = 0;
  back.positions = back.activations = back.attention = "auto";
  // Of pages that leave device memory nothing is in it.
  if (back.paging.deviceMemory == 0)
    back.kv = "auto";
  back.quant.clear();
  return compile(back, progress);
}
