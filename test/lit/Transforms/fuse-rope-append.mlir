// RUN: stele-opt --stele-fuse-rope-append %s | FileCheck %s

#rope = #lm.rope<theta = 1.0e+04, dims = 16>
!cache = !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>

lm.weight @n : tensor<16xf32>
lm.weight @n8 : tensor<8xf32>

// CHECK-LABEL: @norm_and_rotation
func.func @norm_and_rotation(%k: tensor<?x32xf32>, %r: tensor<?x16xf32>, %c: !cache, %b: !lm.batch) -> (!cache, !cache) {
  // CHECK-SAME: (%[[K:.+]]: tensor<?x32xf32>, %[[R:.+]]: tensor<?x16xf32>
  // CHECK-NEXT: %[[C:.+]] = lm.kv_append %[[K]], %[[K]], %{{.+}}, %{{.+}} layer 0 norm(@n, 1.000000e-05) rope(#rope) :
  // CHECK-NEXT: %[[D:.+]] = lm.kv_append %[[K]], %[[K]], %{{.+}}, %{{.+}} layer 0 rope(#rope) rotary(%[[R]] : tensor<?x16xf32>) :
  // CHECK-NEXT: return %[[C]], %[[D]]
  %0 = lm.rms_norm %k, @n eps 1.0e-05 groups 2 : tensor<?x32xf32>
  %1 = lm.rope %0, %b heads 2 rope(#rope) : tensor<?x32xf32>
  %2 = lm.kv_append %1, %k, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
  %3 = lm.rope %k, %b heads 2 rope(#rope) rotary(%r : tensor<?x16xf32>) : tensor<?x32xf32>
  %4 = lm.kv_append %3, %k, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
  return %2, %4 : !cache, !cache
}

// CHECK-LABEL: @query_norm
func.func @query_norm(%q: tensor<?x64xf32>, %c: !cache, %b: !lm.batch) -> tensor<?x64xf32> {
  // CHECK-NOT: lm.rms_norm
  // CHECK: lm.select_blocks %[[Q:.+]], {{.*}} norm(@n, 1.000000e-05)
  // CHECK-NEXT: lm.block_sparse_attention %[[Q]], {{.*}} norm(@n, 1.000000e-05)
  %0 = lm.rms_norm %q, @n eps 1.0e-05 groups 4 : tensor<?x64xf32>
  %1 = lm.select_blocks %0, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 0, sink = 0, select = top_k(1), estimate = mean_key> : tensor<?x64xf32>, !cache -> !lm.selection<heads = 2, block = 128>
  %2, %3 = lm.block_sparse_attention %0, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 0, sink = 0, select = top_k(1), estimate = mean_key> selection(%1 : !lm.selection<heads = 2, block = 128>) : tensor<?x64xf32>, !cache -> tensor<?x64xf32>, tensor<?x4xf32>
  return %2 : tensor<?x64xf32>
}

// CHECK-LABEL: @left_alone
func.func @left_alone(%k: tensor<?x32xf32>, %q: tensor<?x64xf32>, %c: !cache, %b: !lm.batch) -> (!cache, !cache, tensor<?x64xf32>, tensor<?x64xf32>) {
  // A rotated key that is also the value; a norm over other groups than the
  // heads; a query norm with a reader that is no attention.
  // CHECK: lm.rope
  // CHECK: lm.kv_append {{.*}} layer 0 :
  // CHECK: lm.rms_norm {{.*}} groups 4
  // CHECK: lm.kv_append {{.*}} layer 0 :
  // CHECK: lm.rms_norm {{.*}} groups 4
  // CHECK: lm.attention
  %0 = lm.rope %k, %b heads 2 rope(#rope) : tensor<?x32xf32>
  %1 = lm.kv_append %0, %0, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
  %2 = lm.rms_norm %k, @n8 eps 1.0e-05 groups 4 : tensor<?x32xf32>
  %3 = lm.kv_append %2, %k, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
  %4 = lm.rms_norm %q, @n eps 1.0e-05 groups 4 : tensor<?x64xf32>
  %5 = lm.attention %4, %c, %b layer 0 heads 4 scale 0.25 : tensor<?x64xf32>, !cache -> tensor<?x64xf32>
  return %1, %3, %4, %5 : !cache, !cache, tensor<?x64xf32>, tensor<?x64xf32>
}
