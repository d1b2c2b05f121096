// stele-choose-arithmetic: from here on the types of matrices say how products
// are computed, and that of the cache how keys and values are stored; the
// choice itself is kept on the module. int8 is about the quantised linears
// only: everything else is as in bf16.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/compiler/Transforms/CacheTypes.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"

namespace stele::compiler {
#define GEN_PASS_DEF_CHOOSEARITHMETIC
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

/// The matrix that an operation multiplies by or gathers from.
static FlatSymbolRefAttr getMatrix(Operation *op) {
  return llvm::TypeSwitch<Operation *, FlatSymbolRefAttr>(op)
      .Case<lm::LinearOp, lm::LogitsOp>(
          [](auto product) { return product.getWeightAttr(); })
      .Case([](lm::EmbedOp embed) { return embed.getTableAttr(); })
      .Default(FlatSymbolRefAttr());
}

/// The type that pages of the cache store: `auto` is the arithmetic's.
static Type getCacheElement(StringRef name, Type arithmetic) {
  MLIRContext *context = arithmetic.getContext();
  return llvm::StringSwitch<Type>(name)
      .Case("auto", arithmetic)
      .Case("f32", Float32Type::get(context))
      .Case("f16", Float16Type::get(context))
      .Case("bf16", BFloat16Type::get(context))
      .Case("int8", IntegerType::get(context, 8))
      .Default(nullptr);
}

/// Gives every cache of a function the element type.
static void setCacheType(func::FuncOp function, Type elementType) {
  compiler::convertCaches(function, [&](lm::KvCacheType cache) {
    return lm::KvCacheType::get(cache.getContext(), cache.getLayers(),
                                cache.getHeads(), cache.getHeadDim(),
                                cache.getBlock(), elementType,
                                cache.getKeyIndex(), cache.getValueIndex());
  });
}

namespace {

struct ChooseArithmetic
    : compiler::impl::ChooseArithmeticBase<ChooseArithmetic> {
  using ChooseArithmeticBase::ChooseArithmeticBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::optional<lm::Arithmetic> kind = lm::symbolizeArithmetic(arithmetic);
    if (!kind) {
      module.emitError("unknown arithmetic '")
          << arithmetic << "', expected f32, bf16 or int8";
      return signalPassFailure();
    }
    MLIRContext *context = &getContext();
    Type elementType = *kind == lm::Arithmetic::F32
                           ? Type(Float32Type::get(context))
                           : Type(BFloat16Type::get(context));
    module->setAttr(lm::LmDialect::arithmeticAttrName,
                    lm::ArithmeticAttr::get(context, *kind));
    Type cacheElement = getCacheElement(kv, elementType);
    if (!cacheElement) {
      module.emitError("unknown type of the KV cache '")
          << kv << "', expected auto, f32, f16, bf16 or int8";
      return signalPassFailure();
    }
    SymbolTable symbols(module);
    for (auto function : module.getOps<func::FuncOp>()) {
      setCacheType(function, cacheElement);
      function.walk([&](Operation *op) {
        if (FlatSymbolRefAttr matrix = getMatrix(op))
          setWeightType(symbols.lookup<lm::WeightOp>(matrix.getAttr()),
                        elementType);
      });
    }
  }

  void setWeightType(lm::WeightOp weight, Type elementType) {
    RankedTensorType type = weight.getTensorType();
    if (type.getElementType() == elementType)
      return;
    weight.setType(type.clone(elementType));
    ++numWeights;
  }
};

} // namespace
