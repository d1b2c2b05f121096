// stele-expose-inputs: calibration watches a model through results of its
// function, so that it sees what the compiled kernels see.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/dialects/Lm/LmOps.h"
#include "llvm/ADT/MapVector.h"

namespace stele::compiler {
#define GEN_PASS_DEF_EXPOSEINPUTS
#include "stele/compiler/Transforms/Passes.h.inc"
} // namespace stele::compiler

using namespace mlir;
using namespace stele;

/// Appends a named result to the function.
static void addResult(func::FuncOp function, Value value, StringRef name) {
  function.getBody().front().getTerminator()->insertOperands(
      function.getNumResults(), value);
  Builder builder(function.getContext());
  auto attributes = builder.getDictionaryAttr(builder.getNamedAttr(
      lm::LmDialect::nameAttrName, builder.getStringAttr(name)));
  (void)function.insertResult(function.getNumResults(), value.getType(),
                              attributes);
}

namespace {

struct ExposeInputs : compiler::impl::ExposeInputsBase<ExposeInputs> {
  using ExposeInputsBase::ExposeInputsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto forward = module.lookupSymbol<func::FuncOp>("forward");
    if (!forward) {
      module.emitError("has no function @forward");
      return signalPassFailure();
    }
    llvm::MapVector<StringRef, Value> inputs; // null until found
    for (const std::string &name : weights)
      inputs.insert({name, Value()});
    forward.walk([&](lm::LinearOp linear) {
      auto found = inputs.find(linear.getWeight());
      if (found != inputs.end())
        found->second = linear.getInput();
    });
    for (auto &[name, input] : inputs) {
      if (!input) {
        forward.emitOpError("has no lm.linear of weight @") << name;
        return signalPassFailure();
      }
    }
    for (auto &[name, input] : inputs)
      addResult(forward, input, name);
    if (queries)
      forward.walk([&](lm::AttentionOp attention) {
        addResult(forward, attention.getQuery(),
                  ("queries." + Twine(attention.getLayer())).str());
      });
  }
};

} // namespace
