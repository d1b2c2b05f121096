// The pass lm -> plan.

#ifndef STELE_COMPILER_CONVERSION_PASSES_TD
#define STELE_COMPILER_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertLmToPlan : Pass<"stele-convert-lm-to-plan", "::mlir::ModuleOp"> {
  let summary = "Turn operations into launches, weights into tensors";
  let description = [{
    Every lm operation becomes one `plan.launch` in the function of each token
    bucket of the target; kernels that are alike share a `plan.entry`. Weights
    become tensors, placed one after the other in one weights segment. Buffers
    have no place yet: stele-assign-buffers gives them one.

    Before:
    ```mlir
    lm.weight @norm layout "rows" : tensor<576xf32>
    func.func @forward(%tokens: tensor<?xi32>, ...) -> tensor<?x576xf32> {
      ...
      %n = lm.rms_norm %h, @norm eps 1.0e-05 {kernel = #lm.kernel<"rms_norm", ...>} : tensor<?x576xf32>
    ```
    After:
    ```mlir
    plan.tensor @norm in @weights offset 0 length 2304 layout "rows" : tensor<576xf32>
    plan.executable @kernels elf in @code target @"x86-64-v4" {
      plan.entry @rms_norm_... <"rms_norm", eps = 1.000000e-05, groups = 1, width = 576> params [...]
    }
    plan.function @decode target @"x86-64-v4" tokens 32 sequences 32 logit_rows 32 {
      ...
      %n = plan.buffer "rms_norm_1" temporary rows 32 of 576 : f32
      ...
      plan.launch "rms_norm @norm" @kernels::@rms_norm_...(%h, @norm, %n)
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", /*default=*/"\"host\"",
           "name of the target, host, or a description file">,
    Option<"weights", "weights", "std::string", /*default=*/"\"inline\"",
           "inline, external:FILE or synthetic:SEED">
  ];
  let statistics = [
    Statistic<"numEntries", "entries", "different kernels">,
    Statistic<"numLaunches", "launches", "launches in all functions">
  ];
  let dependentDialects = ["::stele::plan_ir::PlanDialect"];
}

#endif // STELE_COMPILER_CONVERSION_PASSES_TD
