// RUN: stele-opt --stele-dequantise %s | FileCheck %s

// CHECK: lm.weight @w : tensor<6x3xf32>
lm.weight @w quant <int4, group = 32, scale = f16> : tensor<6x3xf32>
// CHECK: lm.weight @made row_scale({{.*}}) : tensor<6x3xf32>
lm.weight @made quant <int8, group = 32, scale = f16> rounding <nearest> row_scale(dense<2.0> : tensor<6xf32>) importance(dense<1.0> : tensor<3xf32>) : tensor<6x3xf32>
// CHECK-NOT: lm.weight
lm.weight @order value(dense<[1, 2, 0]> : tensor<3xi32>) : tensor<3xi32>

// CHECK-LABEL: @f
func.func @f(%x: tensor<?x3xf32>) -> tensor<?x6xf32> {
  // CHECK: lm.linear %{{.+}}, @w : tensor<?x3xf32>
  %a = lm.linear %x, @w permutation(@order) : tensor<?x3xf32> -> tensor<?x6xf32>
  %b = lm.linear %x, @made residual(%a : tensor<?x6xf32>) : tensor<?x3xf32> -> tensor<?x6xf32>
  return %b : tensor<?x6xf32>
}
