// The loops of the pool and of the transfer thread; see host_program.h.
#include "stele/runtime/device/host/host_program.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "stele/runtime/base/clock.h"
#include "stele/runtime/device/host/host_device.h"

namespace stele {
namespace {

bool IsPaging(const Step& step) {
  return std::holds_alternative<SelectPagesStep>(step) ||
         std::holds_alternative<PageInStep>(step) ||
         std::holds_alternative<PageOutStep>(step);
}

uint16_t StreamOf(const Step& step) {
  return std::visit([](const auto& body) { return body.stream; }, step);
}

}  // namespace

bool HasPagingSteps(const ProgramSpec& spec) {
  return std::any_of(spec.steps.begin(), spec.steps.end(), IsPaging);
}

HostProgram::HostProgram(ThreadPool* pool, TransferThread* transfer,
                         ProgramSpec spec, HostMemory memory)
    : pool_(pool),
      transfer_(transfer),
      spec_(std::move(spec)),
      memory_(std::move(memory)),
      counters_(spec_.steps.size()),
      events_(spec_.events) {
  for (const Step& step : spec_.steps) {
    const auto* launch = std::get_if<LaunchStep>(&step);
    kernels_.push_back(
        launch
            ? static_cast<const HostCode*>(launch->code)->kernel(launch->entry)
            : nullptr);
  }
}

Status HostProgram::Run(const SteleBatch& batch) {
  batch_ = &batch;
  ++run_;
  cursor_ = 0;
  std::fill(times_.begin(), times_.end(), StepTime());
  for (Counter& counter : counters_) counter.next_item = 0;
  if (transfer_)
    transfer_->Start(
        [](void* program) {
          static_cast<HostProgram*>(program)->RunTransfers();
        },
        this);
  pool_->Run(
      [](void* program, uint32_t worker) {
        static_cast<HostProgram*>(program)->RunWorker(worker);
      },
      this);
  if (transfer_) transfer_->Join();
  failed_ = false;
  return std::exchange(error_, OkStatus());
}

bool HostProgram::IsPooled(const Step& step) const {
  return !transfer_ || StreamOf(step) == 0;
}

// Behind a step of the pool all workers meet, so that what a signal tells of is
// over when worker 0 comes to it. Without a transfer thread there is nobody to
// signal to or wait for.
void HostProgram::RunWorker(uint32_t worker) {
  for (size_t i = 0; i < spec_.steps.size(); ++i) {
    const Step& step = spec_.steps[i];
    if (!IsPooled(step)) continue;
    if (worker == 0) Begin(i);
    if (!RunEvent(step, worker)) {
      RunPooled(i, worker);
      if (i + 1 < spec_.steps.size()) pool_->Barrier();
    }
    if (worker == 0) End(i);
  }
}

bool HostProgram::RunEvent(const Step& step, uint32_t worker) {
  if (const auto* signal = std::get_if<SignalStep>(&step)) {
    if (transfer_ && worker == 0) Signal(signal->event);
    return true;
  }
  const auto* wait = std::get_if<WaitStep>(&step);
  if (!wait) return false;
  if (transfer_ && worker == 0)
    WaitTimed(wait->event);
  else if (transfer_)
    WaitFor(wait->event);
  return true;
}

void HostProgram::RunPooled(size_t index, uint32_t worker) {
  if (kernels_[index])
    RunLaunch(index, worker);
  else if (worker == 0)
    RunAlone(spec_.steps[index]);
}

// All that the event waits for has been issued, so that whoever has the baton
// comes to it.
void HostProgram::WaitTimed(uint32_t event) {
  if (IsSignalled(event)) return;
  const uint64_t begin = NowNs();
  if (const std::unique_lock lock(baton_, std::try_to_lock); lock.owns_lock())
    Advance(event);
  WaitFor(event);
  waited_ns_ += NowNs() - begin;
}

// A step may be begun more than once before it goes on.
void HostProgram::Begin(size_t index) {
  if (!times_.empty() && times_[index].begin_ns == 0)
    times_[index].begin_ns = NowNs();
}

void HostProgram::End(size_t index) {
  if (!times_.empty()) times_[index].end_ns = NowNs();
}

void HostProgram::RunTransfers() {
  for (;;) {
    std::optional<uint32_t> held;
    {
      const std::lock_guard lock(baton_);
      held = Advance(std::nullopt);
    }
    if (!held) return;
    WaitFor(*held);
  }
}

std::optional<uint32_t> HostProgram::Advance(std::optional<uint32_t> until) {
  for (; cursor_ < spec_.steps.size(); ++cursor_) {
    if (until && IsSignalled(*until)) return std::nullopt;
    const Step& step = spec_.steps[cursor_];
    if (IsPooled(step)) continue;
    Begin(cursor_);
    if (const auto* wait = std::get_if<WaitStep>(&step);
        wait && !IsSignalled(wait->event))
      return wait->event;
    if (const auto* signal = std::get_if<SignalStep>(&step))
      Signal(signal->event);
    else
      RunAlone(step);
    End(cursor_);
  }
  return std::nullopt;
}

void HostProgram::RunLaunch(size_t index, uint32_t worker) {
  const auto& launch = std::get<LaunchStep>(spec_.steps[index]);
  SteleHostArgs args;
  args.bindings = launch.bindings.data();
  args.immediates = launch.immediates.data();
  args.batch = batch_;
  args.scratch = memory_.scratch.data() + worker * memory_.scratch_stride;
  args.worker = worker;
  args.workers = pool_->workers();
  args.next_item = &counters_[index].next_item;
  args.shared = memory_.shared.data();
  args.yield = [] { sched_yield(); };
  args.work = &work_;
  kernels_[index](&args);
}

// Once a page did not move, none does until the run is over; launches go on, to
// the end that both threads expect, over pages that nobody will look at.
void HostProgram::RunAlone(const Step& step) {
  if (const auto* copy = std::get_if<CopyStep>(&step)) {
    std::memcpy(copy->destination, copy->source, copy->bytes);
    return;
  }
  if (failed_) return;
  PageMover& mover = *spec_.mover;
  if (const auto* select = std::get_if<SelectPagesStep>(&step))
    Fail(
        mover.Select(select->layer, select->selection, *batch_, select->slots));
  else if (const auto* in = std::get_if<PageInStep>(&step))
    Fail(mover.PageIn(in->layer, in->first_slot, in->slots, in->ahead));
  else if (const auto* out = std::get_if<PageOutStep>(&step))
    Fail(mover.PageOut(out->layer, out->max_pages));
}

void HostProgram::Fail(Status status) {
  if (status.ok()) return;
  std::lock_guard lock(error_mutex_);
  if (!error_.ok()) return;
  error_ = std::move(status);
  failed_ = true;
}

}  // namespace stele
