// The passes lm -> lm, in alphabetical order. Pipeline.cpp says in which order
// they run.

#ifndef STELE_COMPILER_TRANSFORMS_PASSES_TD
#define STELE_COMPILER_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

class Lm_ModulePass<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::stele::lm::LmDialect"];
}

def AddReferences : Lm_ModulePass<"stele-add-references"> {
  let summary = "Give cache appends the query that blocks are summed up for";
  let description = [{
    Makes the `reference` of every `lm.kv_append` of a layer that selects blocks by
    mean keys, from `lm.mean_queries` of the module (docs/hybrid-attention.md). The
    mean queries, not rotated yet, are turned by each distance that the choice of
    blocks is about, 256 to 4,096 tokens, and averaged: pairs of dimensions that turn
    fast vanish, slow ones stay. Where the context or the chunk of dual chunk
    attention is shorter than 4,096 it is the farthest distance, and a 16th of it the
    nearest. The attribute goes; other layers are left as they are.

    Rotations have to be inside `lm.kv_append` (stele-fuse-rope-append).

    Before:
    ```mlir
    module attributes {lm.mean_queries = [dense<...> : tensor<3x64xf32>]} {
      %c1 = lm.kv_append %k, %v, %c, %batch layer 0 rope(#rope) : ...
    ```
    After:
    ```mlir
    lm.weight @reference.0 value(dense<...> : tensor<3x64xf32>) : tensor<3x64xf32>
    %c1 = lm.kv_append %k, %v, %c, %batch layer 0 rope(#rope) reference(@reference.0) : ...
    ```
  }];
  let statistics = [Statistic<"numReferences", "references", "references made">];
}

def ChooseArithmetic : Lm_ModulePass<"stele-choose-arithmetic"> {
  let summary = "Set the element types of matrices and of the cache";
  let description = [{
    Gives every matrix that `lm.linear`, `lm.logits` or `lm.embed` reads, and the
    KV cache, the element type of the arithmetic (the cache that of `kv`, if it is
    given), and records the choice as `lm.arithmetic`; int8, in which quantised
    linears multiply codes of both sides, stores the rest as bf16. Norm weights,
    biases and activations stay f32.

    Before:
    ```mlir
    lm.weight @o : tensor<576x576xf32>
    ```
    After, with arithmetic=bf16:
    ```mlir
    lm.weight @o : tensor<576x576xbf16>
    ```
  }];
  let options = [
    Option<"arithmetic", "arithmetic", "std::string", /*default=*/"\"f32\"",
           "f32 (parity with the reference), bf16 or int8">,
    Option<"kv", "kv", "std::string", /*default=*/"\"auto\"",
           "how the cache stores keys and values: auto (as the arithmetic), f32, "
           "f16, bf16 or int8">
  ];
  let statistics = [
    Statistic<"numWeights", "weights", "weights whose type changed">
  ];
}

def ChooseAttention : Lm_ModulePass<"stele-choose-attention"> {
  let summary = "Turn attention into the asked kind";
  let description = [{
    `dense` leaves every `lm.attention` as it is. `sparse` makes each one a
    `lm.select_blocks` and a `lm.block_sparse_attention` (no selection when
    `select` is none); pages of the cache become blocks, with the index of mean
    keys that the estimator `mean_key` reads. `hybrid` adds a `lm.tail_attention`, which
    estimates what was left out, and mean values to the index. `kernelized` makes each one a `lm.kernelized_attention`
    and threads its state through the function as a new argument. Attention with
    a sliding window stays dense.

    Before:
    ```mlir
    %o = lm.attention %q, %c, %batch layer 0 heads 9 scale 0.125 : ...
    ```
    After, with kind=sparse:
    ```mlir
    %s = lm.select_blocks %q, %c, %batch layer 0 heads 9 scale 0.125 <block = 128, ...> : ...
    %o, %lse = lm.block_sparse_attention %q, %c, %batch layer 0 heads 9 scale 0.125 <block = 128, ...> selection(%s : ...) : ...
    ```
  }];
  let options = [
    Option<"kind", "kind", "std::string", /*default=*/"\"dense\"",
           "dense, sparse, hybrid or kernelized">,
    Option<"block", "block", "int64_t", /*default=*/"128",
           "sparse: tokens per block">,
    Option<"local", "local", "int64_t", /*default=*/"1",
           "sparse: blocks always kept, from the query's own backwards">,
    Option<"adjacent", "adjacent", "int64_t", /*default=*/"1",
           "sparse: blocks always kept before the local ones">,
    Option<"sink", "sink", "int64_t", /*default=*/"1",
           "sparse: first blocks always kept">,
    Option<"topK", "top-k", "int64_t", /*default=*/"0",
           "sparse: blocks chosen per query block; 0: see top-p">,
    Option<"topP", "top-p", "double", /*default=*/"0",
           "sparse: estimated mass to keep; 0 with top-k 0: none are chosen">,
    Option<"estimate", "estimate", "std::string", /*default=*/"\"mean_key\"",
           "sparse: mean_key, antidiagonal or vertical_slash">,
    Option<"features", "features", "int64_t", /*default=*/"256",
           "kernelized: random features">,
    Option<"seed", "seed", "uint64_t", /*default=*/"0",
           "kernelized: seed of the features">,
    Option<"topShare", "top-share", "double", /*default=*/"0",
           "sparse: share of the blocks that are chosen; 0: see top-k">,
    Option<"dense", "dense", "int64_t", /*default=*/"0",
           "sparse: first query blocks, which keep everything">,
    Option<"limit", "limit", "int64_t", /*default=*/"0",
           "sparse: blocks that top-p and top-share choose at most; 0: any number">
  ];
  let statistics = [
    Statistic<"numChanged", "changed", "attention operations replaced">,
    Statistic<"numWindows", "windows", "left dense for their sliding window">
  ];
}

