// Kinds of attention go through the pipeline; estimators that have no kernel are
// refused when their launch is described.
// RUN: not stele-opt --stele-lm-pipeline='attention=sparse block=64 top-p=0.9 sink=2 estimate=antidiagonal' --stele-convert-lm-to-plan=target=x86-64-v3 %s 2>&1 | FileCheck %s --check-prefix=SPARSE
// RUN: stele-opt --stele-lm-pipeline='attention=kernelized random-features=64 seed=3' %s | FileCheck %s --check-prefix=KERNEL

// SPARSE: error: 'lm.select_blocks' op estimates by antidiagonal, for which there is no host kernel yet; use mean_key
// SPARSE: <block = 64, local = 1, adjacent = 1, sink = 2, select = top_p(9.000000e-01), estimate = antidiagonal>
// KERNEL: lm.weight @features value({{.*}}) layout "panel_f32" : tensor<64x16xf32>
// KERNEL: lm.kernelized_attention {{.*}} <favor_plus, features = 64, orthogonal = true, seed = 3> features(@features) {kernel = #lm.kernel<"kernelized_attention_f32", target = "x86-64-v3" by "kernelized_attention, f32, x86-64-v3">}

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>

module attributes {lm.model = #lm.model<
    architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1,
    heads = 2, kv_heads = 2, head_dim = 16, context_length = 64,
    trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}
