// The passes plan -> plan.

#ifndef STELE_COMPILER_SCHEDULE_PASSES_TD
#define STELE_COMPILER_SCHEDULE_PASSES_TD

include "mlir/Pass/PassBase.td"

def AssignBuffers : Pass<"stele-assign-buffers", "::mlir::ModuleOp"> {
  let summary = "Place the buffers of every function in its arena";
  let description = [{
    First, where a kernel may work in place, the buffer that it writes becomes the
    one that it reads for the last time. Then buffers are placed, the largest
    first, each at the lowest offset where it meets no buffer that lives at the
    same time. Functions that have an arena already are left alone.

    Before:
    ```mlir
    plan.function @decode ... {
      %a = plan.buffer "embed_0" temporary rows 32 of 576 : f32
      %b = plan.buffer "linear_1" temporary rows 32 of 576 : f32
      ...
      plan.launch "linear @o_proj" @kernels::@linear(%x, @o_proj, %a, %b)
    ```
    After:
    ```mlir
    plan.function @decode ... arena 147456 {
      %a = plan.buffer "embed_0" temporary rows 32 of 576 <offset = 0, first = 0, last = 5> : f32
      ...
      plan.launch "linear @o_proj" @kernels::@linear(%x, @o_proj, %a, %a)
    ```
  }];
  let statistics = [
    Statistic<"numInPlace", "in-place", "buffers saved by working in place">,
    Statistic<"numBytes", "arena-bytes", "bytes of all arenas">
  ];
}

#endif // STELE_COMPILER_SCHEDULE_PASSES_TD
