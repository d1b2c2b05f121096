// Operations of the lm dialect. Shapes in descriptions: T tokens of the step,
// L rows whose logits are wanted, H query heads, G KV heads, D head_dim.

#ifndef STELE_DIALECTS_LM_LMOPS_TD
#define STELE_DIALECTS_LM_LMOPS_TD

include "stele/dialects/Lm/LmAttrs.td"
include "stele/dialects/Lm/LmDialect.td"
include "stele/dialects/Lm/LmEnums.td"
include "stele/dialects/Lm/LmInterfaces.td"
include "stele/dialects/Lm/LmTypes.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Lm_Op<string mnemonic, list<Trait> traits = []>
    : Op<Lm_Dialect, mnemonic, traits>;

/// An operation that lowers to one kernel launch.
class Lm_KernelOp<string mnemonic, dag args, list<Trait> traits = []>
    : Lm_Op<mnemonic, !listconcat([
        Pure, Lm_KernelOpInterface], traits)> {
  let arguments = !con(args, (ins OptionalAttr<Lm_KernelAttr>:$kernel));
}

/// An operation that names weights.
class Lm_WeightedOp<string mnemonic, dag args, list<Trait> traits = []>
    : Lm_KernelOp<mnemonic, args, !listconcat([
        DeclareOpInterfaceMethods<SymbolUserOpInterface>], traits)>;

/// A number that may be wrong, hence signed.
def Lm_Int : TypedSignlessIntegerAttrBase<I64, "int64_t", "integer">;

/// Activations: one row for each token (or wanted row), of a known width.
def Lm_Rows : Type<And<[
    IsTensorTypePred, CPred<"::stele::lm::isRows($_self)">]>,
    "rows tensor<?xNxf32> with N of 1..2^31-1", "::mlir::TensorType">;
