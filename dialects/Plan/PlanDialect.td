// The plan dialect: when and where each kernel of a step runs. Place on the
// road: compiler/Conversion/LmToPlan makes it from a lm module,
// compiler/Schedule places its buffers, compiler/Driver writes it into an
// artifact (runtime/schema/plan.fbs, to which it translates one to one).

#ifndef STELE_DIALECTS_PLAN_PLANDIALECT_TD
#define STELE_DIALECTS_PLAN_PLANDIALECT_TD

include "mlir/IR/OpBase.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let cppNamespace = "::stele::plan_ir";
  let summary = "When and where it happens";
  let description = [{
    A module holds what an artifact holds: the targets that it has code for, its
    segments (stretches of bytes), tensors inside the weights segments, KV caches,
    executables with their entries, and functions. It also keeps `lm.model` and
    `lm.arithmetic` of the lm module it came from.

    A function is one step for batches of at most so many tokens. Its body names
    the step's buffers first, and then the operations in an order in which they can
    be issued. Operations are counted from 0, `plan.buffer` and `plan.return` not
    included; lifetimes are given in these counts. Operations on one stream run in
    their order, those on different streams in any, unless a `plan.wait` orders
    them.

    Everything has a device ordinal (0 unless written) and a target (the
    function's unless written).
  }];
  let dependentDialects = ["::stele::lm::LmDialect"];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;

  let extraClassDeclaration = [{
    void registerAttributes();
    void registerTypes();
  }];
}

#endif // STELE_DIALECTS_PLAN_PLANDIALECT_TD
