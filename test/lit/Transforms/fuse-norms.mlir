// RUN: stele-opt --stele-fuse-norms %s | FileCheck %s

lm.weight @n : tensor<8xf32>
lm.weight @n2 : tensor<4xf32>
lm.weight @w : tensor<8x8xf32>

// CHECK-LABEL: @single_readers
func.func @single_readers(%x: tensor<?x8xf32>, %b: !lm.batch) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NOT: lm.rms_norm
  // CHECK: lm.linear %[[X:.+]], @w norm(@n, 1.000000e-05) : tensor<?x8xf32> -> tensor<?x8xf32>
  // CHECK: lm.logits %[[X]], %{{.+}}, @w norm(@n, 2.000000e+00) : tensor<?x8xf32> -> tensor<?x8xf32>
  %0 = lm.rms_norm %x, @n eps 1.0e-05 : tensor<?x8xf32>
  %1 = lm.linear %0, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  %2 = lm.rms_norm %x, @n eps 2.0 : tensor<?x8xf32>
  %3 = lm.logits %2, %b, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  return %1, %3 : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @left_alone
func.func @left_alone(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // Two readers; a norm per head; a reader that has a norm; a residual; an add.
  // CHECK-COUNT-5: lm.rms_norm
  %0 = lm.rms_norm %x, @n eps 1.0e-05 : tensor<?x8xf32>
  %1 = lm.linear %0, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  %2 = lm.linear %0, @w residual(%1 : tensor<?x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32>
  %3 = lm.rms_norm %2, @n2 eps 1.0e-05 groups 2 : tensor<?x8xf32>
  %4 = lm.linear %3, @w : tensor<?x8xf32> -> tensor<?x8xf32>
  %5 = lm.rms_norm %4, @n eps 1.0e-05 : tensor<?x8xf32>
  %6 = lm.linear %5, @w norm(@n, 1.0e-05) : tensor<?x8xf32> -> tensor<?x8xf32>
  %7 = lm.rms_norm %6, @n eps 1.0e-05 : tensor<?x8xf32>
  %8 = lm.linear %x, @w residual(%7 : tensor<?x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32>
  %9 = lm.rms_norm %8, @n eps 1.0e-05 : tensor<?x8xf32>
  %10 = lm.add %9, %x : tensor<?x8xf32>
  return %10 : tensor<?x8xf32>
}
