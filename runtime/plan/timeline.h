// When each operation of a function should begin and end, from the times that
// the compiler's cost model gave them.
//
// Place on the road: `stele inspect --timeline` draws it; runs are compared
// with it. The plan passed verification: every wait follows its signal.
#ifndef STELE_RUNTIME_PLAN_TIMELINE_H_
#define STELE_RUNTIME_PLAN_TIMELINE_H_

#include <cstdint>
#include <vector>

#include "stele/schema/plan_generated.h"

namespace stele {

// An operation's time on its stream, in nanoseconds from the step's begin. A
// wait lasts until its event; what has no time of its own is an instant.
struct TimelineSpan {
  uint16_t stream = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct Timeline {
  std::vector<TimelineSpan> spans;  // by operation
  uint64_t end = 0;                 // of the last stream
};

Timeline ModelTimeline(const plan::Function& function);

}  // namespace stele

#endif  // STELE_RUNTIME_PLAN_TIMELINE_H_
