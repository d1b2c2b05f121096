// Verifiers and registration of the lm dialect's types.

#include "stele/dialects/Lm/LmTypes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "llvm/ADT/TypeSwitch.h"

#define GET_TYPEDEF_CLASSES
#include "stele/dialects/Lm/LmTypes.cpp.inc"

using namespace mlir;
using namespace stele::lm;

void LmDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "stele/dialects/Lm/LmTypes.cpp.inc"
      >();
}

bool stele::lm::isRows(Type type) {
  auto rows = dyn_cast<RankedTensorType>(type);
  return rows && rows.getRank() == 2 && rows.isDynamicDim(0) &&
         rows.getDimSize(1) > 0 &&
         rows.getDimSize(1) <= std::numeric_limits<int32_t>::max() &&
         rows.getElementType().isF32();
}

std::optional<stele::schema::KvElement> stele::lm::cacheElement(Type type) {
  using stele::schema::KvElement;
  if (type.isF32())
    return KvElement::kF32;
  if (type.isF16())
    return KvElement::kF16;
  if (type.isBF16())
    return KvElement::kBf16;
  if (type.isSignlessInteger(8))
    return KvElement::kInt8;
  return std::nullopt;
}

/// C1 of every type: counts are positive, and small enough that their products
/// cannot overflow.
static LogicalResult
verifyCounts(function_ref<InFlightDiagnostic()> emitError,
             ArrayRef<std::pair<StringRef, int64_t>> values) {
  for (auto [name, value] : values)
    if (value < 1 || value > 65536)
      return emitError() << name << " must be in 1..65536, got " << value
                         << " (C1)";
  return success();
}

static LogicalResult verifyBlock(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t block) {
  if (!isBlockSize(block))
    return emitError() << "block must be a power of two in 16..1024, got "
                       << block << " (C2)";
  return success();
}

LogicalResult KvCacheType::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t layers, int64_t heads,
                                  int64_t headDim, int64_t block,
                                  Type elementType, bool keyIndex,
                                  bool valueIndex) {
  if (failed(verifyCounts(
          emitError,
          {{"layers", layers}, {"heads", heads}, {"head_dim", headDim}})) ||
      failed(verifyBlock(emitError, block)))
    return failure();
  if (!cacheElement(elementType))
    return emitError() << "element type must be f32, f16, bf16 or i8, got "
                       << elementType << " (C3)";
  if (valueIndex && !keyIndex)
    return emitError() << "value_index needs key_index (C4)";
  return success();
}

LogicalResult
KernelStateType::verify(function_ref<InFlightDiagnostic()> emitError,
                        int64_t layers, int64_t heads, int64_t headDim,
                        int64_t features) {
  return verifyCounts(emitError, {{"layers", layers},
                                  {"heads", heads},
                                  {"head_dim", headDim},
                                  {"features", features}});
}

LogicalResult
SelectionType::verify(function_ref<InFlightDiagnostic()> emitError,
                      int64_t heads, int64_t block) {
  if (failed(verifyCounts(emitError, {{"heads", heads}})))
    return failure();
  return verifyBlock(emitError, block);
}
