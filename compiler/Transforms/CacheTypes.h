// How passes change the types of KV caches.

#ifndef STELE_COMPILER_TRANSFORMS_CACHETYPES_H
#define STELE_COMPILER_TRANSFORMS_CACHETYPES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/dialects/Lm/LmTypes.h"

namespace stele::compiler {

/// Gives every cache of a function, which passes from operation to operation,
/// the type that `convert` makes of its own.
void convertCaches(
    mlir::func::FuncOp function,
    llvm::function_ref<lm::KvCacheType(lm::KvCacheType)> convert);

} // namespace stele::compiler

#endif // STELE_COMPILER_TRANSFORMS_CACHETYPES_H
