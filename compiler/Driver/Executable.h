// The bytes behind a plan: machine code.
//
// Place on the road: the plan module says which kernels there are and what they
// are made from; here they become one image for ArtifactWriter, and the plan
// learns how much scratch they need.
#ifndef STELE_COMPILER_DRIVER_EXECUTABLE_H
#define STELE_COMPILER_DRIVER_EXECUTABLE_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/dialects/Plan/PlanOps.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace stele::compiler {

struct CompiledCode {
  std::vector<char> image;
  size_t numKernels = 0;
  size_t numCached = 0; // of them, found in the object cache
};

/// Compiles the entries of an executable that have an instance, on `jobs`
/// threads (0: every core), and links them into one image. With a dump folder
/// each kernel's object is written there. Fills in the scratch of the entries
/// and of the functions that launch them, and the length of the code's segment.
llvm::Expected<CompiledCode> compileExecutable(plan_ir::ExecutableOp executable,
                                               unsigned jobs,
                                               llvm::StringRef dumpDir);

} // namespace stele::compiler

#endif // STELE_COMPILER_DRIVER_EXECUTABLE_H
