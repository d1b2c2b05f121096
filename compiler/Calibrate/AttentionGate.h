// `--attention sparse --calibrate`: sparse attention that keeps what it says,
// on the user's text, or an error.
//
// Place on the road: in front of the Driver, as the gate of quantisation is
// (Gate.h), whose text and limit it shares. It learns from the dense artifact
// what queries are like, from sparse ones what their heads keep, and writes
// what it decided into the fused module: lm.mean_queries, and targets of
// lm.select_blocks.
#ifndef STELE_COMPILER_CALIBRATE_ATTENTIONGATE_H
#define STELE_COMPILER_CALIBRATE_ATTENTIONGATE_H

#include "stele/compiler/Calibrate/Gate.h"

namespace stele::compiler {

/// Compiles `options.input` to `options.output` with sparse attention; with
/// options.attention "auto" with dense attention if the gate cannot be met.
/// Progress goes to `progress`.
llvm::Error compileWithCalibratedAttention(const CompileOptions &options,
                                           const GateOptions &gate,
                                           llvm::raw_ostream &progress);

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_ATTENTIONGATE_H