def Lm_Tokens : 1DTensorOf<[I32]>;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def Lm_WeightOp : Lm_Op<"weight", [Symbol]> {
  let summary = "a tensor of the artifact";
  let description = [{
    Declares a weight [rows, columns] or [elements]. Its element type is the one
    it has in the artifact (before `quant`); the checkpoint's may differ. Where
    the bytes come from:

    * `segments`: rows of tensors of the checkpoint, in this order;
    * `value`: the compiler made them (rotary frequencies, random features);
    * neither: the whole tensor of the checkpoint that has the symbol's name.

    Before it is stored, element (r, c) is multiplied by `row_scale`[r] and
    `column_scale`[c].

    `quant` is the format in which it is stored. The codes are the checkpoint's
    own, in their order of columns; with `rounding` they are made from the
    numbers when the artifact is written, an error in column c counting
    `importance`[c] times.

    `layout` is how kernels want it packed; stele-select-kernels sets it.

    Constraints:
    * (C1) the type is static and has 1 or 2 dimensions of 1..2^40.
    * (C2) not both `segments` and `value`.
    * (C3) the rows of all segments add up to the first dimension.
    * (C4) no two segments have the same name.
    * (C5) the type of `value` is the weight's type.
    * (C6) `quant` needs 2 dimensions of a float type, and no `value`.
    * (C7) `rounding` needs `quant`, and `importance` needs `rounding`.
    * (C8) `row_scale` is one f32 for each row, `column_scale` and `importance`
      one for each column of a matrix.
    * (C9) with `quant`, scales need `rounding`: codes of the checkpoint stay as
      they are.

    Example:
    ```mlir
    lm.weight @model.norm.weight : tensor<576xf32>
    lm.weight @layers.0.qkv segments [
      #lm.segment<name = "q", source = "model.layers.0.self_attn.q_proj.weight", rows = 576>,
      #lm.segment<name = "k", source = "model.layers.0.self_attn.k_proj.weight", rows = 192>,
      #lm.segment<name = "v", source = "model.layers.0.self_attn.v_proj.weight", rows = 192>
    ] layout "panel_f32" : tensor<960x576xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       TypeAttrOf<AnyRankedTensor>:$type,
                       OptionalAttr<Lm_SegmentArrayAttr>:$segments,
                       OptionalAttr<ElementsAttr>:$value,
                       OptionalAttr<Lm_QuantAttr>:$quant,
                       OptionalAttr<Lm_RoundingAttr>:$rounding,
                       OptionalAttr<ElementsAttr>:$row_scale,
                       OptionalAttr<ElementsAttr>:$column_scale,
                       OptionalAttr<ElementsAttr>:$importance,
                       OptionalAttr<StrAttr>:$layout);
  let assemblyFormat = [{
    $sym_name (`segments` $segments^)? (`value` `(` $value^ `)`)?
    (`quant` $quant^)? (`rounding` $rounding^)?
    (`row_scale` `(` $row_scale^ `)`)? (`column_scale` `(` $column_scale^ `)`)?
    (`importance` `(` $importance^ `)`)?
    (`layout` $layout^)? attr-dict `:` $type
  }];
  let builders = [
    OpBuilder<(ins "::llvm::StringRef":$name, "::mlir::RankedTensorType":$type,
                   CArg<"::llvm::ArrayRef<::mlir::Attribute>", "{}">:$segments)>
  ];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() {
      return ::llvm::cast<::mlir::RankedTensorType>(getType());
    }
    /// The segments; one that covers the checkpoint's tensor of the symbol's
    /// name where none are written. Empty for a `value`.
    ::llvm::SmallVector<SegmentAttr> getSources();
  }];
}

def Lm_WeightRefOp : Lm_Op<"weight_ref", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a weight as a value";
  let description = [{
    For operands that may be computed or stored, such as a relative position
    bias. Launches nothing: the reader binds the weight.

    Constraints:
    * (C1) `weight` names an `lm.weight` of the result's type.

    Example:
    ```mlir
    %bias = lm.weight_ref @layers.0.relative_bias : tensor<9x128xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs AnyRankedTensor:$output);
  let assemblyFormat = "$weight attr-dict `:` type($output)";
}

//===----------------------------------------------------------------------===//
// Token-wise operations
//===----------------------------------------------------------------------===//

def Lm_EmbedOp : Lm_WeightedOp<"embed", (ins
    Lm_Tokens:$tokens, FlatSymbolRefAttr:$table)> {
  let summary = "rows of the embedding table";
  let description = [{
    output[t, :] = table[tokens[t], :], tokens [T], table [vocabulary, hidden],
    output [T, hidden].

    Constraints:
    * (C1) `table` names an `lm.weight` [vocabulary, hidden] whose columns are
      the output's.

    Example:
    ```mlir
    %h = lm.embed %tokens, @model.embed_tokens.weight : tensor<?xi32> -> tensor<?x576xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output);
  let assemblyFormat = [{
    $tokens `,` $table attr-dict `:` type($tokens) `->` type($output)
  }];
}

def Lm_RmsNormOp : Lm_WeightedOp<"rms_norm", (ins
    Lm_Rows:$input, FlatSymbolRefAttr:$weight, F64Attr:$eps,
    DefaultValuedAttr<Lm_Int, "1">:$groups), [
    AllTypesMatch<["input", "output"]>]> {
  let summary = "root mean square normalisation";
  let description = [{
    Every row is `groups` vectors x of equal width, normalised each by itself:
    y = x / sqrt(mean(x^2) + eps) * weight. `groups` is the number of heads for
    the q/k norms of Qwen3, 1 otherwise.

    Constraints:
    * (C1) `eps` is finite and not negative.
    * (C2) `groups` is positive and divides the columns.
    * (C3) `weight` names an `lm.weight` [columns / groups].

    Example:
    ```mlir
    %n = lm.rms_norm %h, @model.norm.weight eps 1.0e-05 : tensor<?x576xf32>
    %k = lm.rms_norm %k0, @layers.0.k_norm eps 1.0e-06 groups 8 : tensor<?x1024xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output);
  let assemblyFormat = [{
    $input `,` $weight `eps` $eps (`groups` $groups^)? attr-dict `:` type($input)
  }];
  let hasVerifier = 1;
}

def Lm_LinearOp : Lm_WeightedOp<"linear", (ins
    Lm_Rows:$input, Optional<Lm_Rows>:$residual,
    FlatSymbolRefAttr:$weight,
    OptionalAttr<FlatSymbolRefAttr>:$norm_weight, OptionalAttr<F64Attr>:$norm_eps,
    OptionalAttr<FlatSymbolRefAttr>:$bias,
    OptionalAttr<FlatSymbolRefAttr>:$permutation,
    OptionalAttr<Lm_GluAttr>:$glu)> {
  let summary = "matrix product with optional prologue and epilogue";
  let description = [{
    With x' = rms_norm(input, norm_weight, norm_eps) or the input itself, and
    y = x' weight^T + bias:

    * output = y, [T, N]; with `residual`, output = y + residual;
    * with `glu`, the weight has two segments of N/2 rows, gate and up, and
      output = act(y_gate) * y_up, [T, N/2];
    * with `permutation` p, column j of the weight meets x'[p[j]]: the
      checkpoint quantised its columns in another order (GPTQ's desc_act).

    `lm.weight` names the segments (q, k, v of a fused projection); the output's
    columns are the segments one after the other.

    Constraints:
    * (C1) `weight` names an `lm.weight` [N, K] where K is the input's columns.
    * (C2) the output's columns are N, or N/2 with `glu`.
    * (C3) `norm_weight` and `norm_eps` come together; `norm_weight` names an
      `lm.weight` [K].
    * (C4) `norm_eps` is finite and not negative.
    * (C5) `bias` names an `lm.weight` [N].
    * (C6) with `glu` the weight has exactly two segments of equal rows.
    * (C7) `glu` and `residual` exclude each other.
    * (C8) the residual's type is the output's.
    * (C9) `permutation` names an `lm.weight` [K] of i32 whose `value` holds
      each of 0..K-1.

    Example:
    ```mlir
    %qkv = lm.linear %h, @layers.0.qkv norm(@layers.0.input_norm, 1.0e-05) : tensor<?x576xf32> -> tensor<?x960xf32>
    %h1 = lm.linear %a, @layers.0.o residual(%h : tensor<?x576xf32>) : tensor<?x576xf32> -> tensor<?x576xf32>
    %g = lm.linear %h1, @layers.0.gate_up norm(@layers.0.post_norm, 1.0e-05) glu <silu> : tensor<?x576xf32> -> tensor<?x1536xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output);
  let assemblyFormat = [{
    $input `,` $weight (`norm` `(` $norm_weight^ `,` $norm_eps `)`)?
    (`bias` `(` $bias^ `)`)? (`permutation` `(` $permutation^ `)`)?
    (`glu` $glu^)?
    (`residual` `(` $residual^ `:` type($residual) `)`)? attr-dict
    `:` type($input) `->` type($output)
  }];
  let hasVerifier = 1;
}

def Lm_GluOp : Lm_KernelOp<"glu", (ins
    Lm_Rows:$gate, Lm_Rows:$up, Lm_GluAttr:$kind), [
    AllTypesMatch<["gate", "up", "output"]>]> {
  let summary = "gated linear unit";
  let description = [{
    output = act(gate) * up, element by element. silu(x) = x / (1 + exp(-x)),
    gelu(x) = x Phi(x), gelu_tanh its tanh approximation.

    Example:
    ```mlir
    %m = lm.glu %gate, %up <silu> : tensor<?x1536xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output);
  let assemblyFormat = "$gate `,` $up $kind attr-dict `:` type($output)";
}

def Lm_AddOp : Lm_KernelOp<"add", (ins Lm_Rows:$lhs, Lm_Rows:$rhs), [
    Commutative, AllTypesMatch<["lhs", "rhs", "output"]>]> {
  let summary = "element-wise sum";
  let description = [{
    output = lhs + rhs.

    Example:
    ```mlir
    %h1 = lm.add %h, %o : tensor<?x576xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($output)";
}

def Lm_AllReduceOp : Lm_KernelOp<"all_reduce", (ins
    Lm_Rows:$input, Lm_Int:$ranks), [AllTypesMatch<["input", "output"]>]> {
  let summary = "sum over all ranks";
  let description = [{
    output = sum over the `ranks` ranks of their input; every rank gets it. Over
    one rank it is its input, and folds away.

    Constraints:
    * (C1) `ranks` is positive.

    Example:
    ```mlir
    %s = lm.all_reduce %p ranks 2 : tensor<?x576xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output);
  let assemblyFormat = "$input `ranks` $ranks attr-dict `:` type($output)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Lm_LogitsOp : Lm_WeightedOp<"logits", (ins
    Lm_Rows:$input, Lm_Batch:$batch, FlatSymbolRefAttr:$weight,
    OptionalAttr<FlatSymbolRefAttr>:$norm_weight,
    OptionalAttr<F64Attr>:$norm_eps,
    OptionalAttr<FlatSymbolRefAttr>:$bias)> {
  let summary = "scores of the vocabulary for the rows that are wanted";
  let description = [{
    output[l, :] = x'[row(l), :] weight^T + bias for the L rows that the batch
    asks for; x' as in `lm.linear`.

    Constraints:
    * (C1) `weight` names an `lm.weight` [vocabulary, K] where K is the input's
      columns and vocabulary the output's.
    * (C2) `norm_weight` and `norm_eps` come together; `norm_weight` names an
      `lm.weight` [K].
    * (C3) `norm_eps` is finite and not negative.
    * (C4) `bias` names an `lm.weight` [vocabulary].

    Example:
    ```mlir
    %l = lm.logits %h, %batch, @model.embed_tokens.weight norm(@model.norm.weight, 1.0e-05) : tensor<?x576xf32> -> tensor<?x49152xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output);
  let assemblyFormat = [{
    $input `,` $batch `,` $weight (`norm` `(` $norm_weight^ `,` $norm_eps `)`)?
    (`bias` `(` $bias^ `)`)? attr-dict `:` type($input) `->` type($output)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Positions and the cache
//===----------------------------------------------------------------------===//

def Lm_RotaryTableOp : Lm_WeightedOp<"rotary_table", (ins
    Lm_Batch:$batch, FlatSymbolRefAttr:$frequencies, Lm_RopeAttr:$rope,
    UnitAttr:$estimate)> {
  let summary = "cosines and sines of this step's positions";
  let description = [{
    output[t, :] = for each part of `rope` (one; intra, successive and inter with
    dual chunk attention): dims/2 cosines, then dims/2 sines of the angles
    position * frequencies[i], times YaRN's attention factor. Angles are products
    of f32 numbers, as the reference implementations compute them.

    stele-prepare-positions makes one for all layers of the same `rope`. With
    `estimate` the positions are the unclamped ones of `lm.select_blocks`.

    Constraints:
    * (C1) `frequencies` names an `lm.weight` [dims / 2].
    * (C2) the output has dims x parts columns.

    Example:
    ```mlir
    %r = lm.rotary_table %batch, @rope.frequencies rope(<theta = 1.0e+05, dims = 64>) : tensor<?x64xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output);
  let assemblyFormat = [{
    $batch `,` $frequencies `rope` `(` $rope `)` (`estimate` $estimate^)?
    attr-dict `:` type($output)
  }];
  let hasVerifier = 1;
}

def Lm_RopeOp : Lm_KernelOp<"rope", (ins
    Lm_Rows:$input, Lm_Batch:$batch, Optional<Lm_Rows>:$rotary,
    Lm_Int:$heads, Lm_RopeAttr:$rope), [
    Lm_RotaryOpInterface, AllTypesMatch<["input", "output"]>]> {
  let summary = "rotates keys for the cache";
  let description = [{
    Rotates every head of every row at the token's position (p mod c with dual
    chunk attention), as `#lm.rope` says; the rotated copy is for the cache only,
    attention takes queries before rotation. With `rotary` the kernel reads
    cosines and sines from it.

    Constraints:
    * (C1) `heads` is positive and divides the columns.
    * (C2) `dims` of `rope` is at most columns / heads.
    * (C3) `rotary` has dims x parts columns.

    Example:
    ```mlir
    %k = lm.rope %k0, %batch heads 3 rope(<theta = 1.0e+05, dims = 64>) : tensor<?x192xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output);
  let assemblyFormat = [{
    $input `,` $batch `heads` $heads `rope` `(` $rope `)`
    (`rotary` `(` $rotary^ `:` type($rotary) `)`)? attr-dict `:` type($input)
  }];
  let hasVerifier = 1;
}

def Lm_KvAppendOp : Lm_WeightedOp<"kv_append", (ins
    Lm_Rows:$key, Lm_Rows:$value, Lm_KvCacheType:$cache, Lm_Batch:$batch,
    Optional<Lm_Rows>:$rotary,
    Lm_Int:$layer,
    DefaultValuedAttr<Lm_Int, "0">:$key_offset,
    DefaultValuedAttr<Lm_Int, "0">:$value_offset,
    OptionalAttr<FlatSymbolRefAttr>:$norm_weight, OptionalAttr<F64Attr>:$norm_eps,
    OptionalAttr<Lm_RopeAttr>:$rope,
    OptionalAttr<FlatSymbolRefAttr>:$reference), [
    Lm_RotaryOpInterface, AllTypesMatch<["cache", "output"]>]> {
  let summary = "writes this step's keys and values into the cache";
  let description = [{
    Takes heads * head_dim columns of `key` from `key_offset` on and of `value`
    from `value_offset` on (both may be one fused q/k/v buffer), normalises every
    key head (`norm`), rotates it (`rope`), and stores keys and values at the
    tokens' positions of `layer`. The result is the cache after that; it takes
    the operand's place in memory, so the operand may not be read for this layer
    afterwards.

    In a cache with a key index a block of keys has an entry as soon as it is full,
    a vector c and a number o, so that the log of the block's attention mass for a
    query q is about q . c + o (`lm.select_blocks`):

    * c = mean(k_j) and o = log |B|, or
    * with `reference`, m, the query that every KV head is expected to be asked, and
      w_j = softmax(m . k_j) over the block: c = sum_j w_j k_j and
      o = log sum_j exp(m . k_j) - m . r(c), which is exact for q = m. m is rotated by
      `rope` to the block's last position; r is the rounding of `lm.select_blocks`.

    With a value index the entry also has u, the mean of the values v_j by the same
    weights, for `lm.tail_attention`.

    Constraints:
    * (C1) `layer` is in [0, layers of the cache).
    * (C2) the columns taken lie inside `key` and `value`.
    * (C3) `norm_weight` and `norm_eps` come together; `norm_weight` names an
      `lm.weight` [head_dim].
    * (C4) `norm_eps` is finite and not negative.
    * (C5) `dims` of `rope` is at most head_dim.
    * (C6) `rotary` needs `rope` and has dims x parts columns.
    * (C7) `reference` names an `lm.weight` [heads, head_dim] of f32, and needs a
      cache with a key index.

    Example:
    ```mlir
    %c1 = lm.kv_append %k, %v, %c0, %batch layer 0 : tensor<?x192xf32>, tensor<?x192xf32>, !lm.kv_cache<layers = 30, heads = 3, head_dim = 64, block = 128, f32>
    ```
  }];
  let results = (outs Lm_KvCacheType:$output);
  let assemblyFormat = [{
    $key `,` $value `,` $cache `,` $batch `layer` $layer
    (`key_offset` $key_offset^)? (`value_offset` $value_offset^)?
    (`norm` `(` $norm_weight^ `,` $norm_eps `)`)?
    (`rope` `(` $rope^ `)`)?
    (`rotary` `(` $rotary^ `:` type($rotary) `)`)?
    (`reference` `(` $reference^ `)`)? attr-dict
    `:` type($key) `,` type($value) `,` qualified(type($cache))
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// What the attention operations share: queries before rotation, the cache, and
/// how to norm, rotate and scale the queries.
class Lm_AttentionLikeOp<string mnemonic, dag operands, dag attributes,
                         list<Trait> traits = []>
    : Lm_WeightedOp<mnemonic, !con(
        (ins Lm_Rows:$query, Lm_KvCacheType:$cache, Lm_Batch:$batch), operands,
        (ins Optional<Lm_Rows>:$rotary, Lm_Int:$layer, Lm_Int:$heads,
             F64Attr:$scale, DefaultValuedAttr<Lm_Int, "0">:$query_offset,
             OptionalAttr<FlatSymbolRefAttr>:$norm_weight,
             OptionalAttr<F64Attr>:$norm_eps,
             OptionalAttr<Lm_RopeAttr>:$rope),
        attributes), !listconcat([
            Lm_AttentionOpInterface, Lm_RotaryOpInterface], traits)>;

def Lm_AttentionOp : Lm_AttentionLikeOp<"attention", (ins), (ins
    OptionalAttr<Lm_Int>:$window)> {
  let summary = "dense causal attention over the cache";
  let description = [{
    Takes heads * head_dim columns of `query` from `query_offset` on, H x D;
    normalises (`norm`) and rotates (`rope`) every head. Query head h at position
    p reads KV head h / (H/G) of `layer`:

        s_j = scale * q . k_j            for 0 <= j <= p, j > p - window
        output = sum_j softmax(s)_j v_j, lse = log sum_j exp(s_j)

    output [T, H*D], lse [T, H]. With dual chunk attention the query is rotated
    once per part, see `#lm.dual_chunk`. The key of the query's own token was
    appended before, so that no set is empty.

    Constraints:
    * (C1) `layer` is in [0, layers of the cache).
    * (C2) `heads` is a positive multiple of the cache's heads.
    * (C3) the columns taken lie inside `query`.
    * (C4) the output has heads * head_dim columns.
    * (C5) `scale` is finite and positive.
    * (C6) `norm_weight` and `norm_eps` come together, `norm_eps` is finite and
      not negative; `norm_weight` names an `lm.weight` [head_dim].
    * (C7) `dims` of `rope` is at most head_dim; `rotary` needs `rope` and has
      dims x parts columns.
    * (C8) `lse` has `heads` columns.
    * (C9) `window` is positive.
    * (C10) with dual chunk attention, the cache's block divides chunk - local.

    Example:
    ```mlir
    %o = lm.attention %q, %c1, %batch layer 0 heads 9 scale 0.125 rope(<theta = 1.0e+05, dims = 64>) : tensor<?x576xf32>, !lm.kv_cache<layers = 30, heads = 3, head_dim = 64, block = 128, f32> -> tensor<?x576xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output, Optional<Lm_Rows>:$lse);
  let assemblyFormat = [{
    $query `,` $cache `,` $batch `layer` $layer `heads` $heads `scale` $scale
    (`window` $window^)? (`query_offset` $query_offset^)?
    (`norm` `(` $norm_weight^ `,` $norm_eps `)`)?
    (`rope` `(` $rope^ `)`)?
    (`rotary` `(` $rotary^ `:` type($rotary) `)`)? attr-dict
    `:` type($query) `,` qualified(type($cache)) `->` type($output)
    (`,` type($lse)^)?
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Lm_SelectBlocksOp : Lm_AttentionLikeOp<"select_blocks", (ins), (ins
    Lm_BlockSparsityAttr:$sparsity, OptionalAttr<FlatSymbolRefAttr>:$targets)> {
  let summary = "chooses key blocks for every query block";
  let description = [{
    Estimates per KV head and query block the attention mass of every earlier key
    block and chooses as `sparsity` says. The selection holds all blocks kept,
    the local, adjacent and sink ones too. Queries are taken, normalised, rotated
    and scaled as in `lm.attention`; under dual chunk attention the estimate uses
    unclamped query positions: successive (p mod c) + c, inter (p mod c) + S.

    With scores s_j as in `lm.attention`, summed over the step's queries in the
    block and the query heads of the group, the mass of key block B is

    * `mean_key`: softmax over blocks of scale * r(q) . r(c) + o, c and o being those of
      `lm.kv_append` and r(x) x rounded to multiples of max |x| / 127; for the query's
      own block they are those of a plain mean, and nothing is rounded;
    * `antidiagonal`: softmax over keys of s_j restricted to the pairs with
      (p + j) mod 16 = 15, summed over B;
    * `vertical_slash`: from the exact probabilities of the step's last 64 queries,
      what they give to each key (vertical) plus to each distance (slash), summed
      over the pairs of the query block with B.

    `targets` gives each KV head a share of the mass of its own, in place of `top_p`'s.

    Constraints:
    * (C1) to (C7) of `lm.attention`, but for (C4).
    * (C8) the selection's heads are the cache's and its block is `sparsity`'s.
    * (C9) `sparsity` chooses; `none` needs no selection.
    * (C10) with dual chunk attention, the block divides chunk - local.
    * (C11) `targets` needs `top_p` and names an `lm.weight` [heads of the cache] of
      f32.

    Example:
    ```mlir
    %s = lm.select_blocks %q, %c1, %batch layer 0 heads 9 scale 0.125 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = mean_key> rope(<theta = 1.0e+05, dims = 64>) : tensor<?x576xf32>, !lm.kv_cache<layers = 30, heads = 3, head_dim = 64, block = 128, f32> -> !lm.selection<heads = 3, block = 128>
    ```
  }];
  let results = (outs Lm_SelectionType:$output);
  let assemblyFormat = [{
    $query `,` $cache `,` $batch `layer` $layer `heads` $heads `scale` $scale
    $sparsity (`query_offset` $query_offset^)?
    (`targets` `(` $targets^ `)`)?
    (`norm` `(` $norm_weight^ `,` $norm_eps `)`)?
    (`rope` `(` $rope^ `)`)?
    (`rotary` `(` $rotary^ `:` type($rotary) `)`)? attr-dict
    `:` type($query) `,` qualified(type($cache)) `->` qualified(type($output))
  }];
  let hasVerifier = 1;
}

def Lm_BlockSparseAttentionOp : Lm_AttentionLikeOp<"block_sparse_attention", (ins
    Optional<Lm_SelectionType>:$selection,
    Optional<2DTensorOf<[F32]>>:$bias), (ins
    Lm_BlockSparsityAttr:$sparsity), [AttrSizedOperandSegments]> {
  let summary = "causal attention over the kept key blocks";
  let description = [{
    `lm.attention` restricted to the key blocks that `sparsity` keeps; those that
    it chooses dynamically are read from `selection`. `bias` [H, W] is added to
    the scores before the softmax: s_j = scale * q . k_j + bias[h, min(p - j, W - 1)].
    Output [T, H*D] and lse [T, H]; with every block kept it is dense attention.

    Constraints:
    * (C1) to (C8) of `lm.attention`.
    * (C9) `selection` is there exactly when `sparsity` chooses.
    * (C10) the selection's heads are the cache's and its block is `sparsity`'s.
    * (C11) `bias` has `heads` rows and at least one column.
    * (C12) with dual chunk attention, the block divides chunk - local.

    Example:
    ```mlir
    %o, %lse = lm.block_sparse_attention %q, %c1, %batch layer 0 heads 9 scale 0.125 <block = 128, local = 8, adjacent = 0, sink = 1, select = none, estimate = mean_key> rope(<theta = 1.0e+05, dims = 64>) : tensor<?x576xf32>, !lm.kv_cache<layers = 30, heads = 3, head_dim = 64, block = 128, f32> -> tensor<?x576xf32>, tensor<?x9xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output, Lm_Rows:$lse);
  let assemblyFormat = [{
    $query `,` $cache `,` $batch `layer` $layer `heads` $heads `scale` $scale
    $sparsity (`query_offset` $query_offset^)?
    (`selection` `(` $selection^ `:` qualified(type($selection)) `)`)?
    (`bias` `(` $bias^ `:` type($bias) `)`)?
    (`norm` `(` $norm_weight^ `,` $norm_eps `)`)?
    (`rope` `(` $rope^ `)`)?
    (`rotary` `(` $rotary^ `:` type($rotary) `)`)? attr-dict
    `:` type($query) `,` qualified(type($cache)) `->` type($output) `,` type($lse)
  }];
  let hasVerifier = 1;
}

def Lm_TailAttentionOp : Lm_AttentionLikeOp<"tail_attention", (ins
    Lm_SelectionType:$selection, Lm_Rows:$attended, Lm_Rows:$attended_lse), (ins
    Lm_BlockSparsityAttr:$sparsity, OptionalAttr<FlatSymbolRefAttr>:$biases), [
    AllTypesMatch<["attended", "output"]>,
    AllTypesMatch<["attended_lse", "lse"]>]> {
  let summary = "joins sparse attention with an estimate of the blocks left out";
  let description = [{
    `attended` and `attended_lse` are what `lm.block_sparse_attention` gives for
    `selection`. Every earlier block B of the query's that is not kept counts as one
    key: with c and o of `lm.kv_append`, u the mean of the block's values by the same
    weights as c, and r as in `lm.select_blocks`,

        t_B = scale * r(q) . r(c_B) + o_B
        tail = sum_B softmax(t)_B r(u_B), its lse log sum_B exp(t_B) + bias

    and the result is what `lm.merge` makes of both. `biases` has a number for every
    query head, 0 without; with -inf a head has no tail. Where all blocks are kept the
    result is `attended`, bit for bit. Queries are taken, normalised, rotated and scaled
    as in `lm.attention`.

    Constraints:
    * (C1) to (C8) of `lm.attention`.
    * (C9) the selection's heads are the cache's and its block is `sparsity`'s.
    * (C10) `sparsity` chooses by `mean_key`.
    * (C11) with dual chunk attention, the block divides chunk - local.
    * (C12) the cache has a value index.
    * (C13) `biases` names an `lm.weight` [heads] of f32.

    Example:
    ```mlir
    %o, %lse = lm.tail_attention %q, %c1, %batch, %s, %a, %alse layer 0 heads 9 scale 0.125 <block = 128, local = 1, adjacent = 1, sink = 1, select = top_k(32), estimate = mean_key> rope(<theta = 1.0e+05, dims = 64>) : tensor<?x576xf32>, !lm.kv_cache<layers = 30, heads = 3, head_dim = 64, block = 128, f32, key_index = true, value_index = true>, !lm.selection<heads = 3, block = 128> -> tensor<?x576xf32>, tensor<?x9xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output, Lm_Rows:$lse);
  let assemblyFormat = [{
    $query `,` $cache `,` $batch `,` $selection `,` $attended `,` $attended_lse
    `layer` $layer `heads` $heads `scale` $scale
    $sparsity (`biases` `(` $biases^ `)`)? (`query_offset` $query_offset^)?
    (`norm` `(` $norm_weight^ `,` $norm_eps `)`)?
    (`rope` `(` $rope^ `)`)?
    (`rotary` `(` $rotary^ `:` type($rotary) `)`)? attr-dict
    `:` type($query) `,` qualified(type($cache)) `,` qualified(type($selection))
    `->` type($output) `,` type($lse)
  }];
  let hasVerifier = 1;
}

def Lm_KernelizedAttentionOp : Lm_AttentionLikeOp<"kernelized_attention", (ins
    Lm_KernelStateType:$state, Optional<Lm_SelectionType>:$selection), (ins
    Lm_FeatureMapAttr:$feature_map, OptionalAttr<FlatSymbolRefAttr>:$features), [
    AttrSizedOperandSegments, AllTypesMatch<["state", "new_state"]>]> {
  let summary = "attention through a feature map, in linear time";
  let description = [{
    Approximates exp(scale * q . k) by phi(q) . phi(k), `feature_map`'s phi:

        S += sum phi(k_j) v_j^T, z += sum phi(k_j)     this step's keys, causally
        output = phi(q) S / (phi(q) . z), lse = log(phi(q) . z)

    up to the running maxima of the exponents, which are carried in the state and
    added to lse; there is no epsilon. Keys and values of the step are read from
    the cache, the sums from `state`. With `selection` the keys of the selected
    blocks are left out, so that a `lm.merge` with the block-sparse attention over
    them counts every key once; an empty rest gives output 0 and lse -inf.
    `features` names W; without it the compiler makes W from the seed.

    Constraints:
    * (C1) to (C8) of `lm.attention`.
    * (C9) the state's layers, heads and head_dim are the cache's, and its
      features the feature map's.
    * (C10) the selection's heads are the cache's.
    * (C11) `features` names an `lm.weight` [features, head_dim].
    * (C12) `rope` has no `dual_chunk`: one state cannot serve the three rotations
      of a query.

    Example:
    ```mlir
    %o, %lse, %s1 = lm.kernelized_attention %q, %c1, %batch, %s0 layer 0 heads 9 scale 0.125 <favor_plus, features = 256, orthogonal = true, seed = 0> rope(<theta = 1.0e+05, dims = 64>) : tensor<?x576xf32>, !lm.kv_cache<layers = 30, heads = 3, head_dim = 64, block = 128, f32>, !lm.kernel_state<layers = 30, heads = 3, head_dim = 64, features = 256> -> tensor<?x576xf32>, tensor<?x9xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output, Lm_Rows:$lse, Lm_KernelStateType:$new_state);
  let assemblyFormat = [{
    $query `,` $cache `,` $batch `,` $state `layer` $layer `heads` $heads
    `scale` $scale $feature_map (`features` `(` $features^ `)`)?
    (`query_offset` $query_offset^)?
    (`selection` `(` $selection^ `:` qualified(type($selection)) `)`)?
    (`norm` `(` $norm_weight^ `,` $norm_eps `)`)?
    (`rope` `(` $rope^ `)`)?
    (`rotary` `(` $rotary^ `:` type($rotary) `)`)? attr-dict
    `:` type($query) `,` qualified(type($cache)) `,` qualified(type($state))
    `->` type($output) `,` type($lse)
  }];
  let hasVerifier = 1;
}

def Lm_MergeOp : Lm_KernelOp<"merge", (ins
    Variadic<Lm_Rows>:$outputs, Variadic<Lm_Rows>:$lses, Lm_Int:$heads), [
    SameVariadicOperandSize]> {
  let summary = "joins attention over disjoint key sets";
  let description = [{
    Per token and head, with m = max_i lse_i and w_i = exp(lse_i - m):

        output = sum_i w_i output_i / sum_i w_i, lse = m + log sum_i w_i

    which is the attention over the union of the sets. An empty set has lse -inf
    and does not count; when all are empty, output is 0 and lse -inf. One part
    merges to itself, and folds away.

    Constraints:
    * (C1) there is at least one part.
    * (C2) every partial output has the result's type, every partial lse has
      `heads` columns.
    * (C3) `heads` is positive and divides the columns.
    * (C4) the resulting lse has `heads` columns.

    Example:
    ```mlir
    %o, %lse = lm.merge (%a, %b) lse (%la, %lb) heads 9 : tensor<?x576xf32>, tensor<?x9xf32> -> tensor<?x576xf32>, tensor<?x9xf32>
    ```
  }];
  let results = (outs Lm_Rows:$output, Optional<Lm_Rows>:$lse);
  let assemblyFormat = [{
    `(` $outputs `)` `lse` `(` $lses `)` `heads` $heads attr-dict `:`
    custom<MergeTypes>(ref($outputs), type($outputs), type($lses), type($output),
                       type($lse))
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

#endif // STELE_DIALECTS_LM_LMOPS_TD
