// Attributes of the lm dialect: typed descriptions of positions, sparsity,
// feature maps, quantisation, the model and the chosen kernels. Never
// dictionaries: each has named parameters and a verifier.

#ifndef STELE_DIALECTS_LM_LMATTRS_TD
#define STELE_DIALECTS_LM_LMATTRS_TD

include "stele/dialects/Lm/LmDialect.td"
include "stele/dialects/Lm/LmEnums.td"
include "mlir/IR/AttrTypeBase.td"

class Lm_Attr<string name, string attrMnemonic> : AttrDef<Lm_Dialect, name> {
  let mnemonic = attrMnemonic;
}

// A finite double that prints so that it reads back bit for bit.
class Lm_Real<string desc> : AttrOrTypeParameter<"::stele::lm::Real", desc> {
  let parser = "::stele::lm::parseReal($_parser)";
  let printer = "::stele::lm::printReal($_printer, $_self)";
}
class Lm_DefaultReal<string desc, string value> : Lm_Real<desc> {
  let defaultValue = "::stele::lm::Real(" # value # ")";
}
class Lm_DefaultInt<string desc, string value>
    : DefaultValuedParameter<"int64_t", value, desc>;
class Lm_DefaultBool<string desc, string value>
    : DefaultValuedParameter<"bool", value, desc>;

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

