// Streams run in order, and wait for each other's events; see timeline.h.
#include "stele/runtime/plan/timeline.h"

#include <algorithm>

namespace stele {
namespace {

uint16_t StreamOf(const plan::Op& op) {
  switch (op.body_type()) {
    case plan::OpBody::Launch:
      return op.body_as_Launch()->stream();
    case plan::OpBody::Copy:
      return op.body_as_Copy()->stream();
    case plan::OpBody::SelectPages:
      return op.body_as_SelectPages()->stream();
    case plan::OpBody::PageIn:
      return op.body_as_PageIn()->stream();
    case plan::OpBody::PageOut:
      return op.body_as_PageOut()->stream();
    case plan::OpBody::Signal:
      return op.body_as_Signal()->stream();
    case plan::OpBody::Wait:
      return op.body_as_Wait()->stream();
    case plan::OpBody::Collective:
      return op.body_as_Collective()->stream();
    case plan::OpBody::NONE:
      break;
  }
  return 0;
}

}  // namespace

Timeline ModelTimeline(const plan::Function& function) {
  Timeline timeline;
  std::vector<uint64_t> now(function.streams());
  std::vector<uint64_t> signalled(function.events());
  for (const plan::Op* op : *function.ops()) {
    const uint16_t stream = StreamOf(*op);
    TimelineSpan span{stream, now[stream], now[stream] + op->modelled_ns()};
    if (const auto* wait = op->body_as_Wait())
      span.end = std::max(span.end, signalled[wait->event()]);
    if (const auto* signal = op->body_as_Signal())
      signalled[signal->event()] = span.end;
    now[stream] = span.end;
    timeline.end = std::max(timeline.end, span.end);
    timeline.spans.push_back(span);
  }
  return timeline;
}

}  // namespace stele
