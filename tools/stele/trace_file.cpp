// Events of steps and operations; see trace_file.h.
#include "trace_file.h"

#include <nlohmann/json.hpp>

namespace stele::cli {
namespace {

using nlohmann::ordered_json;

ordered_json EventOf(std::string category, std::string name, uint32_t stream) {
  return {{"cat", std::move(category)},
          {"name", std::move(name)},
          {"ph", "X"},
          {"pid", 1},
          {"tid", stream}};
}

std::string OfLayer(const char* what, uint32_t layer) {
  return std::string(what) + " layer " + std::to_string(layer);
}

ordered_json Moves(uint32_t layer, uint64_t pages, uint64_t record_bytes) {
  return {{"layer", layer}, {"pages", pages}, {"bytes", pages * record_bytes}};
}

// Null for an operation that takes no time of its own.
ordered_json Describe(const StepTrace& step, const plan::Op& op) {
  ordered_json event;
  if (const auto* launch = op.body_as_Launch())
    return EventOf("launch", launch->label()->str(), launch->stream());
  if (const auto* wait = op.body_as_Wait())
    return EventOf("wait", "event " + std::to_string(wait->event()),
                   wait->stream());
  if (const auto* select = op.body_as_SelectPages()) {
    const LayerMoves& moves = step.moves[select->layer()];
    event = EventOf("select_pages", OfLayer("select_pages", select->layer()),
                    select->stream());
    event["args"] = {{"layer", select->layer()},
                     {"hits", moves.hits},
                     {"misses", moves.misses}};
  } else if (const auto* in = op.body_as_PageIn()) {
    const LayerMoves& moves = step.moves[in->layer()];
    event =
        EventOf("page_in",
                OfLayer(in->ahead() ? "page_in ahead" : "page_in", in->layer()),
                in->stream());
    event["args"] = Moves(in->layer(), in->ahead() ? moves.ahead : moves.misses,
                          step.record_bytes);
  } else if (const auto* out = op.body_as_PageOut()) {
    event =
        EventOf("page_out", OfLayer("page_out", out->layer()), out->stream());
    event["args"] =
        Moves(out->layer(), step.moves[out->layer()].packed, step.record_bytes);
  }
  return event;
}

}  // namespace

Result<std::unique_ptr<TraceFile>> TraceFile::Create(const std::string& path) {
  STELE_ASSIGN_OR_RETURN(auto file, OutputFile::Create(path));
  file->Write("{\"traceEvents\": [");
  return std::unique_ptr<TraceFile>(new TraceFile(std::move(file)));
}

void TraceFile::Add(const StepTrace& step) {
  if (is_first_) begin_ns_ = step.time.begin_ns;
  ordered_json event = EventOf("step", step.function->name()->str(), 0);
  event["args"] = {{"tokens", step.tokens}};
  Write(std::move(event), step.time);
  for (uint32_t i = 0; i < step.function->ops()->size(); ++i) AddOp(step, i);
}

void TraceFile::AddOp(const StepTrace& step, uint32_t index) {
  if (index >= step.ops.size()) return;
  ordered_json event = Describe(step, *step.function->ops()->Get(index));
  if (event.is_null()) return;
  event["args"]["op"] = index;
  Write(std::move(event), step.ops[index]);
}

void TraceFile::Write(ordered_json event, const StepTime& time) {
  event["ts"] = static_cast<double>(time.begin_ns - begin_ns_) / 1e3;
  event["dur"] = static_cast<double>(time.end_ns - time.begin_ns) / 1e3;
  file_->Write(is_first_ ? "\n" : ",\n");
  is_first_ = false;
  file_->Write(
      event.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

Status TraceFile::Finish() {
  file_->Write("\n]}\n");
  return file_->Finish();
}

}  // namespace stele::cli
