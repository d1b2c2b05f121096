// What cannot be lowered is refused where it stands.
// RUN: stele-opt --stele-convert-lm-to-plan=target=x86-64-v3 --split-input-file --verify-diagnostics %s

// expected-error @+1 {{has no function @forward to convert}}
module {}

// -----

func.func @forward(%batch: !lm.batch, %a: tensor<?x8xf32>, %cache: !lm.kv_cache<layers = 2, heads = 1, head_dim = 12, block = 16, f32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{has no kernel; run stele-select-kernels first}}
  %b = lm.add %a, %a : tensor<?x8xf32>
  return %b : tensor<?x8xf32>
}

// -----

func.func @forward(%a: tensor<?x8xf32>, %l: tensor<?x1xf32>, %b: tensor<?x8xf32>, %m: tensor<?x1xf32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{has no host kernel yet}}
  %o = lm.merge (%a, %b) lse (%l, %m) heads 1 : tensor<?x8xf32>, tensor<?x1xf32> -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 1, head_dim = 12, block = 16, f32>
!state = !lm.kernel_state<layers = 1, heads = 1, head_dim = 12, features = 20>
lm.weight @w layout "panel_f32" : tensor<20x12xf32>
func.func @forward(%q: tensor<?x12xf32>, %batch: !lm.batch, %cache: !cache, %state: !state, %selected: !lm.selection<heads = 1, block = 16>) -> tensor<?x12xf32> {
  // expected-error @+1 {{leaves out the keys of a selection, for which there is no host kernel}}
  %a, %lse, %s = lm.kernelized_attention %q, %cache, %batch, %state layer 0 heads 1 scale 0.25 <favor_plus, features = 20, orthogonal = true, seed = 0> features(@w) selection(%selected : !lm.selection<heads = 1, block = 16>) {kernel = #lm.kernel<"kernelized_attention_f32", target = "x86-64-v3">} : tensor<?x12xf32>, !cache, !state -> tensor<?x12xf32>, tensor<?x1xf32>
  return %a : tensor<?x12xf32>
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 1, head_dim = 12, block = 16, f32>
!state = !lm.kernel_state<layers = 1, heads = 1, head_dim = 12, features = 20>
lm.weight @w layout "panel_f32" : tensor<20x12xbf16>
func.func @forward(%q: tensor<?x12xf32>, %batch: !lm.batch, %cache: !cache, %state: !state) -> tensor<?x12xf32> {
  // expected-error @+1 {{takes features of f32 only}}
  %a, %lse, %s = lm.kernelized_attention %q, %cache, %batch, %state layer 0 heads 1 scale 0.25 <favor_plus, features = 20, orthogonal = true, seed = 0> features(@w) {kernel = #lm.kernel<"kernelized_attention_f32", target = "x86-64-v3">} : tensor<?x12xf32>, !cache, !state -> tensor<?x12xf32>, tensor<?x1xf32>
  return %a : tensor<?x12xf32>
}

// -----

// expected-error @+1 {{has two arguments of type '!lm.kv_cache<layers = 1, heads = 1, head_dim = 12, block = 16, f32>', a plan holds one}}
func.func @forward(%a: tensor<?x8xf32>, %c: !lm.kv_cache<layers = 1, heads = 1, head_dim = 12, block = 16, f32>, %d: !lm.kv_cache<layers = 1, heads = 1, head_dim = 12, block = 16, f32>) {
  return
}
