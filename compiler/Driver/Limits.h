// What a machine's declared limits leave of a plan's speed: no artifact is
// faster than its target reads weights and multiplies. The driver tells it
// behind every artifact, so that a measurement has something to be held
// against.
#ifndef STELE_COMPILER_DRIVER_LIMITS_H
#define STELE_COMPILER_DRIVER_LIMITS_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/compiler/Targets/Targets.h"
#include <string>

namespace stele::compiler {

/// The most tokens per second that a plan can reach on a target.
struct SpeedLimits {
  double decode = 0;  // one sequence: all weights are read for every token
  double prefill = 0; // every parameter is multiplied for every token
  int64_t bytes = 0;  // weights, and the cache of one sequence of full length,
                      // but for what paging keeps on disk
};

SpeedLimits limitsOf(mlir::ModuleOp plan, const Target &target);

/// "decode 111 tokens/s (memory), prefill 855 tokens/s (bf16)", and what does
/// not fit.
std::string describeLimits(mlir::ModuleOp plan, const Target &target);

} // namespace stele::compiler

#endif // STELE_COMPILER_DRIVER_LIMITS_H
