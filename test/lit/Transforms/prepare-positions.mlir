// RUN: stele-opt --stele-prepare-positions %s | FileCheck %s

#rope = #lm.rope<theta = 1.0e+04, dims = 4>
#other = #lm.rope<theta = 1.0e+04, dims = 4, scaling = #lm.linear<factor = 2.0>, dual_chunk = #lm.dual_chunk<chunk = 256, local = 128, original = 256>>
!cache = !lm.kv_cache<layers = 2, heads = 2, head_dim = 4, block = 128, f32>

// CHECK-DAG: lm.weight @rope.frequencies value(dense<[1.000000e+00, 0.00999999977]> : tensor<2xf32>) : tensor<2xf32>
// CHECK-DAG: lm.weight @rope.frequencies.1 value(dense<[5.000000e-01, 5.000000e-03]> : tensor<2xf32>) : tensor<2xf32>
// CHECK-LABEL: @forward
func.func @forward(%b: !lm.batch, %x: tensor<?x8xf32>, %c: !cache) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // One table for each rotation, however many readers it has; three parts with
  // dual chunk attention; a table that is there stays.
  // CHECK-DAG: %[[R:.+]] = lm.rotary_table %{{.+}}, @rope.frequencies rope(#rope1) : tensor<?x4xf32>
  // CHECK-DAG: %[[S:.+]] = lm.rotary_table %{{.+}}, @rope.frequencies.1 rope(#rope) : tensor<?x12xf32>
  // CHECK: lm.rope {{.*}} rotary(%[[R]] : tensor<?x4xf32>)
  // CHECK: lm.kv_append {{.*}} rotary(%[[S]] : tensor<?x12xf32>)
  // CHECK: lm.attention {{.*}} rotary(%[[S]] : tensor<?x12xf32>)
  // CHECK: lm.rope {{.*}} rotary(%[[R]] : tensor<?x4xf32>)
  // CHECK: lm.attention {{.*}} scale 5.000000e-01 :
  %k = lm.rope %x, %b heads 2 rope(#rope) : tensor<?x8xf32>
  %c1 = lm.kv_append %k, %k, %c, %b layer 0 rope(#other) : tensor<?x8xf32>, tensor<?x8xf32>, !cache
  %o = lm.attention %x, %c1, %b layer 0 heads 2 scale 0.5 rope(#other) : tensor<?x8xf32>, !cache -> tensor<?x8xf32>
  %k1 = lm.rope %o, %b heads 2 rope(#rope) : tensor<?x8xf32>
  %c2 = lm.kv_append %k1, %k1, %c1, %b layer 1 : tensor<?x8xf32>, tensor<?x8xf32>, !cache
  %o2 = lm.attention %k1, %c2, %b layer 1 heads 2 scale 0.5 : tensor<?x8xf32>, !cache -> tensor<?x8xf32>
  return %o, %o2 : tensor<?x8xf32>, tensor<?x8xf32>
}
