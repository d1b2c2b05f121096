// Inputs of chosen linears become named results, which the plan's functions
// carry as outputs that live to the last operation.
// RUN: stele-opt --stele-expose-inputs=weights=gate,down %s | FileCheck %s
// RUN: stele-opt --stele-expose-inputs=weights=gate,down --stele-verify-input --stele-select-kernels=isa=x86-64-v3 --stele-convert-lm-to-plan=target=x86-64-v3 --stele-assign-buffers %s | FileCheck %s --check-prefix=PLAN
// RUN: stele-opt --stele-expose-inputs=queries %s | FileCheck %s --check-prefix=QUERIES
// RUN: not stele-opt --stele-expose-inputs=weights=gate,nowhere %s 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// UNKNOWN: error: 'func.func' op has no lm.linear of weight @nowhere

// QUERIES: func.func @forward
// QUERIES-SAME: -> (tensor<?x9xf32>, tensor<?x32xf32> {lm.name = "queries.0"})
// QUERIES: %[[H:.+]] = lm.embed
// QUERIES: return %{{.+}}, %[[H]]

// PLAN: plan.function @decode
// PLAN: plan.buffer "linear_[[#]]" output rows 32 of 24 {{.*}}last = 5
// PLAN: plan.return ["logits", "gate", "down"]

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  lm.weight @norm : tensor<32xf32>
  lm.weight @gate segments [
    #lm.segment<name = "gate", source = "g", rows = 24>,
    #lm.segment<name = "up", source = "u", rows = 24>] : tensor<48x32xf32>
  lm.weight @down : tensor<32x24xf32>
  // CHECK: func.func @forward
  // CHECK-SAME: -> (tensor<?x9xf32>, tensor<?x32xf32> {lm.name = "gate"}, tensor<?x24xf32> {lm.name = "down"})
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    // CHECK: %[[A:.+]] = lm.attention
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    // CHECK: %[[G:.+]] = lm.linear %[[A]], @gate
    %g = lm.linear %a, @gate norm(@norm, 1.0e-05) glu <silu> : tensor<?x32xf32> -> tensor<?x24xf32>
    %d = lm.linear %g, @down residual(%a : tensor<?x32xf32>) : tensor<?x24xf32> -> tensor<?x32xf32>
    // CHECK: %[[L:.+]] = lm.logits
    %l = lm.logits %d, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    // CHECK: return %[[L]], %[[A]], %[[G]]
    return %l : tensor<?x9xf32>
  }
}
