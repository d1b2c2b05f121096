// One launch for every operation in every bucket; kernels that are alike share
// an entry; weights are placed one after the other, 64 bytes aligned.
// RUN: stele-opt --stele-select-kernels=isa=x86-64-v3 --stele-convert-lm-to-plan=target=x86-64-v3 --split-input-file %s | FileCheck %s
// RUN: stele-opt --stele-select-kernels=isa=x86-64-v3 --stele-convert-lm-to-plan='target=x86-64-v3 weights=synthetic:7' --split-input-file %s | FileCheck %s --check-prefix=SYNTHETIC

// CHECK: plan.target @"x86-64-v3" isa "x86-64-v3"
// CHECK: plan.segment @weights weights inline for [@"x86-64-v3"] length [[#]]
// SYNTHETIC: plan.segment @weights weights synthetic seed 7 for [@"x86-64-v3"]
// CHECK: plan.segment @code executable inline for [@"x86-64-v3"]
// CHECK: plan.tensor @embed in @weights offset 0 length 1680 layout "rows" segments [#lm.segment<name = "embed", source = "embed", rows = 35>] : tensor<35x12xf32>
// CHECK: plan.tensor @norm in @weights offset 1728 length 48 layout "rows"
// CHECK: plan.executable @kernels elf in @code target @"x86-64-v3"
// CHECK: plan.entry @embed__{{.*}} token_limit 35
// CHECK-COUNT-1: plan.entry @add__
// CHECK-NOT: plan.entry @add__
// CHECK: plan.entry @kv_append_f32__{{.*}}#plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 12, block = 16, type = f32>>] immediates [{{.*}}]
// CHECK: plan.function @decode target @"x86-64-v3" tokens 32 sequences 32 logit_rows 32 {
// CHECK: %[[H:.+]] = plan.buffer "embed_0" temporary rows 32 of 12
// CHECK: %[[A:.+]] = plan.buffer "add_1" temporary rows 32 of 12
// CHECK: %[[B:.+]] = plan.buffer "add_2" temporary rows 32 of 12
// CHECK: %[[L:.+]] = plan.buffer "logits_3" output rows 32 of 35
// CHECK: plan.launch "embed @embed" @kernels::@{{.+}}(@embed, %[[H]])
// CHECK: plan.launch "add" @kernels::@[[ADD:.+]](%[[H]], %[[H]], %[[A]])
// CHECK: plan.launch "add" @kernels::@[[ADD]](%[[A]], %[[H]], %[[B]])
// CHECK: plan.launch "kv_append layer 1" @kernels::@{{.+}}(%[[A]], %[[B]], @cache) immediates [1]
// CHECK: plan.launch "logits @head" @kernels::@{{.+}}(%[[B]], @head, %[[L]])
// CHECK: plan.return ["logits"](%[[L]])
// CHECK: plan.function @prefill target @"x86-64-v3" tokens 512 sequences 64 logit_rows 64
// CHECK: plan.buffer "logits_{{.+}}" output rows 64 of 35
// CHECK: plan.kv_cache @cache target @"x86-64-v3" layers 2 <heads = 1, head_dim = 12, block = 16, type = f32>
// CHECK-NOT: lm.weight
// CHECK-NOT: func.func

!cache = !lm.kv_cache<layers = 2, heads = 1, head_dim = 12, block = 16, f32>
lm.weight @embed : tensor<35x12xf32>
lm.weight @norm : tensor<12xf32>
lm.weight @head : tensor<35x12xf32>
func.func @forward(%tokens: tensor<?xi32>, %batch: !lm.batch, %cache: !cache) -> tensor<?x35xf32> {
  %h = lm.embed %tokens, @embed : tensor<?xi32> -> tensor<?x12xf32>
  %a = lm.add %h, %h : tensor<?x12xf32>
  %b = lm.add %a, %h : tensor<?x12xf32>
  %c = lm.kv_append %a, %b, %cache, %batch layer 1 : tensor<?x12xf32>, tensor<?x12xf32>, !cache
  %l = lm.logits %b, %batch, @head : tensor<?x12xf32> -> tensor<?x35xf32>
  return %l : tensor<?x35xf32>
}

