// One way to make the one-line errors of the importers: file first, then the
// field, its value and the remedy.
#ifndef STELE_COMPILER_IMPORT_ERRORS_H
#define STELE_COMPILER_IMPORT_ERRORS_H

#include "llvm/Support/Error.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

namespace stele::checkpoint {

template <typename... Args>
llvm::Error makeError(const char *format, Args &&...args) {
  return llvm::createStringError(
      llvm::formatv(format, std::forward<Args>(args)...).str());
}

// A number for a message: "8", "0.5", "1e+15", "nan".
inline std::string shown(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  return text;
}

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_ERRORS_H
