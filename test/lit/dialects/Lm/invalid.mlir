// Every numbered constraint of the lm dialect, broken once.
// RUN: stele-opt -split-input-file -verify-diagnostics -allow-unregistered-dialect %s

//===--- Types

// expected-error@+1 {{layers must be in 1..65536, got 0 (C1)}}
func.func private @f(!lm.kv_cache<layers = 0, heads = 2, head_dim = 16, block = 128, f32>)

// -----

// expected-error@+1 {{block must be a power of two in 16..1024, got 100 (C2)}}
func.func private @f(!lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 100, f32>)

// -----

// expected-error@+1 {{element type must be f32, f16, bf16 or i8, got 'f64' (C3)}}
func.func private @f(!lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f64>)

// -----

// expected-error@+1 {{value_index needs key_index (C4)}}
func.func private @f(!lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32, value_index = true>)

// -----

// expected-error@+1 {{features must be in 1..65536, got -1 (C1)}}
func.func private @f(!lm.kernel_state<layers = 1, heads = 2, head_dim = 16, features = -1>)

// -----

// expected-error@+1 {{heads must be in 1..65536, got 0 (C1)}}
func.func private @f(!lm.selection<heads = 0, block = 128>)

// -----

// expected-error@+1 {{block must be a power of two in 16..1024, got 2048 (C2)}}
func.func private @f(!lm.selection<heads = 2, block = 2048>)

// -----

//===--- Rows

func.func @f(%x: tensor<?x?xf32>) {
  // expected-error@+1 {{must be rows tensor<?xNxf32> with N of 1..2^31-1, but got 'tensor<?x?xf32>'}}
  %0 = lm.add %x, %x : tensor<?x?xf32>
  return
}

// -----

func.func @f(%x: tensor<4x8xf32>) {
  // expected-error@+1 {{must be rows tensor<?xNxf32> with N of 1..2^31-1, but got 'tensor<4x8xf32>'}}
  %0 = lm.add %x, %x : tensor<4x8xf32>
  return
}

// -----

//===--- Attributes

