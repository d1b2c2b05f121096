// stele-verify-input: the first stage. Everything behind it may rely on what it
// checked; hand-written and edited modules meet it as imported ones do.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/ADT/TypeSwitch.h"

namespace stele::compiler {
#define GEN_PASS_DEF_VERIFYINPUT
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

namespace {

LogicalResult checkSignature(func::FuncOp function, lm::ModelAttr model) {
  FunctionType type = function.getFunctionType();
  auto tokens = RankedTensorType::get(
      {ShapedType::kDynamic}, IntegerType::get(function.getContext(), 32));
  auto logits = RankedTensorType::get({ShapedType::kDynamic, model.getVocab()},
                                      Float32Type::get(function.getContext()));
  if (type.getNumInputs() < 3 || type.getInput(0) != tokens ||
      !isa<lm::BatchType>(type.getInput(1)) ||
      !isa<lm::KvCacheType>(type.getInput(2)))
    return function.emitOpError("must take (")
           << tokens << ", !lm.batch, !lm.kv_cache<...>), got " << type;
  if (type.getNumResults() < 1 || type.getResult(0) != logits)
    return function.emitOpError("must return ") << logits << ", got " << type;
  for (unsigned i = 1; i < type.getNumResults(); ++i)
    if (!isa<RankedTensorType>(type.getResult(i)) ||
        !function.getResultAttr(i, lm::LmDialect::nameAttrName))
      return function.emitOpError("must return rows with a name (lm.name) "
                                  "behind the logits, got ")
             << type.getResult(i) << " as result " << i;
  auto cache = cast<lm::KvCacheType>(type.getInput(2));
  if (cache.getLayers() != model.getLayers() ||
      cache.getHeads() != model.getKvHeads() ||
      cache.getHeadDim() != model.getHeadDim())
    return function.emitOpError("has a cache of ")
           << cache << ", lm.model says layers = " << model.getLayers()
           << ", heads = " << model.getKvHeads()
           << ", head_dim = " << model.getHeadDim();
  return success();
}

/// Follows the cache from append to append.
class CacheChecker {
public:
  CacheChecker(func::FuncOp function, int64_t layers)
      : function(function), newest(function.getArgument(2)), appended(layers) {}

  LogicalResult check() {
    for (Operation &op : function.getBody().front()) {
      LogicalResult result =
          llvm::TypeSwitch<Operation *, LogicalResult>(&op)
              .Case([&](lm::KvAppendOp append) { return checkAppend(append); })
              .Case([&](lm::AttentionOpInterface reader) {
                return checkRead(reader);
              })
              .Default([](Operation *) { return success(); });
      if (failed(result))
        return failure();
    }
    for (auto [layer, done] : llvm::enumerate(appended))
      if (!done)
        return function.emitOpError("never appends keys and values of layer ")
               << layer;
    return success();
  }

private:
  LogicalResult checkAppend(lm::KvAppendOp append) {
    if (append.getCache() != newest)
      return append.emitOpError("must append to the newest cache: an older one "
                                "was overwritten in place");
    if (appended[append.getLayer()])
      return append.emitOpError("appends layer ")
             << append.getLayer() << " a second time";
    appended[append.getLayer()] = true;
    newest = append.getOutput();
    return success();
  }

  LogicalResult checkRead(lm::AttentionOpInterface reader) {
    if (reader.getCache() != newest)
      return reader->emitOpError("must read the newest cache: an older one was "
                                 "overwritten in place");
    if (!appended[reader.getLayer()])
      return reader->emitOpError("reads layer ")
             << reader.getLayer()
             << " before this step's keys and values were appended";
    return success();
  }

  func::FuncOp function;
  Value newest;
  SmallVector<bool> appended;
};

struct VerifyInput : compiler::impl::VerifyInputBase<VerifyInput> {
  void runOnOperation() override {
    if (failed(check()))
      signalPassFailure();
    markAllAnalysesPreserved();
  }

  LogicalResult check() {
    ModuleOp module = getOperation();
    auto model =
        module->getAttrOfType<lm::ModelAttr>(lm::LmDialect::modelAttrName);
    if (!model)
      return module.emitOpError("needs a #lm.model as 'lm.model'");
    for (Operation &op : *module.getBody())
      if (!isa<lm::WeightOp, func::FuncOp>(op))
        return op.emitOpError("is not a weight or function: an lm module holds "
                              "nothing else");
    auto functions = llvm::to_vector(module.getOps<func::FuncOp>());
    if (functions.size() != 1 || functions.front().getName() != "forward")
      return module.emitOpError("must have exactly one function, @forward");
    func::FuncOp function = functions.front();
    if (function.isExternal() || !function.getBody().hasOneBlock())
      return function.emitOpError("must have a body of one block");
    for (Operation &op : function.getBody().front())
      if (!isa<lm::LmDialect>(op.getDialect()) && !isa<func::ReturnOp>(op))
        return op.emitOpError("is not an lm operation: lower or remove it "
                              "before this pipeline");
    if (failed(checkSignature(function, model)))
      return failure();
    return CacheChecker(function, model.getLayers()).check();
  }
};

} // namespace
