// Registration of the lm dialect, its module attributes, and the short names
// that its long types and attributes get in printed IR.

#include "stele/dialects/Lm/LmDialect.h"

#include "mlir/IR/BuiltinOps.h"
#include "stele/dialects/Lm/LmOps.h"

#include "stele/dialects/Lm/LmDialect.cpp.inc"

using namespace mlir;
using namespace stele::lm;

namespace {

/// Prints `!cache`, `#rope` and so on once at the top instead of everywhere.
struct LmAsmInterface : OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;

  AliasResult getAlias(Type type, raw_ostream &os) const override {
    if (isa<KvCacheType>(type))
      os << "cache";
    else if (isa<KernelStateType>(type))
      os << "state";
    else
      return AliasResult::NoAlias;
    return AliasResult::FinalAlias;
  }

  AliasResult getAlias(Attribute attribute, raw_ostream &os) const override {
    if (isa<RopeAttr>(attribute))
      os << "rope";
    else if (isa<ModelAttr>(attribute))
      os << "model";
    else
      return AliasResult::NoAlias;
    return AliasResult::FinalAlias;
  }
};

} // namespace

void LmDialect::initialize() {
  registerAttributes();
  registerTypes();
  addOperations<
#define GET_OP_LIST
#include "stele/dialects/Lm/LmOps.cpp.inc"
      >();
  addInterfaces<LmAsmInterface>();
}

/// Whether it is an array of f32 matrices.
static bool isMeanQueries(Attribute attribute) {
  auto layers = dyn_cast<ArrayAttr>(attribute);
  return layers && llvm::all_of(layers, [](Attribute layer) {
           auto values = dyn_cast<DenseFPElementsAttr>(layer);
           return values && values.getType().getRank() == 2 &&
                  values.getElementType().isF32();
         });
}

LogicalResult LmDialect::verifyOperationAttribute(Operation *op,
                                                  NamedAttribute attribute) {
  StringRef name = attribute.getName();
  if (!isa<ModuleOp>(op))
    return op->emitOpError("has attribute '")
           << name << "', which belongs on a module";
  if (name == modelAttrName) {
    if (!isa<ModelAttr>(attribute.getValue()))
      return op->emitOpError("needs a #lm.model as 'lm.model'");
    return success();
  }
  if (name == arithmeticAttrName) {
    if (!isa<ArithmeticAttr>(attribute.getValue()))
      return op->emitOpError("needs a #lm.arithmetic as 'lm.arithmetic'");
    return success();
  }
  if (name == meanQueriesAttrName) {
    if (!isMeanQueries(attribute.getValue()))
      return op->emitOpError(
          "needs an array of f32 matrices as 'lm.mean_queries'");
    return success();
  }
  return op->emitOpError("has unknown lm attribute '") << name << "'";
}

LogicalResult LmDialect::verifyRegionResultAttribute(Operation *op, unsigned,
                                                     unsigned result,
                                                     NamedAttribute attribute) {
  if (attribute.getName() != nameAttrName)
    return op->emitOpError("has unknown lm attribute '")
           << attribute.getName().getValue() << "' on result " << result;
  auto name = dyn_cast<StringAttr>(attribute.getValue());
  if (!name || name.empty())
    return op->emitOpError("needs a name in 'lm.name' of result ") << result;
  return success();
}
