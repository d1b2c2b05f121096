// RUN: stele-opt --stele-choose-arithmetic='arithmetic=bf16' %s | FileCheck %s
// RUN: stele-opt --stele-choose-arithmetic='arithmetic=bf16' %s | stele-opt --stele-choose-arithmetic='arithmetic=f32' | FileCheck %s --check-prefix=F32
// RUN: not stele-opt --stele-choose-arithmetic='arithmetic=fp8' %s 2>&1 | FileCheck %s --check-prefix=ERROR

// RUN: stele-opt --stele-choose-arithmetic='arithmetic=bf16 kv=int8' %s | FileCheck %s --check-prefix=INT8
// RUN: stele-opt --stele-choose-arithmetic='arithmetic=f32 kv=f16' %s | FileCheck %s --check-prefix=F16
// RUN: not stele-opt --stele-choose-arithmetic='kv=int4' %s 2>&1 | FileCheck %s --check-prefix=KV

// INT8: !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, i8>
// INT8: lm.weight @table : tensor<9x32xbf16>
// F16: !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f16>
// F16: lm.weight @table : tensor<9x32xf32>
// KV: error: unknown type of the KV cache 'int4', expected auto, f32, f16, bf16 or int8
// ERROR: error: unknown arithmetic 'fp8', expected f32, bf16 or int8

// CHECK: !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, bf16>
// CHECK: module attributes {lm.arithmetic = #lm.arithmetic<bf16>}
// F32: !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
// F32: module attributes {lm.arithmetic = #lm.arithmetic<f32>}
!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>

// CHECK: lm.weight @table : tensor<9x32xbf16>
// F32: lm.weight @table : tensor<9x32xf32>
lm.weight @table : tensor<9x32xf32>
// CHECK: lm.weight @w : tensor<32x32xbf16>
lm.weight @w : tensor<32x32xf32>
// CHECK: lm.weight @q quant {{.*}} : tensor<32x32xbf16>
lm.weight @q quant <int4, group = 32, scale = f16> : tensor<32x32xf32>
// Norms, biases and prepared tensors keep their types.
// CHECK: lm.weight @n : tensor<32xf32>
lm.weight @n : tensor<32xf32>

// CHECK: func.func @forward(%{{.*}}: tensor<?xi32>, %{{.*}}: !lm.batch, %{{.*}}: !cache)
func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
  %h = lm.embed %t, @table : tensor<?xi32> -> tensor<?x32xf32>
  %k = lm.linear %h, @w norm(@n, 1.0e-05) bias(@n) : tensor<?x32xf32> -> tensor<?x32xf32>
  %v = lm.linear %h, @q : tensor<?x32xf32> -> tensor<?x32xf32>
  %c1 = lm.kv_append %k, %v, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
  %a = lm.attention %k, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
  %l = lm.logits %a, %b, @table : tensor<?x32xf32> -> tensor<?x9xf32>
  return %l : tensor<?x9xf32>
}
