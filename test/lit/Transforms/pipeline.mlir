// One layer with everything that a family may ask for, through the whole lm
// pipeline: fused, every operation with its kernel, every weight with a layout;
// and unfused, one kernel for every operation of the input.
// RUN: stele-opt --stele-lm-pipeline='isa=x86-64-v4' %s | FileCheck %s
// RUN: stele-opt --stele-lm-pipeline='fuse=false arithmetic=bf16' %s | FileCheck %s --check-prefix=UNFUSED

// CHECK-DAG: lm.weight @model.embed_tokens.weight layout "panel_f32" : tensor<100x48xf32>
// CHECK-DAG: lm.weight @"model.layers.0.self_attn.q_proj+k_proj+v_proj.weight" segments [#lm.segment<name = "q_proj", source = "model.layers.0.self_attn.q_proj.weight", rows = 64>, #lm.segment<name = "k_proj", source = "model.layers.0.self_attn.k_proj.weight", rows = 32>, #lm.segment<name = "v_proj", source = "model.layers.0.self_attn.v_proj.weight", rows = 32>] layout "panel_f32" : tensor<128x48xf32>
// CHECK-DAG: lm.weight @"model.layers.0.mlp.gate_proj+up_proj.weight" {{.*}} layout "panel_f32_glu" : tensor<160x48xf32>
// CHECK-DAG: lm.weight @rope.frequencies value({{.*}}) layout "rows" : tensor<8xf32>
// CHECK-NOT: lm.weight @model.layers.0.mlp.up_proj.weight
// CHECK-LABEL: func.func @forward
// CHECK: %[[R:.+]] = lm.rotary_table {{.*}}<"rotary_table", target = "x86-64-v4" by "rotary_table, any, x86-64-v3">
// CHECK-NEXT: %[[H0:.+]] = lm.embed
// CHECK-NEXT: %[[QKV:.+]] = lm.linear %[[H0]], @"model.layers.0.self_attn.q_proj+k_proj+v_proj.weight" norm(@model.layers.0.input_layernorm.weight, {{.*}}) bias(@"model.layers.0.self_attn.q_proj+k_proj+v_proj.bias") {kernel = #lm.kernel<"linear_f32"
// CHECK-NEXT: %[[C:.+]] = lm.kv_append %[[QKV]], %[[QKV]], %{{.+}}, %{{.+}} layer 0 key_offset 64 value_offset 96 norm(@model.layers.0.self_attn.k_norm.weight, {{.*}}) rope(#rope) rotary(%[[R]] :
// CHECK-NEXT: %[[A:.+]] = lm.attention %[[QKV]], %[[C]], %{{.+}} layer 0 heads 4 scale 2.500000e-01 norm(@model.layers.0.self_attn.q_norm.weight, {{.*}}) rope(#rope) rotary(%[[R]] :
// CHECK-NEXT: %[[H1:.+]] = lm.linear %[[A]], @model.layers.0.self_attn.o_proj.weight residual(%[[H0]] :
// CHECK-NEXT: %[[M:.+]] = lm.linear %[[H1]], @"model.layers.0.mlp.gate_proj+up_proj.weight" norm(@model.layers.0.post_attention_layernorm.weight, {{.*}}) glu <silu>
// CHECK-NEXT: %[[H2:.+]] = lm.linear %[[M]], @model.layers.0.mlp.down_proj.weight residual(%[[H1]] :
// CHECK-NEXT: %[[L:.+]] = lm.logits %[[H2]], %{{.+}}, @model.embed_tokens.weight norm(@model.norm.weight,
// CHECK-NEXT: return %[[L]]

// UNFUSED: !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, bf16>
// UNFUSED: lm.weight @model.layers.0.self_attn.q_proj.weight layout "panel_bf16" : tensor<64x48xbf16>
// UNFUSED-LABEL: func.func @forward
// UNFUSED-COUNT-21: kernel = #lm.kernel<
// UNFUSED-NOT: kernel =
// UNFUSED: return

#rope = #lm.rope<theta = 1.0e+06, dims = 16>
!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>

