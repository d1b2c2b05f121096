// Every operation of the lm dialect survives printing and parsing, in its plain
// and in its richest form.
// RUN: stele-opt %s | stele-opt | FileCheck %s
// RUN: stele-opt -mlir-print-op-generic %s | stele-opt | FileCheck %s

// CHECK-DAG: #[[ROPE:[a-z0-9]+]] = #lm.rope<theta = 1.000000e+05, dims = 64>
// CHECK-DAG: #[[YARN:[a-z0-9]+]] = #lm.rope<theta = 1.000000e+06, dims = 64, scaling = #lm.yarn<factor = 4.000000e+00, original = 32768, attention_factor = 1.1386294361119891>, dual_chunk = <chunk = 1024, local = 256, original = 1024>>
// CHECK-DAG: #[[MODEL:[a-z0-9]+]] = #lm.model<architecture = "llama", name = "tiny", vocab = 100, hidden = 576, layers = 2, heads = 9, kv_heads = 3, head_dim = 64, context_length = 8192, trained_context = 8192, parameters = 1000, eos = [2, 7], bos = 1, sliding_window = 512, sampling = <sample = true, temperature = 0.69999999999999996>>
// CHECK-DAG: !cache = !lm.kv_cache<layers = 2, heads = 3, head_dim = 64, block = 128, f32>
// CHECK-DAG: !state = !lm.kernel_state<layers = 2, heads = 3, head_dim = 64, features = 256>

#rope = #lm.rope<theta = 1.0e+05, dims = 64>
#llama3 = #lm.rope<theta = 5.0e+05, dims = 32, scaling = #lm.llama3<factor = 8.0, low_freq_factor = 1.0, high_freq_factor = 4.0, original = 8192>>
#linear = #lm.rope<theta = 1.0e+04, dims = 64, scaling = #lm.linear<factor = 2.0>>
#dca = #lm.rope<theta = 1.0e+06, dims = 64, scaling = #lm.yarn<factor = 4.0, original = 32768, attention_factor = 1.1386294361119891>, dual_chunk = #lm.dual_chunk<chunk = 1024, local = 256, original = 1024>>
!cache = !lm.kv_cache<layers = 2, heads = 3, head_dim = 64, block = 128, f32>
!indexed = !lm.kv_cache<layers = 2, heads = 3, head_dim = 64, block = 128, f32, key_index = true, value_index = true>
!state = !lm.kernel_state<layers = 2, heads = 3, head_dim = 64, features = 256>

