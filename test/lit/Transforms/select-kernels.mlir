// RUN: stele-opt --stele-select-kernels='isa=x86-64-v4 features=avx512bf16' -split-input-file -verify-diagnostics %s | FileCheck %s

module attributes {lm.arithmetic = #lm.arithmetic<bf16>} {
  // A tied table: the logits' kernel decides its layout. A choice made by hand
  // stands. What no kernel reads as a matrix lies in rows.
  // CHECK: lm.weight @table layout "panel_bf16" : tensor<9x8xbf16>
  lm.weight @table : tensor<9x8xbf16>
  // CHECK: lm.weight @gate_up {{.*}} layout "panel_bf16_glu"
  lm.weight @gate_up segments [
    #lm.segment<name = "gate", source = "gate", rows = 8>,
    #lm.segment<name = "up", source = "up", rows = 8>
  ] : tensor<16x8xbf16>
  // CHECK: lm.weight @mine layout "mine"
  lm.weight @mine layout "mine" : tensor<8x8xbf16>
  // CHECK: lm.weight @n layout "rows"
  lm.weight @n : tensor<8xf32>
  // CHECK: lm.weight @unread layout "rows"
  lm.weight @unread : tensor<8x8xbf16>

  // CHECK-LABEL: @forward
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch) -> tensor<?x9xf32> {
    // CHECK: lm.embed {{.*}} {kernel = #lm.kernel<"embed", target = "x86-64-v4" by "embed, any, x86-64-v3">}
    %h = lm.embed %t, @table : tensor<?xi32> -> tensor<?x8xf32>
    // CHECK: lm.linear {{.*}} {kernel = #lm.kernel<"linear_bf16{{[^"]*}}", target = "x86-64-v4"
    %g = lm.linear %h, @gate_up glu <silu> : tensor<?x8xf32> -> tensor<?x8xf32>
    // CHECK: lm.linear {{.*}} {kernel = #lm.kernel<"by_hand", target = "x86-64-v4", tile = [<"rows", 4>]>}
    %m = lm.linear %g, @mine {kernel = #lm.kernel<"by_hand", target = "x86-64-v4", tile = [<"rows", 4>]>} : tensor<?x8xf32> -> tensor<?x8xf32>
    // CHECK: lm.rms_norm {{.*}} {kernel = #lm.kernel<"rms_norm"
    %r = lm.rms_norm %m, @n eps 1.0e-05 : tensor<?x8xf32>
    // CHECK: lm.logits {{.*}} {kernel = #lm.kernel<"l{{[a-z]+}}_bf16
    %l = lm.logits %r, %b, @table : tensor<?x8xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

// No kernel yet: said with the operation's place.
lm.weight @w : tensor<9x128xf32>
func.func @forward(%o: tensor<?x8xf32>, %l: tensor<?x2xf32>) -> tensor<?x8xf32> {
  // expected-error@+1 {{'lm.merge' op has no kernel for merge in arithmetic f32 on x86-64-v4: kernels-templates/selection.inc has no row that fits}}
  %m = lm.merge(%o, %o) lse(%l, %l) heads 2 : tensor<?x8xf32>, tensor<?x2xf32> -> tensor<?x8xf32>
  return %m : tensor<?x8xf32>
}

// -----

// Two readers that want different layouts of one weight.
lm.weight @w segments [
  #lm.segment<name = "gate", source = "gate", rows = 8>,
  #lm.segment<name = "up", source = "up", rows = 8>
] : tensor<16x8xf32>
func.func @forward(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x16xf32>) {
  %g = lm.linear %x, @w glu <silu> : tensor<?x8xf32> -> tensor<?x8xf32>
  // expected-error@+1 {{'lm.linear' op needs layout panel_f32 of @w, which has panel_f32_glu}}
  %l = lm.linear %x, @w : tensor<?x8xf32> -> tensor<?x16xf32>
  return %g, %l : tensor<?x8xf32>, tensor<?x16xf32>
}

// -----

// Codes are multiplied as codes, in whatever arithmetic; int8 leaves all other
// operations to bf16.
module attributes {lm.arithmetic = #lm.arithmetic<int8>} {
  // CHECK: lm.weight @table quant {{.*}} layout "panel_q8" : tensor<9x8xbf16>
  lm.weight @table quant <int8, group = 32, scale = f16> : tensor<9x8xbf16>
  // CHECK: lm.weight @gate_up {{.*}} layout "panel_q4_glu"
  lm.weight @gate_up segments [
    #lm.segment<name = "gate", source = "gate", rows = 8>,
    #lm.segment<name = "up", source = "up", rows = 8>
  ] quant <int4, group = 32, scale = f16, offset = f16> : tensor<16x8xbf16>
  // CHECK: lm.weight @down {{.*}} layout "panel_q4"
  lm.weight @down quant <int4, group = 32, scale = f16> rounding <clipped> : tensor<8x8xbf16>
  // CHECK: lm.weight @plain layout "panel_bf16"
  lm.weight @plain : tensor<8x8xbf16>

  // CHECK-LABEL: @forward
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch) -> tensor<?x9xf32> {
    // CHECK: lm.embed {{.*}} {kernel = #lm.kernel<"embed_q"
    %h = lm.embed %t, @table : tensor<?xi32> -> tensor<?x8xf32>
    // CHECK: lm.linear {{.*}} {kernel = #lm.kernel<"linear_q_int8", target = "x86-64-v4" by "linear_glu_q4, int8, x86-64-v{{.*}}", tile = [<"refine", 50>]>
    %g = lm.linear %h, @gate_up glu <silu> : tensor<?x8xf32> -> tensor<?x8xf32>
    // CHECK: lm.linear {{.*}} {kernel = #lm.kernel<"linear_q_int8"
    %d = lm.linear %g, @down : tensor<?x8xf32> -> tensor<?x8xf32>
    // CHECK: lm.linear {{.*}} {kernel = #lm.kernel<"linear_bf16"
    %p = lm.linear %d, @plain : tensor<?x8xf32> -> tensor<?x8xf32>
    // CHECK: lm.logits {{.*}} {kernel = #lm.kernel<"logits_q_int8"
    %l = lm.logits %p, %b, @table : tensor<?x8xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

// The table of an embedding alone lies as its kernel reads it.
module attributes {lm.arithmetic = #lm.arithmetic<f32>} {
  // CHECK: lm.weight @table quant {{.*}} layout "panel_q4" : tensor<9x8xf32>
  lm.weight @table quant <int4, group = 32, scale = f16> : tensor<9x8xf32>
  // CHECK-LABEL: @f
  func.func @f(%t: tensor<?xi32>) -> tensor<?x8xf32> {
    %h = lm.embed %t, @table : tensor<?xi32> -> tensor<?x8xf32>
    return %h : tensor<?x8xf32>
  }
}
