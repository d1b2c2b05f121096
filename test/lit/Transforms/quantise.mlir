// RUN: stele-opt --stele-quantise="kind=int4 group=128" %s | FileCheck %s --check-prefixes=CHECK,INT4
// RUN: stele-opt --stele-quantise="kind=int4 group=64 symmetric=true rounding=nearest" %s | FileCheck %s --check-prefixes=CHECK,SYM
// RUN: stele-opt --stele-quantise="kind=int8 group=32 per-channel=true" %s | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: not stele-opt --stele-quantise="kind=int3" %s 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not stele-opt --stele-quantise="group=48" %s 2>&1 | FileCheck %s --check-prefix=GROUP
// RUN: not stele-opt --stele-quantise="per-channel=true" %s 2>&1 | FileCheck %s --check-prefix=CHANNEL
// RUN: not stele-opt --stele-quantise="rounding=up" %s 2>&1 | FileCheck %s --check-prefix=ROUNDING

// KIND: unknown kind 'int3', expected int4 or int8
// GROUP: group must be 32, 64 or 128, got 48
// CHANNEL: per-channel is for int8
// ROUNDING: unknown rounding 'up', expected nearest or clipped

// What embeds or gives logits is int8, also where it is both.
// INT4: lm.weight @table quant <int8, group = 128, scale = f16> rounding <clipped> : tensor<9x576xf32>
// SYM: lm.weight @table quant <int8, group = 64, scale = f16> rounding <nearest> : tensor<9x576xf32>
// INT8: lm.weight @table quant <int8, group = 32, scale = f16> rounding <clipped, per_channel = true> : tensor<9x576xf32>
lm.weight @table : tensor<9x576xf32>
// INT4: lm.weight @fused segments [{{.*}}] quant <int4, group = 128, scale = f16, offset = f16> rounding <clipped> : tensor<96x576xf32>
// SYM: lm.weight @fused segments [{{.*}}] quant <int4, group = 64, scale = f16> rounding <nearest> : tensor<96x576xf32>
// INT8: lm.weight @fused segments [{{.*}}] quant <int8, group = 32, scale = f16> rounding <clipped, per_channel = true> : tensor<96x576xf32>
lm.weight @fused segments [#lm.segment<name = "gate", source = "gate", rows = 48>, #lm.segment<name = "up", source = "up", rows = 48>] : tensor<96x576xf32>
// What is quantised stays as it is, and what is no matrix of a product too.
// CHECK: lm.weight @native quant <int8, group = 16, scale = f32> : tensor<576x48xf32>
lm.weight @native quant <int8, group = 16, scale = f32> : tensor<576x48xf32>
// CHECK: lm.weight @norm : tensor<576xf32>
lm.weight @norm : tensor<576xf32>

func.func @f(%t: tensor<?xi32>, %b: !lm.batch) -> tensor<?x9xf32> {
  %h = lm.embed %t, @table : tensor<?xi32> -> tensor<?x576xf32>
  %g = lm.linear %h, @fused norm(@norm, 1.0e-05) glu <silu> : tensor<?x576xf32> -> tensor<?x48xf32>
  %d = lm.linear %g, @native : tensor<?x48xf32> -> tensor<?x576xf32>
  %l = lm.logits %d, %b, @table : tensor<?x576xf32> -> tensor<?x9xf32>
  return %l : tensor<?x9xf32>
}
