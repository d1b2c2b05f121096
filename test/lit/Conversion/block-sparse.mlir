// A selection is a buffer of words: a bit for each key block of the context, by
// KV head, kept for every token. Its kernels serve contexts up to that. A bias and
// targets are bound as the weights that they are.
// RUN: stele-opt --stele-select-kernels=isa=x86-64-v3 --stele-convert-lm-to-plan=target=x86-64-v3 %s | FileCheck %s

// CHECK: plan.entry @kv_append_f32__{{.*}}reference = 1{{.*}}#plan.param<buffer, per_token = 512>, #plan.param<buffer, per_token = 512>, #plan.param<tensor, bytes = 128>, {{.*}}cache = <heads = 2, head_dim = 16, block = 64, type = f32, key_index = true>
// CHECK: plan.entry @select_blocks_f32__{{.*}}#plan.param<tensor, bytes = 8>{{.*}}#plan.param<buffer, access = write, per_token = 16>{{.*}} context_limit 4096 {{.*}} sparsity <block = 64, local = 1, adjacent = 1, sink = 1, select = top_p(9.0{{.*}}), estimate = mean_key>
// CHECK: plan.entry @block_sparse_f32__{{.*}}#plan.param<buffer, per_token = 16>, #plan.param<tensor, bytes = 80>{{.*}} context_limit 4096
// CHECK: plan.function @decode
// CHECK: %[[S:.+]] = plan.buffer "select_blocks_{{.}}" temporary rows 32 of 4 : i32
// CHECK: plan.launch "kv_append @reference" @kernels::@{{.+}}(%{{.+}}, %{{.+}}, @reference, @cache) immediates [0]
// CHECK: plan.launch "select_blocks @targets" @kernels::@{{.+}}(%[[Q:.+]], @targets, @cache, %[[S]]) immediates [0]
// CHECK: plan.launch "block_sparse_attention @bias" @kernels::@{{.+}}(%[[Q]], %[[S]], @bias, @cache, %{{.+}}, %{{.+}}) immediates [0]
// CHECK: plan.kv_cache @cache {{.*}}key_index = true

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 64, f32, key_index = true>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 35, hidden = 64, layers = 1, heads = 4, kv_heads = 2, head_dim = 16, context_length = 4096, trained_context = 4096, parameters = 1>} {
  lm.weight @embed : tensor<35x128xf32>
  lm.weight @bias : tensor<4x5xf32>
  lm.weight @targets : tensor<2xf32>
  lm.weight @reference value(dense<1.0> : tensor<2x16xf32>) : tensor<2x16xf32>
  func.func @forward(%tokens: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x64xf32> {
    %q = lm.embed %tokens, @embed : tensor<?xi32> -> tensor<?x128xf32>
    %c1 = lm.kv_append %q, %q, %c, %b layer 0 key_offset 64 value_offset 96 reference(@reference) : tensor<?x128xf32>, tensor<?x128xf32>, !cache
    %bias = lm.weight_ref @bias : tensor<4x5xf32>
    %s = lm.select_blocks %q, %c1, %b layer 0 heads 4 scale 0.25 <block = 64, local = 1, adjacent = 1, sink = 1, select = top_p(9.0e-01), estimate = mean_key> targets(@targets) : tensor<?x128xf32>, !cache -> !lm.selection<heads = 2, block = 64>
    %o, %lse = lm.block_sparse_attention %q, %c1, %b layer 0 heads 4 scale 0.25 <block = 64, local = 1, adjacent = 1, sink = 1, select = top_p(9.0e-01), estimate = mean_key> selection(%s : !lm.selection<heads = 2, block = 64>) bias(%bias : tensor<4x5xf32>) : tensor<?x128xf32>, !cache -> tensor<?x64xf32>, tensor<?x4xf32>
    return %o : tensor<?x64xf32>
  }
}