def Dequantise : Lm_ModulePass<"stele-dequantise"> {
  let summary = "Forget how weights are quantised";
  let description = [{
    Every weight becomes one of numbers: what a checkpoint quantised is
    dequantised when it is read, and the permutations of its columns are gone.

    Before:
    ```mlir
    lm.weight @o quant <int4, group = 32, scale = f16, offset = f16> : tensor<576x576xf32>
    ```
    After:
    ```mlir
    lm.weight @o : tensor<576x576xf32>
    ```
  }];
  let statistics = [Statistic<"numWeights", "weights", "weights dequantised">];
}

def ExposeInputs : Lm_ModulePass<"stele-expose-inputs"> {
  let summary = "Return what chosen linears, or attention, read";
  let description = [{
    Has `@forward` return, behind its results so far, the input of every
    `lm.linear` whose weight is listed, named by the weight. A norm inside the
    linear is not applied: the result is what the norm reads. Calibration
    (compiler/Calibrate) learns from it what the linear's columns carry.

    With `queries`, likewise what every `lm.attention` takes its queries from,
    named "queries.LAYER": neither normalised nor rotated, and with whatever other
    columns the rows have.

    Before:
    ```mlir
    func.func @forward(...) -> tensor<?x35xf32> {
      %h1 = lm.linear %a, @o_proj residual(%h : tensor<?x32xf32>) : tensor<?x32xf32> -> tensor<?x32xf32>
    ```
    After, with weights=o_proj:
    ```mlir
    func.func @forward(...) -> (tensor<?x35xf32>, tensor<?x32xf32> {lm.name = "o_proj"}) {
      %h1 = lm.linear %a, @o_proj residual(%h : tensor<?x32xf32>) : tensor<?x32xf32> -> tensor<?x32xf32>
    ```
  }];
  let options = [
    ListOption<"weights", "weights", "std::string",
               "weights of the linears; each must be one's">,
    Option<"queries", "queries", "bool", /*default=*/"false",
           "the rows that attention takes its queries from">
  ];
}

def FuseLinears : Lm_ModulePass<"stele-fuse-linears"> {
  let summary = "Join linears that read the same rows";
  let description = [{
    Joins the linears of queries, keys and values into one whose weight has a
    named segment for each, with readers that take columns of its result; and
    those of gate and up with the `lm.glu` between them into one linear with a
    glu epilogue.

    Linears join only when all of their readers can take columns of a wider
    buffer, their weights have one element type, quantisation and order of
    columns, and all or none have a bias; of queries, keys and values that differ,
    those that agree join. Run stele-fuse-rope-append first: rotations and head norms
    outside the readers are in the way. Weights that no operation names
    afterwards are erased.

    Before:
    ```mlir
    %q = lm.linear %x, @q_proj : tensor<?x576xf32> -> tensor<?x576xf32>
    %k = lm.linear %x, @k_proj : tensor<?x576xf32> -> tensor<?x192xf32>
    %v = lm.linear %x, @v_proj : tensor<?x576xf32> -> tensor<?x192xf32>
    %c1 = lm.kv_append %k, %v, %c, %batch layer 0 : ...
    ```
    After:
    ```mlir
    %qkv = lm.linear %x, @"q_proj+k_proj+v_proj" : tensor<?x576xf32> -> tensor<?x960xf32>
    %c1 = lm.kv_append %qkv, %qkv, %c, %batch layer 0 key_offset 576 value_offset 768 : ...
    ```
  }];
  let statistics = [
    Statistic<"numProjections", "projections", "groups of q, k, v joined">,
    Statistic<"numGlus", "glus", "gate and up joined with their glu">
  ];
}

