// What `stele run --trace` recorded, read back for `stele inspect --timeline`:
// Chrome trace events, in a file that anybody may have edited.
#ifndef STELE_TOOLS_STELE_TRACE_H_
#define STELE_TOOLS_STELE_TRACE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/schema/plan_generated.h"

namespace stele::cli {

// An operation of a step, in nanoseconds from the step's begin.
struct TracedOp {
  uint32_t op = 0;  // index into the function's
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct TracedStep {
  uint64_t begin = 0;  // from the trace's
  uint64_t duration = 0;
  uint64_t waited = 0;  // on stream 0
  std::vector<TracedOp> ops;
};

// All steps of one function.
struct FunctionTrace {
  std::vector<TracedStep> steps;  // in the order of their duration
  uint64_t hits = 0, misses = 0;  // pages asked for that were in a slot, or not
  uint64_t pages_in = 0, bytes_in = 0;
  uint64_t pages_out = 0, bytes_out = 0;

  const TracedStep& median() const { return steps[steps.size() / 2]; }
  uint64_t MedianWait() const;
};

// By the function's name. Fails for a file that is no trace, or one of another
// artifact.
Result<std::map<std::string, FunctionTrace>> ReadTrace(const std::string& path,
                                                       const plan::Plan& plan);

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_TRACE_H_