def Lm_LinearScalingAttr : Lm_Attr<"LinearScaling", "linear"> {
  let summary = "RoPE frequencies divided by one factor";
  let description = [{
    Every inverse frequency is divided by `factor` (position interpolation).

    Constraints:
    * (C1) `factor` is at least 1.

    Example: `#lm.linear<factor = 4.000000e+00>`
  }];
  let parameters = (ins Lm_Real<"divisor of every frequency">:$factor);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Lm_Llama3ScalingAttr : Lm_Attr<"Llama3Scaling", "llama3"> {
  let summary = "RoPE frequencies scaled the way Llama 3.1 does";
  let description = [{
    Wavelengths above `original / low_freq_factor` are stretched by `factor`,
    those below `original / high_freq_factor` are kept, and those between are
    interpolated.

    Constraints:
    * (C1) `factor` is at least 1.
    * (C2) 0 < `low_freq_factor` < `high_freq_factor`.
    * (C3) `original` is positive.

    Example: `#lm.llama3<factor = 8.000000e+00, low_freq_factor = 1.000000e+00,
    high_freq_factor = 4.000000e+00, original = 8192>`
  }];
  let parameters = (ins
    Lm_Real<"stretch of the long wavelengths">:$factor,
    Lm_Real<"original context / longest kept-in-between wavelength">:$low_freq_factor,
    Lm_Real<"original context / shortest in-between wavelength">:$high_freq_factor,
    "int64_t":$original);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Lm_YarnScalingAttr : Lm_Attr<"YarnScaling", "yarn"> {
  let summary = "RoPE frequencies scaled by YaRN";
  let description = [{
    Dimensions that turn fewer than `beta_slow` times in `original` positions are
    stretched by `factor`, those that turn more than `beta_fast` times are kept,
    a linear ramp joins them. Cosine and sine are multiplied by
    `attention_factor`, which the importer resolves (0.1 ln(factor) + 1 unless
    the checkpoint says otherwise).

    Constraints:
    * (C1) `factor` is at least 1.
    * (C2) 0 < `beta_slow` < `beta_fast`.
    * (C3) `original` is positive.
    * (C4) `attention_factor` is positive.

    Example: `#lm.yarn<factor = 4.000000e+00, original = 32768,
    attention_factor = 1.1386294361119891>`
  }];
  let parameters = (ins
    Lm_Real<"stretch of the long wavelengths">:$factor,
    "int64_t":$original,
    Lm_Real<"multiplies cosine and sine">:$attention_factor,
    Lm_DefaultReal<"turns above which a dimension is kept", "32.0">:$beta_fast,
    Lm_DefaultReal<"turns below which it is stretched", "1.0">:$beta_slow,
    Lm_DefaultBool<"round the ramp's ends to whole dimensions", "true">:$truncate);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Lm_FactorScalingAttr : Lm_Attr<"FactorScaling", "factors"> {
  let summary = "RoPE frequencies divided by one factor each";
  let description = [{
    The i-th inverse frequency is divided by the i-th of `values` (what a GGUF
    file stores as `rope_freqs.weight`).

    Constraints:
    * (C1) every value is finite and positive.

    Example: `#lm.factors<1.000000e+00, 8.000000e+00>`
  }];
  let parameters = (ins ArrayRefParameter<"::stele::lm::Real", "divisors">:$values);
  let assemblyFormat = "`<` custom<Reals>($values) `>`";
  let genVerifyDecl = 1;
}

def Lm_DualChunkAttr : Lm_Attr<"DualChunk", "dual_chunk"> {
  let summary = "positions of dual chunk attention";
  let description = [{
    With S = `chunk`, w = `local`, c = S - w, p the absolute position and
    t = floor(p / c), a query meets keys (always rotated at p mod c) in three
    parts, merged by log-sum-exp:

    | part | query position | keys |
    |---|---|---|
    | intra | p mod c | [tc, p], causal |
    | successive | min((p mod c) + c, S) | [(t-1)c, tc) |
    | inter | min(2c - 1, S) | [0, (t-1)c) |

    The query is scaled by max(1, 0.1 ln((p + 1) / `original`) + 1)^2, or not at
    all if `original` is 0. For p < c this equals plain RoPE bit for bit.

    Constraints:
    * (C1) 0 < `local` < `chunk`.
    * (C2) `original` is not negative.

    Example: `#lm.dual_chunk<chunk = 262144, local = 8192, original = 262144>`
  }];
  let parameters = (ins "int64_t":$chunk, "int64_t":$local,
    Lm_DefaultInt<"beyond it queries are scaled; 0: never", "0">:$original);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// c: how many keys one chunk holds.
    int64_t getChunkKeys() const { return getChunk() - getLocal(); }
  }];
}

def Lm_RopeAttr : Lm_Attr<"Rope", "rope"> {
  let summary = "rotary position embedding of queries and keys";
  let description = [{
    Rotates the first `dims` elements of every head, halves paired
    ("rotate_half"): for i < dims/2 and angle a = position * f_i,
    (x_i, x_{i + dims/2}) becomes (x_i cos a - x_{i + dims/2} sin a,
    x_{i + dims/2} cos a + x_i sin a), with f_i = theta^(-2i/dims) changed by
    `scaling`. Frequencies (`scaling`) and positions (`dual_chunk`) are
    independent: a model with Llama 3 scaling may be run with dual chunk
    attention.

    Constraints:
    * (C1) `theta` is at least 1.
    * (C2) `dims` is even and in 2..65536.
    * (C3) `scaling` is absent, `#lm.linear`, `#lm.llama3`, `#lm.yarn` or
      `#lm.factors`.
    * (C4) `#lm.factors` has dims / 2 values.

    Example: `#lm.rope<theta = 1.000000e+05, dims = 64>`,
    `#lm.rope<theta = 5.000000e+05, dims = 128, scaling = #lm.llama3<...>>`
  }];
  let parameters = (ins
    Lm_Real<"base of the frequencies">:$theta,
    "int64_t":$dims,
    OptionalParameter<"::mlir::Attribute", "change of the frequencies">:$scaling,
    OptionalParameter<"::stele::lm::DualChunkAttr", "change of the positions">:$dual_chunk);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Rotations that one query needs: 1, or 3 with dual chunk attention.
    int64_t getParts() const { return getDualChunk() ? 3 : 1; }
  }];
}

//===----------------------------------------------------------------------===//
// Sparsity and feature maps
//===----------------------------------------------------------------------===//

