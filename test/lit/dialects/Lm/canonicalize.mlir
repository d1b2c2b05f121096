// Folds and canonicalisers: what disappears, and what must not.
// RUN: stele-opt -canonicalize -split-input-file %s | FileCheck %s

// CHECK-LABEL: @all_reduce
func.func @all_reduce(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-SAME: (%[[X:.+]]: tensor<?x8xf32>)
  // CHECK-NEXT: %[[TWO:.+]] = lm.all_reduce %[[X]] ranks 2
  // CHECK-NEXT: return %[[X]], %[[TWO]]
  %one = lm.all_reduce %x ranks 1 : tensor<?x8xf32>
  %two = lm.all_reduce %x ranks 2 : tensor<?x8xf32>
  return %one, %two : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// CHECK-LABEL: @merge_of_one
func.func @merge_of_one(%o: tensor<?x64xf32>, %l: tensor<?x4xf32>)
    -> (tensor<?x64xf32>, tensor<?x4xf32>) {
  // CHECK-SAME: (%[[O:.+]]: tensor<?x64xf32>, %[[L:.+]]: tensor<?x4xf32>)
  // CHECK-NEXT: return %[[O]], %[[L]]
  %0, %1 = lm.merge(%o) lse(%l) heads 4 : tensor<?x64xf32>, tensor<?x4xf32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return %0, %1 : tensor<?x64xf32>, tensor<?x4xf32>
}

// -----

// CHECK-LABEL: @merge_of_two
func.func @merge_of_two(%o: tensor<?x64xf32>, %l: tensor<?x4xf32>) -> tensor<?x64xf32> {
  // Nobody reads the log-sum-exp: it goes. The merge stays.
  // CHECK: %[[M:.+]] = lm.merge(%{{.+}}, %{{.+}}) lse(%{{.+}}, %{{.+}}) heads 4 : tensor<?x64xf32>, tensor<?x4xf32> -> tensor<?x64xf32>{{$}}
  // CHECK-NEXT: return %[[M]]
  %0, %1 = lm.merge(%o, %o) lse(%l, %l) heads 4 : tensor<?x64xf32>, tensor<?x4xf32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return %0 : tensor<?x64xf32>
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>

// CHECK-LABEL: @attention
func.func @attention(%q: tensor<?x64xf32>, %c: !cache, %b: !lm.batch)
    -> (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x4xf32>) {
  // CHECK: %[[A:.+]] = lm.attention {{.*}} window 7 {{.*}} -> tensor<?x64xf32>{{$}}
  // CHECK: %[[O:.+]], %[[L:.+]] = lm.attention {{.*}} -> tensor<?x64xf32>, tensor<?x4xf32>
  // CHECK-NEXT: return %[[A]], %[[O]], %[[L]]
  %0, %1 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 window 7 : tensor<?x64xf32>, !cache -> tensor<?x64xf32>, tensor<?x4xf32>
  %2, %3 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 : tensor<?x64xf32>, !cache -> tensor<?x64xf32>, tensor<?x4xf32>
  return %0, %2, %3 : tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x4xf32>
}
