// One way to make the one-line errors of the importers: file first, then the
// field, its value and the remedy.
#ifndef STELE_COMPILER_IMPORT_ERRORS_H
#define STELE_COMPILER_IMPORT_ERRORS_H

#include "llvm/Support/Error.h"
#include "llvm/Support/FormatVariadic.h"

namespace stele::checkpoint {

template <typename... Args>
llvm::Error makeError(const char *format, Args &&...args) {
  return llvm::createStringError(
      llvm::formatv(format, std::forward<Args>(args)...).str());
}

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_ERRORS_H
