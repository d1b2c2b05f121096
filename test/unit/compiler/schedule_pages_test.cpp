// The schedule of pages has no way around it: whatever is changed in it is
// refused by the verifier, or changes what a step does.
//
// The plan of test/lit/Schedule/schedule-pages.mlir is scheduled, and then each
// number of each operation is changed, each operation left out, and each
// swapped with the next one of its stream. What still verifies goes through an
// interpreter of moves, whose log must differ.
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "stele/compiler/Driver/FlatBuffer.h"
#include "stele/compiler/Schedule/Passes.h"
#include "stele/dialects/Lm/LmDialect.h"
#include "stele/dialects/Plan/PlanDialect.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/plan/timeline.h"
#include "stele/runtime/plan/verify.h"
#include "stele/schema/plan_generated.h"
#include "gtest/gtest.h"
#include <functional>
#include <map>

namespace stele {
namespace {

using plan::OpBody;

constexpr uint64_t kPayload = 1 << 20; // the FlatBuffer ends before it
constexpr int kSteps = 3;
constexpr int kChosen = 3; // pages that each layer chooses in a step

/// The scheduled plan, its buffers apart so that operations may come and go.
plan::PlanT schedule(int64_t deviceMemory) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<lm::LmDialect, plan_ir::PlanDialect>();
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(
      STELE_SOURCE_DIR "/test/lit/Schedule/schedule-pages.mlir", &context);
  mlir::PassManager manager(&context);
  manager.addPass(compiler::createAssignBuffers());
  compiler::ModelTimeOptions time;
  time.targets.push_back("x86-64-v3");
  manager.addPass(compiler::createModelTime(time));
  compiler::SchedulePagesOptions pages;
  pages.targets.push_back("x86-64-v3");
  pages.deviceMemory = deviceMemory;
  pages.hotWindow = 50;
  manager.addPass(compiler::createSchedulePages(pages));
  EXPECT_TRUE(module && mlir::succeeded(manager.run(*module)));
  plan::PlanT plan;
  plan::GetPlan(compiler::exportPlan(*module).data())->UnPackTo(&plan);
  for (size_t i = 0; i < plan.segments.size(); ++i)
    plan.segments[i]->offset = kPayload + 4096 * i;
  for (auto &function : plan.functions) {
    function->arena_bytes = 0;
    for (auto &buffer : function->buffers) {
      buffer->offset = function->arena_bytes;
      buffer->first_op = 0;
      function->arena_bytes += (buffer->length + 63) / 64 * 64;
    }
  }
  return plan;
}

/// The plan as a FlatBuffer.
class Packed {
public:
  explicit Packed(plan::PlanT &plan) {
    for (auto &function : plan.functions)
      for (auto &buffer : function->buffers)
        buffer->last_op = function->ops.size() - 1;
    plan::FinishPlanBuffer(builder, plan::CreatePlan(builder, &plan));
  }
  const plan::Plan &get() const {
    return *plan::GetPlan(builder.GetBufferPointer());
  }

private:
  flatbuffers::FlatBufferBuilder builder;
};

/// Nothing for a plan that is right.
std::string faultOf(const plan::Plan &plan) {
  return VerifyPlan(plan, {kPayload, 2 * kPayload}).message();
}

/// What steps of one session do: when, which pages are moved where, and what
/// each wait is for. Pages are chosen by a hash of layer and step.
class Interpreter {
public:
  explicit Interpreter(const plan::Plan &plan) : plan(plan) {}

  std::string run() {
    for (const plan::KvCache *cache : *plan.kv_caches()) {
      const plan::Paging &paging = *cache->paging();
      log += Format("%u slots, hot %llu, %u sinks, cells of %u, warm %llu\n",
                    cache->slots(), (unsigned long long)paging.hot_tokens(),
                    paging.sink_blocks(), paging.grid_tokens(),
                    (unsigned long long)paging.warm_tokens());
      slots.assign(cache->slots(), -1);
    }
    for (int step = 0; step < kSteps; ++step)
      for (const plan::Function *function : *plan.functions())
        runFunction(*function, step);
    return log;
  }

private:
  std::vector<int> choose(uint32_t layer, int step) const {
    std::vector<int> pages;
    for (int i = 0; i < kChosen; ++i)
      pages.push_back(int(layer * 1000) + (i + step) * 7 % 50);
    return pages;
  }

  void runFunction(const plan::Function &function, int step) {
    Timeline timeline = ModelTimeline(function);
    std::map<uint32_t, uint32_t> signals; // by event
    for (uint32_t i = 0; i < function.ops()->size(); ++i)
      if (const auto *signal = function.ops()->Get(i)->body_as_Signal())
        signals[signal->event()] = i;
    for (uint32_t i = 0; i < function.ops()->size(); ++i)
      runOp(*function.ops()->Get(i), timeline.spans[i], signals, timeline,
            step);
  }

