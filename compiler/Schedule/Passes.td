// The passes plan -> plan.

#ifndef STELE_COMPILER_SCHEDULE_PASSES_TD
#define STELE_COMPILER_SCHEDULE_PASSES_TD

include "mlir/Pass/PassBase.td"

def AssignBuffers : Pass<"stele-assign-buffers", "::mlir::ModuleOp"> {
  let summary = "Place the buffers of every function in its arena";
  let description = [{
    First, where a kernel may work in place, the buffer that it writes becomes the
    one that it reads for the last time. Then buffers are placed, the largest
    first, each at the lowest offset where it meets no buffer that lives at the
    same time. Functions that have an arena already are left alone.

    Before:
    ```mlir
    plan.function @decode ... {
      %a = plan.buffer "embed_0" temporary rows 32 of 576 : f32
      %b = plan.buffer "linear_1" temporary rows 32 of 576 : f32
      ...
      plan.launch "linear @o_proj" @kernels::@linear(%x, @o_proj, %a, %b)
    ```
    After:
    ```mlir
    plan.function @decode ... arena 147456 {
      %a = plan.buffer "embed_0" temporary rows 32 of 576 <offset = 0, first = 0, last = 5> : f32
      ...
      plan.launch "linear @o_proj" @kernels::@linear(%x, @o_proj, %a, %a)
    ```
  }];
  let statistics = [
    Statistic<"numInPlace", "in-place", "buffers saved by working in place">,
    Statistic<"numBytes", "arena-bytes", "bytes of all arenas">
  ];
}

def ModelTime : Pass<"stele-model-time", "::mlir::ModuleOp"> {
  let summary = "Write on launches and copies how long they should take";
  let description = [{
    By the cost model (compiler/Schedule/CostModel.h), from the speeds that the
    target's description declares, for the step of one session at the end of the
    model's context. Functions of other targets are left alone.

    Before:
    ```mlir
    plan.launch "linear @o_proj" @kernels::@linear(%x, @o_proj, %h)
    ```
    After:
    ```mlir
    plan.launch "linear @o_proj" @kernels::@linear(%x, @o_proj, %h) ns 35864
    ```
  }];
  let options = [
    ListOption<"targets", "targets", "std::string",
               "targets whose functions are modelled: names or files">
  ];
}

def SchedulePages : Pass<"stele-schedule-pages", "::mlir::ModuleOp"> {
  let summary = "Decide which pages stay in device memory, and when others move";
  let description = [{
    Where weights, activations and all pages of the model's context fit into
    `device-memory`, nothing changes. Otherwise each KV cache becomes paged: a hot
    window stays, what falls out of it is packed into warm records, and chosen
    pages come back into staging slots. What cannot fit even so is refused with
    the arithmetic (docs/paging.md).

    Functions get the moves, on stream 1, in an order that the verifier of
    plan.function proves: how many slots a layer has follows from how many blocks
    its selection chooses at most; how many layers ahead of its launches a layer's
    moves start, from the modelled time of both. Buffers have their places already,
    and keep them.

    Before:
    ```mlir
    plan.launch "kv_append layer 1" @kernels::@append(%qkv, @cache) immediates [1]
    plan.launch "select_blocks layer 1" @kernels::@select(%qkv, @cache, %s) immediates [1]
    plan.launch "block_sparse_attention layer 1" @kernels::@sparse(%qkv, %s, @cache, %a) immediates [1]
    ```
    After:
    ```mlir
    plan.wait 3
    plan.launch "kv_append layer 1" @kernels::@append(%qkv, @cache) immediates [1]
    plan.launch "select_blocks layer 1" @kernels::@select(%qkv, @cache, %s) immediates [1]
    plan.select_pages @cache layer 1 by %s slots 12
    plan.signal 4
    plan.wait 4 stream 1
    plan.page_in @cache layer 1 slot 12 slots 12 stream 1
    plan.signal 5 stream 1
    plan.page_out @cache layer 2 pages 12 stream 1
    plan.page_in @cache layer 2 slot 0 slots 12 ahead stream 1
    plan.signal 6 stream 1
    plan.wait 5
    plan.launch "block_sparse_attention layer 1" @kernels::@sparse(%qkv, %s, @cache, %a) immediates [1]
    ```
  }];
  let options = [
    ListOption<"targets", "targets", "std::string",
               "targets of the plan: names or files">,
    Option<"deviceMemory", "device-memory", "int64_t", "0",
           "bytes for weights, activations and pages; 0: all pages stay">,
    Option<"hostMemory", "host-memory", "int64_t", "0",
           "bytes for records of pages; what does not fit goes to disk; 0: all "
           "of them fit">,
    Option<"hotWindow", "hot-window", "int64_t", "10240",
           "last tokens whose pages stay, at least; rounded up to cells">,
    Option<"warm", "warm", "std::string", "\"int8\"",
           "what records store: int8, int4, or copy, the page as it is">
  ];
  let statistics = [
    Statistic<"numMoves", "moves", "operations that move pages">,
    Statistic<"numSlots", "slots", "staging slots of a session">
  ];
}

#endif // STELE_COMPILER_SCHEDULE_PASSES_TD