// expected-error@+1 {{factor must be at least 1, got 5.000000e-01 (C1)}}
"t.t"() {a = #lm.linear<factor = 0.5>} : () -> ()

// -----

// expected-error@+1 {{factor must be at least 1, got 5.000000e-01 (C1)}}
"t.t"() {a = #lm.llama3<factor = 0.5, low_freq_factor = 1.0, high_freq_factor = 4.0, original = 8192>} : () -> ()

// -----

// expected-error@+1 {{0 < low_freq_factor < high_freq_factor must hold, got 4.000000e+00 and 4.000000e+00 (C2)}}
"t.t"() {a = #lm.llama3<factor = 8.0, low_freq_factor = 4.0, high_freq_factor = 4.0, original = 8192>} : () -> ()

// -----

// expected-error@+1 {{original must be positive, got 0 (C3)}}
"t.t"() {a = #lm.llama3<factor = 8.0, low_freq_factor = 1.0, high_freq_factor = 4.0, original = 0>} : () -> ()

// -----

// expected-error@+1 {{factor must be at least 1, got 5.000000e-01 (C1)}}
"t.t"() {a = #lm.yarn<factor = 0.5, original = 2048, attention_factor = 1.0>} : () -> ()

// -----

// expected-error@+1 {{0 < beta_slow < beta_fast must hold, got 1.000000e+00 and 1.000000e+00 (C2)}}
"t.t"() {a = #lm.yarn<factor = 4.0, original = 2048, attention_factor = 1.0, beta_fast = 1.0>} : () -> ()

// -----

// expected-error@+1 {{original must be positive, got -1 (C3)}}
"t.t"() {a = #lm.yarn<factor = 4.0, original = -1, attention_factor = 1.0>} : () -> ()

// -----

// expected-error@+1 {{attention_factor must be positive, got 0.000000e+00 (C4)}}
"t.t"() {a = #lm.yarn<factor = 4.0, original = 2048, attention_factor = 0.0>} : () -> ()

// -----

// expected-error@+1 {{factors must be finite and positive, got 0.000000e+00 (C1)}}
"t.t"() {a = #lm.factors<1.0, 0.0>} : () -> ()

// -----

// expected-error@+1 {{0 < local < chunk must hold, got 1024 and 1024 (C1)}}
"t.t"() {a = #lm.dual_chunk<chunk = 1024, local = 1024, original = 1024>} : () -> ()

// -----

// expected-error@+1 {{original must not be negative, got -1 (C2)}}
"t.t"() {a = #lm.dual_chunk<chunk = 1024, local = 128, original = -1>} : () -> ()

// -----

// expected-error@+1 {{theta must be at least 1, got 5.000000e-01 (C1)}}
"t.t"() {a = #lm.rope<theta = 0.5, dims = 64>} : () -> ()

// -----

// expected-error@+1 {{dims must be even and in 2..65536, got 63 (C2)}}
"t.t"() {a = #lm.rope<theta = 1.0e+04, dims = 63>} : () -> ()

// -----

// expected-error@+1 {{scaling must be #lm.linear, #lm.llama3, #lm.yarn or #lm.factors, got "linear" (C3)}}
"t.t"() {a = #lm.rope<theta = 1.0e+04, dims = 64, scaling = "linear">} : () -> ()

// -----

// expected-error@+1 {{factors must be dims / 2 = 32 values, got 1 (C4)}}
"t.t"() {a = #lm.rope<theta = 1.0e+04, dims = 64, scaling = #lm.factors<1.0>>} : () -> ()

// -----

// expected-error@+1 {{block must be a power of two in 16..1024, got 8 (C1)}}
"t.t"() {a = #lm.block_sparsity<block = 8, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key>} : () -> ()

// -----

// expected-error@+1 {{local must be at least 1, got 0 (C2)}}
"t.t"() {a = #lm.block_sparsity<block = 128, local = 0, adjacent = 1, sink = 1, select = none, estimate = mean_key>} : () -> ()

// -----

// expected-error@+1 {{adjacent, sink and dense must not be negative, got 1, -1 and 0 (C3)}}
"t.t"() {a = #lm.block_sparsity<block = 128, local = 1, adjacent = 1, sink = -1, select = none, estimate = mean_key>} : () -> ()

// -----

// expected-error@+1 {{top_k must be at least 1, got 0 (C4)}}
"t.t"() {a = #lm.block_sparsity<block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(0), estimate = mean_key>} : () -> ()

// -----

// expected-error@+1 {{top_p must be in (0, 1], got 1.500000e+00 (C5)}}
"t.t"() {a = #lm.block_sparsity<block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(1.5), estimate = mean_key>} : () -> ()

// -----

// expected-error@+1 {{limit must be 0 for top_k and is never negative, got 2 (C6)}}
"t.t"() {a = #lm.block_sparsity<block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key, limit = 2>} : () -> ()

// -----

// expected-error@+1 {{limit must be 0 for top_p and is never negative, got -1 (C6)}}
"t.t"() {a = #lm.block_sparsity<block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(0.5), estimate = mean_key, limit = -1>} : () -> ()

// -----

// expected-error@+1 {{expected none, top_k, top_p or top_share, got best}}
"t.t"() {a = #lm.block_sparsity<block = 128, local = 1, adjacent = 1, sink = 1, select = best, estimate = mean_key>} : () -> ()

// -----

// expected-error@+1 {{features must be in 1..65536, got 0 (C1)}}
"t.t"() {a = #lm.feature_map<favor_plus, features = 0, orthogonal = true, seed = 0>} : () -> ()

// -----

// expected-error@+1 {{a segment needs a name and a source, got "" and "w" (C1)}}
"t.t"() {a = #lm.segment<name = "", source = "w", rows = 1>} : () -> ()

// -----

// expected-error@+1 {{rows must be in 1..2^40 and first_row in 0..2^40, got 0 and 0 (C2)}}
"t.t"() {a = #lm.segment<name = "q", source = "w", rows = 0>} : () -> ()

// -----

// expected-error@+1 {{group must be a power of two in 16..256, got 24 (C1)}}
"t.t"() {a = #lm.quant<int4, group = 24, scale = f16>} : () -> ()

// -----

// expected-error@+1 {{scale must be f16 or f32, got 'bf16' (C2)}}
"t.t"() {a = #lm.quant<int4, group = 32, scale = bf16>} : () -> ()

// -----

// expected-error@+1 {{offset must be f16 or f32, got 'i8' (C3)}}
"t.t"() {a = #lm.quant<int4, group = 32, scale = f16, offset = i8>} : () -> ()

// -----

// expected-error@+1 {{a tile constant needs a name (C1)}}
"t.t"() {a = #lm.tile<"", 6>} : () -> ()

// -----

// expected-error@+1 {{tile constant rows must be positive, got 0 (C2)}}
"t.t"() {a = #lm.tile<"rows", 0>} : () -> ()

// -----

// expected-error@+1 {{a kernel needs a template and a target, got "" and "x86-64-v3" (C1)}}
"t.t"() {a = #lm.kernel<"", target = "x86-64-v3">} : () -> ()

// -----

// expected-error@+1 {{tile constant rows is named twice (C2)}}
"t.t"() {a = #lm.kernel<"linear_f32", target = "x86-64-v3", tile = [<"rows", 6>, <"rows", 8>]>} : () -> ()

// -----

// expected-error@+1 {{temperature must not be negative, got -1.000000e+00 (C1)}}
"t.t"() {a = #lm.sampling<temperature = -1.0>} : () -> ()

// -----

// expected-error@+1 {{top_k must not be negative, got -1 (C2)}}
"t.t"() {a = #lm.sampling<top_k = -1>} : () -> ()

// -----

// expected-error@+1 {{top_p must be in (0, 1], got 0.000000e+00 (C3)}}
"t.t"() {a = #lm.sampling<top_p = 0.0>} : () -> ()

// -----

// expected-error@+1 {{min_p must be in [0, 1], got 2.000000e+00 (C4)}}
"t.t"() {a = #lm.sampling<min_p = 2.0>} : () -> ()

// -----

// expected-error@+1 {{repetition_penalty must be positive, got 0.000000e+00 (C5)}}
"t.t"() {a = #lm.sampling<repetition_penalty = 0.0>} : () -> ()

// -----

// expected-error@+1 {{architecture must not be empty (C1)}}
"t.t"() {a = #lm.model<architecture = "", name = "t", vocab = 100, hidden = 64, layers = 1, heads = 4, kv_heads = 2, head_dim = 16, context_length = 512, trained_context = 512, parameters = 1, eos = [2]>} : () -> ()

// -----

// expected-error@+1 {{hidden must be in 1..2147483647, got 0 (C2)}}
"t.t"() {a = #lm.model<architecture = "llama", name = "t", vocab = 100, hidden = 0, layers = 1, heads = 4, kv_heads = 2, head_dim = 16, context_length = 512, trained_context = 512, parameters = 1, eos = [2]>} : () -> ()

// -----

// expected-error@+1 {{kv_heads must divide heads, got 2 and 5 (C3)}}
"t.t"() {a = #lm.model<architecture = "llama", name = "t", vocab = 100, hidden = 64, layers = 1, heads = 5, kv_heads = 2, head_dim = 16, context_length = 512, trained_context = 512, parameters = 1, eos = [2]>} : () -> ()

// -----

// expected-error@+1 {{sliding_window must not be negative, got -1 (C4)}}
"t.t"() {a = #lm.model<architecture = "llama", name = "t", vocab = 100, hidden = 64, layers = 1, heads = 4, kv_heads = 2, head_dim = 16, context_length = 512, trained_context = 512, parameters = 1, eos = [2], sliding_window = -1>} : () -> ()

// -----

// expected-error@+1 {{eos id must be in [0, 100), got 100 (C5)}}
"t.t"() {a = #lm.model<architecture = "llama", name = "t", vocab = 100, hidden = 64, layers = 1, heads = 4, kv_heads = 2, head_dim = 16, context_length = 512, trained_context = 512, parameters = 1, eos = [100]>} : () -> ()

// -----

//===--- Module attributes

// expected-error@+1 {{needs a #lm.model as 'lm.model'}}
module attributes {lm.model = 1} {}

// -----

// expected-error@+1 {{needs a #lm.arithmetic as 'lm.arithmetic'}}
module attributes {lm.arithmetic = "f32"} {}

// -----

// expected-error@+1 {{needs an array of f32 matrices as 'lm.mean_queries'}}
module attributes {lm.mean_queries = [dense<1.0> : tensor<16xf32>]} {}

// -----

// expected-error@+1 {{needs an array of f32 matrices as 'lm.mean_queries'}}
module attributes {lm.mean_queries = [dense<1.0> : tensor<2x16xf64>]} {}

// -----

// expected-error@+1 {{has unknown lm attribute 'lm.modle'}}
module attributes {lm.modle = 1} {}

// -----

// expected-error@+1 {{has attribute 'lm.arithmetic', which belongs on a module}}
func.func private @f() attributes {lm.arithmetic = #lm.arithmetic<f32>}

// -----

//===--- lm.weight

// expected-error@+1 {{type must have 1 or 2 dimensions of 1..2^40, got 'tensor<?x4xf32>' (C1)}}
lm.weight @w : tensor<?x4xf32>

// -----

// expected-error@+1 {{segments and value exclude each other (C2)}}
lm.weight @w segments [#lm.segment<name = "a", source = "w", rows = 2>] value(dense<0.0> : tensor<2xf32>) : tensor<2xf32>

// -----

// expected-error@+1 {{segments have 3 rows, the weight has 4 (C3)}}
lm.weight @w segments [#lm.segment<name = "a", source = "w", rows = 2>, #lm.segment<name = "b", source = "w", rows = 1>] : tensor<4xf32>

// -----

// expected-error@+1 {{segment a is named twice (C4)}}
lm.weight @w segments [#lm.segment<name = "a", source = "w", rows = 2>, #lm.segment<name = "a", source = "w", rows = 2>] : tensor<4xf32>

// -----

// expected-error@+1 {{value has type 'tensor<2xf32>', the weight 'tensor<4xf32>' (C5)}}
lm.weight @w value(dense<0.0> : tensor<2xf32>) : tensor<4xf32>

// -----

// expected-error@+1 {{quant is for matrices of the checkpoint, got 'tensor<48xf32>' (C6)}}
lm.weight @w quant <int4, group = 32, scale = f16> : tensor<48xf32>

// -----

// expected-error@+1 {{quant is for matrices of the checkpoint, got a value of 'tensor<1x16xf32>' (C6)}}
lm.weight @w value(dense<0.0> : tensor<1x16xf32>) quant <int4, group = 32, scale = f16> : tensor<1x16xf32>

// -----

// expected-error@+1 {{rounding needs quant (C7)}}
lm.weight @w rounding <nearest> : tensor<4x32xf32>

// -----

// expected-error@+1 {{importance needs rounding (C7)}}
lm.weight @w quant <int4, group = 32, scale = f16> importance(dense<1.0> : tensor<32xf32>) : tensor<4x32xf32>

// -----

// expected-error@+1 {{row_scale of type 'tensor<3xf32>' does not fit 'tensor<4x32xf32>' (C8)}}
lm.weight @w row_scale(dense<1.0> : tensor<3xf32>) : tensor<4x32xf32>

// -----

// expected-error@+1 {{column_scale of type 'tensor<4xf32>' does not fit 'tensor<4xf32>' (C8)}}
lm.weight @w column_scale(dense<1.0> : tensor<4xf32>) : tensor<4xf32>

// -----

// expected-error@+1 {{importance of type 'tensor<32xf64>' does not fit 'tensor<4x32xf32>' (C8)}}
lm.weight @w quant <int4, group = 32, scale = f16> rounding <nearest> importance(dense<1.0> : tensor<32xf64>) : tensor<4x32xf32>

// -----

// expected-error@+1 {{scales of a quantised weight need rounding, its codes would change (C9)}}
lm.weight @w quant <int4, group = 32, scale = f16> column_scale(dense<1.0> : tensor<32xf32>) : tensor<4x32xf32>

// -----

//===--- lm.weight_ref

lm.weight @w : tensor<4xf32>
func.func @f() {
  // expected-error@+1 {{'lm.weight_ref' op weight @w must have shape [3], got [4] (C1)}}
  %0 = lm.weight_ref @w : tensor<3xf32>
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{'lm.weight_ref' op weight @w does not name an lm.weight (C1)}}
  %0 = lm.weight_ref @w : tensor<3xf32>
  return
}

// -----

//===--- lm.embed

lm.weight @w : tensor<100x4xf32>
func.func @f(%t: tensor<?xi32>) {
  // expected-error@+1 {{table @w must have shape [?, 8], got [100, 4] (C1)}}
  %0 = lm.embed %t, @w : tensor<?xi32> -> tensor<?x8xf32>
  return
}

// -----

//===--- lm.rms_norm

lm.weight @w : tensor<8xf32>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{epsilon must be finite and not negative, got -1.000000e+00 (C1)}}
  %0 = lm.rms_norm %x, @w eps -1.0 : tensor<?x8xf32>
  return
}

// -----

lm.weight @w : tensor<8xf32>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{groups must divide the columns, got 3 and 8 (C2)}}
  %0 = lm.rms_norm %x, @w eps 1.0e-05 groups 3 : tensor<?x8xf32>
  return
}

// -----

lm.weight @w : tensor<8xf32>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{weight @w must have shape [4], got [8] (C3)}}
  %0 = lm.rms_norm %x, @w eps 1.0e-05 groups 2 : tensor<?x8xf32>
  return
}

// -----

//===--- lm.linear

lm.weight @w : tensor<6x4xf32>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{weight @w must have shape [?, 8], got [6, 4] (C1)}}
  %0 = lm.linear %x, @w : tensor<?x8xf32> -> tensor<?x6xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{output must have 6 columns for 6 rows of weight, got 5 (C2)}}
  %0 = lm.linear %x, @w : tensor<?x8xf32> -> tensor<?x5xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{norm_weight and norm_eps must come together (C3)}}
  %0 = lm.linear %x, @w {norm_eps = 1.0 : f64} : tensor<?x8xf32> -> tensor<?x6xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
lm.weight @n : tensor<8xf32>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{epsilon must be finite and not negative, got -1.000000e+00 (C4)}}
  %0 = lm.linear %x, @w norm(@n, -1.0) : tensor<?x8xf32> -> tensor<?x6xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
lm.weight @b : tensor<3xf32>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{bias @b must have shape [6], got [3] (C5)}}
  %0 = lm.linear %x, @w bias(@b) : tensor<?x8xf32> -> tensor<?x6xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{glu needs a weight of two segments of equal rows, @w has 1 (C6)}}
  %0 = lm.linear %x, @w glu <silu> : tensor<?x8xf32> -> tensor<?x3xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
func.func @f(%x: tensor<?x8xf32>, %r: tensor<?x3xf32>) {
  // expected-error@+1 {{glu and residual exclude each other (C7)}}
  %0 = lm.linear %x, @w glu <silu> residual(%r : tensor<?x3xf32>) : tensor<?x8xf32> -> tensor<?x3xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
func.func @f(%x: tensor<?x8xf32>, %r: tensor<?x3xf32>) {
  // expected-error@+1 {{residual must have type 'tensor<?x6xf32>', got 'tensor<?x3xf32>' (C8)}}
  %0 = lm.linear %x, @w residual(%r : tensor<?x3xf32>) : tensor<?x8xf32> -> tensor<?x6xf32>
  return
}

// -----

lm.weight @w : tensor<6x3xf32>
lm.weight @p value(dense<[0, 2, 2]> : tensor<3xi32>) : tensor<3xi32>
func.func @f(%x: tensor<?x3xf32>) {
  // expected-error@+1 {{permutation @p must hold each of 0..2 as i32 (C9)}}
  %0 = lm.linear %x, @w permutation(@p) : tensor<?x3xf32> -> tensor<?x6xf32>
  return
}

// -----

lm.weight @w : tensor<6x3xf32>
lm.weight @p : tensor<3xi32>
func.func @f(%x: tensor<?x3xf32>) {
  // expected-error@+1 {{permutation @p must hold each of 0..2 as i32 (C9)}}
  %0 = lm.linear %x, @w permutation(@p) : tensor<?x3xf32> -> tensor<?x6xf32>
  return
}

// -----

//===--- lm.all_reduce

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{ranks must be positive, got 0 (C1)}}
  %0 = lm.all_reduce %x ranks 0 : tensor<?x8xf32>
  return
}

// -----

//===--- lm.logits

lm.weight @w : tensor<5x8xf32>
func.func @f(%x: tensor<?x8xf32>, %b: !lm.batch) {
  // expected-error@+1 {{weight @w must have shape [6, 8], got [5, 8] (C1)}}
  %0 = lm.logits %x, %b, @w : tensor<?x8xf32> -> tensor<?x6xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
lm.weight @n : tensor<7xf32>
func.func @f(%x: tensor<?x8xf32>, %b: !lm.batch) {
  // expected-error@+1 {{norm weight @n must have shape [8], got [7] (C2)}}
  %0 = lm.logits %x, %b, @w norm(@n, 1.0) : tensor<?x8xf32> -> tensor<?x6xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
lm.weight @n : tensor<8xf32>
func.func @f(%x: tensor<?x8xf32>, %b: !lm.batch) {
  // expected-error@+1 {{epsilon must be finite and not negative, got -1.000000e+00 (C3)}}
  %0 = lm.logits %x, %b, @w norm(@n, -1.0) : tensor<?x8xf32> -> tensor<?x6xf32>
  return
}

// -----

lm.weight @w : tensor<6x8xf32>
lm.weight @b : tensor<8xf32>
func.func @f(%x: tensor<?x8xf32>, %b: !lm.batch) {
  // expected-error@+1 {{bias @b must have shape [6], got [8] (C4)}}
  %0 = lm.logits %x, %b, @w bias(@b) : tensor<?x8xf32> -> tensor<?x6xf32>
  return
}

// -----

//===--- lm.rotary_table

lm.weight @w : tensor<16xf32>
func.func @f(%b: !lm.batch) {
  // expected-error@+1 {{frequencies @w must have shape [8], got [16] (C1)}}
  %0 = lm.rotary_table %b, @w rope(<theta = 1.0e+04, dims = 16>) : tensor<?x16xf32>
  return
}

// -----

lm.weight @w : tensor<8xf32>
func.func @f(%b: !lm.batch) {
  // expected-error@+1 {{output must have 48 columns, got 16 (C2)}}
  %0 = lm.rotary_table %b, @w rope(<theta = 1.0e+04, dims = 16, dual_chunk = <chunk = 256, local = 128, original = 256>>) : tensor<?x16xf32>
  return
}

// -----

//===--- lm.rope

func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch) {
  // expected-error@+1 {{heads must divide the columns, got 3 and 32 (C1)}}
  %0 = lm.rope %x, %b heads 3 rope(<theta = 1.0e+04, dims = 16>) : tensor<?x32xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch) {
  // expected-error@+1 {{rope dims must be at most head_dim, got 16 and 8 (C2)}}
  %0 = lm.rope %x, %b heads 4 rope(<theta = 1.0e+04, dims = 16>) : tensor<?x32xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch) {
  // expected-error@+1 {{rotary must have 16 columns, got 32 (C3)}}
  %0 = lm.rope %x, %b heads 2 rope(<theta = 1.0e+04, dims = 16>) rotary(%x : tensor<?x32xf32>) : tensor<?x32xf32>
  return
}

// -----

//===--- lm.kv_append

func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{layer must be in [0, 2), got 2 (C1)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 2 : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{value takes 2 heads of 16 from column 16 of 32 (C2)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 0 value_offset 16 : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
  return
}

// -----

lm.weight @n : tensor<8xf32>
func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{norm weight @n must have shape [16], got [8] (C3)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 0 norm(@n, 1.0) : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
  return
}

// -----

lm.weight @n : tensor<16xf32>
func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{epsilon must be finite and not negative, got -1.000000e+00 (C4)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 0 norm(@n, -1.0) : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{rope dims must be at most head_dim, got 32 and 16 (C5)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 0 rope(<theta = 1.0e+04, dims = 32>) : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{rotary needs rope (C6)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 0 rotary(%x : tensor<?x32xf32>) : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
  return
}

// -----

lm.weight @m : tensor<2x16xf32>
func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{reference needs a cache with a key_index (C7)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 0 reference(@m) : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true>) {
  // expected-error@+1 {{reference @m does not name an lm.weight (C7)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 0 reference(@m) : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true>
  return
}

// -----

lm.weight @m : tensor<1x16xf32>
func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true>) {
  // expected-error@+1 {{reference @m must have shape [2, 16], got [1, 16] (C7)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 0 reference(@m) : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true>
  return
}

// -----

lm.weight @m : tensor<2x16xbf16>
func.func @f(%x: tensor<?x32xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true>) {
  // expected-error@+1 {{reference @m must be of f32 (C7)}}
  %0 = lm.kv_append %x, %x, %c, %b layer 0 reference(@m) : tensor<?x32xf32>, tensor<?x32xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true>
  return
}

// -----

//===--- lm.attention

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{layer must be in [0, 2), got -1 (C1)}}
  %0 = lm.attention %q, %c, %b layer -1 heads 4 scale 0.25 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{heads must be a positive multiple of the cache's, got 3 and 2 (C2)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 3 scale 0.25 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{query takes 4 heads of 16 from column 16 of 64 (C3)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 query_offset 16 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{output must have 64 columns, got 32 (C4)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x32xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{scale must be finite and positive, got 0.000000e+00 (C5)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.0 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

lm.weight @n : tensor<8xf32>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{norm weight @n must have shape [16], got [8] (C6)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 norm(@n, 1.0) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{rotary must have 16 columns, got 64 (C7)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 rope(<theta = 1.0e+04, dims = 16>) rotary(%q : tensor<?x64xf32>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{lse must have 4 columns, got 2 (C8)}}
  %0, %1 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{window must be positive, got 0 (C9)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 window 0 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{query takes 9223372036854775806 heads of 16 from column 0 of 64 (C3)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 9223372036854775806 scale 0.25 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{query takes 4 heads of 16 from column 9223372036854775807 of 64 (C3)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 query_offset 9223372036854775807 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{block must divide chunk - local, got 128 and 156 (C10)}}
  %0 = lm.attention %q, %c, %b layer 0 heads 4 scale 0.25 rope(<theta = 1.0e+04, dims = 16, dual_chunk = <chunk = 256, local = 100, original = 256>>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>
  return
}

// -----

//===--- lm.select_blocks

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{layer must be in [0, 2), got 9 (C1)}}
  %0 = lm.select_blocks %q, %c, %b layer 9 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{heads must be a positive multiple of the cache's, got 0 and 2 (C2)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 0 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{query takes 4 heads of 16 from column 32 of 64 (C3)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> query_offset 32 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{scale must be finite and positive, got -1.000000e+00 (C5)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale -1.0 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

lm.weight @n : tensor<8xf32>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{norm weight @n must have shape [16], got [8] (C6)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> norm(@n, 1.0) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{rope dims must be at most head_dim, got 32 and 16 (C7)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> rope(<theta = 1.0e+04, dims = 32>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{selection must have heads = 2 and block = 128, got '!lm.selection<heads = 4, block = 128>' (C8)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 4, block = 128>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{sparsity must choose, got none (C9)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{block must divide chunk - local, got 128 and 156 (C10)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> rope(<theta = 1.0e+04, dims = 16, dual_chunk = <chunk = 256, local = 100, original = 256>>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

lm.weight @t : tensor<2xf32>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{targets need top_p (C11)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> targets(@t) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

lm.weight @t : tensor<4xf32>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{targets @t must have shape [2], got [4] (C11)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(9.0e-01), estimate = mean_key> targets(@t) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

lm.weight @t : tensor<2xbf16>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{targets @t must be of f32 (C11)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(9.0e-01), estimate = mean_key> targets(@t) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{targets @t does not name an lm.weight (C11)}}
  %0 = lm.select_blocks %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(9.0e-01), estimate = mean_key> targets(@t) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> !lm.selection<heads = 2, block = 128>
  return
}

// -----

//===--- lm.block_sparse_attention

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{layer must be in [0, 2), got 2 (C1)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 2 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{heads must be a positive multiple of the cache's, got 5 and 2 (C2)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 5 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{query takes 4 heads of 16 from column -1 of 64 (C3)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> query_offset -1 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{output must have 64 columns, got 16 (C4)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x16xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{scale must be finite and positive, got 0.000000e+00 (C5)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.0 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{norm_weight and norm_eps must come together (C6)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> {norm_eps = 1.0 : f64} : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{rotary needs rope (C7)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> rotary(%q : tensor<?x64xf32>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{lse must have 4 columns, got 64 (C8)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x64xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{select = top_k needs a selection (C9)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.selection<heads = 2, block = 64>) {
  // expected-error@+1 {{selection must have heads = 2 and block = 128, got '!lm.selection<heads = 2, block = 64>' (C10)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_p(0.9), estimate = mean_key> selection(%s : !lm.selection<heads = 2, block = 64>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %r: tensor<2x8xf32>) {
  // expected-error@+1 {{bias must be [4, at least 1], got 'tensor<2x8xf32>' (C11)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> bias(%r : tensor<2x8xf32>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>) {
  // expected-error@+1 {{block must divide chunk - local, got 128 and 156 (C12)}}
  %0, %1 = lm.block_sparse_attention %q, %c, %b layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> rope(<theta = 1.0e+04, dims = 16, dual_chunk = <chunk = 256, local = 100, original = 256>>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

//===--- lm.tail_attention

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{heads must be a positive multiple of the cache's, got 3 and 2 (C2)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 3 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{output must have 64 columns, got 32 (C4)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x32xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x2xf32>) {
  // expected-error@+1 {{lse must have 4 columns, got 2 (C8)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 64>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{selection must have heads = 2 and block = 128, got '!lm.selection<heads = 2, block = 64>' (C9)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 64> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{sparsity must choose by mean_key (C10)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = none, estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{sparsity must choose by mean_key (C10)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = antidiagonal> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{needs a cache with a value_index (C12)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

lm.weight @m : tensor<2xf32>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{biases @m must have shape [4], got [2] (C13)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> biases(@m) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

lm.weight @m : tensor<4xbf16>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{biases @m must be of f32 (C13)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> biases(@m) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{block must divide chunk - local, got 128 and 192 (C11)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> rope(<theta = 1.0e+04, dims = 16, dual_chunk = <chunk = 256, local = 64, original = 256>>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{layer must be in [0, 2), got 2 (C1)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 2 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{query takes 4 heads of 16 from column 16 of 64 (C3)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> query_offset 16 : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{scale must be finite and positive, got 0.000000e+00 (C5)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.0 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

lm.weight @n : tensor<8xf32>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{norm weight @n must have shape [16], got [8] (C6)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> norm(@n, 1.0) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, %s: !lm.selection<heads = 2, block = 128>, %a: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{rope dims must be at most head_dim, got 32 and 16 (C7)}}
  %0, %1 = lm.tail_attention %q, %c, %b, %s, %a, %l layer 0 heads 4 scale 0.25 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(4), estimate = mean_key> rope(<theta = 1.0e+04, dims = 32>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 2, block = 128> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

//===--- lm.kernelized_attention

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{layer must be in [0, 2), got 3 (C1)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 3 heads 4 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{heads must be a positive multiple of the cache's, got -2 and 2 (C2)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads -2 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{query takes 6 heads of 16 from column 0 of 64 (C3)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 6 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{output must have 64 columns, got 8 (C4)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 4 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x8xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{scale must be finite and positive, got -2.500000e-01 (C5)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 4 scale -0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

lm.weight @n : tensor<1xf32>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{norm weight @n must have shape [16], got [1] (C6)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 4 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> norm(@n, 1.0) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{rope dims must be at most head_dim, got 18 and 16 (C7)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 4 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> rope(<theta = 1.0e+04, dims = 18>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{lse must have 4 columns, got 1 (C8)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 4 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x1xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 64>) {
  // expected-error@+1 {{state must be '!lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>', got '!lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 64>' (C9)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 4 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 64> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>, %t: !lm.selection<heads = 4, block = 128>) {
  // expected-error@+1 {{selection must have 2 heads, got 4 (C10)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 4 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> selection(%t : !lm.selection<heads = 4, block = 128>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

lm.weight @w : tensor<16x16xf32>
func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{features @w must have shape [32, 16], got [16, 16] (C11)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 4 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> features(@w) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%q: tensor<?x64xf32>, %b: !lm.batch, %c: !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, %s: !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32>) {
  // expected-error@+1 {{rope must not have dual_chunk, got #lm.rope<theta = 1.000000e+04, dims = 16, dual_chunk = <chunk = 256, local = 128, original = 256>> (C12)}}
  %0, %1, %2 = lm.kernelized_attention %q, %c, %b, %s layer 0 heads 4 scale 0.25 <favor_plus, features = 32, orthogonal = true, seed = 0> rope(<theta = 1.0e+04, dims = 16, dual_chunk = <chunk = 256, local = 128, original = 256>>) : tensor<?x64xf32>, !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>, !lm.kernel_state<layers = 2, heads = 2, head_dim = 16, features = 32> -> tensor<?x64xf32>, tensor<?x4xf32>
  return
}

// -----

//===--- lm.merge

func.func @f() {
  // expected-error@+1 {{needs at least one part (C1)}}
  %0 = "lm.merge"() <{heads = 4 : i64}> : () -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%o: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{a part must be 'tensor<?x64xf32>' with an lse of 2 columns, got 'tensor<?x64xf32>' and 'tensor<?x4xf32>' (C2)}}
  %0 = lm.merge(%o) lse(%l) heads 2 : tensor<?x64xf32>, tensor<?x4xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%o: tensor<?x64xf32>, %l: tensor<?x5xf32>) {
  // expected-error@+1 {{heads must divide the columns, got 5 and 64 (C3)}}
  %0 = lm.merge(%o) lse(%l) heads 5 : tensor<?x64xf32>, tensor<?x5xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%o: tensor<?x64xf32>, %l: tensor<?x4xf32>) {
  // expected-error@+1 {{lse must have 4 columns, got 2 (C4)}}
  %0, %1 = lm.merge(%o) lse(%l) heads 4 : tensor<?x64xf32>, tensor<?x4xf32> -> tensor<?x64xf32>, tensor<?x2xf32>
  return
}

// -----

// expected-error@+1 {{needs a name in 'lm.name' of result 0}}
func.func @f(%o: tensor<?x64xf32>) -> (tensor<?x64xf32> {lm.name = ""}) {
  return %o : tensor<?x64xf32>
}

// -----

// expected-error@+1 {{has unknown lm attribute 'lm.nome' on result 0}}
func.func @f(%o: tensor<?x64xf32>) -> (tensor<?x64xf32> {lm.nome = "x"}) {
  return %o : tensor<?x64xf32>
}