def Lm_BlockSparsityAttr : Lm_Attr<"BlockSparsity", "block_sparsity"> {
  let summary = "which key blocks a query block attends to";
  let description = [{
    Query and key blocks of `block` tokens lie on the absolute grid of positions.
    Query block b keeps, of the key blocks 0..b,

    * its own and the `local - 1` blocks before it,
    * the `adjacent` blocks before those,
    * the first `sink` blocks,
    * all of them if b is below `dense`,
    * and of the others those that `select` chooses: none, the `top_k(k)` of the
      largest estimated mass, of the same as many as `top_share(s)` of the b + 1
      blocks rounded up, or as many as make the estimated mass kept reach
      `top_p(p)`; never more than `limit` of these, unless that is 0.

    The choice is made per KV head and shared by its query heads; `estimate`
    names the estimator. Inside a kept block the mask is causal.

    Constraints:
    * (C1) `block` is a power of two in 16..1024.
    * (C2) `local` is at least 1.
    * (C3) `adjacent`, `sink` and `dense` are not negative.
    * (C4) k of `top_k(k)` is at least 1.
    * (C5) p of `top_p(p)` and s of `top_share(s)` are in (0, 1].
    * (C6) `limit` is not negative, and 0 without `top_p` or `top_share`.

    Example: `#lm.block_sparsity<block = 128, local = 1, adjacent = 1, sink = 1,
    select = top_k(32), estimate = mean_key>`
  }];
  let parameters = (ins
    "int64_t":$block, "int64_t":$local, "int64_t":$adjacent, "int64_t":$sink,
    "::stele::lm::BlockSelect":$select,
    "int64_t":$top_k, Lm_Real<"target mass or share of the blocks">:$top_p,
    "::stele::lm::Estimator":$estimate,
    Lm_DefaultInt<"query blocks that keep everything", "0">:$dense,
    Lm_DefaultInt<"blocks chosen at most; 0: any number", "0">:$limit);
  let assemblyFormat = [{
    `<` `block` `=` $block `,` `local` `=` $local `,` `adjacent` `=` $adjacent
    `,` `sink` `=` $sink `,`
    `select` `=` custom<BlockSelect>($select, $top_k, $top_p) `,`
    `estimate` `=` $estimate (`,` struct($dense, $limit)^)? `>`
  }];
  let genVerifyDecl = 1;
}