  void runOp(const plan::Op &op, const TimelineSpan &span,
             const std::map<uint32_t, uint32_t> &signals,
             const Timeline &timeline, int step) {
    log += Format("%u: %llu to %llu ", span.stream,
                  (unsigned long long)span.begin, (unsigned long long)span.end);
    log += plan::EnumNameOpBody(op.body_type());
    if (const auto *select = op.body_as_SelectPages()) {
      chosen[select->layer()] = choose(select->layer(), step);
      log += Format(" %u of %u slots", select->layer(), select->slots());
    } else if (const auto *in = op.body_as_PageIn()) {
      fetch(*in);
    } else if (const auto *out = op.body_as_PageOut()) {
      log += Format(" %u up to %u", out->layer(), out->max_pages());
    } else if (const auto *launch = op.body_as_Launch()) {
      log += " " + launch->label()->str();
    } else if (const auto *wait = op.body_as_Wait()) {
      // What is before the signal on its stream is what it waits for.
      uint32_t signal = signals.at(wait->event());
      log += Format(" for stream %u, operation %u",
                    timeline.spans[signal].stream, signal);
    }
    log += "\n";
  }

  void fetch(const plan::PageIn &in) {
    log += Format(" %u%s:", in.layer(), in.ahead() ? " ahead" : "");
    const std::vector<int> &wanted = chosen[in.layer()];
    uint32_t end = in.first_slot() + in.slots();
    auto has = [&](int page) {
      return std::find(slots.begin() + in.first_slot(), slots.begin() + end,
                       page) != slots.begin() + end;
    };
    auto isWanted = [&](int page) {
      return std::find(wanted.begin(), wanted.end(), page) != wanted.end();
    };
    for (int page : wanted) {
      if (has(page))
        continue;
      uint32_t slot = in.first_slot();
      while (slot < end && isWanted(slots[slot]))
        ++slot;
      if (slot == end) {
        log += " full";
        return;
      }
      slots[slot] = page;
      log += Format(" %d to %u", page, slot);
    }
    log += Format(" of slots %u to %u", in.first_slot(), end);
  }

  const plan::Plan &plan;
  std::string log;
  std::vector<int> slots;                      // the page in each
  std::map<uint32_t, std::vector<int>> chosen; // by layer
};

//===----------------------------------------------------------------------===//
// Mutations
//===----------------------------------------------------------------------===//

uint16_t *streamOf(plan::OpT &op) {
  switch (op.body.type) {
  case OpBody::Launch:
    return &op.body.AsLaunch()->stream;
  case OpBody::SelectPages:
    return &op.body.AsSelectPages()->stream;
  case OpBody::PageIn:
    return &op.body.AsPageIn()->stream;
  case OpBody::PageOut:
    return &op.body.AsPageOut()->stream;
  case OpBody::Signal:
    return &op.body.AsSignal()->stream;
  case OpBody::Wait:
    return &op.body.AsWait()->stream;
  default:
    return nullptr;
  }
}

/// The numbers of an operation of the schedule.
std::vector<std::pair<const char *, uint32_t *>> numbersOf(plan::OpT &op) {
  if (auto *select = op.body.AsSelectPages())
    return {{"layer", &select->layer}, {"slots", &select->slots}};
  if (auto *in = op.body.AsPageIn())
    return {{"layer", &in->layer},
            {"first_slot", &in->first_slot},
            {"slots", &in->slots}};
  if (auto *out = op.body.AsPageOut())
    return {{"layer", &out->layer}, {"max_pages", &out->max_pages}};
  if (auto *signal = op.body.AsSignal())
    return {{"event", &signal->event}};
  if (auto *wait = op.body.AsWait())
    return {{"event", &wait->event}};
  return {};
}

class Mutations : public testing::TestWithParam<int64_t> {
protected:
  void SetUp() override {
    plan = schedule(GetParam());
    Packed packed(plan);
    ASSERT_EQ(faultOf(packed.get()), "");
    original = Interpreter(packed.get()).run();
    ASSERT_NE(original.find("ahead: "), std::string::npos) << original;
    ASSERT_EQ(original.find(" full"), std::string::npos) << original;
  }

  /// Holds for the plan as it is now: refused, or it does something else.
  void judge(const std::string &what, bool mustBeRefused = false) {
    ++mutations;
    Packed packed(plan);
    if (!faultOf(packed.get()).empty()) {
      ++refused;
      return;
    }
    EXPECT_FALSE(mustBeRefused) << what << " passes the verifier";
    EXPECT_NE(Interpreter(packed.get()).run(), original)
        << what << " changes nothing";
  }

