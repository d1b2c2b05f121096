// RUN: stele-opt --stele-choose-attention %s | FileCheck %s --check-prefix=DENSE
// RUN: stele-opt --stele-choose-attention='kind=sparse top-k=32 block=64' %s | FileCheck %s --check-prefix=SPARSE
// RUN: stele-opt --stele-choose-attention='kind=sparse local=8 adjacent=0' %s | FileCheck %s --check-prefix=LOCAL
// RUN: stele-opt --stele-choose-attention='kind=hybrid top-k=32 block=64' %s | FileCheck %s --check-prefix=HYBRID
// RUN: not stele-opt --stele-choose-attention='kind=hybrid' %s 2>&1 | FileCheck %s --check-prefix=NOTHING
// RUN: not stele-opt --stele-choose-attention='kind=hybrid top-k=32 estimate=antidiagonal' %s 2>&1 | FileCheck %s --check-prefix=NOTHING
// RUN: stele-opt --stele-choose-attention='kind=kernelized features=32 seed=7' %s | FileCheck %s --check-prefix=KERNEL
// RUN: stele-opt --stele-choose-attention='kind=sparse top-share=0.25 dense=4' %s | FileCheck %s --check-prefix=SHARE
// RUN: stele-opt --stele-choose-attention='kind=sparse top-p=0.5 limit=7' %s | FileCheck %s --check-prefix=LIMIT
// RUN: not stele-opt --stele-choose-attention='kind=linear' %s 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not stele-opt --stele-choose-attention='kind=sparse top-k=1 top-p=0.5' %s 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not stele-opt --stele-choose-attention='kind=sparse block=100' %s 2>&1 | FileCheck %s --check-prefix=BLOCK
// RUN: not stele-opt --stele-choose-attention='kind=sparse estimate=oracle' %s 2>&1 | FileCheck %s --check-prefix=ESTIMATE
// RUN: not stele-opt --stele-choose-attention='kind=kernelized features=0' %s 2>&1 | FileCheck %s --check-prefix=FEATURES
// RUN: sed 's/, dims = 16>$/, dims = 16, dual_chunk = #lm.dual_chunk<chunk = 512, local = 256, original = 512>>/' %s > %t.chunks.mlir
// RUN: not stele-opt --stele-choose-attention='kind=kernelized' %t.chunks.mlir 2>&1 | FileCheck %s --check-prefix=CHUNKS

// CHUNKS: error: 'lm.attention' op cannot be kernelized with dual chunk positions: {{.*}}; compile with --positions rope or yarn
// FEATURES: error: features must be in 1..65536, got 0 (C1)
// NOTHING: error: hybrid attention estimates what a choice by mean_key leaves out; give top-k, top-p or top-share
// KIND: error: unknown attention kind 'linear', expected dense, sparse, hybrid or kernelized
// BOTH: error: top-k, top-p and top-share exclude each other
// BLOCK: error: block must be a power of two in 16..1024, got 100 (C1)
// ESTIMATE: error: unknown estimator 'oracle', expected mean_key, antidiagonal or vertical_slash

#rope = #lm.rope<theta = 1.0e+04, dims = 16>
!cache = !lm.kv_cache<layers = 3, heads = 2, head_dim = 16, block = 128, f32>
lm.weight @n : tensor<16xf32>

