// The search of the gate, apart from what it measures.
#ifndef STELE_COMPILER_CALIBRATE_BISECT_H
#define STELE_COMPILER_CALIBRATE_BISECT_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"
#include <cstddef>
#include <optional>

namespace stele::compiler {

/// The least of 1..most raises that holds, up to 1/64 of them, where none does
/// not and more hold where fewer do; nothing when not even `most` hold.
/// `likely` is tried first.
llvm::Expected<std::optional<size_t>>
fewestRaises(size_t most, size_t likely,
             llvm::function_ref<llvm::Expected<bool>(size_t)> holds);

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_BISECT_H