def FuseNorms : Lm_ModulePass<"stele-fuse-norms"> {
  let summary = "Move a norm into the linear that reads it";
  let description = [{
    A `lm.rms_norm` over whole rows with a single reader, a `lm.linear` or
    `lm.logits` without a norm of its own, becomes that reader's prologue.

    Before:
    ```mlir
    %n = lm.rms_norm %h, @norm eps 1.0e-05 : tensor<?x576xf32>
    %l = lm.logits %n, %batch, @head : tensor<?x576xf32> -> tensor<?x49152xf32>
    ```
    After:
    ```mlir
    %l = lm.logits %h, %batch, @head norm(@norm, 1.0e-05) : tensor<?x576xf32> -> tensor<?x49152xf32>
    ```
  }];
  let statistics = [Statistic<"numNorms", "norms", "norms moved">];
}

def FuseResiduals : Lm_ModulePass<"stele-fuse-residuals"> {
  let summary = "Move an addition into the linear that feeds it";
  let description = [{
    A `lm.add` of a value and of a linear's result that nobody else reads becomes
    that linear's residual.

    Before:
    ```mlir
    %o = lm.linear %a, @o_proj : tensor<?x576xf32> -> tensor<?x576xf32>
    %h1 = lm.add %h, %o : tensor<?x576xf32>
    ```
    After:
    ```mlir
    %h1 = lm.linear %a, @o_proj residual(%h : tensor<?x576xf32>) : tensor<?x576xf32> -> tensor<?x576xf32>
    ```
  }];
  let statistics = [Statistic<"numResiduals", "residuals", "additions moved">];
}

def FuseRopeAppend : Lm_ModulePass<"stele-fuse-rope-append"> {
  let summary = "Move rotations and head norms into cache append and attention";
  let description = [{
    A `lm.rope` whose only reader takes it as the key of `lm.kv_append` moves into
    it; so does the `lm.rms_norm` per head before it. A `lm.rms_norm` per head
    that only attention operations read as their query moves into these.

    Before:
    ```mlir
    %kn = lm.rms_norm %k, @k_norm eps 1.0e-06 groups 3 : tensor<?x192xf32>
    %kr = lm.rope %kn, %batch heads 3 rope(#rope) : tensor<?x192xf32>
    %c1 = lm.kv_append %kr, %v, %c, %batch layer 0 : ...
    ```
    After:
    ```mlir
    %c1 = lm.kv_append %k, %v, %c, %batch layer 0 norm(@k_norm, 1.0e-06) rope(#rope) : ...
    ```
  }];
  let statistics = [
    Statistic<"numRotations", "rotations", "rotations moved">,
    Statistic<"numHeadNorms", "head-norms", "head norms moved">
  ];
}

def PrepareFeatures : Lm_ModulePass<"stele-prepare-features"> {
  let summary = "Draw the random features of kernelized attention";
  let description = [{
    Gives every `lm.kernelized_attention` without `features` a weight of random
    numbers made from its `#lm.feature_map`; equal maps share one.

    Before:
    ```mlir
    %o, %lse, %s1 = lm.kernelized_attention %q, %c, %batch, %s0 layer 0 heads 9 scale 0.125 <favor_plus, features = 256, orthogonal = true, seed = 0> : ...
    ```
    After:
    ```mlir
    lm.weight @features value(dense<...> : tensor<256x64xf32>) : tensor<256x64xf32>
    %o, %lse, %s1 = lm.kernelized_attention %q, %c, %batch, %s0 layer 0 heads 9 scale 0.125 <favor_plus, features = 256, orthogonal = true, seed = 0> features(@features) : ...
    ```
  }];
  let statistics = [Statistic<"numWeights", "weights", "weights made">];
}