// SPARSE: !cache = !lm.kv_cache<layers = 3, heads = 2, head_dim = 16, block = 64, f32, key_index = true>
// HYBRID: !cache = !lm.kv_cache<layers = 3, heads = 2, head_dim = 16, block = 64, f32, key_index = true, value_index = true>
// LOCAL: !cache = !lm.kv_cache<layers = 3, heads = 2, head_dim = 16, block = 128, f32>
// SHARE: <block = 128, local = 1, adjacent = 1, sink = 1, select = top_share(2.500000e-01), estimate = mean_key, dense = 4>
// LIMIT: <block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(5.000000e-01), estimate = mean_key, limit = 7>
// KERNEL: func.func @forward(%{{.*}}, %[[S0:.+]]: !state)
func.func @forward(%x: tensor<?x96xf32>, %c: !cache, %b: !lm.batch) -> (tensor<?x64xf32>, tensor<?x4xf32>, tensor<?x64xf32>, tensor<?x64xf32>) {
  // DENSE-COUNT-3: lm.attention
  // SPARSE: %[[S:.+]] = lm.select_blocks %[[X:.+]], %[[C:.+]], %[[B:.+]] layer 0 heads 4 scale 2.500000e-01 <block = 64, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = mean_key> query_offset 16 norm(@n, 1.000000e-05) rope(#rope) : tensor<?x96xf32>, !cache -> !lm.selection<heads = 2, block = 64>
  // SPARSE-NEXT: %[[O:.+]], %[[L:.+]] = lm.block_sparse_attention %[[X]], %[[C]], %[[B]] layer 0 heads 4 scale 2.500000e-01 <block = 64, {{.*}}> query_offset 16 selection(%[[S]] : {{.*}}) norm(@n, 1.000000e-05) rope(#rope)
  // HYBRID: %[[S:.+]] = lm.select_blocks
  // HYBRID: %[[A:.+]], %[[AL:.+]] = lm.block_sparse_attention
  // HYBRID: %[[O:.+]], %[[L:.+]] = lm.tail_attention %{{.+}}, %{{.+}}, %{{.+}}, %[[S]], %[[A]], %[[AL]] layer 0 heads 4 scale 2.500000e-01 <block = 64, {{.*}}> query_offset 16 norm(@n, 1.000000e-05) rope(#rope)
  // LOCAL-NOT: lm.select_blocks
  // LOCAL: lm.block_sparse_attention {{.*}} <block = 128, local = 8, adjacent = 0, sink = 1, select = none, estimate = mean_key>
  // KERNEL: %[[O:.+]], %[[L:.+]], %[[S1:.+]] = lm.kernelized_attention %{{.+}}, %{{.+}}, %{{.+}}, %[[S0]] layer 0 {{.*}} <favor_plus, features = 32, orthogonal = true, seed = 7> query_offset 16 norm(@n, 1.000000e-05) rope(#rope)
  %o, %l = lm.attention %x, %c, %b layer 0 heads 4 scale 0.25 query_offset 16 norm(@n, 1.0e-05) rope(#rope) : tensor<?x96xf32>, !cache -> tensor<?x64xf32>, tensor<?x4xf32>
  // SPARSE: lm.attention {{.*}} layer 1 {{.*}} window 64
  // KERNEL: lm.attention {{.*}} layer 1 {{.*}} window 64
  %p = lm.attention %x, %c, %b layer 1 heads 4 scale 0.25 window 64 : tensor<?x96xf32>, !cache -> tensor<?x64xf32>
  // SPARSE: %[[O2:.+]], %{{.+}} = lm.block_sparse_attention
  // KERNEL: %[[O2:.+]], %{{.+}}, %{{.+}} = lm.kernelized_attention %{{.+}}, %{{.+}}, %{{.+}}, %[[S1]] layer 2
  %q = lm.attention %x, %c, %b layer 2 heads 4 scale 0.25 : tensor<?x96xf32>, !cache -> tensor<?x64xf32>
  // HYBRID: %[[O2:.+]], %{{.+}} = lm.tail_attention
  // HYBRID: return %[[O]], %[[L]], %{{.+}}, %[[O2]]
  // SPARSE: return %[[O]], %[[L]], %{{.+}}, %[[O2]]
  // KERNEL: return %[[O]], %[[L]], %{{.+}}, %[[O2]]
  return %o, %l, %p, %q : tensor<?x64xf32>, tensor<?x4xf32>, tensor<?x64xf32>, tensor<?x64xf32>
}
