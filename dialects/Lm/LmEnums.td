// Enumerations of the lm dialect; every spelling here is what the IR shows.

#ifndef STELE_DIALECTS_LM_LMENUMS_TD
#define STELE_DIALECTS_LM_LMENUMS_TD

include "stele/dialects/Lm/LmDialect.td"
include "mlir/IR/EnumAttr.td"

class Lm_Enum<string name, string summary, list<I32EnumCase> cases>
    : I32Enum<name, summary, cases> {
  let cppNamespace = "::stele::lm";
}

def Lm_GluKind : Lm_Enum<"GluKind", "the activation of a gated linear unit", [
  I32EnumCase<"Silu", 0, "silu">,
  I32EnumCase<"Gelu", 1, "gelu">,
  I32EnumCase<"GeluTanh", 2, "gelu_tanh">
]>;

def Lm_Arithmetic : Lm_Enum<"Arithmetic", "how products are computed", [
  I32EnumCase<"F32", 0, "f32">,
  I32EnumCase<"BF16", 1, "bf16">,
  I32EnumCase<"Int8", 2, "int8">
]>;

def Lm_BlockSelect
    : Lm_Enum<"BlockSelect", "how far blocks are chosen per query block", [
  I32EnumCase<"None", 0, "none">,
  I32EnumCase<"TopK", 1, "top_k">,
  I32EnumCase<"TopP", 2, "top_p">,
  I32EnumCase<"TopShare", 3, "top_share">
]>;

def Lm_Estimator
    : Lm_Enum<"Estimator", "how the mass of a key block is estimated", [
  I32EnumCase<"MeanKey", 0, "mean_key">,
  I32EnumCase<"Antidiagonal", 1, "antidiagonal">,
  I32EnumCase<"VerticalSlash", 2, "vertical_slash">
]>;

def Lm_FeatureMapKind
    : Lm_Enum<"FeatureMapKind", "the random feature map of kernelized attention",
[
  I32EnumCase<"FavorPlus", 0, "favor_plus">
]>;

def Lm_QuantKind : Lm_Enum<"QuantKind", "the stored integers of a weight", [
  I32EnumCase<"Int8", 0, "int8">,
  I32EnumCase<"Int4", 1, "int4">
]>;

def Lm_RoundingKind
    : Lm_Enum<"RoundingKind", "how the scale of a group is chosen", [
  I32EnumCase<"Nearest", 0, "nearest">,
  I32EnumCase<"Clipped", 1, "clipped">
]>;

def Lm_GluAttr : EnumAttr<Lm_Dialect, Lm_GluKind, "glu_kind"> {
  let assemblyFormat = "`<` $value `>`";
}

def Lm_ArithmeticAttr : EnumAttr<Lm_Dialect, Lm_Arithmetic, "arithmetic"> {
  let assemblyFormat = "`<` $value `>`";
}

#endif // STELE_DIALECTS_LM_LMENUMS_TD
