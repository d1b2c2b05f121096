// The order of a function's operations on their streams, and the rules of page
// moves in that order: the one check that the compiler and the runtime share.
//
// Place on the road: the plan dialect's verifier walks a function's operations
// through it while compiling, runtime/plan walks those of the artifact when
// loading. A schedule that passes never lets a launch read a page that has not
// arrived or whose slot was taken again.
#ifndef STELE_SCHEMA_PAGE_SCHEDULE_H_
#define STELE_SCHEMA_PAGE_SCHEDULE_H_

#include <algorithm>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace stele::schema {

// Where an operation was issued: its number in the function, from 0.
struct StreamPoint {
  uint32_t stream;
  int64_t step;
};

// What each stream knows to be over: streams run in any order but for waits, so
// "before" is a vector clock.
class StreamOrder {
 public:
  explicit StreamOrder(uint32_t streams)
      : known_(streams, Clock(streams, -1)) {}

  uint32_t streams() const { return static_cast<uint32_t>(known_.size()); }

  // Whether `point` is over when the next operation of `reader` starts.
  bool IsOver(StreamPoint point, uint32_t reader) const {
    return known_[reader][point.stream] >= point.step;
  }
  void Issue(StreamPoint point) {
    known_[point.stream][point.stream] = point.step;
  }
  bool IsSignalled(uint64_t event) const { return events_.contains(event); }
  void Signal(uint32_t stream, uint64_t event) {
    events_[event] = known_[stream];
  }
  // False when nothing has signalled the event.
  bool Wait(uint32_t stream, uint64_t event) {
    const auto signalled = events_.find(event);
    if (signalled == events_.end()) return false;
    for (size_t i = 0; i < known_.size(); ++i)
      known_[stream][i] = std::max(known_[stream][i], signalled->second[i]);
    return true;
  }

 private:
  using Clock = std::vector<int64_t>;
  std::vector<Clock> known_;  // [stream][stream]: last step known to be over
  std::unordered_map<uint64_t, Clock> events_;
};

// Which rule of plan.function (docs/generated/plan-dialect.md) is broken.
struct PageFault {
  enum Rule {
    kArrival = 9,     // pages are read after they arrived, and while they stay
    kSelection = 12,  // what is fetched was selected before
    kCapacity = 13,   // slots are the cache's
    kReuse = 14,      // slots are taken again after their pages were read
    kMoveOut = 15,    // pages leave after all who used them
  } rule;
  std::string text;
};

// One layer of a cache.
struct PagedLayer {
  uint32_t cache;
  int64_t layer;
  auto operator<=>(const PagedLayer&) const = default;
};

// Staging slots and moves of one function. Call one method for each operation
// that touches a cache, in the order of issue and before StreamOrder::Issue.
class PageSchedule {
 public:
  using Fault = std::optional<PageFault>;

  // `order` outlives this.
  explicit PageSchedule(const StreamOrder& order) : order_(order) {}

  void Select(PagedLayer layer, uint64_t slots, StreamPoint now) {
    StateOf(layer).selection = Selection{slots, now};
  }

  // Fetches the selection of `layer` into slots [first, first + slots), both
  // below 2^63, of the cache's `capacity`.
  Fault PageIn(PagedLayer layer, uint64_t first, uint64_t slots,
               uint64_t capacity, StreamPoint now) {
    if (Fault fault = CheckSelection(layer, slots, now)) return fault;
    if (first + slots > capacity)
      return PageFault{PageFault::kCapacity,
                       "ends at slot " + std::to_string(first + slots) +
                           ", the cache has " + std::to_string(capacity)};
    State& state = StateOf(layer);
    if (const auto step = NotOver(state.moves_out, now))
      return PageFault{PageFault::kMoveOut, DoesNotWait(*step, "moves out")};
    if (Fault fault = TakeSlots(layer.cache, first, first + slots, now))
      return fault;
    fetches_[{layer.cache, first}] = {first + slots, layer, now.step};
    state.fetches[now.stream] = now.step;
    state.taken_by = -1;
    return std::nullopt;
  }

  Fault PageOut(PagedLayer layer, StreamPoint now) {
    State& state = StateOf(layer);
    if (const auto step = NotOver(state.launches, now))
      return PageFault{PageFault::kMoveOut, DoesNotWait(*step, "uses")};
    if (const auto step = NotOver(state.fetches, now))
      return PageFault{PageFault::kMoveOut, DoesNotWait(*step, "fetches")};
    if (const auto step = NotOver(state.moves_out, now))
      return PageFault{PageFault::kMoveOut, DoesNotWait(*step, "moves out")};
    state.moves_out[now.stream] = now.step;
    return std::nullopt;
  }

