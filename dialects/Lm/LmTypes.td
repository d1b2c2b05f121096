// Types of the lm dialect: what is neither a tensor nor a weight.

#ifndef STELE_DIALECTS_LM_LMTYPES_TD
#define STELE_DIALECTS_LM_LMTYPES_TD

include "stele/dialects/Lm/LmDialect.td"
include "mlir/IR/AttrTypeBase.td"

class Lm_Type<string name, string typeMnemonic> : TypeDef<Lm_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Lm_BatchType : Lm_Type<"Batch", "batch"> {
  let summary = "the ragged batch of one step";
  let description = [{
    Which sequence each of the T tokens belongs to, its absolute position, the
    length of each sequence's cache, and the rows whose logits are wanted.
    runtime/schema/host_abi.h shows it as the kernels see it.
  }];
  let builderCall = "::stele::lm::BatchType::get($_builder.getContext())";
}
def Lm_Batch : DialectType<Lm_Dialect, Lm_BatchType.predicate, "ragged batch">,
               BuildableType<"::stele::lm::BatchType::get($_builder.getContext())">;

def Lm_KvCacheType : Lm_Type<"KvCache", "kv_cache"> {
  let summary = "keys and values of every layer, in pages";
  let description = [{
    `layers` x `heads` KV heads; a page holds `block` tokens of one layer and
    head, keys [block, head_dim] and then values [block, head_dim]. In pages of
    i8 every key and every value has a scale of its own. With `key_index` the
    mean keys of full pages are in an index beside them, for `lm.select_blocks`;
    with `value_index` so are mean values, for `lm.tail_attention`.

    Constraints:
    * (C1) `layers`, `heads` and `head_dim` are in 1..65536.
    * (C2) `block` is a power of two in 16..1024.
    * (C3) the element type is f32, f16, bf16 or i8.
    * (C4) `value_index` needs `key_index`.

    Example: `!lm.kv_cache<layers = 30, heads = 3, head_dim = 64, block = 128,
    f32>`
  }];
  let parameters = (ins "int64_t":$layers, "int64_t":$heads,
                        "int64_t":$head_dim, "int64_t":$block,
                        "::mlir::Type":$element_type,
                        DefaultValuedParameter<"bool", "false">:$key_index,
                        DefaultValuedParameter<"bool", "false">:$value_index);
  let assemblyFormat = [{
    `<` struct($layers, $heads, $head_dim, $block) `,` $element_type
    (`,` struct($key_index, $value_index)^)? `>`
  }];
  let genVerifyDecl = 1;
}

def Lm_KernelStateType : Lm_Type<"KernelState", "kernel_state"> {
  let summary = "additive states of kernelized attention";
  let description = [{
    Per layer and KV head: S = sum phi(k) v^T [features, head_dim],
    z = sum phi(k) [features] and the running maxima of the exponents; one for
    each sequence, however long.

    Constraints:
    * (C1) every parameter is in 1..65536.

    Example: `!lm.kernel_state<layers = 30, heads = 3, head_dim = 64,
    features = 256>`
  }];
  let parameters = (ins "int64_t":$layers, "int64_t":$heads,
                        "int64_t":$head_dim, "int64_t":$features);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Lm_SelectionType : Lm_Type<"Selection", "selection"> {
  let summary = "key blocks chosen per query block and KV head";
  let description = [{
    Constraints:
    * (C1) `heads` is in 1..65536.
    * (C2) `block` is a power of two in 16..1024.

    Example: `!lm.selection<heads = 3, block = 128>`
  }];
  let parameters = (ins "int64_t":$heads, "int64_t":$block);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif // STELE_DIALECTS_LM_LMTYPES_TD
