// Events become steps with their operations; see trace.h.
#include "trace.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/text/json.h"

namespace stele::cli {
namespace {

using nlohmann::ordered_json;

constexpr uint64_t kMaxBytes = 256 << 20;
// Eleven days in microseconds: nanoseconds fit 64 bits by far.
constexpr double kMaxMicroseconds = 1e12;

// One event that is of interest.
struct Event {
  std::string category, name;
  uint64_t begin = 0, end = 0;  // nanoseconds
  uint64_t stream = 0;
  const ordered_json* args = nullptr;
  std::string where;  // for messages
};

class TraceReader {
 public:
  TraceReader(const std::string& path, const plan::Plan& plan)
      : path_(path), plan_(plan) {}

  Result<std::map<std::string, FunctionTrace>> Read();

 private:
  Status TakeEvents(const ordered_json& events);
  Status TakeEvent(const ordered_json& json, const std::string& where);
  Status CheckSteps();
  Status AddOp(const Event& event);
  Result<uint64_t> Time(const ordered_json& json, const char* key,
                        const std::string& where) const;
  // A whole number of the event's args; 0 when it is not there.
  Result<uint64_t> Number(const Event& event, const char* key) const;
  Status Bad(const std::string& where, const std::string& what) const {
    return InvalidArgument("'" + Printable(path_) + "': " + where + what);
  }

  struct Step {
    const plan::Function* function;
    TracedStep traced;
  };

