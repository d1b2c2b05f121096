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
