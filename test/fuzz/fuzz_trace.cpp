// Fuzz target: any bytes as the trace of a run of a plan with two functions.
// What is read must lie inside them.
#include <memory>
#include <string>

#include "memory_file.h"
#include "stele/schema/plan_generated.h"
#include "trace.h"

using stele::fuzz::Require;
namespace plan = stele::plan;

namespace {

constexpr uint32_t kOps = 9;

// Functions and operations without content: a trace names no more of them.
flatbuffers::FlatBufferBuilder MakePlan() {
  plan::PlanT plan;
  plan.model = std::make_unique<plan::ModelInfoT>();
  for (const char *name : {"decode", "prefill"}) {
    plan.functions.push_back(std::make_unique<plan::FunctionT>());
    plan.functions.back()->name = name;
    for (uint32_t i = 0; i < kOps; ++i) {
      auto op = std::make_unique<plan::OpT>();
      op->body.Set(plan::WaitT());
      plan.functions.back()->ops.push_back(std::move(op));
    }
  }
  flatbuffers::FlatBufferBuilder builder;
  plan::FinishPlanBuffer(builder, plan::CreatePlan(builder, &plan));
  return builder;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const flatbuffers::FlatBufferBuilder builder = MakePlan();
  const stele::fuzz::MemoryFile file(data, size);
  const auto traces = stele::cli::ReadTrace(
      file.path(), *plan::GetPlan(builder.GetBufferPointer()));
  if (!traces.ok()) {
    Require(!traces.status().message().empty());
    return 0;
  }
  for (const auto &[name, trace] : *traces) {
    Require(name == "decode" || name == "prefill");
    Require(!trace.steps.empty());
    (void)trace.MedianWait();
    for (const auto &step : trace.steps)
      for (const auto &op : step.ops)
        Require(op.op < kOps && op.begin <= op.end);
  }
  return 0;
}
