// Operations of the plan dialect; each stands for a table of
// runtime/schema/plan.fbs.

#ifndef STELE_DIALECTS_PLAN_PLANOPS_TD
#define STELE_DIALECTS_PLAN_PLANOPS_TD

include "stele/dialects/Lm/LmAttrs.td"
include "stele/dialects/Plan/PlanAttrs.td"
include "stele/dialects/Plan/PlanTypes.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"

class Plan_Op<string mnemonic, list<Trait> traits = []>
    : Op<Plan_Dialect, mnemonic, traits>;

def Plan_Int : TypedSignlessIntegerAttrBase<I64, "int64_t", "integer">;
class Plan_IntOr<string value> : DefaultValuedAttr<Plan_Int, value>;

/// An operation that names symbols of the module.
class Plan_SymbolUserOp<string mnemonic, list<Trait> traits = []>
    : Plan_Op<mnemonic, !listconcat([
        DeclareOpInterfaceMethods<SymbolUserOpInterface>], traits)>;

//===----------------------------------------------------------------------===//
// What a plan is about
//===----------------------------------------------------------------------===//

def Plan_TargetOp : Plan_Op<"target", [Symbol]> {
  let summary = "a machine that the artifact has code for";
  let description = [{
    `features` are CPU features beyond the ISA level that the code uses; loading
    checks that the machine has them.

    Constraints:
    * (C1) `isa` is not empty.

    Example:
    ```mlir
    plan.target @"x86-64-v4" isa "x86-64-v4" features ["avx512bf16"]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$isa,
                       DefaultValuedAttr<StrArrayAttr, "{}">:$features);
  let assemblyFormat = [{
    $sym_name `isa` $isa (`features` $features^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Plan_SegmentOp : Plan_SymbolUserOp<"segment", [Symbol]> {
  let summary = "a page-aligned stretch of bytes behind the plan";
  let description = [{
    `inline`: in the artifact; `external`: in the file `file` beside it;
    `synthetic`: nowhere, made from `seed` when loaded. `targets` are those that
    use it, several when they read the same layouts. `offset`, `xxh3` and the
    `sha256` of an external file are known once the bytes were written, and then
    the file's name ends in 16 digits of that; `length` of weights is known as
    soon as tensors are placed.

    Constraints:
    * (C1) `targets` is not empty and names targets.
    * (C2) `file` is there exactly for external storage, and is a plain file name.
    * (C3) `seed` is there exactly for synthetic storage.
    * (C4) only weights are external or synthetic.
    * (C5) tensors in a segment are multiples of 64 apart, inside its length, and
      do not overlap.
    * (C6) `offset` is a multiple of 4096.
    * (C7) `sha256` is for external storage, 64 hexadecimal digits.

    Example:
    ```mlir
    plan.segment @weights weights inline for [@"x86-64-v4"] length 4096
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Plan_SegmentKindAttr:$kind,
                       Plan_StorageAttr:$storage,
                       TypedArrayAttrBase<FlatSymbolRefAttr, "targets">:$targets,
                       OptionalAttr<StrAttr>:$file, OptionalAttr<UI64Attr>:$seed,
                       OptionalAttr<Plan_Int>:$length,
                       OptionalAttr<Plan_Int>:$offset,
                       OptionalAttr<UI64Attr>:$xxh3,
                       OptionalAttr<StrAttr>:$sha256, Plan_IntOr<"0">:$device);
  let assemblyFormat = [{
    $sym_name `` $kind `` $storage (`file` $file^)? (`seed` $seed^)? `for` $targets
    (`length` $length^)? (`offset` $offset^)? (`xxh3` $xxh3^)?
    (`sha256` $sha256^)? (`device` $device^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Plan_TensorOp : Plan_SymbolUserOp<"tensor", [Symbol]> {
  let summary = "a weight, placed in a segment";
  let description = [{
    The bytes at `offset` of the segment hold the tensor, packed in `layout`
    (runtime/schema/weight_layout.h), as codes of `quant` if that is there. Where
    they come from is said as in `lm.weight`: `segments` of the checkpoint's
    tensors, or a `value`, scaled and rounded as it says; a plan that was read
    back from an artifact says nothing of it.

    Constraints:
    * (C1) the type is static with 1 to 4 dimensions, none of them 0.
    * (C2) `layout` is known.
    * (C3) `length` is what type, layout and `quant` require; `quant` goes with
      the layouts that hold codes of as many bits, and with no other.
    * (C4) not both `segments` and `value`.
    * (C5) `segment` names a `plan.segment` of weights.

    Example:
    ```mlir
    plan.tensor @model.norm.weight in @weights offset 0 length 2304 layout "rows" : tensor<576xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$segment,
                       Plan_Int:$offset, Plan_Int:$length, StrAttr:$layout,
                       OptionalAttr<Lm_SegmentArrayAttr>:$segments,
                       OptionalAttr<ElementsAttr>:$value,
                       OptionalAttr<Lm_QuantAttr>:$quant,
                       OptionalAttr<Lm_RoundingAttr>:$rounding,
                       OptionalAttr<ElementsAttr>:$row_scale,
                       OptionalAttr<ElementsAttr>:$column_scale,
                       OptionalAttr<ElementsAttr>:$importance,
                       TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = [{
    $sym_name `in` $segment `offset` $offset `length` $length `layout` $layout
    (`segments` $segments^)? (`value` `(` $value^ `)`)?
    (`quant` $quant^)? (`rounding` $rounding^)?
    (`row_scale` `(` $row_scale^ `)`)? (`column_scale` `(` $column_scale^ `)`)?
    (`importance` `(` $importance^ `)`)? attr-dict `:` $type
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() {
      return ::llvm::cast<::mlir::RankedTensorType>(getType());
    }
  }];
}

def Plan_KvCacheOp : Plan_SymbolUserOp<"kv_cache", [Symbol]> {
  let summary = "keys and values of every layer, in pages";
  let description = [{
    The unit that is allocated and moved is one page: one layer, one KV head,
    `block` tokens. `slots` are the staging slots of a session, each for a page of
    one KV head that `plan.page_in` fetches. `transient`: no launch reads what an
    earlier step wrote, so that whole blocks are free after their step. `paging`
    says what falls out of device memory; without it all pages stay there.

    Pages with `features` are the states of kernelized attention, one for each
    layer, KV head and sequence.

    Constraints:
    * (C1) `layers` is positive, `slots` is in 0..2^24.
    * (C2) `target` names a target.
    * (C3) states have no `slots` and are neither `transient` nor paged.
    * (C4) a paged cache is not `transient`, `grid` is a multiple of `block`, pages
      can be packed as `warm`: as their own type, or from f32 and bf16 as i8 and i4;
      `warm_bytes` are those of a record (runtime/schema/kv_page.h).
    * (C5) `pack` and `unpack` are entries of one executable for the cache's target
      that read a buffer of a page's bytes and write one of `warm_bytes`, and the
      reverse, and take nothing else.

    Example:
    ```mlir
    plan.kv_cache @cache target @"x86-64-v4" layers 30 <heads = 3, head_dim = 64, block = 128, type = f32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$target,
                       Plan_Int:$layers, Plan_PageShapeAttr:$page,
                       Plan_IntOr<"0">:$slots, Plan_IntOr<"0">:$device,
                       UnitAttr:$transient, OptionalAttr<Plan_PagingAttr>:$paging);
  let assemblyFormat = [{
    $sym_name `target` $target `layers` $layers $page (`slots` $slots^)?
    (`device` $device^)? (`transient` $transient^)? (`paging` $paging^)?
    attr-dict
  }];
  let hasVerifier = 1;
}

def Plan_ExecutableOp : Plan_SymbolUserOp<"executable", [
    Symbol, SymbolTable, NoRegionArguments, NoTerminator, SingleBlock]> {
  let summary = "the code of one target";
  let description = [{
    Constraints:
    * (C1) `target` names a target.
    * (C2) `segment` names an executable segment for that target.
    * (C3) it holds `plan.entry` only.

    Example:
    ```mlir
    plan.executable @kernels elf in @code target @"x86-64-v4" {
      plan.entry @add from <"add", width = 576> params [#plan.param<buffer, per_token = 2304>, ...]
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Plan_CodeFormatAttr:$format,
                       FlatSymbolRefAttr:$segment, FlatSymbolRefAttr:$target);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `` $format `in` $segment `target` $target $body attr-dict
  }];
  let hasVerifier = 1;
}

def Plan_EntryOp : Plan_Op<"entry", [
    Symbol, HasParent<"ExecutableOp">]> {
  let summary = "a kernel and what it takes";
  let description = [{
    `instance` says what code generation makes the kernel from; a plan that was
    read back from an artifact has none, its symbol is the one inside the code.
    `token_limit`: the kernel indexes by token ids, all must be below.
    `context_limit`: its code is sized for contexts up to this; 0: any. `scratch`
    are the bytes that each worker needs, `shared` those that all share for each
    token of the batch.
    `chosen_by` is the row of kernels-templates/selection.inc that named its
    template, for those who read the plan. `sparsity` is what a kernel that chooses
    key blocks or attends to them was made for.

    Constraints:
    * (C1) `token_limit`, `context_limit` and `scratch` are not negative,
      `shared` is in 0..2^20.

    Example:
    ```mlir
    plan.entry @add from <"add", width = 576> params [
      #plan.param<buffer, in_place = true, per_token = 2304>,
      #plan.param<buffer, in_place = true, per_token = 2304>,
      #plan.param<buffer, access = write, per_token = 2304>]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       OptionalAttr<Plan_InstanceAttr>:$instance,
                       Plan_ParameterArrayAttr:$params,
                       DefaultValuedAttr<TypedArrayAttrBase<
                           Plan_ImmediateKindAttr, "immediates">,
                           "{}">:$immediates,
                       Plan_IntOr<"0">:$token_limit, Plan_IntOr<"0">:$scratch,
                       Plan_IntOr<"0">:$shared,
                       Plan_IntOr<"0">:$context_limit,
                       OptionalAttr<StrAttr>:$chosen_by,
                       OptionalAttr<Lm_BlockSparsityAttr>:$sparsity);
  let assemblyFormat = [{
    $sym_name (`from` $instance^)? `params` $params (`immediates` $immediates^)?
    (`token_limit` $token_limit^)? (`scratch` $scratch^)? (`shared` $shared^)?
    (`context_limit` $context_limit^)?
    (`chosen_by` $chosen_by^)? (`sparsity` $sparsity^)? attr-dict
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

def Plan_FunctionOp : Plan_SymbolUserOp<"function", [
    Symbol, IsolatedFromAbove, NoRegionArguments, SingleBlock]> {
  let summary = "a step for batches of at most so many tokens";
  let description = [{
    A token bucket: batches of at most `tokens` tokens of at most `sequences`
    sequences, of which at most `logit_rows` tokens ask for logits. `ranks` run it
    together. `arena` is there once its buffers are placed, `scratch` are the bytes
    that each worker needs, `shared` those that all share.

    Constraints:
    * (C1) `tokens` is positive, `sequences` and `logit_rows` are in 1..`tokens`.
    * (C2) `ranks` is positive, `streams` in 1..64; `events`, `arena`, `scratch` and
      `shared` are not negative.
    * (C3) `target` names a target.
    * (C4) buffers come before all other operations.
    * (C5) every buffer has a placement exactly when there is an `arena`, and lies
      inside it.
    * (C6) no operation uses a buffer outside its lifetime, and lifetimes end
      with the last operation.
    * (C7) buffers whose lifetimes meet do not overlap in the arena.
    * (C8) no operation reads a buffer that no operation before it, in the order
      that streams and waits make, has written.
    * (C9) a launch that only reads a cache reads pages of a layer that a
      `plan.page_in` fetches after their arrival (on the same stream, or after a
      wait for a signal behind it) and before their slots are taken again.
    * (C10) an event is signalled once, and waited for after that; events are below
      `events`.
    * (C11) streams of operations are below `streams`.
    * (C12) a `plan.page_in` has a `plan.select_pages` of its cache and layer
      before it, in the order of streams and waits, for as many slots; one that is
      `ahead` has one somewhere in the function.
    * (C13) the slots of a `plan.page_in` are among those of the cache.
    * (C14) a `plan.page_in` takes slots again only after the launches that read
      the pages in them, of which there is at least one; so has what is left at
      the function's end. One that follows an `ahead` one of its layer takes the
      same slots after it, whether they were read or not.
    * (C15) a `plan.page_out` of a layer is issued before all launches and fetches
      of that layer, and they come after it in the order of streams and waits.
    * (C16) a launch that only reads a cache, behind a `plan.select_pages` of its
      layer, is behind the `plan.page_in` that fetches that selection.
    * (C17) a layer of a paged cache that a launch binds has a `plan.page_out`.

    Example:
    ```mlir
    plan.function @decode target @"x86-64-v4" tokens 32 sequences 32 logit_rows 32 arena 4096 {
      %h = plan.buffer "h" output rows 32 of 8 at <offset = 0, first = 0, last = 0> : f32
      plan.launch "lm.embed" @kernels::@embed(@table, %h)
      plan.return ["logits"](%h)
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$target,
                       Plan_Int:$tokens, Plan_Int:$sequences,
                       Plan_Int:$logit_rows, Plan_IntOr<"1">:$ranks,
                       Plan_IntOr<"1">:$streams, Plan_IntOr<"0">:$events,
                       OptionalAttr<Plan_Int>:$arena, Plan_IntOr<"0">:$scratch,
                       Plan_IntOr<"0">:$shared);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `target` $target `tokens` $tokens `sequences` $sequences
    `logit_rows` $logit_rows (`ranks` $ranks^)? (`streams` $streams^)?
    (`events` $events^)? (`arena` $arena^)? (`scratch` $scratch^)?
    (`shared` $shared^)? $body attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The operations that lifetimes count, in order.
    ::llvm::SmallVector<::mlir::Operation *> getSteps();
    ReturnOp getReturn();
  }];
}

def Plan_BufferOp : Plan_Op<"buffer", [
    HasParent<"FunctionOp">,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "memory of one step";
  let description = [{
    `rows` rows of so many elements: tokens, or rows of logits, at the function's
    largest batch. `output`: the host may read it after the step, so that it lives
    to the last operation.

    Constraints:
    * (C1) the rows and the elements of a row are positive, and the size in bytes
      fits 48 bits.
    * (C2) the element type is f32, f16, bf16, i64, i32, i8, ui8 or i4.

    Example:
    ```mlir
    %h = plan.buffer "h" temporary rows 32 of 576 at <offset = 0, first = 0, last = 4> : f32
    ```
  }];
  let arguments = (ins StrAttr:$name, Plan_BufferRoleAttr:$role,
                       Plan_Int:$max_rows, Plan_Int:$row_elements,
                       OptionalAttr<Plan_PlacementAttr>:$placement,
                       TypeAttr:$element_type,
                       Plan_IntOr<"0">:$device,
                       OptionalAttr<FlatSymbolRefAttr>:$target);
  let results = (outs Plan_Buffer:$buffer);
  let assemblyFormat = [{
    $name `` $role `rows` $max_rows `of` $row_elements (`at` $placement^)?
    (`device` $device^)? (`target` $target^)? attr-dict `:` $element_type
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Bytes at the function's largest batch.
    int64_t getBytes();
  }];
}

/// An operation of a function that runs on a stream of a device. `modelled_ns`
/// is how long it should take at the function's largest batch and the model's
/// context, below 2^40; 0: nobody said.
class Plan_StepOp<string mnemonic, dag args, string format,
                  list<Trait> traits = []>
    : Plan_SymbolUserOp<mnemonic, !listconcat(
        [HasParent<"FunctionOp">], traits)> {
  let arguments = !con(args, (ins Plan_IntOr<"0">:$stream,
                                  Plan_IntOr<"0">:$device,
                                  OptionalAttr<FlatSymbolRefAttr>:$target,
                                  Plan_IntOr<"0">:$modelled_ns));
  let assemblyFormat = format # [{
    (`stream` $stream^)? (`device` $device^)? (`target` $target^)?
    (`ns` $modelled_ns^)? attr-dict
  }];
}

def Plan_LaunchOp : Plan_StepOp<"launch", (ins
    StrAttr:$label, SymbolRefAttr:$entry, Variadic<Plan_Buffer>:$buffers,
    ArrayAttr:$bindings, DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$immediates,
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$grid,
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$block,
    Plan_IntOr<"0">:$shared_bytes), [{
    $label $entry `` custom<Bindings>($buffers, $bindings)
    (`immediates` $immediates^)? (`grid` $grid^)? (`block` $block^)?
    (`shared_bytes` $shared_bytes^)?
  }]> {
  let summary = "runs one kernel over the whole step";
  let description = [{
    Binds, in the order of the entry's parameters, buffers of the function,
    tensors and caches. `label` says for people where it came from. `grid`,
    `block` and `shared_bytes` are for GPUs.

    Constraints:
    * (C1) `entry` names an entry of an executable of the function's target.
    * (C2) there is one binding for each parameter, of its kind.
    * (C3) a buffer or tensor has at least the bytes that the parameter needs at
      the function's largest batch.
    * (C4) a cache has the parameter's page shape.
    * (C5) a buffer that is written is bound a second time only as an `in_place`
      parameter.
    * (C6) there is one immediate of each of the entry's kinds; layers are below
      those of every cache bound.
    * (C7) a tensor's segment is for the function's target.
    * (C8) the function's scratch is at least the entry's, its shared memory at
      least the entry's for all of its tokens.

    Example:
    ```mlir
    plan.launch "lm.kv_append" @kernels::@kv_append(%qkv, %qkv, %rotary, @cache) immediates [0]
    ```
  }];
  let extraClassDeclaration = [{
    /// The entry, or null.
    EntryOp lookupEntry(::mlir::SymbolTableCollection &symbols);
    /// Calls `visit` with each parameter and the buffer bound to it.
    void visitBuffers(EntryOp entry,
        ::llvm::function_ref<void(ParameterAttr, ::mlir::Value)> visit);
    /// Calls `visit` with each parameter and the cache bound to it.
    void visitCaches(EntryOp entry,
        ::llvm::function_ref<void(ParameterAttr, ::mlir::FlatSymbolRefAttr)>
            visit);
  }];
}

def Plan_CopyOp : Plan_StepOp<"copy", (ins
    Plan_Buffer:$source, Plan_Buffer:$destination, Plan_Int:$length),
    "$source `to` $destination `bytes` $length"> {
  let summary = "copies a buffer to another, possibly on another device";
  let description = [{
    Constraints:
    * (C1) source and destination differ.
    * (C2) `length` is positive and inside both.

    Example:
    ```mlir
    plan.copy %a to %b bytes 4096 stream 1
    ```
  }];
}

def Plan_SelectPagesOp : Plan_StepOp<"select_pages", (ins
    FlatSymbolRefAttr:$cache, Plan_Int:$layer, Plan_Buffer:$selection,
    Plan_Int:$slots), "$cache `layer` $layer `by` $selection `slots` $slots"> {
  let summary = "turns a computed selection into page requests";
  let description = [{
    Constraints:
    * (C1) `cache` names a paged cache, `layer` is below its layers.
    * (C2) `slots` is positive.

    Example:
    ```mlir
    plan.select_pages @cache layer 3 by %selection slots 64
    ```
  }];
  let hasVerifier = 1;
}

def Plan_PageInOp : Plan_StepOp<"page_in", (ins
    FlatSymbolRefAttr:$cache, Plan_Int:$layer, Plan_Int:$first_slot,
    Plan_Int:$slots, UnitAttr:$ahead),
    "$cache `layer` $layer `slot` $first_slot `slots` $slots (`ahead` $ahead^)?"> {
  let summary = "moves the selected pages of a layer into staging slots";
  let description = [{
    `ahead`: those that the layer's last selection of an earlier step asked for,
    before this step has selected. A second one over the same slots then fetches
    what is missing.

    Constraints:
    * (C1) `cache` names a paged cache, `layer` is below its layers.
    * (C2) `slots` is positive, `first_slot` not negative.

    Example:
    ```mlir
    plan.page_in @cache layer 3 slot 0 slots 64 ahead stream 1
    ```
  }];
  let hasVerifier = 1;
}

def Plan_PageOutOp : Plan_StepOp<"page_out", (ins
    FlatSymbolRefAttr:$cache, Plan_Int:$layer, Plan_Int:$max_pages),
    "$cache `layer` $layer `pages` $max_pages"> {
  let summary = "moves pages that left the hot window out of device memory";
  let description = [{
    At the first step of a cell of `#plan.paging`; else there is nothing to move.
    `max_pages` are those of a session.

    Constraints:
    * (C1) `cache` names a paged cache, `layer` is below its layers.
    * (C2) `max_pages` is at least the KV heads times the blocks of a cell.

    Example:
    ```mlir
    plan.page_out @cache layer 3 pages 16 stream 1
    ```
  }];
}

def Plan_SignalOp : Plan_StepOp<"signal", (ins Plan_Int:$event), "$event"> {
  let summary = "marks a point of a stream";
  let description = [{
    Example:
    ```mlir
    plan.signal 0 stream 1
    ```
  }];
}

def Plan_WaitOp : Plan_StepOp<"wait", (ins Plan_Int:$event), "$event"> {
  let summary = "holds a stream until an event was signalled";
  let description = [{
    Example:
    ```mlir
    plan.wait 0
    ```
  }];
}

def Plan_CollectiveOp : Plan_StepOp<"collective", (ins
    Plan_CollectiveKindAttr:$kind, Plan_Buffer:$buffer), "`` $kind $buffer"> {
  let summary = "combines a buffer over all ranks";
  let description = [{
    Reads and writes the buffer.

    Example:
    ```mlir
    plan.collective all_reduce %h
    ```
  }];
}

def Plan_ReturnOp : Plan_Op<"return", [
    Terminator, HasParent<"FunctionOp">]> {
  let summary = "names the buffers that the host may read after a step";
  let description = [{
    Constraints:
    * (C1) there is one name for each buffer, no two alike.
    * (C2) every buffer has the role output, and some operation writes it.

    Example:
    ```mlir
    plan.return ["logits"](%l)
    ```
  }];
  let arguments = (ins StrArrayAttr:$names, Variadic<Plan_Buffer>:$buffers);
  let assemblyFormat = "$names `(` $buffers `)` attr-dict";
  let hasVerifier = 1;
}

#endif // STELE_DIALECTS_PLAN_PLANOPS_TD
