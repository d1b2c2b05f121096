// What --dump-dir leaves for people to look at.
#ifndef STELE_COMPILER_DRIVER_DUMPFILES_H
#define STELE_COMPILER_DRIVER_DUMPFILES_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace stele::compiler {

/// Makes the folder, and those it is in, if need be.
llvm::Error makeFolder(llvm::StringRef path);

/// Writes a file whole, or leaves none.
llvm::Error writeFile(llvm::StringRef path, llvm::StringRef bytes);

} // namespace stele::compiler

#endif // STELE_COMPILER_DRIVER_DUMPFILES_H
