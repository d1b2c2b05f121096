// What the compiler knows of the machines it compiles for. One JSON file per
// target in this folder, embedded at build time; a user may pass a file of
// their own. Kernel selection, buckets and schedules read nothing else of a
// machine, so that a new one is a new file.
#ifndef STELE_COMPILER_TARGETS_TARGETS_H
#define STELE_COMPILER_TARGETS_TARGETS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>
#include <vector>

namespace stele::compiler {

/// A size class of steps: one plan function each.
struct TokenBucket {
  std::string name;
  int64_t tokens = 0;    // most tokens of one step
  int64_t sequences = 0; // most sequences that they belong to
  int64_t logitRows = 0; // most of them whose logits are computed
};

/// What the machine's limits are, as far as the cost model and the driver's
/// estimate need them: declared in the description, not measured.
struct MachineLimits {
  int64_t memoryBytes = 0;
  int64_t memoryBytesPerSecond = 0;
  // A multiplication and an addition are two operations.
  int64_t f32PerSecond = 0;
  int64_t bf16PerSecond = 0;
  int64_t int8PerSecond = 0;
  // Between host memory and device memory, one way, and what a move takes
  // whatever its size.
  int64_t linkBytesPerSecond = 0;
  int64_t linkNanoseconds = 0;
  // Bytes of pages that become records, and that records become.
  int64_t packBytesPerSecond = 0;
  int64_t unpackBytesPerSecond = 0;
  int64_t diskBytesPerSecond = 0; // read from the cold tier
};

struct Target {
  std::string source; // embedded name, or the file it was read from
  std::string name;   // "x86-64-v4-bf16"
  std::string isa;    // what the runtime checks: "x86-64-v4"
  std::vector<std::string> features; // beyond the level: "avx512bf16"
  std::string arithmetic;            // what `auto` means: "f32" or "bf16"
  std::vector<TokenBucket> buckets;  // ascending by tokens
  MachineLimits limits;
};

/// The target of that name, `host` for this machine, or the description in the
/// file of that name (it has a '/' or ends in ".json").
llvm::Expected<Target> findTarget(llvm::StringRef nameOrFile);

/// The names of the embedded targets, for messages and --help.
std::vector<llvm::StringRef> targetNames();

} // namespace stele::compiler

#endif // STELE_COMPILER_TARGETS_TARGETS_H
