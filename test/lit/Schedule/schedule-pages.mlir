// What of a cache stays in device memory, and the moves of the rest: with room for
// two layers' chosen pages, for three, for all, and for twice as many.
// RUN: stele-opt %s --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=200000 hot-window=50" | FileCheck %s
// RUN: stele-opt %s --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=215000 hot-window=50" | FileCheck %s --check-prefix=TURNS
// RUN: stele-opt %s --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=230000 hot-window=50" | FileCheck %s --check-prefix=STAY
// RUN: stele-opt %s --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=300000 hot-window=50 warm=int4 host-memory=100000" | FileCheck %s --check-prefix=TWICE
// RUN: stele-opt %s --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=1100000" | FileCheck %s --check-prefix=FITS

// What cannot fit is refused with what it would take.
// RUN: not stele-opt %s --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=180000 hot-window=128" 2>&1 | FileCheck %s --check-prefix=SMALL
// SMALL: error: a context of 1,000 tokens does not fit into --device-memory 175.8 KiB (target x86-64-v3), even with a hot window of 128 tokens, 1 sink block and cells of 32: weights 4.0 KiB + activations 8.5 KiB + 13 blocks of 16 tokens 208.0 KiB + 16 staging slots of 2.0 KiB 32.0 KiB + a page that stands for those elsewhere 2.0 KiB = 254.5 KiB; raise --device-memory to 1MiB, or lower --hot-window to 32, or lower --context: 160 tokens fit as they are
// RUN: not stele-opt %s --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=200000 hot-window=128" 2>&1 | FileCheck %s --check-prefix=WINDOW
// WINDOW: raise --device-memory to 1MiB, or lower --hot-window to 64, or lower --context
// RUN: sed 's/top_k = 2/top_k = 9/' %s > %t.nine.mlir
// RUN: not stele-opt %t.nine.mlir --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=220000 hot-window=50" 2>&1 | FileCheck %s --check-prefix=CHOOSE
// CHOOSE: 72 staging slots of 2.0 KiB 144.0 KiB
// CHOOSE-SAME: or choose fewer blocks: --top-k 3 or --max-blocks 3
// RUN: not stele-opt %s --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=200000 hot-window=50 host-memory=4000" 2>&1 | FileCheck %s --check-prefix=HOST
// HOST: error: --host-memory 3.9 KiB does not hold the records of two cells of 32 tokens, of which one falls out while the other goes to disk: 4 blocks of 5.0 KiB = 20.0 KiB; raise it to that

// So are layers whose pages cannot be bounded.
// RUN: sed 's/top_k = 2/top_k = 0, top_p = 9.0e-1/; s/select = 1, sink = 1, top/select = 2, sink = 1, top/' %s > %t.mass.mlir
// RUN: not stele-opt %t.mass.mlir --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=200000" 2>&1 | FileCheck %s --check-prefix=MASS
// MASS: error: a context of 1,000 tokens does not fit into --device-memory 195.3 KiB as it is (target x86-64-v3): weights 4.0 KiB + activations 8.5 KiB + 63 blocks of 16 tokens 1008.0 KiB = 1020.5 KiB; and layer 0 chooses as many blocks as a mass takes, which no slots can be proven to hold; compile with --max-blocks N beside --mass, or with --density or --top-k instead
// RUN: sed 's/block_sparse_f32/attention_f32/' %s > %t.dense.mlir
// RUN: not stele-opt %t.dense.mlir --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=200000" 2>&1 | FileCheck %s --check-prefix=DENSE
// DENSE: and layer 0 attends to all pages, so that none can leave; compile with --attention sparse
// RUN: sed '/@sparse(/d; /@linear(/d' %s > %t.unread.mlir
// RUN: not stele-opt %t.unread.mlir --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=200000" 2>&1 | FileCheck %s --check-prefix=UNREAD
// UNREAD: and layer 0 selects blocks that nothing attends to

