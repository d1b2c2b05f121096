// `--quant auto`: the smallest artifact whose measured loss is allowed.
//
// Place on the road: in front of the Driver, which it calls for every artifact
// that it tries, and once more for the one that it keeps. A model is looked at
// by running what was compiled (CompiledModel.h); what was decided goes into
// the fused module as attributes of its weights, so that the last compile is
// one like any other.
#ifndef STELE_COMPILER_CALIBRATE_GATE_H
#define STELE_COMPILER_CALIBRATE_GATE_H

#include "stele/compiler/Driver/Driver.h"

namespace stele::compiler {

struct GateOptions {
  /// Text for statistics (two thirds) and gate (the rest); empty: the bundled
  /// ones.
  std::string calibrate;
  /// How much perplexity may grow: 0.01 is 1%.
  double maxLoss = 0.01;
  /// Write the best artifact even if it loses more.
  bool force = false;
};

/// Compiles `options.input` to `options.output`, quantised as far as the gate
/// allows. Progress goes to `progress`.
llvm::Error compileCalibrated(const CompileOptions &options,
                              const GateOptions &gate,
                              llvm::raw_ostream &progress);

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_GATE_H
