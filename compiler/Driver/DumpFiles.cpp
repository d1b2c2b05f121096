// Files of the dump folder (DumpFiles.h).

#include "stele/compiler/Driver/DumpFiles.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace stele;
using checkpoint::makeError;

llvm::Error compiler::makeFolder(llvm::StringRef path) {
  if (std::error_code code = llvm::sys::fs::create_directories(path))
    return makeError("cannot make the folder {0}: {1}", path, code.message());
  return llvm::Error::success();
}

llvm::Error compiler::writeFile(llvm::StringRef path, llvm::StringRef bytes) {
  std::error_code code;
  llvm::ToolOutputFile file(path, code, llvm::sys::fs::OF_None);
  if (!code) {
    file.os() << bytes;
    file.os().flush();
    code = file.os().error();
    file.os().clear_error();
  }
  if (code)
    return makeError("cannot write {0}: {1}", path, code.message());
  file.keep();
  return llvm::Error::success();
}