// CHECK: module attributes {lm.arithmetic = #lm.arithmetic<bf16>, lm.model = #[[MODEL]]}
module attributes {
  lm.arithmetic = #lm.arithmetic<bf16>,
  lm.model = #lm.model<architecture = "llama", name = "tiny", vocab = 100, hidden = 576,
    layers = 2, heads = 9, kv_heads = 3, head_dim = 64, context_length = 8192,
    trained_context = 8192, parameters = 1000, eos = [2, 7], bos = 1,
    sliding_window = 512, sampling = #lm.sampling<sample = true, temperature = 0.7>>
} {
  // CHECK: lm.weight @table : tensor<100x576xf32>
  lm.weight @table : tensor<100x576xf32>
  // CHECK: lm.weight @qkv segments [#lm.segment<name = "q", source = "q_proj", rows = 576>, #lm.segment<name = "k", source = "k_proj", rows = 192, first_row = 4>, #lm.segment<name = "v", source = "v_proj", rows = 192>] layout "panel_f32" : tensor<960x576xf32>
  lm.weight @qkv segments [
    #lm.segment<name = "q", source = "q_proj", rows = 576>,
    #lm.segment<name = "k", source = "k_proj", rows = 192, first_row = 4>,
    #lm.segment<name = "v", source = "v_proj", rows = 192>
  ] layout "panel_f32" : tensor<960x576xf32>
  // CHECK: lm.weight @targets : tensor<3xf32>
  lm.weight @targets : tensor<3xf32>
  // CHECK: lm.weight @o quant <int4, group = 128, scale = f16, offset = f16> : tensor<576x576xf32>
  lm.weight @o quant <int4, group = 128, scale = f16, offset = f16> : tensor<576x576xf32>
  // CHECK: lm.weight @made quant <int8, group = 32, scale = f32> rounding <clipped, per_channel = true> row_scale(dense<2.000000e+00> : tensor<4xf32>) column_scale(dense<3.000000e+00> : tensor<48xf32>) importance(dense<1.000000e+00> : tensor<48xf32>) layout "panel_f32" : tensor<4x48xf32>
  lm.weight @made quant <int8, group = 32, scale = f32> rounding <clipped, per_channel = true> row_scale(dense<2.0> : tensor<4xf32>) column_scale(dense<3.0> : tensor<48xf32>) importance(dense<1.0> : tensor<48xf32>) layout "panel_f32" : tensor<4x48xf32>
  // CHECK: lm.weight @nearest quant <int8, group = 32, scale = f16> rounding <nearest> : tensor<4x48xf32>
  lm.weight @nearest quant <int8, group = 32, scale = f16> rounding <nearest> : tensor<4x48xf32>
  // CHECK: lm.weight @order value(dense
  lm.weight @order value(dense<[1, 0]> : tensor<2xi32>) : tensor<2xi32>
  lm.weight @gate_up segments [
    #lm.segment<name = "gate", source = "gate_proj", rows = 48>,
    #lm.segment<name = "up", source = "up_proj", rows = 48>
  ] : tensor<96x576xf32>
  lm.weight @norm : tensor<576xf32>
  lm.weight @head_norm : tensor<64xf32>
  lm.weight @qkv_bias : tensor<960xf32>
  lm.weight @vocab_bias : tensor<100xf32>
  // CHECK: lm.weight @frequencies value(dense<1.000000e+00> : tensor<32xf32>) : tensor<32xf32>
  lm.weight @frequencies value(dense<1.0> : tensor<32xf32>) : tensor<32xf32>
  lm.weight @random_features : tensor<256x64xf32>
  lm.weight @relative : tensor<9x128xf32>

  func.func @forward(%tokens: tensor<?xi32>, %batch: !lm.batch, %cache: !cache,
                     %state: !state) -> tensor<?x100xf32> {
    // CHECK: %[[H:.+]] = lm.embed %{{.+}}, @table : tensor<?xi32> -> tensor<?x576xf32>
    %h = lm.embed %tokens, @table : tensor<?xi32> -> tensor<?x576xf32>
    // CHECK: lm.rms_norm %[[H]], @norm eps 1.000000e-05 : tensor<?x576xf32>
    %n = lm.rms_norm %h, @norm eps 1.0e-05 : tensor<?x576xf32>
    // CHECK: lm.rms_norm %{{.+}}, @head_norm eps 9.9999999999999995E-7 groups 9 : tensor<?x576xf32>
    %n9 = lm.rms_norm %n, @head_norm eps 1.0e-06 groups 9 : tensor<?x576xf32>
    // CHECK: lm.linear %{{.+}}, @o : tensor<?x576xf32> -> tensor<?x576xf32>
    %q = lm.linear %n9, @o : tensor<?x576xf32> -> tensor<?x576xf32>
    // CHECK: %[[QKV:.+]] = lm.linear %[[H]], @qkv norm(@norm, 1.000000e-05) bias(@qkv_bias) {kernel = #lm.kernel<"linear_f32", target = "x86-64-v4" by "linear, f32, x86-64-v3", tile = [<"rows", 6>]>} : tensor<?x576xf32> -> tensor<?x960xf32>
    %qkv = lm.linear %h, @qkv norm(@norm, 1.0e-05) bias(@qkv_bias) {kernel = #lm.kernel<"linear_f32", target = "x86-64-v4" by "linear, f32, x86-64-v3", tile = [<"rows", 6>]>} : tensor<?x576xf32> -> tensor<?x960xf32>
    // CHECK: lm.rotary_table %{{.+}}, @frequencies rope(#[[ROPE]]) : tensor<?x64xf32>
    %r = lm.rotary_table %batch, @frequencies rope(#rope) : tensor<?x64xf32>
    // CHECK: lm.rotary_table %{{.+}}, @frequencies rope(#[[YARN]]) : tensor<?x192xf32>
    %r3 = lm.rotary_table %batch, @frequencies rope(#dca) : tensor<?x192xf32>
    // CHECK: lm.rope %{{.+}}, %{{.+}} heads 9 rope(#{{.+}}) : tensor<?x576xf32>
    %k0 = lm.rope %n, %batch heads 9 rope(#llama3) : tensor<?x576xf32>
    // CHECK: lm.rope %{{.+}}, %{{.+}} heads 9 rope(#[[ROPE]]) rotary(%{{.+}} : tensor<?x64xf32>) : tensor<?x576xf32>
    %k1 = lm.rope %k0, %batch heads 9 rope(#rope) rotary(%r : tensor<?x64xf32>) : tensor<?x576xf32>
    // CHECK: lm.kv_append %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}} layer 0 : tensor<?x576xf32>, tensor<?x576xf32>, !cache
    %c0 = lm.kv_append %k1, %n, %cache, %batch layer 0 : tensor<?x576xf32>, tensor<?x576xf32>, !cache
    // CHECK: lm.kv_append %[[QKV]], %[[QKV]], %{{.+}}, %{{.+}} layer 1 key_offset 576 value_offset 768 norm(@head_norm, 9.9999999999999995E-7) rope(#[[ROPE]]) rotary(%{{.+}} : tensor<?x64xf32>) : tensor<?x960xf32>, tensor<?x960xf32>, !cache
    %c1 = lm.kv_append %qkv, %qkv, %c0, %batch layer 1 key_offset 576 value_offset 768 norm(@head_norm, 1.0e-06) rope(#rope) rotary(%r : tensor<?x64xf32>) : tensor<?x960xf32>, tensor<?x960xf32>, !cache
    // CHECK: lm.attention %{{.+}}, %{{.+}}, %{{.+}} layer 0 heads 9 scale 1.250000e-01 : tensor<?x576xf32>, !cache -> tensor<?x576xf32>
    %a0 = lm.attention %q, %c1, %batch layer 0 heads 9 scale 0.125 : tensor<?x576xf32>, !cache -> tensor<?x576xf32>
    // CHECK: lm.attention %[[QKV]], %{{.+}}, %{{.+}} layer 1 heads 3 scale 1.250000e-01 window 512 query_offset 64 norm(@head_norm, 9.9999999999999995E-7) rope(#[[ROPE]]) rotary(%{{.+}} : tensor<?x64xf32>) : tensor<?x960xf32>, !cache -> tensor<?x192xf32>, tensor<?x3xf32>
    %a1, %lse1 = lm.attention %qkv, %c1, %batch layer 1 heads 3 scale 0.125 window 512 query_offset 64 norm(@head_norm, 1.0e-06) rope(#rope) rotary(%r : tensor<?x64xf32>) : tensor<?x960xf32>, !cache -> tensor<?x192xf32>, tensor<?x3xf32>
    // CHECK: lm.select_blocks %{{.+}}, %{{.+}}, %{{.+}} layer 0 heads 9 scale 1.250000e-01 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = antidiagonal> rope(#[[YARN]]) rotary(%{{.+}} : tensor<?x192xf32>) : tensor<?x576xf32>, !cache -> !lm.selection<heads = 3, block = 128>
    %s = lm.select_blocks %q, %c1, %batch layer 0 heads 9 scale 0.125 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = antidiagonal> rope(#dca) rotary(%r3 : tensor<?x192xf32>) : tensor<?x576xf32>, !cache -> !lm.selection<heads = 3, block = 128>
    // CHECK: lm.select_blocks {{.+}} select = top_p(0.94999999999999996), estimate = mean_key> targets(@targets) : tensor<?x576xf32>
    %s1 = lm.select_blocks %q, %c1, %batch layer 0 heads 9 scale 0.125 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(9.5e-01), estimate = mean_key> targets(@targets) : tensor<?x576xf32>, !cache -> !lm.selection<heads = 3, block = 128>
    // CHECK: lm.block_sparse_attention %{{.+}}, %{{.+}}, %{{.+}} layer 0 heads 9 scale 1.250000e-01 <block = 512, local = 8, adjacent = 0, sink = 1, select = none, estimate = mean_key> : tensor<?x576xf32>, !cache -> tensor<?x576xf32>, tensor<?x9xf32>
    %b0, %blse0 = lm.block_sparse_attention %q, %c1, %batch layer 0 heads 9 scale 0.125 <block = 512, local = 8, adjacent = 0, sink = 1, select = none, estimate = mean_key> : tensor<?x576xf32>, !cache -> tensor<?x576xf32>, tensor<?x9xf32>
    // CHECK: lm.weight_ref @relative : tensor<9x128xf32>
    %bias = lm.weight_ref @relative : tensor<9x128xf32>
    // CHECK: lm.block_sparse_attention %{{.+}}, %{{.+}}, %{{.+}} layer 0 heads 9 scale 1.250000e-01 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(0.94999999999999996), estimate = vertical_slash> selection(%{{.+}} : !lm.selection<heads = 3, block = 128>) bias(%{{.+}} : tensor<9x128xf32>) norm(@head_norm, 9.9999999999999995E-7) rope(#[[YARN]]) rotary(%{{.+}} : tensor<?x192xf32>) : tensor<?x576xf32>, !cache -> tensor<?x576xf32>, tensor<?x9xf32>
    %b1, %blse1 = lm.block_sparse_attention %q, %c1, %batch layer 0 heads 9 scale 0.125 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(0.95), estimate = vertical_slash> selection(%s : !lm.selection<heads = 3, block = 128>) bias(%bias : tensor<9x128xf32>) norm(@head_norm, 1.0e-06) rope(#dca) rotary(%r3 : tensor<?x192xf32>) : tensor<?x576xf32>, !cache -> tensor<?x576xf32>, tensor<?x9xf32>
    // CHECK: lm.kernelized_attention %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}} layer 0 heads 9 scale 1.250000e-01 <favor_plus, features = 256, orthogonal = true, seed = 0> features(@random_features) selection(%{{.+}} : !lm.selection<heads = 3, block = 128>) rope(#[[ROPE]]) : tensor<?x576xf32>, !cache, !state -> tensor<?x576xf32>, tensor<?x9xf32>
    %k, %klse, %state1 = lm.kernelized_attention %q, %c1, %batch, %state layer 0 heads 9 scale 0.125 <favor_plus, features = 256, orthogonal = true, seed = 0> features(@random_features) selection(%s : !lm.selection<heads = 3, block = 128>) rope(#rope) : tensor<?x576xf32>, !cache, !state -> tensor<?x576xf32>, tensor<?x9xf32>
    // CHECK: lm.merge(%{{.+}}, %{{.+}}) lse(%{{.+}}, %{{.+}}) heads 9 : tensor<?x576xf32>, tensor<?x9xf32> -> tensor<?x576xf32>
    %m = lm.merge(%b1, %k) lse(%blse1, %klse) heads 9 : tensor<?x576xf32>, tensor<?x9xf32> -> tensor<?x576xf32>
    // CHECK: lm.merge(%{{.+}}) lse(%{{.+}}) heads 9 : tensor<?x576xf32>, tensor<?x9xf32> -> tensor<?x576xf32>, tensor<?x9xf32>
    %m1, %mlse1 = lm.merge(%b0) lse(%blse0) heads 9 : tensor<?x576xf32>, tensor<?x9xf32> -> tensor<?x576xf32>, tensor<?x9xf32>
    // CHECK: lm.add %{{.+}}, %{{.+}} : tensor<?x576xf32>
    %h1 = lm.add %h, %m : tensor<?x576xf32>
    // CHECK: lm.linear %{{.+}}, @o residual(%{{.+}} : tensor<?x576xf32>) : tensor<?x576xf32> -> tensor<?x576xf32>
    %h2 = lm.linear %m, @o residual(%h1 : tensor<?x576xf32>) : tensor<?x576xf32> -> tensor<?x576xf32>
    // CHECK: lm.linear %{{.+}}, @gate_up glu <gelu_tanh> : tensor<?x576xf32> -> tensor<?x48xf32>
    %g = lm.linear %h2, @gate_up glu <gelu_tanh> : tensor<?x576xf32> -> tensor<?x48xf32>
    // CHECK: lm.glu %{{.+}}, %{{.+}} <silu> : tensor<?x48xf32>
    %gg = lm.glu %g, %g <silu> : tensor<?x48xf32>
    // CHECK: lm.all_reduce %{{.+}} ranks 2 : tensor<?x576xf32>
    %h3 = lm.all_reduce %h2 ranks 2 : tensor<?x576xf32>
    // CHECK: lm.logits %{{.+}}, %{{.+}}, @table norm(@norm, 1.000000e-05) bias(@vocab_bias) : tensor<?x576xf32> -> tensor<?x100xf32>
    %l = lm.logits %h3, %batch, @table norm(@norm, 1.0e-05) bias(@vocab_bias) : tensor<?x576xf32> -> tensor<?x100xf32>
    return %l : tensor<?x100xf32>
  }

  // CHECK: lm.weight @reference : tensor<3x64xf32>
  lm.weight @reference : tensor<3x64xf32>
  // CHECK: lm.weight @biases : tensor<3xf32>
  lm.weight @biases : tensor<3xf32>
  func.func @indexed(%k: tensor<?x192xf32>, %batch: !lm.batch, %cache: !indexed) -> !indexed {
    %r = lm.rotary_table %batch, @frequencies rope(#rope) : tensor<?x64xf32>
    // CHECK: lm.kv_append %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}} layer 1 rope(#[[ROPE]]) reference(@reference) : tensor<?x192xf32>, tensor<?x192xf32>, !cache
    %c = lm.kv_append %k, %k, %cache, %batch layer 1 rope(#rope) reference(@reference) : tensor<?x192xf32>, tensor<?x192xf32>, !indexed
    %s = lm.select_blocks %k, %c, %batch layer 1 heads 3 scale 0.125 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = mean_key> rope(#rope) : tensor<?x192xf32>, !indexed -> !lm.selection<heads = 3, block = 128>
    %a, %alse = lm.block_sparse_attention %k, %c, %batch layer 1 heads 3 scale 0.125 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = mean_key> selection(%s : !lm.selection<heads = 3, block = 128>) rope(#rope) : tensor<?x192xf32>, !indexed -> tensor<?x192xf32>, tensor<?x3xf32>
    // CHECK: %[[O:.+]], %[[L:.+]] = lm.tail_attention %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}} layer 1 heads 3 scale 1.250000e-01 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = mean_key> : tensor<?x192xf32>, !cache{{1?}}, !lm.selection<heads = 3, block = 128> -> tensor<?x192xf32>, tensor<?x3xf32>
    %o, %lse = lm.tail_attention %k, %c, %batch, %s, %a, %alse layer 1 heads 3 scale 0.125 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = mean_key> : tensor<?x192xf32>, !indexed, !lm.selection<heads = 3, block = 128> -> tensor<?x192xf32>, tensor<?x3xf32>
    // CHECK: lm.tail_attention %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}}, %[[O]], %[[L]] layer 1 heads 3 scale 1.250000e-01 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = mean_key> biases(@biases) norm(@head_norm, 9.9999999999999995E-7) rope(#[[ROPE]]) rotary(%{{.+}} : tensor<?x64xf32>)
    %o1, %lse1 = lm.tail_attention %k, %c, %batch, %s, %o, %lse layer 1 heads 3 scale 0.125 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = mean_key> biases(@biases) norm(@head_norm, 1.0e-06) rope(#rope) rotary(%r : tensor<?x64xf32>) : tensor<?x192xf32>, !indexed, !lm.selection<heads = 3, block = 128> -> tensor<?x192xf32>, tensor<?x3xf32>
    return %c : !indexed
  }
}
