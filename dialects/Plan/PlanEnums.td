// Enumerations of the plan dialect; their cases are those of
// runtime/schema/plan.fbs, in its order.

#ifndef STELE_DIALECTS_PLAN_PLANENUMS_TD
#define STELE_DIALECTS_PLAN_PLANENUMS_TD

include "stele/dialects/Plan/PlanDialect.td"
include "mlir/IR/EnumAttr.td"

class Plan_Enum<string name, string summary, list<I32EnumCase> cases>
    : I32Enum<name, summary, cases> {
  let cppNamespace = "::stele::plan_ir";
}

def Plan_SegmentKind : Plan_Enum<"SegmentKind", "what a segment holds", [
  I32EnumCase<"Weights", 0, "weights">,
  I32EnumCase<"Executable", 1, "executable">,
  I32EnumCase<"Tokenizer", 2, "tokenizer">,
  I32EnumCase<"Calibration", 3, "calibration">
]>;
def Plan_SegmentKindAttr
    : EnumAttr<Plan_Dialect, Plan_SegmentKind, "segment_kind">;

def Plan_Storage : Plan_Enum<"Storage", "where a segment's bytes are", [
  I32EnumCase<"Inline", 0, "inline">,
  I32EnumCase<"External", 1, "external">,
  I32EnumCase<"Synthetic", 2, "synthetic">
]>;
def Plan_StorageAttr : EnumAttr<Plan_Dialect, Plan_Storage, "storage">;

def Plan_CodeFormat : Plan_Enum<"CodeFormat", "the format of code", [
  I32EnumCase<"Elf", 0, "elf">,
  I32EnumCase<"Cubin", 1, "cubin">,
  I32EnumCase<"Ptx", 2, "ptx">
]>;
def Plan_CodeFormatAttr
    : EnumAttr<Plan_Dialect, Plan_CodeFormat, "code_format">;

def Plan_BindingKind
    : Plan_Enum<"BindingKind", "what a parameter of a kernel is bound to", [
  I32EnumCase<"Buffer", 0, "buffer">,
  I32EnumCase<"Tensor", 1, "tensor">,
  I32EnumCase<"KvCache", 2, "kv_cache">
]>;

def Plan_Access : Plan_Enum<"Access", "what a kernel does to a parameter", [
  I32EnumCase<"Read", 1, "read">,
  I32EnumCase<"Write", 2, "write">,
  I32EnumCase<"ReadWrite", 3, "read_write">
]>;

def Plan_ImmediateKind
    : Plan_Enum<"ImmediateKind", "what an immediate of a launch means", [
  I32EnumCase<"Layer", 0, "layer">
]>;
def Plan_ImmediateKindAttr
    : EnumAttr<Plan_Dialect, Plan_ImmediateKind, "immediate"> {
  let assemblyFormat = "`<` $value `>`";
}

def Plan_BufferRole : Plan_Enum<"BufferRole", "how long a buffer is needed", [
  I32EnumCase<"Temporary", 0, "temporary">,
  I32EnumCase<"Output", 1, "output">
]>;
def Plan_BufferRoleAttr
    : EnumAttr<Plan_Dialect, Plan_BufferRole, "buffer_role">;

def Plan_CollectiveKind
    : Plan_Enum<"CollectiveKind", "how ranks combine a buffer", [
  I32EnumCase<"AllReduce", 0, "all_reduce">,
  I32EnumCase<"AllGather", 1, "all_gather">
]>;
def Plan_CollectiveKindAttr
    : EnumAttr<Plan_Dialect, Plan_CollectiveKind, "collective_kind">;

#endif // STELE_DIALECTS_PLAN_PLANENUMS_TD
