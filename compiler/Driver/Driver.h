// The whole compile as a library: stele-compile and the tests call it.
//
// A compile is a row of phases. Each takes a module and leaves one that can be
// written as .mlir, looked at, edited, and given back to go on from there; the
// last leaves the artifact.
#ifndef STELE_COMPILER_DRIVER_DRIVER_H
#define STELE_COMPILER_DRIVER_DRIVER_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace stele::compiler {

enum class Phase {
  Import,   // the checkpoint as lm operations, f32, unfused
  Lm,       // checked; arithmetic and kind of attention chosen
  Fused,    // operations joined, positions prepared
  Selected, // every operation with its kernel, every weight with its layout
  Plan,     // launches and tensors of the target
  Assigned, // buffers with their places
  Artifact, // code, weights and tokenizer written
};

llvm::StringRef phaseName(Phase phase);
std::optional<Phase> parsePhase(llvm::StringRef name);
/// "import, lm, ..." for messages and --help.
std::string phaseNames();

struct CompileOptions {
  /// Checkpoint folder, .gguf, config.json, or the .mlir of a phase.
  std::string input;
  /// The artifact; with `stopAfter` before it the .mlir, empty for stdout.
  std::string output;
  Phase stopAfter = Phase::Artifact;
  /// Where an .mlir input's weights are; empty: where it says.
  std::string checkpoint;
  /// Empty: what an .mlir input says, or host.
  std::string target;
  std::string activations = "auto"; // auto, f32, bf16, int8
  std::string kv = "auto"; // auto, f32, f16, bf16, int8; paged: int4, too
  /// int4, int8, none; empty: as the checkpoint stores the weights. auto is as
  /// empty here: the gate (Calibrate/Gate.h) decides on the fused module.
  std::string quant;
  int64_t group = 32;  // int4, int8: elements that share a scale
  std::string weights; // inline (also when empty), external, synthetic:SEED
  std::string attention = "auto"; // auto (dense), dense, sparse, kernelized
  int64_t features = 256;         // kernelized: random features
  struct Sparsity {
    /// Blocks of tokens; kept always: the query's own and those before it, and
    /// the first ones.
    int64_t block = 128, local = 1, adjacent = 1, sink = 1;
    /// How many more are chosen: at most one is not 0.
    int64_t topK = 0;  // so many
    double share = 0;  // so many of those up to the query's own
    double mass = 0;   // as many as have this mass, by the estimate
    int64_t limit = 0; // of share and mass at most so many; 0: any number
  } sparsity;
  struct Paging {
    int64_t deviceMemory = 0; // bytes; 0: all pages stay there
    int64_t hostMemory = 0;   // bytes for pages that left; 0: enough for all
    int64_t hotWindow = 0;    // tokens whose pages stay; 0: 10,240
  } paging;
  int64_t context = 0;            // 0: what the checkpoint says
  std::string positions = "auto"; // auto, rope, yarn, dca
  int64_t dcaChunk = 0;    // dca: longest distance; 0: the trained length
  int64_t dcaLocal = 0;    // dca: 0: an eighth of that
  bool fuse = true;        // off: one kernel for every imported operation
  std::string dumpDir;     // empty: dump nothing
  unsigned jobs = 0;       // threads that compile kernels; 0: every core
  bool timePhases = false; // time of every pass
  /// What a runtime has against this tokenizer, which is an error, and against
  /// the chat templates in it, which is a warning; empty: nothing. Asked before
  /// anything is written.
  std::function<std::string(llvm::ArrayRef<uint8_t>)> tokenizerProblem;
  std::function<std::string(llvm::ArrayRef<uint8_t>)> templateProblem;
};

/// Module attribute: the table of a calibration as JSON, which the artifact
/// keeps in a segment of its own.
inline constexpr llvm::StringLiteral calibrationAttrName = "stele.calibration";

/// Runs the phases. Progress (sizes and times, a line each) goes to `progress`;
/// nothing is left at the output when it fails. Weights with a group whose
/// scale is beyond f16 get scales in f32.
llvm::Error compile(const CompileOptions &options, llvm::raw_ostream &progress);

/// The same, but such a weight is a ScaleOverflow (Quantise/Quantise.h).
llvm::Error compileAsSaid(const CompileOptions &options,
                          llvm::raw_ostream &progress);

/// Gives the named weights scales and offsets in f32.
void widenScales(mlir::ModuleOp module, llvm::ArrayRef<std::string> weights);

} // namespace stele::compiler

#endif // STELE_COMPILER_DRIVER_DRIVER_H