// -----

// Kernelized attention binds the states behind the pages; nothing reads what an
// earlier step appended, unless a layer is dense. No one reads the lse.
// CHECK: plan.tensor @w in @weights {{.*}} layout "panel_f32" {{.*}} : tensor<20x12xf32>
// CHECK: plan.entry @kernelized_attention_f32__{{[^ ]*}} from <"kernelized_attention_f32", {{.*}}features = 20, head_dim = 12, heads = 2, {{.*}}lse = 0, {{.*}}> params [#plan.param<buffer, per_token = 96>, #plan.param<tensor, bytes = 1536>, #plan.param<kv_cache, cache = <heads = 1, head_dim = 12, block = 16, type = f32>>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 12, block = 0, type = f32, features = 20>>, #plan.param<buffer, access = write, per_token = 96>] immediates [{{.*}}]
// CHECK: plan.launch "kernelized_attention @w" @kernels::@{{.+}}(%[[Q:.+]], @w, @cache, @states, %{{.+}}) immediates [1]
// CHECK: plan.kv_cache @cache target @"x86-64-v3" layers 2 <heads = 1, head_dim = 12, block = 16, type = f32> transient
// CHECK: plan.kv_cache @states target @"x86-64-v3" layers 2 <heads = 1, head_dim = 12, block = 0, type = f32, features = 20>{{$}}

!cache = !lm.kv_cache<layers = 2, heads = 1, head_dim = 12, block = 16, f32>
!state = !lm.kernel_state<layers = 2, heads = 1, head_dim = 12, features = 20>
lm.weight @embed : tensor<35x24xf32>
lm.weight @w : tensor<20x12xf32>
lm.weight @head : tensor<35x24xf32>
func.func @forward(%tokens: tensor<?xi32>, %batch: !lm.batch, %cache: !cache, %state: !state) -> tensor<?x35xf32> {
  %h = lm.embed %tokens, @embed : tensor<?xi32> -> tensor<?x24xf32>
  %c = lm.kv_append %h, %h, %cache, %batch layer 1 : tensor<?x24xf32>, tensor<?x24xf32>, !cache
  %a, %lse, %s = lm.kernelized_attention %h, %c, %batch, %state layer 1 heads 2 scale 0.25 <favor_plus, features = 20, orthogonal = true, seed = 0> features(@w) : tensor<?x24xf32>, !cache, !state -> tensor<?x24xf32>, tensor<?x2xf32>
  %l = lm.logits %a, %batch, @head : tensor<?x24xf32> -> tensor<?x35xf32>
  return %l : tensor<?x35xf32>
}

// -----

// CHECK: plan.kv_cache @cache {{.*}} type = f32>{{$}}
// CHECK: plan.kv_cache @states {{.*}} features = 20>{{$}}

!cache = !lm.kv_cache<layers = 2, heads = 1, head_dim = 12, block = 16, f32>
!state = !lm.kernel_state<layers = 2, heads = 1, head_dim = 12, features = 20>
lm.weight @embed : tensor<35x24xf32>
lm.weight @w : tensor<20x12xf32>
lm.weight @head : tensor<35x24xf32>
func.func @forward(%tokens: tensor<?xi32>, %batch: !lm.batch, %cache: !cache, %state: !state) -> tensor<?x35xf32> {
  %h = lm.embed %tokens, @embed : tensor<?xi32> -> tensor<?x24xf32>
  %a, %lse, %s = lm.kernelized_attention %h, %cache, %batch, %state layer 1 heads 2 scale 0.25 <favor_plus, features = 20, orthogonal = true, seed = 0> features(@w) : tensor<?x24xf32>, !cache, !state -> tensor<?x24xf32>, tensor<?x2xf32>
  %b = lm.attention %a, %cache, %batch layer 0 heads 2 scale 0.25 window 64 : tensor<?x24xf32>, !cache -> tensor<?x24xf32>
  %l = lm.logits %b, %batch, @head : tensor<?x24xf32> -> tensor<?x35xf32>
  return %l : tensor<?x35xf32>
}
