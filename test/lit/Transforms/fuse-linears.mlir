// RUN: stele-opt --stele-fuse-linears -split-input-file %s | FileCheck %s

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>

// CHECK-NOT: lm.weight @a.q.weight
// CHECK: lm.weight @"a.q+k+v.weight" segments [#lm.segment<name = "q", source = "a.q.weight", rows = 64>, #lm.segment<name = "k", source = "a.k.weight", rows = 32>, #lm.segment<name = "v", source = "a.v.weight", rows = 32>] : tensor<128x8xf32>
// CHECK: lm.weight @"a.q+k+v.bias" segments [{{.*}}] : tensor<128xf32>
lm.weight @a.q.weight : tensor<64x8xf32>
lm.weight @a.k.weight : tensor<32x8xf32>
lm.weight @a.v.weight : tensor<32x8xf32>
lm.weight @a.q.bias : tensor<64xf32>
lm.weight @a.k.bias : tensor<32xf32>
lm.weight @a.v.bias : tensor<32xf32>

// CHECK-LABEL: @projections
func.func @projections(%x: tensor<?x8xf32>, %c: !cache, %b: !lm.batch) -> tensor<?x64xf32> {
  // CHECK: %[[P:.+]] = lm.linear %{{.+}}, @"a.q+k+v.weight" bias(@"a.q+k+v.bias") : tensor<?x8xf32> -> tensor<?x128xf32>
  // CHECK-NEXT: %[[C:.+]] = lm.kv_append %[[P]], %[[P]], %{{.+}}, %{{.+}} layer 0 key_offset 64 value_offset 96 :
  // CHECK-NEXT: lm.attention %[[P]], %[[C]], {{.*}} scale 2.500000e-01 : tensor<?x128xf32>
  %q = lm.linear %x, @a.q.weight bias(@a.q.bias) : tensor<?x8xf32> -> tensor<?x64xf32>
  %k = lm.linear %x, @a.k.weight bias(@a.k.bias) : tensor<?x8xf32> -> tensor<?x32xf32>
  %v = lm.linear %x, @a.v.weight bias(@a.v.bias) : tensor<?x8xf32> -> tensor<?x32xf32>
  %c1 = lm.kv_append %k, %v, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
  %o = lm.attention %q, %c1, %b layer 0 heads 4 scale 0.25 : tensor<?x64xf32>, !cache -> tensor<?x64xf32>
  return %o : tensor<?x64xf32>
}

// -----

// CHECK: lm.weight @"mlp.gate+up" segments [#lm.segment<name = "gate", source = "mlp.gate", rows = 6>, #lm.segment<name = "up", source = "mlp.up", rows = 6>] : tensor<12x8xf32>
// CHECK-NOT: lm.weight
lm.weight @mlp.gate : tensor<6x8xf32>
lm.weight @mlp.up : tensor<6x8xf32>