  // A launch that binds the cache. One that writes it appends to pages in
  // device memory; one that only reads it reads staging slots too.
  Fault Launch(PagedLayer layer, bool only_reads, StreamPoint now) {
    State& state = StateOf(layer);
    if (const auto step = NotOver(state.moves_out, now))
      return PageFault{PageFault::kMoveOut, DoesNotWait(*step, "moves out")};
    state.launches[now.stream] = now.step;
    if (!only_reads) return std::nullopt;
    if (const auto step = NotOver(state.fetches, now))
      return PageFault{PageFault::kArrival, DoesNotWait(*step, "fetches")};
    if (state.taken_by >= 0)
      return PageFault{PageFault::kArrival,
                       "reads pages whose slots operation " +
                           std::to_string(state.taken_by) + " has taken"};
    state.readers[now.stream] = now.step;
    return std::nullopt;
  }

  // Behind the last operation: the next step takes all slots again.
  Fault End() const {
    for (const auto& [slot, fetch] : fetches_)
      if (!IsRead(layers_.at(fetch.layer), fetch))
        return PageFault{PageFault::kReuse,
                         "operation " + std::to_string(fetch.step) +
                             " fetches pages that no launch reads"};
    return std::nullopt;
  }

 private:
  using Steps = std::vector<int64_t>;  // the last one of each stream, or -1

  struct Selection {
    uint64_t slots;
    StreamPoint at;
  };
  struct State {
    explicit State(uint32_t streams)
        : launches(streams, -1),
          readers(streams, -1),
          fetches(streams, -1),
          moves_out(streams, -1) {}
    std::optional<Selection> selection;
    Steps launches, readers, fetches, moves_out;
    int64_t taken_by = -1;  // page_in that took slots of pages fetched before
  };
  // Pages that lie in slots [key.second, end) of cache key.first.
  struct Fetch {
    uint64_t end;
    PagedLayer layer;
    int64_t step;
  };

  State& StateOf(PagedLayer layer) {
    return layers_.try_emplace(layer, order_.streams()).first->second;
  }

  // The first of `steps` behind `since` that may still run when `now` starts.
  std::optional<int64_t> NotOver(const Steps& steps, StreamPoint now,
                                 int64_t since = -1) const {
    for (uint32_t stream = 0; stream < steps.size(); ++stream)
      if (steps[stream] > since &&
          !order_.IsOver({stream, steps[stream]}, now.stream))
        return steps[stream];
    return std::nullopt;
  }

  static std::string DoesNotWait(int64_t step, const char* what) {
    return "does not wait for operation " + std::to_string(step) +
           " of another stream, which " + what + " pages of its layer";
  }

  static bool IsRead(const State& state, const Fetch& fetch) {
    return std::any_of(state.readers.begin(), state.readers.end(),
                       [&](int64_t step) { return step > fetch.step; });
  }

  Fault CheckSelection(PagedLayer layer, uint64_t slots, StreamPoint now) {
    const auto& selection = StateOf(layer).selection;
    if (!selection)
      return PageFault{PageFault::kSelection,
                       "fetches pages of layer " + std::to_string(layer.layer) +
                           " that no operation selects before it"};
    if (!order_.IsOver(selection->at, now.stream))
      return PageFault{PageFault::kSelection,
                       DoesNotWait(selection->at.step, "selects")};
    if (selection->slots != slots)
      return PageFault{PageFault::kSelection,
                       "fetches into " + std::to_string(slots) +
                           " slots, operation " +
                           std::to_string(selection->at.step) +
                           " selects for " + std::to_string(selection->slots)};
    return std::nullopt;
  }

  // Forgets what lay in slots [first, end), which must have been read.
  Fault TakeSlots(uint32_t cache, uint64_t first, uint64_t end,
                  StreamPoint now) {
    auto fetch = fetches_.upper_bound({cache, first});
    if (fetch != fetches_.begin()) --fetch;
    while (fetch != fetches_.end() && fetch->first < std::pair(cache, end)) {
      if (fetch->first.first != cache || fetch->second.end <= first) {
        ++fetch;
        continue;
      }
      State& state = StateOf(fetch->second.layer);
      if (!IsRead(state, fetch->second))
        return PageFault{PageFault::kReuse,
                         "takes slots of pages that operation " +
                             std::to_string(fetch->second.step) +
                             " fetched and no launch has read"};
      if (const auto step = NotOver(state.readers, now, fetch->second.step))
        return PageFault{PageFault::kReuse,
                         "takes slots of pages without a wait for operation " +
                             std::to_string(*step) + ", which reads them"};
      state.taken_by = now.step;
      fetch = fetches_.erase(fetch);
    }
    return std::nullopt;
  }

  const StreamOrder& order_;
  std::map<PagedLayer, State> layers_;
  std::map<std::pair<uint32_t, uint64_t>, Fetch> fetches_;  // cache, slot
};

}  // namespace stele::schema

#endif  // STELE_SCHEMA_PAGE_SCHEDULE_H_
