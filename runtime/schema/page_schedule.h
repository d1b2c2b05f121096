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
    kMoveOut = 15,    // pages leave before all who use the layer
    kFetched = 16,    // what was selected is fetched before it is read
    kPaged = 17,      // layers of a paged cache have their pages moved out
  } rule;
  std::string text;
};

// Staging slots [first, first + count) of a session; both below 2^63.
struct SlotRange {
  uint64_t first;
  uint64_t count;

  uint64_t end() const { return first + count; }
  bool operator==(const SlotRange&) const = default;
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
    StateOf(layer).is_fetched = false;
  }

  // Fetches the selection of `layer` into slots of the cache's `capacity`.
  // `ahead`: the one that an earlier step left; what it missed is fetched over
  // it, once this step has selected.
  Fault PageIn(PagedLayer layer, SlotRange slots, bool ahead, uint64_t capacity,
               StreamPoint now) {
    State& state = StateOf(layer);
    if (!ahead)
      if (Fault fault = CheckSelection(layer, slots.count, now)) return fault;
    if (slots.end() > capacity)
      return PageFault{PageFault::kCapacity,
                       "ends at slot " + std::to_string(slots.end()) +
                           ", the cache has " + std::to_string(capacity)};
    if (const auto step = NotOver(state.moves_out, now))
      return PageFault{PageFault::kMoveOut, DoesNotWait(*step, "moves out")};
    if (Fault fault = CheckCorrection(state, slots, ahead, now)) return fault;
    if (Fault fault = TakeSlots(layer, slots, ahead, now)) return fault;
    fetches_[{layer.cache, slots.first}] = {slots, layer, now.step};
    if (ahead)
      state.ahead = Ahead{slots, now};
    else
      state.ahead.reset();
    state.is_fetched = state.is_fetched || !ahead;
    state.fetches[now.stream] = now.step;
    state.taken_by = -1;
    return std::nullopt;
  }

  Fault PageOut(PagedLayer layer, StreamPoint now) {
    State& state = StateOf(layer);
    if (const auto step = First(state.launches))
      return PageFault{PageFault::kMoveOut, ComesLate(*step, "uses")};
    if (const auto step = First(state.fetches))
      return PageFault{PageFault::kMoveOut, ComesLate(*step, "fetches")};
    if (const auto step = NotOver(state.moves_out, now))
      return PageFault{PageFault::kMoveOut, DoesNotWait(*step, "moves out")};
    state.moves_out[now.stream] = now.step;
    return std::nullopt;
  }

  // A launch that binds the cache. One that writes it appends to pages in
  // device memory; one that only reads it reads staging slots too. `is_paged`:
  // the cache has Paging.
  Fault Launch(PagedLayer layer, bool only_reads, bool is_paged,
               StreamPoint now) {
    State& state = StateOf(layer);
    if (const auto step = NotOver(state.moves_out, now))
      return PageFault{PageFault::kMoveOut, DoesNotWait(*step, "moves out")};
    state.launches[now.stream] = now.step;
    state.is_paged = state.is_paged || is_paged;
    if (!only_reads) return std::nullopt;
    if (const auto step = NotOver(state.fetches, now))
      return PageFault{PageFault::kArrival, DoesNotWait(*step, "fetches")};
    if (state.taken_by >= 0)
      return PageFault{PageFault::kArrival,
                       "reads pages whose slots operation " +
                           std::to_string(state.taken_by) + " has taken"};
    if (!state.is_fetched)
      return PageFault{PageFault::kFetched,
                       "reads pages that operation " +
                           std::to_string(state.selection->at.step) +
                           " selects and none behind it fetches"};
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
    for (const auto& [layer, state] : layers_) {
      if (state.ahead && !state.selection)
        return PageFault{PageFault::kSelection,
                         "operation " + std::to_string(state.ahead->at.step) +
                             " fetches ahead for layer " +
                             std::to_string(layer.layer) +
                             ", where nothing is selected"};
      if (state.is_paged && !First(state.moves_out))
        return PageFault{PageFault::kPaged,
                         "operation " + std::to_string(*First(state.launches)) +
                             " uses layer " + std::to_string(layer.layer) +
                             " of a paged cache, whose pages none moves out"};
    }
    return std::nullopt;
  }

 private:
  using Steps = std::vector<int64_t>;  // the last one of each stream, or -1

  struct Selection {
    uint64_t slots;
    StreamPoint at;
  };
  struct Ahead {
    SlotRange slots;
    StreamPoint at;
  };
  struct State {
    explicit State(uint32_t streams)
        : launches(streams, -1),
          readers(streams, -1),
          fetches(streams, -1),
          moves_out(streams, -1) {}
    std::optional<Selection> selection;
    bool is_fetched = true;      // what was selected last
    std::optional<Ahead> ahead;  // while nothing was fetched over it
    bool is_paged = false;
    Steps launches, readers, fetches, moves_out;
    int64_t taken_by = -1;  // page_in that took slots of pages fetched before
  };
  // Pages in staging slots.
  struct Fetch {
    SlotRange slots;
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

  static std::string ComesLate(int64_t step, const char* what) {
    return "comes behind operation " + std::to_string(step) + ", which " +
           what + " pages of its layer";
  }

  static std::optional<int64_t> First(const Steps& steps) {
    for (const int64_t step : steps)
      if (step >= 0) return step;
    return std::nullopt;
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

  // What corrects a fetch ahead goes over its slots, once that is over.
  Fault CheckCorrection(const State& state, SlotRange slots, bool ahead,
                        StreamPoint now) const {
    if (ahead || !state.ahead) return std::nullopt;
    if (state.ahead->slots != slots)
      return PageFault{
          PageFault::kReuse,
          "fetches into slots from " + std::to_string(slots.first) +
              " on, operation " + std::to_string(state.ahead->at.step) +
              " ahead of it into " + std::to_string(state.ahead->slots.count) +
              " slots from " + std::to_string(state.ahead->slots.first) +
              " on"};
    if (order_.IsOver(state.ahead->at, now.stream)) return std::nullopt;
    return PageFault{PageFault::kReuse,
                     DoesNotWait(state.ahead->at.step, "fetches")};
  }

  // Forgets what lay in slots, which must have been read, but for what a
  // correction goes over.
  Fault TakeSlots(PagedLayer layer, SlotRange slots, bool ahead,
                  StreamPoint now) {
    auto fetch = fetches_.upper_bound({layer.cache, slots.first});
    if (fetch != fetches_.begin()) --fetch;
    while (fetch != fetches_.end() &&
           fetch->first < std::pair(layer.cache, slots.end())) {
      if (fetch->first.first != layer.cache ||
          fetch->second.slots.end() <= slots.first) {
        ++fetch;
        continue;
      }
      State& state = StateOf(fetch->second.layer);
      const bool corrects =
          !ahead && fetch->second.layer == layer && state.ahead;
      if (!corrects && !IsRead(state, fetch->second))
        return PageFault{PageFault::kReuse,
                         "takes slots of pages that operation " +
                             std::to_string(fetch->second.step) +
                             " fetched and no launch has read"};
      if (const auto step = NotOver(state.readers, now, fetch->second.step))
        return PageFault{PageFault::kReuse,
                         "takes slots of pages without a wait for operation " +
                             std::to_string(*step) + ", which reads them"};
      state.taken_by = now.step;
      state.ahead.reset();
      fetch = fetches_.erase(fetch);
    }
    return std::nullopt;
  }

  const StreamOrder& order_;
  std::map<PagedLayer, State> layers_;
  // By cache and first slot.
  std::map<std::pair<uint32_t, uint64_t>, Fetch> fetches_;
};

}  // namespace stele::schema

#endif  // STELE_SCHEMA_PAGE_SCHEDULE_H_
