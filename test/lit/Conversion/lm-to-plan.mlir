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
