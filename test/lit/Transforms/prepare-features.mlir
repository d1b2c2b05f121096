// RUN: stele-opt --stele-prepare-features %s | FileCheck %s

!cache = !lm.kv_cache<layers = 3, heads = 2, head_dim = 2, block = 128, f32>
!state = !lm.kernel_state<layers = 3, heads = 2, head_dim = 2, features = 4>

// Equal maps share one weight, another seed has its own; a weight that is there
// stays.
// CHECK: lm.weight @learned : tensor<4x2xf32>
lm.weight @learned : tensor<4x2xf32>
// CHECK: lm.weight @features value(dense<{{.+}}> : tensor<4x2xf32>) : tensor<4x2xf32>
// CHECK: lm.weight @features.1 value(dense<{{.+}}> : tensor<4x2xf32>) : tensor<4x2xf32>
// CHECK-NOT: lm.weight
// CHECK-LABEL: @forward
func.func @forward(%q: tensor<?x4xf32>, %c: !cache, %b: !lm.batch, %s: !state) -> !state {
  // CHECK: lm.kernelized_attention {{.*}} seed = 0> features(@features) :
  // CHECK: lm.kernelized_attention {{.*}} seed = 0> features(@features) :
  // CHECK: lm.kernelized_attention {{.*}} seed = 1> features(@features.1) :
  // CHECK: lm.kernelized_attention {{.*}} seed = 0> features(@learned) :
  %0, %1, %s1 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 2 scale 0.5 <favor_plus, features = 4, orthogonal = true, seed = 0> : tensor<?x4xf32>, !cache, !state -> tensor<?x4xf32>, tensor<?x2xf32>
  %2, %3, %s2 = lm.kernelized_attention %q, %c, %b, %s1 layer 1 heads 2 scale 0.5 <favor_plus, features = 4, orthogonal = true, seed = 0> : tensor<?x4xf32>, !cache, !state -> tensor<?x4xf32>, tensor<?x2xf32>
  %4, %5, %s3 = lm.kernelized_attention %q, %c, %b, %s2 layer 2 heads 2 scale 0.5 <favor_plus, features = 4, orthogonal = true, seed = 1> : tensor<?x4xf32>, !cache, !state -> tensor<?x4xf32>, tensor<?x2xf32>
  %6, %7, %s4 = lm.kernelized_attention %q, %c, %b, %s3 layer 2 heads 2 scale 0.5 <favor_plus, features = 4, orthogonal = true, seed = 0> features(@learned) : tensor<?x4xf32>, !cache, !state -> tensor<?x4xf32>, tensor<?x2xf32>
  return %s4 : !state
}