  const std::string& path_;
  const plan::Plan& plan_;
  std::vector<Event> ops_;
  std::vector<Step> steps_;  // by their begin
  std::map<std::string, FunctionTrace> traces_;
};

const plan::Function* FindFunction(const plan::Plan& plan,
                                   const std::string& name) {
  for (const plan::Function* function : *plan.functions())
    if (function->name()->string_view() == name) return function;
  return nullptr;
}

std::string TextOf(const ordered_json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>()
                                                   : "";
}

Result<uint64_t> TraceReader::Time(const ordered_json& json, const char* key,
                                   const std::string& where) const {
  const auto found = json.find(key);
  const double value =
      found != json.end() && found->is_number() ? found->get<double>() : -1;
  if (value >= 0 && value <= kMaxMicroseconds)
    return static_cast<uint64_t>(std::llround(value * 1e3));
  return Bad(where, std::string(": \"") + key +
                        "\" must be a time in microseconds, from 0 to 10^12");
}

Result<uint64_t> TraceReader::Number(const Event& event,
                                     const char* key) const {
  if (!event.args) return uint64_t{0};
  const auto found = event.args->find(key);
  if (found == event.args->end()) return uint64_t{0};
  if (found->is_number_unsigned() && found->get<uint64_t>() < 1ull << 40)
    return found->get<uint64_t>();
  return Bad(event.where, std::string(": args.") + key +
                              " must be a whole number below 2^40");
}

// Other programs put events of their own into a trace: they are left alone.
Status TraceReader::TakeEvent(const ordered_json& json,
                              const std::string& where) {
  if (!json.is_object()) return Bad(where, " is no object");
  if (TextOf(json, "ph") != "X") return OkStatus();
  Event event;
  event.where = where;
  event.category = TextOf(json, "cat");
  event.name = TextOf(json, "name");
  const bool is_step = event.category == "step";
  static constexpr const char* kOps[] = {"launch", "page_in", "page_out",
                                         "select_pages", "wait"};
  if (!is_step && std::ranges::find(kOps, event.category) == std::end(kOps))
    return OkStatus();
  STELE_ASSIGN_OR_RETURN(event.begin, Time(json, "ts", where));
  STELE_ASSIGN_OR_RETURN(const uint64_t duration, Time(json, "dur", where));
  event.end = event.begin + duration;
  const auto tid = json.find("tid");
  if (tid == json.end() || !tid->is_number_unsigned())
    return Bad(where, ": \"tid\" must be the number of a stream");
  event.stream = tid->get<uint64_t>();
  if (const auto args = json.find("args");
      args != json.end() && args->is_object())
    event.args = &*args;
  if (!is_step) {
    ops_.push_back(std::move(event));
    return OkStatus();
  }
  const plan::Function* function = FindFunction(plan_, event.name);
  if (!function)
    return Bad(where, ": the artifact has no function \"" +
                          Printable(event.name) +
                          "\"; was another one traced?");
  steps_.push_back({function, {event.begin, duration, 0, {}}});
  return OkStatus();
}

Status TraceReader::TakeEvents(const ordered_json& events) {
  for (size_t i = 0; i < events.size(); ++i)
    STELE_RETURN_IF_ERROR(
        TakeEvent(events[i], "traceEvents[" + std::to_string(i) + "]"));
  return OkStatus();
}

Status TraceReader::CheckSteps() {
  if (steps_.empty())
    return Bad("", "holds no steps; make it with stele run --trace");
  std::ranges::sort(steps_, {}, [](const Step& s) { return s.traced.begin; });
  for (size_t i = 1; i < steps_.size(); ++i)
    if (steps_[i].traced.begin <
        steps_[i - 1].traced.begin + steps_[i - 1].traced.duration)
      return Bad("", Format("the steps that begin at %.3f and %.3f us overlap",
                            steps_[i - 1].traced.begin / 1e3,
                            steps_[i].traced.begin / 1e3));
  return OkStatus();
}

Status TraceReader::AddOp(const Event& event) {
  // The last step that begins before it.
  auto step = std::ranges::upper_bound(
      steps_, event.begin, {}, [](const Step& s) { return s.traced.begin; });
  if (step == steps_.begin()) return OkStatus();
  --step;
  TracedStep& traced = step->traced;
  if (event.begin >= traced.begin + traced.duration) return OkStatus();
  STELE_ASSIGN_OR_RETURN(const uint64_t op, Number(event, "op"));
  if (op >= step->function->ops()->size())
    return Bad(
        event.where,
        Format(": args.op %llu is not below %u, the operations of %s; "
               "was another artifact traced?",
               static_cast<unsigned long long>(op),
               step->function->ops()->size(),
               Printable(step->function->name()->string_view()).c_str()));
  traced.ops.push_back({static_cast<uint32_t>(op), event.begin - traced.begin,
                        event.end - traced.begin});
  if (event.category == "wait" && event.stream == 0)
    traced.waited += event.end - event.begin;
  FunctionTrace& trace = traces_[step->function->name()->str()];
  STELE_ASSIGN_OR_RETURN(const uint64_t pages, Number(event, "pages"));
  STELE_ASSIGN_OR_RETURN(const uint64_t bytes, Number(event, "bytes"));
  STELE_ASSIGN_OR_RETURN(const uint64_t hits, Number(event, "hits"));
  STELE_ASSIGN_OR_RETURN(const uint64_t misses, Number(event, "misses"));
  if (event.category == "page_in") {
    trace.pages_in += pages;
    trace.bytes_in += bytes;
  } else if (event.category == "page_out") {
    trace.pages_out += pages;
    trace.bytes_out += bytes;
  } else if (event.category == "select_pages") {
    trace.hits += hits;
    trace.misses += misses;
  }
  return OkStatus();
}

Result<std::map<std::string, FunctionTrace>> TraceReader::Read() {
  STELE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path_, kMaxBytes));
  STELE_ASSIGN_OR_RETURN(const ordered_json json,
                         text::ParseJson(text, "'" + Printable(path_) + "'"));
  const ordered_json* events = &json;
  if (json.is_object()) {
    const auto found = json.find("traceEvents");
    if (found != json.end()) events = &*found;
  }
  if (!events->is_array())
    return Bad("",
               "holds no list \"traceEvents\"; make it with stele run "
               "--trace");
  STELE_RETURN_IF_ERROR(TakeEvents(*events));
  STELE_RETURN_IF_ERROR(CheckSteps());
  for (const Event& event : ops_) STELE_RETURN_IF_ERROR(AddOp(event));
  for (Step& step : steps_)
    traces_[step.function->name()->str()].steps.push_back(
        std::move(step.traced));
  for (auto& [name, trace] : traces_)
    std::ranges::sort(trace.steps, {}, &TracedStep::duration);
  return std::move(traces_);
}

}  // namespace

uint64_t FunctionTrace::MedianWait() const {
  std::vector<uint64_t> waits;
  for (const TracedStep& step : steps) waits.push_back(step.waited);
  const auto middle = waits.begin() + static_cast<long>(waits.size() / 2);
  std::ranges::nth_element(waits, middle);
  return *middle;
}

Result<std::map<std::string, FunctionTrace>> ReadTrace(const std::string& path,
                                                       const plan::Plan& plan) {
  return TraceReader(path, plan).Read();
}

}  // namespace stele::cli
