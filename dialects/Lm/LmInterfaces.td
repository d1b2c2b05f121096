// Interfaces of the lm dialect.

#ifndef STELE_DIALECTS_LM_LMINTERFACES_TD
#define STELE_DIALECTS_LM_LMINTERFACES_TD

include "mlir/IR/OpBase.td"

def Lm_KernelOpInterface : OpInterface<"KernelOpInterface"> {
  let cppNamespace = "::stele::lm";
  let description = [{
    An operation that lowers to exactly one kernel launch. `kernel` is absent
    until stele-select-kernels has chosen.
  }];
  let methods = [
    InterfaceMethod<"the chosen kernel, or null", "::stele::lm::KernelAttr",
                    "getKernelAttr", (ins)>,
    InterfaceMethod<"records the choice", "void", "setKernelAttr",
                    (ins "::stele::lm::KernelAttr":$kernel)>
  ];
}

def Lm_RotaryOpInterface : OpInterface<"RotaryOpInterface"> {
  let cppNamespace = "::stele::lm";
  let description = [{
    An operation that rotates queries or keys when it has a `rope`, by the cosines
    and sines of `rotary` once stele-prepare-positions has made them.
  }];
  let methods = [
    InterfaceMethod<"how to rotate, or null", "::stele::lm::RopeAttr",
                    "getRopeAttr", (ins)>,
    InterfaceMethod<"whose tokens", "::mlir::Value", "getBatch", (ins)>,
    InterfaceMethod<"the table, or null", "::mlir::Value", "getRotary", (ins)>,
    InterfaceMethod<"the table's operand", "::mlir::MutableOperandRange",
                    "getRotaryMutable", (ins)>
  ];
}

def Lm_AttentionOpInterface : OpInterface<"AttentionOpInterface"> {
  let cppNamespace = "::stele::lm";
  let description = [{
    An operation that scores queries against the keys of a layer; what all of
    them say about their queries.
  }];
  let methods = [
    InterfaceMethod<"buffer that holds the queries", "::mlir::Value",
                    "getQuery", (ins)>,
    InterfaceMethod<"its operand", "::mlir::OpOperand &", "getQueryMutable",
                    (ins)>,
    InterfaceMethod<"first column of the queries", "int64_t", "getQueryOffset",
                    (ins)>,
    InterfaceMethod<"moves the first column", "void", "setQueryOffset",
                    (ins "int64_t":$offset)>,
    InterfaceMethod<"query heads", "int64_t", "getHeads", (ins)>,
    InterfaceMethod<"the layer whose keys are read", "int64_t", "getLayer",
                    (ins)>,
    InterfaceMethod<"the cache that holds them",
                    "::mlir::TypedValue<::stele::lm::KvCacheType>", "getCache",
                    (ins)>,
    InterfaceMethod<"weight of the norm of every query head, or null",
                    "::mlir::FlatSymbolRefAttr", "getNormWeightAttr", (ins)>,
    InterfaceMethod<"sets that weight", "void", "setNormWeightAttr",
                    (ins "::mlir::FlatSymbolRefAttr":$weight)>,
    InterfaceMethod<"sets the norm's epsilon", "void", "setNormEpsAttr",
                    (ins "::mlir::FloatAttr":$eps)>
  ];
}

#endif // STELE_DIALECTS_LM_LMINTERFACES_TD
