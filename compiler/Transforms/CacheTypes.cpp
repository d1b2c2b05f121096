// One type for all values that are a cache (CacheTypes.h).

#include "stele/compiler/Transforms/CacheTypes.h"

using namespace mlir;
using namespace stele;

void compiler::convertCaches(
    func::FuncOp function,
    llvm::function_ref<lm::KvCacheType(lm::KvCacheType)> convert) {
  auto convertValue = [&](Value value) {
    if (auto cache = dyn_cast<lm::KvCacheType>(value.getType()))
      value.setType(convert(cache));
  };
  llvm::for_each(function.getArguments(), convertValue);
  function.walk(
      [&](Operation *op) { llvm::for_each(op->getResults(), convertValue); });
  function.setType(FunctionType::get(function.getContext(),
                                     function.getBody().getArgumentTypes(),
                                     function.getResultTypes()));
}