module attributes {lm.model = #lm.model<
    architecture = "qwen3", name = "tiny", vocab = 100, hidden = 48, layers = 1,
    heads = 4, kv_heads = 2, head_dim = 16, context_length = 512,
    trained_context = 512, parameters = 1000, eos = [2]>} {
  lm.weight @model.embed_tokens.weight : tensor<100x48xf32>
  lm.weight @model.layers.0.input_layernorm.weight : tensor<48xf32>
  lm.weight @model.layers.0.self_attn.q_proj.weight : tensor<64x48xf32>
  lm.weight @model.layers.0.self_attn.k_proj.weight : tensor<32x48xf32>
  lm.weight @model.layers.0.self_attn.v_proj.weight : tensor<32x48xf32>
  lm.weight @model.layers.0.self_attn.q_proj.bias : tensor<64xf32>
  lm.weight @model.layers.0.self_attn.k_proj.bias : tensor<32xf32>
  lm.weight @model.layers.0.self_attn.v_proj.bias : tensor<32xf32>
  lm.weight @model.layers.0.self_attn.o_proj.weight : tensor<48x64xf32>
  lm.weight @model.layers.0.self_attn.q_norm.weight : tensor<16xf32>
  lm.weight @model.layers.0.self_attn.k_norm.weight : tensor<16xf32>
  lm.weight @model.layers.0.post_attention_layernorm.weight : tensor<48xf32>
  lm.weight @model.layers.0.mlp.gate_proj.weight : tensor<80x48xf32>
  lm.weight @model.layers.0.mlp.up_proj.weight : tensor<80x48xf32>
  lm.weight @model.layers.0.mlp.down_proj.weight : tensor<48x80xf32>
  lm.weight @model.norm.weight : tensor<48xf32>

  func.func @forward(%tokens: tensor<?xi32>, %batch: !lm.batch, %cache: !cache)
      -> tensor<?x100xf32> {
    %h0 = lm.embed %tokens, @model.embed_tokens.weight : tensor<?xi32> -> tensor<?x48xf32>
    %n0 = lm.rms_norm %h0, @model.layers.0.input_layernorm.weight eps 1.0e-06 : tensor<?x48xf32>
    %q = lm.linear %n0, @model.layers.0.self_attn.q_proj.weight bias(@model.layers.0.self_attn.q_proj.bias) : tensor<?x48xf32> -> tensor<?x64xf32>
    %k = lm.linear %n0, @model.layers.0.self_attn.k_proj.weight bias(@model.layers.0.self_attn.k_proj.bias) : tensor<?x48xf32> -> tensor<?x32xf32>
    %v = lm.linear %n0, @model.layers.0.self_attn.v_proj.weight bias(@model.layers.0.self_attn.v_proj.bias) : tensor<?x48xf32> -> tensor<?x32xf32>
    %qn = lm.rms_norm %q, @model.layers.0.self_attn.q_norm.weight eps 1.0e-06 groups 4 : tensor<?x64xf32>
    %kn = lm.rms_norm %k, @model.layers.0.self_attn.k_norm.weight eps 1.0e-06 groups 2 : tensor<?x32xf32>
    %kr = lm.rope %kn, %batch heads 2 rope(#rope) : tensor<?x32xf32>
    %c1 = lm.kv_append %kr, %v, %cache, %batch layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %qn, %c1, %batch layer 0 heads 4 scale 0.25 rope(#rope) : tensor<?x64xf32>, !cache -> tensor<?x64xf32>
    %o = lm.linear %a, @model.layers.0.self_attn.o_proj.weight : tensor<?x64xf32> -> tensor<?x48xf32>
    %h1 = lm.add %h0, %o : tensor<?x48xf32>
    %n1 = lm.rms_norm %h1, @model.layers.0.post_attention_layernorm.weight eps 1.0e-06 : tensor<?x48xf32>
    %g = lm.linear %n1, @model.layers.0.mlp.gate_proj.weight : tensor<?x48xf32> -> tensor<?x80xf32>
    %u = lm.linear %n1, @model.layers.0.mlp.up_proj.weight : tensor<?x48xf32> -> tensor<?x80xf32>
    %m = lm.glu %g, %u <silu> : tensor<?x80xf32>
    %d = lm.linear %m, @model.layers.0.mlp.down_proj.weight : tensor<?x80xf32> -> tensor<?x48xf32>
    %h2 = lm.add %h1, %d : tensor<?x48xf32>
    %n2 = lm.rms_norm %h2, @model.norm.weight eps 1.0e-06 : tensor<?x48xf32>
    %l = lm.logits %n2, %batch, @model.embed_tokens.weight : tensor<?x48xf32> -> tensor<?x100xf32>
    return %l : tensor<?x100xf32>
  }
}
