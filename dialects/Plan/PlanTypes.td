// Types of the plan dialect.

#ifndef STELE_DIALECTS_PLAN_PLANTYPES_TD
#define STELE_DIALECTS_PLAN_PLANTYPES_TD

include "stele/dialects/Plan/PlanDialect.td"
include "mlir/IR/AttrTypeBase.td"

def Plan_BufferType : TypeDef<Plan_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "memory of one step";
  let description = [{
    `plan.buffer` says how large it is and what it holds.
  }];
  let builderCall = "::stele::plan_ir::BufferType::get($_builder.getContext())";
}
def Plan_Buffer
    : DialectType<Plan_Dialect, Plan_BufferType.predicate, "buffer">,
      BuildableType<
          "::stele::plan_ir::BufferType::get($_builder.getContext())">;

#endif // STELE_DIALECTS_PLAN_PLANTYPES_TD
