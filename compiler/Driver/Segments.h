// The bytes behind a plan: packed weights.
//
// Place on the road: the plan module says which tensors lie where; here they
// become bytes for ArtifactWriter.
#ifndef STELE_COMPILER_DRIVER_SEGMENTS_H
#define STELE_COMPILER_DRIVER_SEGMENTS_H

#include "mlir/IR/BuiltinOps.h"
#include "stele/compiler/Driver/ArtifactWriter.h"
#include "stele/compiler/Import/Checkpoint.h"
#include "stele/dialects/Plan/PlanOps.h"

namespace stele::compiler {

/// The bytes of a segment of weights, streamed from the checkpoint tensor by
/// tensor; a tensor with a value needs none. `checkpoint` outlives the result.
SegmentBytes makeWeights(plan_ir::SegmentOp segment,
                         const checkpoint::Checkpoint &checkpoint);

/// Rows [begin, end) of the weight `name` as the checkpoint's tensors have
/// them, floats [end - begin, columns]; `sources` are its lm.segments.
llvm::Error readSources(llvm::ArrayRef<lm::SegmentAttr> sources,
                        llvm::StringRef name,
                        const checkpoint::Checkpoint &checkpoint,
                        int64_t columns, int64_t begin, int64_t end,
                        float *out);

} // namespace stele::compiler

#endif // STELE_COMPILER_DRIVER_SEGMENTS_H
