// Verifiers and assembly of the plan dialect's attributes.

#include "stele/dialects/Plan/PlanAttrs.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "stele/dialects/Lm/LmTypes.h"
#include "stele/dialects/Plan/PlanDialect.h"
#include "stele/schema/kernel_state.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace stele;
using namespace stele::plan_ir;

/// The constants of a kernel: `, name = value` each.
static ParseResult parseConstants(AsmParser &parser,
                                  SmallVector<NamedAttribute> &constants) {
  while (succeeded(parser.parseOptionalComma())) {
    std::string name;
    Attribute value;
    if (parser.parseKeywordOrString(&name) || parser.parseEqual() ||
        parser.parseAttribute(value))
      return failure();
    constants.emplace_back(StringAttr::get(parser.getContext(), name), value);
  }
  return success();
}

static void printConstants(AsmPrinter &printer,
                           ArrayRef<NamedAttribute> constants) {
  for (NamedAttribute constant : constants) {
    printer << ", ";
    printer.printKeywordOrString(constant.getName());
    printer << " = ";
    printer.printAttributeWithoutType(constant.getValue());
  }
}

#include "stele/dialects/Plan/PlanEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "stele/dialects/Plan/PlanAttrs.cpp.inc"

void PlanDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "stele/dialects/Plan/PlanAttrs.cpp.inc"
      >();
}

static constexpr int64_t maxBytes = int64_t(1) << 48;

std::optional<int64_t> plan_ir::storedBytes(Type type, int64_t elements) {
  if (!type.isIntOrFloat())
    return std::nullopt;
  unsigned bits = type.getIntOrFloatBitWidth();
  if (!llvm::is_contained({4u, 8u, 16u, 32u, 64u}, bits) || elements < 0 ||
      elements > maxBytes / 8)
    return std::nullopt;
  int64_t bytes = llvm::divideCeil(elements * bits, 8);
  return bytes <= maxBytes ? std::optional(bytes) : std::nullopt;
}

static bool isConstantValue(Attribute value) {
  if (auto integer = dyn_cast<IntegerAttr>(value))
    return integer.getType().isSignlessInteger(64);
  auto number = dyn_cast<FloatAttr>(value);
  return number && number.getType().isF64() && number.getValue().isFinite();
}

LogicalResult InstanceAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   StringRef templateName,
                                   ArrayRef<NamedAttribute> constants) {
  if (templateName.empty())
    return emitError() << "template must not be empty (C1)";
  llvm::StringSet<> names;
  for (NamedAttribute constant : constants) {
    if (!names.insert(constant.getName()).second)
      return emitError() << "constant " << constant.getName()
                         << " is named twice (C2)";
    if (!isConstantValue(constant.getValue()))
      return emitError() << "constant " << constant.getName()
                         << " must be an i64 or a finite f64, got "
                         << constant.getValue() << " (C3)";
  }
  return success();
}

LogicalResult
ParameterAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      BindingKind kind, Access access, bool inPlace,
                      int64_t bytes, int64_t perToken, int64_t perLogitRow,
                      PageShapeAttr cache) {
  if (kind == BindingKind::Tensor && access != Access::Read)
    return emitError() << "a tensor is only read, got access "
                       << stringifyAccess(access) << " (C1)";
  if (inPlace && (kind != BindingKind::Buffer || access != Access::Read))
    return emitError() << "in_place is for buffers that are read, got "
                       << stringifyBindingKind(kind) << " with access "
                       << stringifyAccess(access) << " (C2)";
  for (int64_t size : {bytes, perToken, perLogitRow})
    if (size < 0 || (size > 0 && kind == BindingKind::KvCache))
      return emitError() << "sizes must not be negative and belong to buffers "
                            "and tensors, got "
                         << size << " (C3)";
  if ((kind == BindingKind::KvCache) != bool(cache))
    return emitError() << stringifyBindingKind(kind)
                       << (cache ? " takes no cache shape (C4)"
                                 : " needs a cache shape (C4)");
  return success();
}

LogicalResult
PageShapeAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      int64_t heads, int64_t headDim, int64_t block, Type type,
                      int64_t features, bool keyIndex, bool valueIndex) {
  if (valueIndex && !keyIndex)
    return emitError() << "value_index needs key_index (C4)";
  if (features != 0) {
    for (int64_t count : {heads, headDim, features})
      if (count < 1 || count > 1 << 16)
        return emitError() << "a state's heads, head_dim and features must be "
                              "in 1..65536, got "
                           << count << " (C3)";
    if (block != 0 || !type.isF32() || keyIndex)
      return emitError() << "a state has block 0, type f32 and no key index, "
                            "got "
                         << block << ", " << type << " and " << keyIndex
                         << " (C3)";
    return success();
  }
  if (heads <= 0 || headDim <= 0 || !lm::isBlockSize(block))
    return emitError() << "heads and head_dim must be positive, block a power "
                          "of two in 16..1024, got "
                       << heads << ", " << headDim << " and " << block
                       << " (C1)";
  if (!lm::cacheElement(type))
    return emitError() << "element type must be f32, f16, bf16 or i8, got "
                       << type << " (C2)";
  return success();
}

int64_t PageShapeAttr::getPageBytes() const {
  if (getFeatures() != 0)
    return stele::schema::KernelStateBytes(getFeatures(), getHeadDim());
  return stele::schema::KvPageBytes(*lm::cacheElement(getType()), getBlock(),
                                    getHeadDim());
}

std::optional<int64_t> PageShapeAttr::getRecordBytes(Type warm) const {
  std::optional<schema::KvElement> hot = lm::cacheElement(getType());
  std::optional<schema::KvElement> packed = warm.isSignlessInteger(4)
                                                ? schema::KvElement::kInt4
                                                : lm::cacheElement(warm);
  if (getFeatures() != 0 || !hot || !packed ||
      !schema::KvCanPack(*hot, *packed))
    return std::nullopt;
  return schema::KvRecordBytes(*hot, *packed, getBlock(), getHeadDim());
}

LogicalResult PagingAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t hot, int64_t sinks, int64_t grid,
                                 Type warm, int64_t warmBytes,
                                 int64_t warmTokens, SymbolRefAttr,
                                 SymbolRefAttr) {
  if (grid <= 0 || hot <= 0 || hot % grid != 0)
    return emitError() << "grid must be positive and hot a positive multiple "
                          "of it, got "
                       << grid << " and " << hot << " (C1)";
  if (sinks < 0 || warmTokens < 0 || warmBytes <= 0)
    return emitError() << "sinks and warm_tokens must not be negative, "
                          "warm_bytes positive, got "
                       << sinks << ", " << warmTokens << " and " << warmBytes
                       << " (C2)";
  if (!isa<Float32Type, Float16Type, BFloat16Type>(warm) &&
      !warm.isSignlessInteger(8) && !warm.isSignlessInteger(4))
    return emitError() << "warm must be f32, f16, bf16, i8 or i4, got " << warm
                       << " (C3)";
  return success();
}

LogicalResult
PlacementAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      int64_t offset, int64_t first, int64_t last) {
  if (offset < 0 || offset % 64 != 0)
    return emitError() << "offset must be a multiple of 64, got " << offset
                       << " (C1)";
  if (first < 0 || first > last)
    return emitError() << "lifetime must not end before it begins, got "
                       << first << " to " << last << " (C2)";
  return success();
}
