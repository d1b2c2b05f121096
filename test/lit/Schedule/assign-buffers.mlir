// Buffers share memory when they do not live at the same time, a kernel that
// may works in place, and outputs live to the end.
// RUN: stele-opt --stele-assign-buffers %s | FileCheck %s

plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.executable @kernels elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @apart params [#plan.param<buffer, per_token = 64>,
                            #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @in_place params [#plan.param<buffer, in_place = true, per_token = 64>,
                               #plan.param<buffer, access = write, per_token = 64>]
}

// CHECK-LABEL: plan.function @chain
// CHECK-SAME: arena 1024
// CHECK: %[[A:.+]] = plan.buffer "a" temporary rows 8 of 16 at <offset = [[A_AT:[0-9]+]], first = 0, last = 2> : f32
// CHECK-NOT: plan.buffer "b"
// CHECK: %[[C:.+]] = plan.buffer "c" temporary rows 8 of 16 at <offset = {{[0-9]+}}, first = 2, last = 3> : f32
// CHECK: %[[D:.+]] = plan.buffer "d" output rows 8 of 16 at <offset = [[A_AT]], first = 3, last = 3> : f32
// CHECK: plan.launch "b" @kernels::@in_place(%[[A]], %[[A]])
// CHECK: plan.launch "c" @kernels::@apart(%[[A]], %[[C]])
plan.function @chain target @t tokens 8 sequences 1 logit_rows 1 {
  %a = plan.buffer "a" temporary rows 8 of 16 : f32
  %b = plan.buffer "b" temporary rows 8 of 16 : f32
  %c = plan.buffer "c" temporary rows 8 of 16 : f32
  %d = plan.buffer "d" output rows 8 of 16 : f32
  plan.launch "a" @kernels::@make(%a)
  plan.launch "b" @kernels::@in_place(%a, %b)
  plan.launch "c" @kernels::@apart(%b, %c)
  plan.launch "d" @kernels::@apart(%c, %d)
  plan.return ["d"](%d)
}

// A buffer that is read later stays apart.
// CHECK-LABEL: plan.function @kept
// CHECK: %[[A:.+]] = plan.buffer "a"
// CHECK: %[[B:.+]] = plan.buffer "b"
// CHECK: plan.launch "b" @kernels::@in_place(%[[A]], %[[B]])
plan.function @kept target @t tokens 8 sequences 1 logit_rows 1 {
  %a = plan.buffer "a" temporary rows 8 of 16 : f32
  %b = plan.buffer "b" temporary rows 8 of 16 : f32
  %c = plan.buffer "c" output rows 8 of 16 : f32
  plan.launch "a" @kernels::@make(%a)
  plan.launch "b" @kernels::@in_place(%a, %b)
  plan.launch "c" @kernels::@apart(%a, %c)
  plan.launch "c" @kernels::@apart(%b, %c)
  plan.return ["c"](%c)
}
