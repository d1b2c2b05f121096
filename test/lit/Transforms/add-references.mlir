// RUN: stele-opt --stele-add-references %s | FileCheck %s
// RUN: stele-opt --stele-add-references --stele-add-references %s | FileCheck %s
// RUN: sed 's/ attributes {lm.mean_queries = .*{$/ {/' %s > %t.none.mlir
// RUN: stele-opt --stele-add-references %t.none.mlir | FileCheck %s --check-prefix=NONE
// RUN: sed 's/4.0\]\]> : tensor<1x4xf32>/4.0], [0.0, 0.0, 0.0, 0.0]]> : tensor<2x4xf32>/' %s > %t.heads.mlir
// RUN: not stele-opt --stele-add-references %t.heads.mlir 2>&1 | FileCheck %s --check-prefix=HEADS
// RUN: sed 's/, dense<2.0> : tensor<1x4xf32>//' %s > %t.layers.mlir
// RUN: not stele-opt --stele-add-references %t.layers.mlir 2>&1 | FileCheck %s --check-prefix=LAYERS
// RUN: sed 's/3.0, 4.0/0x7fc00000, 4.0/' %s > %t.nan.mlir
// RUN: not stele-opt --stele-add-references %t.nan.mlir 2>&1 | FileCheck %s --check-prefix=FINITE
// RUN: sed 's/layer 0 rope(#rope) :/layer 0 :/' %s > %t.rope.mlir
// RUN: not stele-opt --stele-add-references %t.rope.mlir 2>&1 | FileCheck %s --check-prefix=ROPE

// HEADS: error: 'lm.kv_append' op needs mean queries of shape [1, 4], got 'tensor<2x4xf32>'
// LAYERS: error: 'lm.kv_append' op is of a layer that lm.mean_queries has not, which has 2
// FINITE: error: 'lm.kv_append' op has mean queries that are not finite
// ROPE: error: 'lm.kv_append' op does not rotate its keys as the queries are; run stele-fuse-rope-append first
// NONE-NOT: reference

// Of a pair of dimensions that turns with every token nothing is left, of one
// that hardly turns nearly all; others are not rotated. Layer 1 selects nothing.
#rope = #lm.rope<theta = 1.0e+30, dims = 4>
#none = #lm.rope<theta = 1.0, dims = 2>
!cache = !lm.kv_cache<layers = 3, heads = 1, head_dim = 4, block = 64, f32, key_index = true>
// CHECK: module {
module attributes {lm.mean_queries = [dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>, dense<1.0> : tensor<1x4xf32>, dense<2.0> : tensor<1x4xf32>]} {
  // CHECK: lm.weight @reference.0 value(dense<{{\[\[}}{{[^,]+[eE]-0?[3-9]}}, 2.000000e+00, {{[^,]+[eE]-0?[3-9]}}, 4.000000e+00]]> : tensor<1x4xf32>) : tensor<1x4xf32>
  // CHECK: lm.weight @reference.2 value(dense<{{\[\[}}{{[^,]+[eE]-0?[3-9]}}, {{[^,]+[eE]-0?[3-9]}}, 2.000000e+00, 2.000000e+00]]> : tensor<1x4xf32>) : tensor<1x4xf32>
  // CHECK-NOT: lm.weight
  // CHECK: func.func @forward
  func.func @forward(%x: tensor<?x8xf32>, %b: !lm.batch, %c: !cache) -> !cache {
    // CHECK: lm.kv_append {{.*}} layer 0 rope(#{{.+}}) reference(@reference.0) :
    %c0 = lm.kv_append %x, %x, %c, %b layer 0 rope(#rope) : tensor<?x8xf32>, tensor<?x8xf32>, !cache
    %s0 = lm.select_blocks %x, %c0, %b layer 0 heads 2 scale 0.5 <block = 64, local = 1, adjacent = 1, sink = 1, select = top_k(3), estimate = mean_key> rope(#rope) : tensor<?x8xf32>, !cache -> !lm.selection<heads = 1, block = 64>
    // CHECK: lm.kv_append {{.*}} layer 1 rope(#{{.+}}) :
    %c1 = lm.kv_append %x, %x, %c0, %b layer 1 rope(#rope) : tensor<?x8xf32>, tensor<?x8xf32>, !cache
    // CHECK: lm.kv_append {{.*}} layer 2 rope(#{{.+}}) reference(@reference.2) :
    %c2 = lm.kv_append %x, %x, %c1, %b layer 2 rope(#none) : tensor<?x8xf32>, tensor<?x8xf32>, !cache
    %s2 = lm.select_blocks %x, %c2, %b layer 2 heads 2 scale 0.5 <block = 64, local = 1, adjacent = 1, sink = 1, select = top_k(3), estimate = mean_key> rope(#none) : tensor<?x8xf32>, !cache -> !lm.selection<heads = 1, block = 64>
    return %c2 : !cache
  }
}
