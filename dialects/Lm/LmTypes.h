// Types of the lm dialect.

#ifndef STELE_DIALECTS_LM_LMTYPES_H
#define STELE_DIALECTS_LM_LMTYPES_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Types.h"
#include "stele/schema/kv_page.h"
#include <optional>

#define GET_TYPEDEF_CLASSES
#include "stele/dialects/Lm/LmTypes.h.inc"

namespace stele::lm {

/// Sizes that a page or a block of selection may have.
inline bool isBlockSize(int64_t block) {
  return block >= 16 && block <= 1024 && (block & (block - 1)) == 0;
}

/// Whether a type is tensor<?xNxf32>, N small enough to multiply without care.
bool isRows(mlir::Type type);

/// How pages of a cache store elements of this type, if they can.
std::optional<stele::schema::KvElement> cacheElement(mlir::Type type);

} // namespace stele::lm

#endif // STELE_DIALECTS_LM_LMTYPES_H
