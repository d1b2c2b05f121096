// A function of the plan as the host runs it.
//
// Place on the road: HostDevice::Prepare makes one of a ProgramSpec; the engine
// runs it once per batch. Steps of stream 0 run on all workers of the pool, one
// after the other. Steps of other streams run on the transfer thread, likewise
// in the order of the plan; events hold the two together. A plan's order
// respects its events, so that neither ever waits for the other in a circle,
// and a program without paging steps runs all of its steps on the pool.
//
// Where cores are few, the transfer thread may be late though it has little to
// do: a worker that waits for it then takes its steps over, up to the event.
#ifndef STELE_RUNTIME_DEVICE_HOST_HOST_PROGRAM_H_
#define STELE_RUNTIME_DEVICE_HOST_HOST_PROGRAM_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "stele/runtime/device/device.h"
#include "stele/runtime/device/host/spin_wait.h"
#include "stele/runtime/device/host/thread_pool.h"
#include "stele/runtime/device/host/transfer_thread.h"

namespace stele {

// Whether a program of this needs a transfer thread.
bool HasPagingSteps(const ProgramSpec& spec);

// Memory that a program's kernels use while they run.
struct HostMemory {
  DeviceMemory scratch;  // scratch_stride for each worker
  uint64_t scratch_stride;
  DeviceMemory shared;  // all zero, as kernels expect it and leave it
};

class HostProgram : public Program {
 public:
  // `transfer` is null for a program without paging steps. Both threads outlive
  // it.
  HostProgram(ThreadPool* pool, TransferThread* transfer, ProgramSpec spec,
              HostMemory memory);

  Status Run(const SteleBatch& batch) override;
  SteleAttentionWork work() const override { return work_; }
  uint64_t waited_ns() const override { return waited_ns_; }
  void KeepTimes() override { times_.resize(spec_.steps.size()); }
  std::span<const StepTime> times() const override { return times_; }

 private:
  struct alignas(64) Counter {
    uint32_t next_item;
  };

  void RunWorker(uint32_t worker);
  void RunTransfers();
  // Runs steps of other streams, from where they are, until `until`, if given,
  // is signalled; returns the event that holds them, if one does. The caller
  // has the baton.
  std::optional<uint32_t> Advance(std::optional<uint32_t> until);
  bool IsSignalled(uint32_t event) const {
    return events_[event].load(std::memory_order_acquire) == run_;
  }
  // Whether the pool runs a step.
  bool IsPooled(const Step& step) const;
  void RunLaunch(size_t index, uint32_t worker);
  // A copy or paging step, by the one thread that calls it.
  void RunAlone(const Step& step);
  // What a worker does of a step of the pool.
  void RunPooled(size_t index, uint32_t worker);
  // Likewise of one that no other worker has to wait for; false for others.
  bool RunEvent(const Step& step, uint32_t worker);
  // Worker 0's wait, which counts.
  void WaitTimed(uint32_t event);
  void Begin(size_t index);
  void End(size_t index);
  void Signal(uint32_t event) { Publish(&events_[event], run_); }
  void WaitFor(uint32_t event) const { WaitWhile(events_[event], run_ - 1); }
  // Takes down the first error of a run.
  void Fail(Status status);

  ThreadPool* pool_;
  TransferThread* transfer_;
  ProgramSpec spec_;
  HostMemory memory_;
  std::vector<Counter> counters_;         // one per step
  std::vector<SteleHostKernel> kernels_;  // null where a step is no launch
  // The last run that signalled each event; every run signals all that are
  // waited for.
  std::vector<std::atomic<uint32_t>> events_;
  uint32_t run_ = 0;
  std::mutex baton_;   // of whoever runs steps of other streams
  size_t cursor_ = 0;  // the next one
  const SteleBatch* batch_ = nullptr;
  SteleAttentionWork work_{};
  uint64_t waited_ns_ = 0;
  std::vector<StepTime> times_;  // one per step, if they are kept
  std::atomic<bool> failed_{false};
  std::mutex error_mutex_;
  Status error_;
};

}  // namespace stele

#endif  // STELE_RUNTIME_DEVICE_HOST_HOST_PROGRAM_H_