// A layer whose queries see a window only has nothing fetched, and makes the window
// that stays larger.
// RUN: sed '/plan.launch "select 1"/d; s/"attend 1" @kernels::@sparse(%x, %c1/"attend 1" @kernels::@window(%x/' %s > %t.window.mlir
// RUN: stele-opt %t.window.mlir --stele-assign-buffers --stele-model-time="targets=x86-64-v3" --stele-schedule-pages="targets=x86-64-v3 device-memory=245000 hot-window=50" | FileCheck %s --check-prefix=LOCAL
// LOCAL: paging <hot = 96,
// LOCAL-LABEL: plan.function @decode
// LOCAL: plan.page_in @cache layer 0 slot 0 slots 8 ahead
// LOCAL: plan.page_out @cache layer 1
// LOCAL-NOT: plan.page_in @cache layer 1
// LOCAL: plan.page_in @cache layer 2 slot 8 slots 8 ahead
// LOCAL-NOT: plan.page_in @cache layer 1

// Hot, warm, and slots for two layers at a time.
// CHECK: plan.kv_cache @cache target @"x86-64-v3" layers 4 <heads = 2, head_dim = 16, block = 16, type = f32> slots 16 paging <hot = 64, sinks = 1, grid = 32, warm = i8, warm_bytes = 640, pack = @kernels::@[[PACK:page_codec_f32__.*unpack_0.*]], unpack = @kernels::@[[UNPACK:page_codec_f32__.*unpack_1.*]]>
// CHECK: plan.entry @[[PACK]] from <"page_codec_f32", {{.*}}> params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] chosen_by "page_codec, f32, x86-64-v3"
// CHECK: plan.entry @[[UNPACK]] from <"page_codec_f32", {{.*}}> params [#plan.param<buffer, bytes = 640>, #plan.param<buffer, access = write, bytes = 2048>]
// CHECK: plan.function @decode target @"x86-64-v3" tokens 4 sequences 4 logit_rows 1 streams 2 events 12 arena [[ARENA:[0-9]+]] {
// CHECK: plan.buffer "x" output rows 4 of 32 at <offset = 0, first = 3, last = 56>
// CHECK: plan.buffer "c0" temporary rows 4 of 4 at <offset = {{[0-9]+}}, first = 6, last = 16>
// CHECK: plan.page_out @cache layer 0 pages 4 stream 1 ns {{[0-9]+}}
// CHECK-NEXT: plan.page_in @cache layer 0 slot 0 slots 8 ahead stream 1 ns {{[0-9]+}}
// CHECK-NEXT: plan.signal 0 stream 1
// CHECK-NEXT: plan.launch "embed" {{.*}} ns
// CHECK-NEXT: plan.wait 0
// CHECK-NEXT: plan.launch "append 0"
// CHECK-NEXT: plan.launch "select 0"
// CHECK-NEXT: plan.select_pages @cache layer 0 by %c0 slots 8
// CHECK-NEXT: plan.signal 1
// CHECK-NEXT: plan.wait 1 stream 1
// CHECK-NEXT: plan.page_in @cache layer 0 slot 0 slots 8 stream 1 ns {{[0-9]+}}
// CHECK-NEXT: plan.signal 2 stream 1
// CHECK-NEXT: plan.page_out @cache layer 1 pages 4 stream 1
// CHECK-NEXT: plan.page_in @cache layer 1 slot 8 slots 8 ahead stream 1
// CHECK-NEXT: plan.signal 3 stream 1
// CHECK-NEXT: plan.wait 2
// CHECK-NEXT: plan.launch "attend 0"
// CHECK-NEXT: plan.launch "linear 0"
// CHECK-NEXT: plan.wait 3
// CHECK-NEXT: plan.launch "append 1"
// CHECK: plan.page_in @cache layer 2 slot 0 slots 8 ahead stream 1
// CHECK-LABEL: plan.function @prefill
// CHECK: plan.page_in @cache layer 0 slot 0 slots 8 ahead stream 1

// Layer 0 keeps its slots, the others take turns with two sections.
// TURNS: slots 24 paging
// TURNS-LABEL: plan.function @decode
// TURNS: plan.page_in @cache layer 0 slot 0 slots 8 ahead stream 1 ns 1{{$}}
// TURNS: plan.page_in @cache layer 1 slot 8 slots 8 ahead stream 1 ns {{[0-9][0-9]+$}}
// TURNS: plan.page_in @cache layer 2 slot 16 slots 8 ahead
// TURNS: plan.page_in @cache layer 3 slot 8 slots 8 ahead

