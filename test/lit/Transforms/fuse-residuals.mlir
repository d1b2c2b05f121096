// RUN: stele-opt --stele-fuse-residuals %s | FileCheck %s

lm.weight @w : tensor<8x8xf32>
lm.weight @gate_up segments [
  #lm.segment<name = "gate", source = "gate", rows = 8>,
  #lm.segment<name = "up", source = "up", rows = 8>
] : tensor<16x8xf32>

// CHECK-LABEL: @either_side
func.func @either_side(%x: tensor<?x8xf32>, %h: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-SAME: (%[[X:.+]]: tensor<?x8xf32>, %[[H:.+]]: tensor<?x8xf32>)
  // CHECK-NEXT: %[[A:.+]] = lm.linear %[[X]], @w residual(%[[H]] : tensor<?x8xf32>)
  // CHECK-NEXT: %[[B:.+]] = lm.linear %[[X]], @w residual(%[[A]] : tensor<?x8xf32>)
  // CHECK-NEXT: return %[[B]]
  %0 = lm.linear %x, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  %1 = lm.add %h, %0 : tensor<?x8xf32>
  %2 = lm.linear %x, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  %3 = lm.add %2, %1 : tensor<?x8xf32>
  return %3 : tensor<?x8xf32>
}

// The residual is made after the linear: the linear moves behind it.
// CHECK-LABEL: @residual_made_later
func.func @residual_made_later(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: %[[N:.+]] = lm.glu
  // CHECK-NEXT: %[[L:.+]] = lm.linear %{{.+}}, @w residual(%[[N]] : tensor<?x8xf32>)
  // CHECK-NEXT: return %[[L]]
  %0 = lm.linear %x, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  %1 = lm.glu %x, %x <silu> : tensor<?x8xf32>
  %2 = lm.add %1, %0 : tensor<?x8xf32>
  return %2 : tensor<?x8xf32>
}

// CHECK-LABEL: @left_alone
func.func @left_alone(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  // A second reader, a glu epilogue, and no linear at all.
  // CHECK-COUNT-3: lm.add
  %0 = lm.linear %x, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  %1 = lm.add %x, %0 : tensor<?x8xf32>
  %2 = lm.linear %0, @gate_up glu <silu> : tensor<?x8xf32> -> tensor<?x8xf32>
  %3 = lm.add %2, %x : tensor<?x8xf32>
  %4 = lm.add %x, %x : tensor<?x8xf32>
  return %1, %3, %4 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}
