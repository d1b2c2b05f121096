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

#endif // STELE_DIALECTS_LM_LMINTERFACES_TD