  plan::PlanT plan;
  std::string original;
  int mutations = 0, refused = 0;
};

TEST_P(Mutations, NumbersOfOperations) {
  for (auto &function : plan.functions)
    for (size_t i = 0; i < function->ops.size(); ++i)
      for (auto [name, number] : numbersOf(*function->ops[i])) {
        const uint32_t before = *number;
        // Every value that may be right somewhere, and some beyond.
        for (uint32_t value = 0; value < 72; ++value) {
          if (value == before)
            continue;
          *number = value;
          judge(Format("%s, operation %zu: %s %u instead of %u",
                       function->name.c_str(), i, name, value, before));
        }
        *number = before;
      }
  std::printf("%d mutations, %d refused\n", mutations, refused);
  EXPECT_GT(mutations, 5000);
}

TEST_P(Mutations, StreamsAndFlags) {
  for (auto &function : plan.functions)
    for (size_t i = 0; i < function->ops.size(); ++i) {
      plan::OpT &op = *function->ops[i];
      uint16_t *stream = streamOf(op);
      *stream = 1 - *stream;
      // Signals and waits on the wrong stream may be stronger than is needed.
      const bool isSync =
          op.body.type == OpBody::Signal || op.body.type == OpBody::Wait;
      judge(Format("%s, operation %zu on the other stream",
                   function->name.c_str(), i),
            /*mustBeRefused=*/!isSync);
      *stream = 1 - *stream;
      if (auto *in = op.body.AsPageIn()) {
        in->ahead = !in->ahead;
        judge(
            Format("%s, operation %zu ahead or not", function->name.c_str(), i),
            /*mustBeRefused=*/true);
        in->ahead = !in->ahead;
      }
    }
}

TEST_P(Mutations, OperationsLeftOut) {
  for (auto &function : plan.functions)
    for (size_t i = 0; i < function->ops.size(); ++i) {
      // A fetch ahead saves time only, and what computes is not the schedule's.
      auto *in = function->ops[i]->body.AsPageIn();
      const bool isNeeded =
          function->ops[i]->body.type != OpBody::Launch && !(in && in->ahead);
      auto op = std::move(function->ops[i]);
      function->ops.erase(function->ops.begin() + long(i));
      judge(Format("%s without operation %zu", function->name.c_str(), i),
            isNeeded);
      function->ops.insert(function->ops.begin() + long(i), std::move(op));
    }
}

TEST_P(Mutations, Order) {
  for (auto &function : plan.functions) {
    auto &ops = function->ops;
    auto move = [&](size_t from, size_t to) {
      auto op = std::move(ops[from]);
      ops.erase(ops.begin() + long(from));
      ops.insert(ops.begin() + long(to), std::move(op));
    };
    // Between operations of the other stream there is no order but by events.
    auto passesOneOfItsStream = [&](size_t from, size_t to) {
      for (size_t i = std::min(from, to); i <= std::max(from, to); ++i)
        if (i != from && *streamOf(*ops[i]) == *streamOf(*ops[from]))
          return true;
      return false;
    };
    for (size_t from = 0; from < ops.size(); ++from)
      for (size_t to = 0; to < ops.size(); ++to) {
        if (!passesOneOfItsStream(from, to))
          continue;
        move(from, to);
        judge(Format("%s with operation %zu at %zu", function->name.c_str(),
                     from, to));
        move(to, from);
      }
  }
  std::printf("%d mutations, %d refused\n", mutations, refused);
  EXPECT_GT(mutations, 1000);
}

TEST_P(Mutations, Cache) {
  plan::KvCacheT &cache = *plan.kv_caches[0];
  for (int change : {-1, 1}) {
    cache.slots += change;
    judge(Format("%d slot", change), /*mustBeRefused=*/change < 0);
    cache.slots -= change;
  }
  plan::PagingT &paging = *cache.paging;
  for (uint64_t *tokens : {&paging.hot_tokens, &paging.warm_tokens}) {
    const uint64_t before = *tokens;
    *tokens += paging.grid_tokens;
    judge("another cell");
    *tokens = before;
  }
  ++paging.sink_blocks;
  judge("another sink");
  --paging.sink_blocks;
  paging.grid_tokens *= 2;
  judge("larger cells", /*mustBeRefused=*/true);
}

// Slots for two layers at a time; one that keeps its own; all keep their own;
// and twice as many for decoding.
INSTANTIATE_TEST_SUITE_P(Memory, Mutations,
                         testing::Values(200'000, 215'000, 230'000, 300'000));

} // namespace
} // namespace stele