// CHECK-LABEL: @glu
func.func @glu(%x: tensor<?x8xf32>) -> tensor<?x6xf32> {
  // CHECK-NEXT: %[[G:.+]] = lm.linear %{{.+}}, @"mlp.gate+up" glu <gelu> : tensor<?x8xf32> -> tensor<?x6xf32>
  // CHECK-NEXT: return %[[G]]
  %u = lm.linear %x, @mlp.up : tensor<?x8xf32> -> tensor<?x6xf32>
  %g = lm.linear %x, @mlp.gate : tensor<?x8xf32> -> tensor<?x6xf32>
  %m = lm.glu %g, %u <gelu> : tensor<?x6xf32>
  return %m : tensor<?x6xf32>
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>

lm.weight @q : tensor<64x8xf32>
lm.weight @k : tensor<32x8xbf16>
lm.weight @v : tensor<32x8xf32>
lm.weight @bias : tensor<32xf32>

// CHECK-LABEL: @left_alone
func.func @left_alone(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>, %c: !cache, %b: !lm.batch) -> (tensor<?x64xf32>, tensor<?x32xf32>, !cache) {
  // Other element types; one bias of two; a reader that wants whole rows; two
  // products of one weight; gate and up of different rows.
  // CHECK-COUNT-7: lm.linear
  // CHECK: lm.glu
  %q = lm.linear %x, @q : tensor<?x8xf32> -> tensor<?x64xf32>
  %k = lm.linear %x, @k : tensor<?x8xf32> -> tensor<?x32xf32>
  %v = lm.linear %x, @v bias(@bias) : tensor<?x8xf32> -> tensor<?x32xf32>
  %c1 = lm.kv_append %k, %v, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
  %o = lm.attention %q, %c1, %b layer 0 heads 4 scale 0.25 : tensor<?x64xf32>, !cache -> tensor<?x64xf32>
  %v1 = lm.linear %y, @v : tensor<?x8xf32> -> tensor<?x32xf32>
  %v2 = lm.linear %y, @v : tensor<?x8xf32> -> tensor<?x32xf32>
  %c2 = lm.kv_append %v1, %v2, %c1, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
  %g = lm.linear %x, @v : tensor<?x8xf32> -> tensor<?x32xf32>
  %u = lm.linear %y, @v : tensor<?x8xf32> -> tensor<?x32xf32>
  %m = lm.glu %g, %u <silu> : tensor<?x32xf32>
  return %o, %m, %c2 : tensor<?x64xf32>, tensor<?x32xf32>, !cache
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>

// Those of one format join, in the order of the columns both were quantised in;
// the third stays apart.
// CHECK: lm.weight @"q+k" segments [{{.*}}] quant <int4, group = 32, scale = f16> : tensor<96x4xf32>
// CHECK: lm.weight @v quant <int8, group = 16, scale = f32> : tensor<32x4xf32>
lm.weight @q quant <int4, group = 32, scale = f16> : tensor<64x4xf32>
lm.weight @k quant <int4, group = 32, scale = f16> : tensor<32x4xf32>
lm.weight @v quant <int8, group = 16, scale = f32> : tensor<32x4xf32>
lm.weight @q.order value(dense<[3, 1, 2, 0]> : tensor<4xi32>) : tensor<4xi32>
lm.weight @k.order value(dense<[3, 1, 2, 0]> : tensor<4xi32>) : tensor<4xi32>

// CHECK-LABEL: @mixed
func.func @mixed(%x: tensor<?x4xf32>, %c: !cache, %b: !lm.batch) -> (tensor<?x64xf32>, !cache) {
  // CHECK: %[[P:.+]] = lm.linear %{{.+}}, @"q+k" permutation(@q.order) : tensor<?x4xf32> -> tensor<?x96xf32>
  // CHECK: %[[V:.+]] = lm.linear %{{.+}}, @v :
  // CHECK: lm.kv_append %[[P]], %[[V]], {{.*}} key_offset 64 :
  %q = lm.linear %x, @q permutation(@q.order) : tensor<?x4xf32> -> tensor<?x64xf32>
  %k = lm.linear %x, @k permutation(@k.order) : tensor<?x4xf32> -> tensor<?x32xf32>
  %v = lm.linear %x, @v : tensor<?x4xf32> -> tensor<?x32xf32>
  %c1 = lm.kv_append %k, %v, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
  %o = lm.attention %q, %c1, %b layer 0 heads 4 scale 0.25 : tensor<?x64xf32>, !cache -> tensor<?x64xf32>
  return %o, %c1 : tensor<?x64xf32>, !cache
}

// -----

// Other orders of columns do not join.
// CHECK: lm.weight @gate quant
lm.weight @gate quant <int4, group = 32, scale = f16> : tensor<6x2xf32>
lm.weight @up quant <int4, group = 32, scale = f16> : tensor<6x2xf32>
lm.weight @order value(dense<[1, 0]> : tensor<2xi32>) : tensor<2xi32>

// CHECK-LABEL: @orders
func.func @orders(%x: tensor<?x2xf32>) -> tensor<?x6xf32> {
  // CHECK-COUNT-2: lm.linear
  // CHECK: lm.glu
  %u = lm.linear %x, @up : tensor<?x2xf32> -> tensor<?x6xf32>
  %g = lm.linear %x, @gate permutation(@order) : tensor<?x2xf32> -> tensor<?x6xf32>
  %m = lm.glu %g, %u <gelu> : tensor<?x6xf32>
  return %m : tensor<?x6xf32>
}