def Lm_FeatureMapAttr : Lm_Attr<"FeatureMap", "feature_map"> {
  let summary = "the feature map of kernelized attention";
  let description = [{
    `favor_plus`: phi(x) = exp(W x' - |x'|^2 / 2) / sqrt(features), x' the query
    times `scale` (split evenly over q and k), W `features` Gaussian rows,
    orthogonal in groups of head_dim when `orthogonal`. W is made from `seed`
    unless the operation names a weight.

    Constraints:
    * (C1) `features` is in 1..65536.

    Example: `#lm.feature_map<favor_plus, features = 256, orthogonal = true,
    seed = 0>`
  }];
  let parameters = (ins
    "::stele::lm::FeatureMapKind":$kind,
    "int64_t":$features, "bool":$orthogonal, "uint64_t":$seed);
  let assemblyFormat = [{
    `<` $kind `,` `features` `=` $features `,` `orthogonal` `=` $orthogonal `,`
    `seed` `=` $seed `>`
  }];
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Weights and kernels
//===----------------------------------------------------------------------===//

def Lm_SegmentAttr : Lm_Attr<"Segment", "segment"> {
  let summary = "named rows of a weight and where they come from";
  let description = [{
    `rows` rows of the weight, under the name `name` (by which an adapter
    addresses them), taken from rows [`first_row`, `first_row` + `rows`) of the
    checkpoint's tensor `source`.

    Constraints:
    * (C1) `name` and `source` are not empty.
    * (C2) `rows` is in 1..2^40, `first_row` in 0..2^40.

    Example: `#lm.segment<name = "q",
    source = "model.layers.0.self_attn.q_proj.weight", rows = 576>`
  }];
  let parameters = (ins
    StringRefParameter<"what the rows are called">:$name,
    StringRefParameter<"tensor of the checkpoint">:$source,
    "int64_t":$rows,
    Lm_DefaultInt<"first row taken from the source", "0">:$first_row);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}
def Lm_SegmentArrayAttr : TypedArrayAttrBase<Lm_SegmentAttr, "segments">;

def Lm_QuantAttr : Lm_Attr<"Quant", "quant"> {
  let summary = "the format in which a weight is stored";
  let description = [{
    Every `group` consecutive elements of a row share a `scale` and, unless the
    format is symmetric, an `offset`, numbers of the given types; the last group
    of a row may be shorter. With q an unsigned code of 4 or 8 bits,

        w = scale * q + offset               with `offset`
        w = scale * (q - 2^(bits - 1))       without

    (runtime/schema/quant_format.h is the same for all layers). An integer zero
    point z is the offset -z * scale.

    Constraints:
    * (C1) `group` is a power of two in 16..256.
    * (C2) `scale` is f16 or f32.
    * (C3) `offset` is absent, f16 or f32.

    Example: `#lm.quant<int4, group = 32, scale = f16, offset = f16>`,
    `#lm.quant<int8, group = 128, scale = f16>`
  }];
  let parameters = (ins
    "::stele::lm::QuantKind":$kind, "int64_t":$group,
    TypeParameter<"::mlir::Type", "type of the scales">:$scale,
    OptionalParameter<"::mlir::Type", "type of the offsets">:$offset);
  let assemblyFormat = "`<` $kind `,` struct($group, $scale, $offset) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    static QuantAttr get(::mlir::MLIRContext *context,
                         const ::stele::schema::QuantFormat &format);
    ::stele::schema::QuantFormat getFormat();
  }];
}

def Lm_RoundingAttr : Lm_Attr<"Rounding", "rounding"> {
  let summary = "how codes are made from numbers";
  let description = [{
    On a weight with `quant` whose codes are made when the artifact is written.
    `nearest` spans a group's least and greatest element (its greatest magnitude
    when symmetric) and rounds to the nearest code; `clipped` tries narrower
    spans too and keeps the one of the least squared error. With `per_channel`
    all groups of a row get one scale.

    Example: `#lm.rounding<clipped>`, `#lm.rounding<nearest, per_channel = true>`
  }];
  let parameters = (ins
    "::stele::lm::RoundingKind":$kind,
    Lm_DefaultBool<"one scale for a row", "false">:$per_channel);
  let assemblyFormat = "`<` $kind (`,` struct($per_channel)^)? `>`";
}

def Lm_TileAttr : Lm_Attr<"Tile", "tile"> {
  let summary = "one named tuning constant of a kernel";
  let description = [{
    Constraints:
    * (C1) `name` is not empty.
    * (C2) `value` is positive.

    Example: `#lm.tile<"rows", 6>`
  }];
  let parameters = (ins StringRefParameter<"constant">:$name, "int64_t":$value);
  let assemblyFormat = "`<` $name `,` $value `>`";
  let genVerifyDecl = 1;
}