def PreparePositions : Lm_ModulePass<"stele-prepare-positions"> {
  let summary = "Compute cosines and sines once per step";
  let description = [{
    Makes one `lm.rotary_table` for every distinct `#lm.rope` of a function, with
    its frequencies as a weight, and has every operation that rotates read it.

    Before:
    ```mlir
    %o = lm.attention %q, %c, %batch layer 0 heads 9 scale 0.125 rope(#rope) : ...
    ```
    After:
    ```mlir
    lm.weight @rope.frequencies value(dense<...> : tensor<32xf32>) : tensor<32xf32>
    %r = lm.rotary_table %batch, @rope.frequencies rope(#rope) : tensor<?x64xf32>
    %o = lm.attention %q, %c, %batch layer 0 heads 9 scale 0.125 rope(#rope) rotary(%r : tensor<?x64xf32>) : ...
    ```
  }];
  let statistics = [Statistic<"numTables", "tables", "rotary tables made">];
}

def Quantise : Lm_ModulePass<"stele-quantise"> {
  let summary = "Choose a stored format for every matrix";
  let description = [{
    Gives every matrix that is not quantised yet a format, and says how its codes
    are made when the artifact is written. Matrices of `lm.linear` get `kind`;
    those of the embedding and of the logits always int8, as they weigh more in
    the result. int8 is symmetric.

    Before:
    ```mlir
    lm.weight @o : tensor<576x576xf32>
    ```
    After, with kind=int4 group=128:
    ```mlir
    lm.weight @o quant <int4, group = 128, scale = f16, offset = f16> rounding <clipped> : tensor<576x576xf32>
    ```
  }];
  let options = [
    Option<"kind", "kind", "std::string", /*default=*/"\"int4\"",
           "int4 or int8">,
    Option<"group", "group", "int64_t", /*default=*/"32",
           "elements that share a scale: 32, 64 or 128">,
    Option<"symmetric", "symmetric", "bool", /*default=*/"false",
           "int4: no offset">,
    Option<"perChannel", "per-channel", "bool", /*default=*/"false",
           "int8: one scale for a row">,
    Option<"rounding", "rounding", "std::string", /*default=*/"\"clipped\"",
           "nearest (the whole span of a group) or clipped (the best one)">
  ];
  let statistics = [Statistic<"numWeights", "weights", "weights quantised">];
}

def SelectKernels : Lm_ModulePass<"stele-select-kernels"> {
  let summary = "Choose a kernel template, tile and weight layouts";
  let description = [{
    Looks every operation up in kernels-templates/selection.inc, by operation,
    bits of its matrix when that is quantised, arithmetic and the target's ISA,
    attaches the newest row that fits as `kernel`, and gives each weight the
    layout that its kernels read. In int8 only products with quantised matrices
    are; the rest is as in bf16. An operation
    that has a `kernel` keeps it, a weight that has a `layout` likewise: a choice
    made by hand stands.

    Before:
    ```mlir
    %o = lm.linear %a, @o_proj : tensor<?x576xf32> -> tensor<?x576xf32>
    ```
    After:
    ```mlir
    lm.weight @o_proj layout "panel_f32" : tensor<576x576xf32>
    %o = lm.linear %a, @o_proj {kernel = #lm.kernel<"linear_f32", target = "x86-64-v4" by "linear, f32, x86-64-v3">} : tensor<?x576xf32> -> tensor<?x576xf32>
    ```
  }];
  let options = [
    Option<"isa", "isa", "std::string", /*default=*/"\"x86-64-v3\"",
           "the target's ISA level">,
    ListOption<"features", "features", "std::string",
               "CPU features beyond the ISA level">
  ];
  let statistics = [Statistic<"numKernels", "kernels", "kernels chosen">];
}

def VerifyInput : Lm_ModulePass<"stele-verify-input"> {
  let summary = "Check that a module is what the pipeline takes";
  let description = [{
    Operation verifiers see one operation at a time; this pass checks what only
    the whole module shows:

    * `lm.model` is there, and exactly one function, `@forward`, which takes token
      ids, a batch and a KV cache (in this order) and returns the logits
      [?, vocabulary], behind which only results with an `lm.name` follow;
    * the cache has the model's layers, KV heads and head size;
    * the function holds only lm operations, no control flow;
    * every layer's keys and values are appended exactly once, to the newest
      cache, and are read only after that.

    It changes nothing.
  }];
}

#endif // STELE_COMPILER_TRANSFORMS_PASSES_TD
