// The lm dialect: what a transformer computes, one operation per kernel launch.
// Place on the road: models/ builds an lm module from a checkpoint,
// compiler/Transforms rewrites it, compiler/Conversion/LmToPlan lowers it.

#ifndef STELE_DIALECTS_LM_LMDIALECT_TD
#define STELE_DIALECTS_LM_LMDIALECT_TD

include "mlir/IR/OpBase.td"

def Lm_Dialect : Dialect {
  let name = "lm";
  let cppNamespace = "::stele::lm";
  let summary = "What a long-context transformer computes";
  let description = [{
    Tensor SSA over the tokens of one step. The first dimension of every
    activation is `?`: the T tokens of a ragged batch, several sequences one
    after the other, never padded. `!lm.batch` knows which token belongs to which
    sequence and at which position.

    Weights are symbols (`lm.weight`) that name tensors of the checkpoint; their
    bytes stay on disk until the artifact is written. The KV cache is a value:
    `lm.kv_append` takes one and returns the next, so that an attention depends
    on exactly the appends that came before it.

    Every operation with a `kernel` attribute lowers to exactly one kernel
    launch, fused or not. Fusion passes build richer forms of the same
    operations; they never introduce new ones.

    A module carries `lm.model = #lm.model<...>` and
    `lm.arithmetic = #lm.arithmetic<f32 | bf16>` (f32 when absent). With
    `lm.mean_queries`, one f32 tensor [KV heads, head_dim] for each layer,
    `stele-add-references` makes the references of `lm.kv_append`: the mean query of
    every KV head's group on some text, normalised, before its rotation, times the
    attention's scale. A result of a function may have `lm.name = "..."`, by which the host reads it.
  }];

  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;

  let extraClassDeclaration = [{
    /// Module attributes of the dialect.
    static constexpr llvm::StringLiteral modelAttrName = "lm.model";
    static constexpr llvm::StringLiteral arithmeticAttrName = "lm.arithmetic";
    static constexpr llvm::StringLiteral meanQueriesAttrName =
        "lm.mean_queries";
    /// Attribute of a function's result.
    static constexpr llvm::StringLiteral nameAttrName = "lm.name";

    void registerAttributes();
    void registerTypes();
  }];
}

#endif // STELE_DIALECTS_LM_LMDIALECT_TD