def Lm_KernelAttr : Lm_Attr<"Kernel", "kernel"> {
  let summary = "the kernel template and tile chosen for an operation";
  let description = [{
    Names a template of kernels-templates for one target, and its tuning
    constants. Shapes, epsilons and offsets are not repeated here: lowering reads
    them from the operation, so that editing the operation changes the program.
    Weight layouts are on `lm.weight`, since several operations may read one.
    `row` says which row of kernels-templates/selection.inc chose it; a choice made
    by hand has none.

    Constraints:
    * (C1) `template` and `target` are not empty.
    * (C2) no tile constant is named twice.

    Example: `#lm.kernel<"linear_bf16", target = "x86-64-v4" by
    "linear, bf16, x86-64-v3", tile = [<"rows", 6>]>`
  }];
  let parameters = (ins
    StringRefParameter<"template of kernels-templates">:$template_name,
    StringRefParameter<"target that it was chosen for">:$target,
    OptionalParameter<"::mlir::StringAttr", "row of the table">:$row,
    OptionalArrayRefParameter<"::stele::lm::TileAttr", "tuning constants">:$tile);
  let assemblyFormat = [{
    `<` $template_name `,` `target` `=` $target (`by` $row^)?
    (`,` `tile` `=` `[` $tile^ `]`)? `>`
  }];
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Model
//===----------------------------------------------------------------------===//

def Lm_SamplingAttr : Lm_Attr<"Sampling", "sampling"> {
  let summary = "defaults of generation, from generation_config.json";
  let description = [{
    Constraints:
    * (C1) `temperature` is not negative.
    * (C2) `top_k` is not negative.
    * (C3) `top_p` is in (0, 1].
    * (C4) `min_p` is in [0, 1].
    * (C5) `repetition_penalty` is positive.

    Example: `#lm.sampling<sample = true, temperature = 7.000000e-01>`
  }];
  let parameters = (ins
    Lm_DefaultBool<"sample instead of taking the best", "false">:$sample,
    Lm_DefaultReal<"divides the logits", "1.0">:$temperature,
    Lm_DefaultInt<"0: off", "0">:$top_k,
    Lm_DefaultReal<"1: off", "1.0">:$top_p,
    Lm_DefaultReal<"0: off", "0.0">:$min_p,
    Lm_DefaultReal<"1: off", "1.0">:$repetition_penalty);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Lm_ModelAttr : Lm_Attr<"Model", "model"> {
  let summary = "what the plan says about the model";
  let description = [{
    The module attribute `lm.model`: facts for the generation loop, for
    `inspect`, and for passes that need the model's sizes.

    Constraints:
    * (C1) `architecture` is not empty.
    * (C2) `vocab`, `hidden`, `layers`, `heads`, `kv_heads` and `head_dim` are in
      1..2^31-1, `context_length` and `trained_context` in 1..2^40.
    * (C3) `kv_heads` divides `heads`.
    * (C4) `sliding_window` is not negative (0: none in any layer).
    * (C5) every token id in `eos` and `bos` is in [0, `vocab`), `bos` may be -1
      (none).

    Example:
    ```mlir
    module attributes {lm.model = #lm.model<
        architecture = "llama", name = "SmolLM2-135M-Instruct", vocab = 49152,
        hidden = 576, layers = 30, heads = 9, kv_heads = 3, head_dim = 64,
        context_length = 8192, trained_context = 8192, parameters = 134515008,
        eos = [2]>} {}
    ```
  }];
  let parameters = (ins
    StringRefParameter<"family, as in config.json">:$architecture,
    StringRefParameter<"the checkpoint's folder or file name">:$name,
    "int64_t":$vocab, "int64_t":$hidden, "int64_t":$layers, "int64_t":$heads,
    "int64_t":$kv_heads, "int64_t":$head_dim,
    "int64_t":$context_length, "int64_t":$trained_context, "int64_t":$parameters,
    OptionalArrayRefParameter<"int64_t", "tokens that end an answer">:$eos,
    Lm_DefaultInt<"token that starts a text, -1: none", "-1">:$bos,
    Lm_DefaultInt<"0: none in any layer", "0">:$sliding_window,
    OptionalParameter<"::stele::lm::SamplingAttr", "defaults of generation">:$sampling);
  let assemblyFormat = [{
    `<` struct($architecture, $name, $vocab, $hidden, $layers, $heads, $kv_heads,
               $head_dim, $context_length, $trained_context, $parameters,
               custom<TokenIds>($eos), $bos, $sliding_window, $sampling) `>`
  }];
  let genVerifyDecl = 1;
}

#endif // STELE_DIALECTS_LM_LMATTRS_TD
