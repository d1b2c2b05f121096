// Attributes of the plan dialect: what a kernel is made from, what it takes, and
// where a buffer lives.

#ifndef STELE_DIALECTS_PLAN_PLANATTRS_TD
#define STELE_DIALECTS_PLAN_PLANATTRS_TD

include "stele/dialects/Plan/PlanEnums.td"
include "mlir/IR/AttrTypeBase.td"

class Plan_Attr<string name, string attrMnemonic>
    : AttrDef<Plan_Dialect, name> {
  let mnemonic = attrMnemonic;
}

class Plan_DefaultInt<string desc>
    : DefaultValuedParameter<"int64_t", "0", desc>;

def Plan_InstanceAttr : Plan_Attr<"Instance", "instance"> {
  let summary = "a kernel template with its constants";
  let description = [{
    Names a template of kernels-templates and gives each of its constants a value;
    code generation makes a kernel from it. Which constants a template has, only
    the template knows: a missing or unknown one is refused there.

    Constraints:
    * (C1) `template` is not empty.
    * (C2) no constant is named twice.
    * (C3) every value is an i64 or a finite f64.

    Example: `#plan.instance<"rms_norm", eps = 1.000000e-05, groups = 1,
    width = 576>`
  }];
  let parameters = (ins
    StringRefParameter<"template of kernels-templates">:$template_name,
    OptionalArrayRefParameter<"::mlir::NamedAttribute", "constants">:$constants);
  let assemblyFormat = "`<` $template_name `` custom<Constants>($constants) `>`";
  let genVerifyDecl = 1;
}

def Plan_ParameterAttr : Plan_Attr<"Parameter", "param"> {
  let summary = "a pointer that a kernel takes";
  let description = [{
    What the kernel was specialised to: how many bytes it touches in a step of T
    tokens and L logit rows (`bytes` + `per_token` T + `per_logit_row` L), or the
    shape of the cache whose pages it walks. A launch that binds less is refused.

    Constraints:
    * (C1) only buffers and caches are written.
    * (C2) `in_place` is for buffers that are only read: the launch may write the
      same buffer, since it reads each element before it writes it.
    * (C3) sizes are not negative, and belong to buffers and tensors.
    * (C4) `cache` is there exactly for a kv_cache.

    Example: `#plan.param<buffer, access = read, in_place = true,
    per_token = 2304>`
  }];
  let parameters = (ins
    "::stele::plan_ir::BindingKind":$kind,
    DefaultValuedParameter<"::stele::plan_ir::Access",
                           "::stele::plan_ir::Access::Read">:$access,
    DefaultValuedParameter<"bool", "false">:$in_place,
    Plan_DefaultInt<"bytes whatever the batch">:$bytes,
    Plan_DefaultInt<"bytes for each token">:$per_token,
    Plan_DefaultInt<"bytes for each row of logits">:$per_logit_row,
    OptionalParameter<"::stele::plan_ir::PageShapeAttr">:$cache);
  let assemblyFormat = [{
    `<` $kind (`,` struct($access, $in_place, $bytes, $per_token, $per_logit_row,
                          $cache)^)? `>`
  }];
  let genVerifyDecl = 1;
}
def Plan_ParameterArrayAttr
    : TypedArrayAttrBase<Plan_ParameterAttr, "parameters of a kernel">;

def Plan_PageShapeAttr : Plan_Attr<"PageShape", "page"> {
  let summary = "the shape of a KV cache's pages";
  let description = [{
    One page holds one layer and KV head of `block` tokens: keys [block,
    head_dim], then values [block, head_dim]; for i8 then an f32 scale for each
    key, and one for each value. With `key_index` the mean keys of full pages are
    in an index beside them (runtime/schema/key_index.h), with `value_index` mean
    values too.

    With `features` a page is a state of kernelized attention
    (runtime/schema/kernel_state.h): one layer and KV head of a whole sequence,
    however long. It has no `block`, and is f32.

    Constraints:
    * (C1) `heads` and `head_dim` are positive, `block` is a power of two in
      16..1024.
    * (C2) the element type is f32, f16, bf16 or i8.
    * (C3) with `features`, all of `heads`, `head_dim` and `features` are in
      1..65536, `block` is 0, the element type f32, and there is no key index.
    * (C4) `value_index` needs `key_index`.

    Example: `#plan.page<heads = 3, head_dim = 64, block = 128, type = f32>`
  }];
  let parameters = (ins "int64_t":$heads, "int64_t":$head_dim, "int64_t":$block,
                        "::mlir::Type":$type,
                        Plan_DefaultInt<"of a state; 0: keys and values">:$features,
                        DefaultValuedParameter<"bool", "false">:$key_index,
                        DefaultValuedParameter<"bool", "false">:$value_index);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Bytes of a page, rounded up to 64.
    int64_t getPageBytes() const;
    /// Bytes of the record that a page is packed into, or nothing if it cannot.
    std::optional<int64_t> getRecordBytes(::mlir::Type warm) const;
  }];
}

def Plan_PagingAttr : Plan_Attr<"Paging", "paging"> {
  let summary = "what of a cache stays in device memory, and what the rest becomes";
  let description = [{
    Steps stay inside one cell [k grid, (k + 1) grid) of positions. In it the first
    `sinks` blocks and those that end behind k grid - `hot` are in device memory;
    the others fell out at the cell's first step. `pack` makes a page that falls
    out a record of `warm_bytes`, which holds elements as `warm`; `unpack` makes the
    page again. Host memory holds the last `warm_tokens` that fell out (0: all), a
    disk the others.

    Constraints:
    * (C1) `grid` is positive, `hot` a positive multiple of it.
    * (C2) `sinks` and `warm_tokens` are not negative, `warm_bytes` is positive.
    * (C3) `warm` is f32, f16, bf16, i8 or i4.

    Example: `#plan.paging<hot = 10240, sinks = 1, grid = 512, warm = i8,
    warm_bytes = 17408, pack = @kernels::@pack, unpack = @kernels::@unpack>`
  }];
  let parameters = (ins "int64_t":$hot, "int64_t":$sinks, "int64_t":$grid,
                        "::mlir::Type":$warm, "int64_t":$warm_bytes,
                        Plan_DefaultInt<"in host memory; 0: all">:$warm_tokens,
                        "::mlir::SymbolRefAttr":$pack,
                        "::mlir::SymbolRefAttr":$unpack);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Plan_PlacementAttr : Plan_Attr<"Placement", "placement"> {
  let summary = "where in the arena a buffer is, and from when to when";
  let description = [{
    Constraints:
    * (C1) `offset` is a multiple of 64 and not negative.
    * (C2) 0 <= `first` <= `last`.

    Example: `#plan.placement<offset = 4096, first = 3, last = 7>`
  }];
  let parameters = (ins "int64_t":$offset, "int64_t":$first, "int64_t":$last);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif // STELE_DIALECTS_PLAN_PLANATTRS_TD
