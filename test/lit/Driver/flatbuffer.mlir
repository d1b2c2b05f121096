// A plan with every operation goes to its FlatBuffer and back, and gives the same
// FlatBuffer again. What an artifact does not carry is gone: where tensors came
// from, how kernels were made.
// RUN: stele-translate --plan-to-flatbuffer %s -o %t.plan
// RUN: stele-translate --artifact-to-plan %t.plan -o %t.mlir
// RUN: FileCheck %s --input-file %t.mlir
// RUN: stele-translate --plan-to-flatbuffer %t.mlir -o %t.again
// RUN: cmp %t.plan %t.again

// Bytes that are no plan are refused.
// RUN: not stele-translate --artifact-to-plan %s 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: input: is neither an artifact nor a plan's FlatBuffer

// A plan without places for its buffers is not exported.
// RUN: sed 's/ at <offset[^>]*>//; s/ arena 512//' %s > %t.unplaced.mlir
// RUN: not stele-translate --plan-to-flatbuffer %t.unplaced.mlir 2>&1 | FileCheck %s --check-prefix=UNPLACED
// UNPLACED: 'plan.function' op has no arena; run stele-assign-buffers first

// CHECK: module attributes {lm.arithmetic = #lm.arithmetic<bf16>, lm.model = #model}
module attributes {
  lm.arithmetic = #lm.arithmetic<bf16>,
  lm.model = #lm.model<
    architecture = "llama", name = "tiny", vocab = 8, hidden = 8, layers = 2,
    heads = 2, kv_heads = 1, head_dim = 8, context_length = 64,
    trained_context = 128, parameters = 100, eos = [2, 3], sliding_window = 16,
    sampling = <sample = true, temperature = 5.000000e-01, top_k = 5>>} {
  // CHECK: plan.target @cpu isa "x86-64-v4" features ["avx512vnni", "avx512bf16"]
  plan.target @cpu isa "x86-64-v4" features ["avx512vnni", "avx512bf16"]
  // CHECK: plan.target @old isa "x86-64-v3"
  plan.target @old isa "x86-64-v3"
  // CHECK: plan.segment @code executable inline for [@cpu] length 100 offset 4096 xxh3 12345
  plan.segment @code executable inline for [@cpu] length 100 offset 4096 xxh3 12345
  // CHECK: plan.segment @weights weights inline for [@cpu, @old] length 4096 offset 8192 xxh3 18446744073709551615
  plan.segment @weights weights inline for [@cpu, @old] length 4096 offset 8192 xxh3 18446744073709551615
  // CHECK: plan.segment @beside weights external file "tiny.weights" for [@cpu] length 0 offset 0 xxh3 7 device 1
  plan.segment @beside weights external file "tiny.weights" for [@cpu] length 0 offset 0 xxh3 7 device 1
  // CHECK: plan.segment @made weights synthetic seed 7 for [@cpu] length 64
  plan.segment @made weights synthetic seed 7 for [@cpu] length 64
  // CHECK: plan.tensor @table in @weights offset 0 length 512 layout "panel_f32" : tensor<8x8xf32>
  plan.tensor @table in @weights offset 0 length 512 layout "panel_f32"
    segments [#lm.segment<name = "table", source = "embed.weight", rows = 8>] : tensor<8x8xf32>
  // CHECK: plan.tensor @codes in @weights offset 576 length 1792 layout "panel_q4" quant <int4, group = 32, scale = f16, offset = f16> : tensor<33x40xbf16>
  plan.tensor @codes in @weights offset 576 length 1792 layout "panel_q4"
    segments [#lm.segment<name = "codes", source = "codes", rows = 33>]
    quant <int4, group = 32, scale = f16, offset = f16> rounding <nearest> : tensor<33x40xbf16>
  // CHECK: plan.tensor @norm in @weights offset 512 length 32 layout "rows" : tensor<8xf32>
  plan.tensor @norm in @weights offset 512 length 32 layout "rows" value(dense<1.0> : tensor<8xf32>) : tensor<8xf32>
  // CHECK: plan.kv_cache @cache target @cpu layers 2 <heads = 1, head_dim = 8, block = 16, type = bf16> slots 6 paging <hot = 64, sinks = 1, grid = 32, warm = i4, warm_bytes = 256, warm_tokens = 4096, pack = @kernels::@pack, unpack = @kernels::@unpack>
  plan.kv_cache @cache target @cpu layers 2 <heads = 1, head_dim = 8, block = 16, type = bf16> slots 6
    paging <hot = 64, sinks = 1, grid = 32, warm = i4, warm_bytes = 256, warm_tokens = 4096, pack = @kernels::@pack, unpack = @kernels::@unpack>
  // CHECK: plan.kv_cache @step target @old layers 2 <heads = 1, head_dim = 8, block = 16, type = f32> transient
  plan.kv_cache @step target @old layers 2 <heads = 1, head_dim = 8, block = 16, type = f32> transient
  // CHECK: plan.kv_cache @states target @cpu layers 2 <heads = 1, head_dim = 8, block = 0, type = f32, features = 24>
  plan.kv_cache @states target @cpu layers 2 <heads = 1, head_dim = 8, block = 0, type = f32, features = 24>
  // CHECK: plan.executable @kernels elf in @code target @cpu
  plan.executable @kernels elf in @code target @cpu {
    // CHECK: plan.entry @embed params [#plan.param<tensor, bytes = 512>, #plan.param<buffer, access = write, per_token = 32>] token_limit 8
    plan.entry @embed from <"embed", hidden = 8> params [
      #plan.param<tensor, bytes = 512>,
      #plan.param<buffer, access = write, per_token = 32>] token_limit 8
    // CHECK: plan.entry @norm params [#plan.param<buffer, in_place = true, per_logit_row = 32>, {{.*}}] scratch 64 shared 64 chosen_by "rms_norm, any, x86-64-v3"
    plan.entry @norm params [
      #plan.param<buffer, in_place = true, per_logit_row = 32>,
      #plan.param<tensor, bytes = 32>,
      #plan.param<buffer, access = write, per_token = 32>] scratch 64 shared 64 chosen_by "rms_norm, any, x86-64-v3"
    // CHECK: plan.entry @append params [#plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 8, block = 16, type = bf16>>]
    plan.entry @append params [
      #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 8, block = 16, type = bf16>>]
    // CHECK: plan.entry @sums params [#plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 8, block = 0, type = f32, features = 24>>]
    plan.entry @sums params [
      #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 8, block = 0, type = f32, features = 24>>]
    // CHECK: plan.entry @attention params [{{.*}}, #plan.param<kv_cache, cache = <heads = 1, head_dim = 8, block = 16, type = bf16>>, {{.*}}] immediates [#plan.immediate<layer>] sparsity <block = 16, local = 1, adjacent = 0, sink = 2, select = top_share(3.000000e-01), estimate = antidiagonal, dense = 3, limit = 7>
    plan.entry @attention params [
      #plan.param<buffer, per_token = 32>,
      #plan.param<kv_cache, cache = <heads = 1, head_dim = 8, block = 16, type = bf16>>,
      #plan.param<buffer, access = write, per_token = 32>] immediates [#plan.immediate<layer>]
      sparsity <block = 16, local = 1, adjacent = 0, sink = 2, select = top_share(3.000000e-01), estimate = antidiagonal, dense = 3, limit = 7>
    plan.entry @pack params [#plan.param<buffer, bytes = 512>, #plan.param<buffer, access = write, bytes = 256>]
    plan.entry @unpack params [#plan.param<buffer, bytes = 256>, #plan.param<buffer, access = write, bytes = 512>]
  }
  // CHECK: plan.function @decode target @cpu tokens 4 sequences 3 logit_rows 2 ranks 2 streams 2 events 1 arena 512 scratch 64 shared 256 {
  plan.function @decode target @cpu tokens 4 sequences 3 logit_rows 2 ranks 2 streams 2 events 1 arena 512 scratch 64 shared 256 {
    // CHECK: %[[H:.+]] = plan.buffer "h" temporary rows 4 of 8 at <offset = 0, first = 0, last = 2> : f32
    %h = plan.buffer "h" temporary rows 4 of 8 at <offset = 0, first = 0, last = 2> : f32
    // CHECK: %[[S:.+]] = plan.buffer "s" temporary rows 4 of 8 at <offset = 128, first = 1, last = 8> : f32
    %s = plan.buffer "s" temporary rows 4 of 8 at <offset = 128, first = 1, last = 8> : f32
    // CHECK: %[[O:.+]] = plan.buffer "o" output rows 4 of 8 at <offset = 256, first = 6, last = 10> device 1 target @old : f32
    %o = plan.buffer "o" output rows 4 of 8 at <offset = 256, first = 6, last = 10> device 1 target @old : f32
    // CHECK: plan.launch "embed" @kernels::@embed(@table, %[[H]])
    plan.launch "embed" @kernels::@embed(@table, %h)
    // CHECK: plan.copy %[[H]] to %[[S]] bytes 128
    plan.copy %h to %s bytes 128
    // CHECK: plan.page_out @cache layer 1 pages 2 stream 1 target @old ns 7
    plan.page_out @cache layer 1 pages 2 stream 1 target @old ns 7
    // CHECK: plan.signal 0 stream 1
    plan.signal 0 stream 1
    // CHECK: plan.wait 0
    plan.wait 0
    // CHECK: plan.page_in @cache layer 1 slot 2 slots 4 ahead{{$}}
    plan.page_in @cache layer 1 slot 2 slots 4 ahead
    // CHECK: plan.select_pages @cache layer 1 by %[[S]] slots 4
    plan.select_pages @cache layer 1 by %s slots 4
    // CHECK: plan.page_in @cache layer 1 slot 2 slots 4{{$}}
    plan.page_in @cache layer 1 slot 2 slots 4
    // CHECK: plan.launch "attention" @kernels::@attention(%[[S]], @cache, %[[O]]) immediates [1] ns 1099511627775
    plan.launch "attention" @kernels::@attention(%s, @cache, %o) immediates [1] ns 1099511627775
    // CHECK: plan.collective all_gather %[[O]] device 1
    plan.collective all_gather %o device 1
    // CHECK: plan.launch "norm" @kernels::@norm(%[[O]], @norm, %[[O]]) grid [4, 1] block [128] shared_bytes 1024
    plan.launch "norm" @kernels::@norm(%o, @norm, %o) grid [4, 1] block [128] shared_bytes 1024
    // CHECK: plan.return ["logits"](%[[O]])
    plan.return ["logits"](%o)
  }
}
