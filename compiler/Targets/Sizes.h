// Sizes of memory as people write and read them.
#ifndef STELE_COMPILER_TARGETS_SIZES_H
#define STELE_COMPILER_TARGETS_SIZES_H

#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>
#include <string>

namespace stele::compiler {

/// "1.5 GiB"
std::string showBytes(uint64_t bytes);

/// "1,048,576"
std::string showCount(int64_t count);

/// The bytes of "8GiB", "700M" or "1048576" (schema/size_text.h), up to 2^50.
std::optional<int64_t> parseBytes(llvm::StringRef text);

} // namespace stele::compiler

#endif // STELE_COMPILER_TARGETS_SIZES_H
