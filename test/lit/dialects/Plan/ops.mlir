// Every operation of the plan dialect, printed and read back.
// RUN: stele-opt %s | stele-opt | FileCheck %s
// RUN: stele-opt %s --mlir-print-op-generic | stele-opt | FileCheck %s

// CHECK: plan.target @cpu isa "x86-64-v4" features ["avx512vnni", "avx512bf16"]
plan.target @cpu isa "x86-64-v4" features ["avx512vnni", "avx512bf16"]
// CHECK: plan.target @old isa "x86-64-v3"{{$}}
plan.target @old isa "x86-64-v3"

// CHECK: plan.segment @code executable inline for [@cpu]
plan.segment @code executable inline for [@cpu]
// CHECK: plan.segment @weights weights inline for [@cpu, @old] length 4096 offset 8192 xxh3 18446744073709551615
plan.segment @weights weights inline for [@cpu, @old] length 4096 offset 8192 xxh3 18446744073709551615
// CHECK: plan.segment @beside weights external file "tiny.weights" for [@cpu] device 1
plan.segment @beside weights external file "tiny.weights" for [@cpu] device 1
// CHECK: plan.segment @made weights synthetic seed 7 for [@cpu]
plan.segment @made weights synthetic seed 7 for [@cpu]

// CHECK: plan.tensor @table in @weights offset 0 length 512 layout "panel_f32" segments [#lm.segment<name = "table", source = "embed.weight", rows = 8>] : tensor<8x8xf32>
plan.tensor @table in @weights offset 0 length 512 layout "panel_f32"
  segments [#lm.segment<name = "table", source = "embed.weight", rows = 8>] : tensor<8x8xf32>
// CHECK: plan.tensor @norm in @weights offset 512 length 32 layout "rows" value(dense<1.000000e+00> : tensor<8xf32>) : tensor<8xf32>
plan.tensor @norm in @weights offset 512 length 32 layout "rows" value(dense<1.0> : tensor<8xf32>) : tensor<8xf32>
// CHECK: plan.tensor @codes in @weights offset 576 length 1792 layout "panel_q4" quant <int4, group = 32, scale = f16, offset = f16> rounding <clipped> row_scale(dense<2.000000e+00> : tensor<33xf32>) column_scale(dense<3.000000e+00> : tensor<40xf32>) importance(dense<1.000000e+00> : tensor<40xf32>) : tensor<33x40xbf16>
plan.tensor @codes in @weights offset 576 length 1792 layout "panel_q4" quant <int4, group = 32, scale = f16, offset = f16> rounding <clipped> row_scale(dense<2.0> : tensor<33xf32>) column_scale(dense<3.0> : tensor<40xf32>) importance(dense<1.0> : tensor<40xf32>) : tensor<33x40xbf16>

// CHECK: plan.kv_cache @cache target @cpu layers 2 <heads = 1, head_dim = 8, block = 16, type = f32> slots 4 paging <hot = 64, sinks = 1, grid = 32, warm = i8, warm_bytes = 384, warm_tokens = 4096, pack = @kernels::@pack, unpack = @kernels::@unpack>
plan.kv_cache @cache target @cpu layers 2 <heads = 1, head_dim = 8, block = 16, type = f32> slots 4
  paging <hot = 64, sinks = 1, grid = 32, warm = i8, warm_bytes = 384, warm_tokens = 4096, pack = @kernels::@pack, unpack = @kernels::@unpack>
// CHECK: plan.kv_cache @step target @cpu layers 2 <heads = 1, head_dim = 8, block = 16, type = bf16> transient
plan.kv_cache @step target @cpu layers 2 <heads = 1, head_dim = 8, block = 16, type = bf16> transient
// CHECK: plan.kv_cache @states target @cpu layers 2 <heads = 1, head_dim = 8, block = 0, type = f32, features = 24>
plan.kv_cache @states target @cpu layers 2 <heads = 1, head_dim = 8, block = 0, type = f32, features = 24>

// CHECK: plan.executable @kernels elf in @code target @cpu {
plan.executable @kernels elf in @code target @cpu {
  // CHECK: plan.entry @embed from <"embed_f32", hidden = 8> params [#plan.param<tensor, bytes = 512>, #plan.param<buffer, access = write, per_token = 32>] token_limit 8
  plan.entry @embed from <"embed_f32", hidden = 8> params [
    #plan.param<tensor, bytes = 512>,
    #plan.param<buffer, access = write, per_token = 32>] token_limit 8
  // CHECK: plan.entry @norm from <"rms_norm", eps = 1.000000e-05, groups = 1, width = 8> params [#plan.param<buffer, in_place = true, per_token = 32>, #plan.param<tensor, bytes = 32>, #plan.param<buffer, access = write, per_token = 32>] scratch 64 shared 64
  plan.entry @norm from <"rms_norm", eps = 1.0e-05, groups = 1, width = 8> params [
    #plan.param<buffer, in_place = true, per_token = 32>,
    #plan.param<tensor, bytes = 32>,
    #plan.param<buffer, access = write, per_token = 32>] scratch 64 shared 64
  // CHECK: plan.entry @attention params [#plan.param<buffer, per_token = 32>, #plan.param<kv_cache, cache = <heads = 1, head_dim = 8, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 32>] immediates [#plan.immediate<layer>]
  plan.entry @attention params [
    #plan.param<buffer, per_token = 32>,
    #plan.param<kv_cache, cache = <heads = 1, head_dim = 8, block = 16, type = f32>>,
    #plan.param<buffer, access = write, per_token = 32>] immediates [#plan.immediate<layer>]
  plan.entry @pack params [#plan.param<buffer, bytes = 1024>, #plan.param<buffer, access = write, bytes = 384>]
  plan.entry @unpack params [#plan.param<buffer, bytes = 384>, #plan.param<buffer, access = write, bytes = 1024>]
}

// CHECK: plan.function @decode target @cpu tokens 4 sequences 4 logit_rows 2 streams 2 events 1 arena 512 scratch 64 shared 256 {
plan.function @decode target @cpu tokens 4 sequences 4 logit_rows 2 streams 2 events 1 arena 512 scratch 64 shared 256 {
  // CHECK: %[[H:.+]] = plan.buffer "h" temporary rows 4 of 8 at <offset = 0, first = 0, last = 2> : f32
  %h = plan.buffer "h" temporary rows 4 of 8 at <offset = 0, first = 0, last = 2> : f32
  // CHECK: %[[S:.+]] = plan.buffer "selection" temporary rows 4 of 8 at <offset = 128, first = 1, last = 8> : f32
  %s = plan.buffer "selection" temporary rows 4 of 8 at <offset = 128, first = 1, last = 8> : f32
  // CHECK: %[[O:.+]] = plan.buffer "o" output rows 4 of 8 at <offset = 256, first = 6, last = 9> target @cpu : f32
  %o = plan.buffer "o" output rows 4 of 8 at <offset = 256, first = 6, last = 9> target @cpu : f32
  // CHECK: plan.launch "lm.embed" @kernels::@embed(@table, %[[H]])
  plan.launch "lm.embed" @kernels::@embed(@table, %h)
  // CHECK: plan.copy %[[H]] to %[[S]] bytes 128
  plan.copy %h to %s bytes 128
  // CHECK: plan.page_out @cache layer 1 pages 2 stream 1
  plan.page_out @cache layer 1 pages 2 stream 1
  // CHECK: plan.signal 0 stream 1
  plan.signal 0 stream 1
  // CHECK: plan.wait 0{{$}}
  plan.wait 0
  // CHECK: plan.select_pages @cache layer 1 by %[[S]] slots 4
  plan.select_pages @cache layer 1 by %s slots 4
  // CHECK: plan.page_in @cache layer 1 slot 0 slots 4{{$}}
  plan.page_in @cache layer 1 slot 0 slots 4
  // CHECK: plan.launch "lm.attention" @kernels::@attention(%[[S]], @cache, %[[O]]) immediates [1] ns 2500
  plan.launch "lm.attention" @kernels::@attention(%s, @cache, %o) immediates [1] ns 2500
  // CHECK: plan.collective all_reduce %[[O]]
  plan.collective all_reduce %o
  // CHECK: plan.launch "lm.rms_norm" @kernels::@norm(%[[O]], @norm, %[[O]]) grid [4, 1] block [128] shared_bytes 1024
  plan.launch "lm.rms_norm" @kernels::@norm(%o, @norm, %o) grid [4, 1] block [128] shared_bytes 1024
  // CHECK: plan.return ["logits"](%[[O]])
  plan.return ["logits"](%o)
}

// Before placement.
// CHECK: plan.function @prefill target @cpu tokens 8 sequences 4 logit_rows 8 ranks 2 {
plan.function @prefill target @cpu tokens 8 sequences 4 logit_rows 8 ranks 2 {
  // CHECK: plan.buffer "h" output rows 8 of 8 device 1 : bf16
  %h = plan.buffer "h" output rows 8 of 8 device 1 : bf16
  %f = plan.buffer "f" output rows 8 of 8 : f32
  plan.launch "lm.embed" @kernels::@embed(@table, %f)
  plan.copy %f to %h bytes 128
  plan.return ["h", "f"](%h, %f)
}

// A page schedule: pages of both layers leave before they are used, and what layer
// 1 fetches ahead, before it selects, takes a slot of layer 0, whose pages were
// read.
// CHECK-LABEL: plan.function @paged
plan.function @paged target @cpu tokens 4 sequences 4 logit_rows 2 streams 2 events 4 {
  %s = plan.buffer "s" temporary rows 4 of 8 : f32
  %o = plan.buffer "o" output rows 4 of 8 : f32
  plan.page_out @cache layer 0 pages 2 stream 1
  plan.page_out @cache layer 1 pages 2 stream 1
  plan.launch "lm.embed" @kernels::@embed(@table, %s)
  plan.select_pages @cache layer 0 by %s slots 3
  plan.signal 0
  plan.wait 0 stream 1
  // CHECK: plan.page_in @cache layer 0 slot 0 slots 3 stream 1
  plan.page_in @cache layer 0 slot 0 slots 3 stream 1
  plan.signal 1 stream 1
  plan.wait 1
  plan.launch "lm.attention" @kernels::@attention(%s, @cache, %o) immediates [0]
  plan.select_pages @cache layer 1 by %o slots 2
  plan.signal 2
  plan.wait 2 stream 1
  // CHECK: plan.page_in @cache layer 1 slot 2 slots 2 ahead stream 1 ns 40
  plan.page_in @cache layer 1 slot 2 slots 2 ahead stream 1 ns 40
  // CHECK: plan.page_in @cache layer 1 slot 2 slots 2 stream 1
  plan.page_in @cache layer 1 slot 2 slots 2 stream 1
  plan.signal 3 stream 1
  plan.wait 3
  plan.launch "lm.attention" @kernels::@attention(%s, @cache, %o) immediates [1]
  plan.return ["logits"](%o)
}