// Slots of its own for every layer: nothing is expected to come ahead.
// STAY: slots 32 paging
// STAY: plan.page_in @cache layer 1 slot 8 slots 8 ahead stream 1 ns 1{{$}}
// STAY: plan.page_in @cache layer 2 slot 16 slots 8 ahead stream 1 ns 1{{$}}
// STAY-LABEL: plan.function @prefill
// STAY: plan.page_in @cache layer 2 slot 16 slots 8 ahead stream 1 ns 1{{$}}

// And as many again where a token is decoded, at the same places; host memory
// holds a part.
// TWICE: slots 64 paging <hot = 64, sinks = 1, grid = 32, warm = i4, warm_bytes = 384, warm_tokens = 512,
// TWICE: plan.page_in @cache layer 1 slot 16 slots 16 ahead
// TWICE-LABEL: plan.function @prefill
// TWICE: plan.page_in @cache layer 1 slot 16 slots 8 ahead

// FITS-NOT: paging
// FITS-NOT: plan.page_

module attributes {
  lm.arithmetic = #lm.arithmetic<f32>,
  lm.model = #lm.model<
    architecture = "llama", name = "tiny", vocab = 32, hidden = 32, layers = 4,
    heads = 2, kv_heads = 2, head_dim = 16, context_length = 1000,
    trained_context = 1000, parameters = 100>} {
plan.target @"x86-64-v3" isa "x86-64-v3"
plan.segment @weights weights inline for [@"x86-64-v3"] length 4096
plan.segment @code executable inline for [@"x86-64-v3"] length 100 offset 4096 xxh3 12345
plan.tensor @w in @weights offset 0 length 4096 layout "rows" : tensor<32x32xf32>
plan.kv_cache @cache target @"x86-64-v3" layers 4 <heads = 2, head_dim = 16, block = 16, type = f32>
plan.executable @kernels elf in @code target @"x86-64-v3" {
  plan.entry @linear from <"linear_f32", k = 32, n = 32> params [#plan.param<buffer, per_token = 128>, #plan.param<tensor, bytes = 4096>, #plan.param<buffer, access = write, per_token = 128>]
  plan.entry @make from <"embed", hidden = 32> params [#plan.param<buffer, access = write, per_token = 128>]
  plan.entry @append from <"kv_append_f32", block = 16> params [#plan.param<buffer, per_token = 128>, #plan.param<kv_cache, access = read_write, cache = <heads = 2, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @select from <"select_blocks_f32", adjacent = 1, block = 16, blocks = 63, dense = 0, head_dim = 16, heads = 2, local = 1, parts = 1, select = 1, sink = 1, top_k = 2> params [#plan.param<buffer, per_token = 128>, #plan.param<kv_cache, cache = <heads = 2, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 16>] immediates [#plan.immediate<layer>]
  plan.entry @sparse from <"block_sparse_f32", adjacent = 1, block = 16, blocks = 63, dense = 0, head_dim = 16, heads = 2, local = 1, select = 1, sink = 1> params [#plan.param<buffer, per_token = 128>, #plan.param<buffer, per_token = 16>, #plan.param<kv_cache, cache = <heads = 2, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 128>] immediates [#plan.immediate<layer>]
  plan.entry @window from <"attention_f32", block = 16, head_dim = 16, heads = 2, window = 80> params [#plan.param<buffer, per_token = 128>, #plan.param<kv_cache, cache = <heads = 2, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 128>] immediates [#plan.immediate<layer>]
}
plan.function @decode target @"x86-64-v3" tokens 4 sequences 4 logit_rows 1 {
  %x = plan.buffer "x" output rows 4 of 32 : f32
  %c0 = plan.buffer "c0" temporary rows 4 of 4 : i32
  %a0 = plan.buffer "a0" temporary rows 4 of 32 : f32
  %c1 = plan.buffer "c1" temporary rows 4 of 4 : i32
  %a1 = plan.buffer "a1" temporary rows 4 of 32 : f32
  %c2 = plan.buffer "c2" temporary rows 4 of 4 : i32
  %a2 = plan.buffer "a2" temporary rows 4 of 32 : f32
  %c3 = plan.buffer "c3" temporary rows 4 of 4 : i32
  %a3 = plan.buffer "a3" temporary rows 4 of 32 : f32
  plan.launch "embed" @kernels::@make(%x)
  plan.launch "append 0" @kernels::@append(%x, @cache) immediates [0]
  plan.launch "select 0" @kernels::@select(%x, @cache, %c0) immediates [0]
  plan.launch "attend 0" @kernels::@sparse(%x, %c0, @cache, %a0) immediates [0]
  plan.launch "linear 0" @kernels::@linear(%a0, @w, %x)
  plan.launch "append 1" @kernels::@append(%x, @cache) immediates [1]
  plan.launch "select 1" @kernels::@select(%x, @cache, %c1) immediates [1]
  plan.launch "attend 1" @kernels::@sparse(%x, %c1, @cache, %a1) immediates [1]
  plan.launch "linear 1" @kernels::@linear(%a1, @w, %x)
  plan.launch "append 2" @kernels::@append(%x, @cache) immediates [2]
  plan.launch "select 2" @kernels::@select(%x, @cache, %c2) immediates [2]
  plan.launch "attend 2" @kernels::@sparse(%x, %c2, @cache, %a2) immediates [2]
  plan.launch "linear 2" @kernels::@linear(%a2, @w, %x)
  plan.launch "append 3" @kernels::@append(%x, @cache) immediates [3]
  plan.launch "select 3" @kernels::@select(%x, @cache, %c3) immediates [3]
  plan.launch "attend 3" @kernels::@sparse(%x, %c3, @cache, %a3) immediates [3]
  plan.launch "linear 3" @kernels::@linear(%a3, @w, %x)
  plan.return ["logits"](%x)
}
plan.function @prefill target @"x86-64-v3" tokens 32 sequences 4 logit_rows 1 {
  %x = plan.buffer "x" output rows 32 of 32 : f32
  %c0 = plan.buffer "c0" temporary rows 32 of 4 : i32
  %a0 = plan.buffer "a0" temporary rows 32 of 32 : f32
  %c1 = plan.buffer "c1" temporary rows 32 of 4 : i32
  %a1 = plan.buffer "a1" temporary rows 32 of 32 : f32
  %c2 = plan.buffer "c2" temporary rows 32 of 4 : i32
  %a2 = plan.buffer "a2" temporary rows 32 of 32 : f32
  %c3 = plan.buffer "c3" temporary rows 32 of 4 : i32
  %a3 = plan.buffer "a3" temporary rows 32 of 32 : f32
  plan.launch "embed" @kernels::@make(%x)
  plan.launch "append 0" @kernels::@append(%x, @cache) immediates [0]
  plan.launch "select 0" @kernels::@select(%x, @cache, %c0) immediates [0]
  plan.launch "attend 0" @kernels::@sparse(%x, %c0, @cache, %a0) immediates [0]
  plan.launch "linear 0" @kernels::@linear(%a0, @w, %x)
  plan.launch "append 1" @kernels::@append(%x, @cache) immediates [1]
  plan.launch "select 1" @kernels::@select(%x, @cache, %c1) immediates [1]
  plan.launch "attend 1" @kernels::@sparse(%x, %c1, @cache, %a1) immediates [1]
  plan.launch "linear 1" @kernels::@linear(%a1, @w, %x)
  plan.launch "append 2" @kernels::@append(%x, @cache) immediates [2]
  plan.launch "select 2" @kernels::@select(%x, @cache, %c2) immediates [2]
  plan.launch "attend 2" @kernels::@sparse(%x, %c2, @cache, %a2) immediates [2]
  plan.launch "linear 2" @kernels::@linear(%a2, @w, %x)
  plan.launch "append 3" @kernels::@append(%x, @cache) immediates [3]
  plan.launch "select 3" @kernels::@select(%x, @cache, %c3) immediates [3]
  plan.launch "attend 3" @kernels::@sparse(%x, %c3, @cache, %a3) immediates [3]
  plan.launch "linear 3" @kernels::@linear(%a3, @w, %x)
  plan.return ["logits"](%x)
}
}
