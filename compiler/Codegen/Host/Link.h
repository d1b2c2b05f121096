// Objects in memory to a shared object in memory, through lld.
#ifndef STELE_COMPILER_CODEGEN_HOST_LINK_H
#define STELE_COMPILER_CODEGEN_HOST_LINK_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace stele::compiler {

// Links with nothing undefined allowed and 4096-byte pages.
llvm::Expected<std::vector<char>>
linkSharedObject(llvm::ArrayRef<llvm::StringRef> objects);

} // namespace stele::compiler

#endif // STELE_COMPILER_CODEGEN_HOST_LINK_H
