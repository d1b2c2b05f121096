// The bitcode of kernels-templates/host, embedded in this library by
// kernels-templates/CMakeLists.txt.
#ifndef STELE_COMPILER_CODEGEN_HOST_TEMPLATES_H
#define STELE_COMPILER_CODEGEN_HOST_TEMPLATES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace stele::compiler {

struct TemplateBitcode {
  llvm::StringRef name;
  llvm::StringRef isa;
  llvm::StringRef bitcode;
};

llvm::ArrayRef<TemplateBitcode> hostTemplates();

} // namespace stele::compiler

#endif // STELE_COMPILER_CODEGEN_HOST_TEMPLATES_H
