// The one interface between a plan and a machine.
//
// Place on the road: runtime/engine loads a plan's weights and code through a
// Device, resolves each Function's ops to addresses and kernels (Step) and has
// the Device prepare them as a Program, which it then runs once per batch. The
// host device runs Steps of stream 0 on its thread pool and those of others on
// a transfer thread; a GPU device would upload weights in MapWeights and record
// the Steps as one graph in Prepare.
//
// Addresses are the device's: only Device may read or write behind them.
// A Device may be used from one thread at a time; Programs of one Device, too.
#ifndef STELE_RUNTIME_DEVICE_DEVICE_H_
#define STELE_RUNTIME_DEVICE_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/schema/host_abi.h"
#include "stele/schema/plan_generated.h"

namespace stele {

// A piece of device memory. Freed when destroyed; the Device must outlive it.
class DeviceMemory {
 public:
  using Free = std::function<void(void*)>;

  DeviceMemory() = default;
  DeviceMemory(void* data, uint64_t bytes, Free free)
      : data_(data, std::move(free)), bytes_(bytes) {}

  std::byte* data() const { return static_cast<std::byte*>(data_.get()); }
  uint64_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<void, Free> data_{nullptr, [](void*) {}};
  uint64_t bytes_ = 0;
};

// The kernels of one Executable, loaded; entry i is plan entry i.
class LoadedCode {
 public:
  virtual ~LoadedCode() = default;
};

struct LaunchStep {
  const LoadedCode* code;
  uint32_t entry;
  std::string label;            // for errors and traces
  std::vector<void*> bindings;  // device addresses, in the kernel's order
  std::vector<int64_t> immediates;
  uint16_t stream;
};

struct CopyStep {
  void* destination;
  const void* source;
  uint64_t bytes;
  uint16_t stream;
};

struct SignalStep {
  uint32_t event;
  uint16_t stream;
};

struct WaitStep {
  uint32_t event;
  uint16_t stream;
};

// The paging steps of a cache; PageMover says what they do.
struct SelectPagesStep {
  uint32_t layer;
  const uint32_t* selection;  // device address
  uint32_t slots;
  uint16_t stream;
};

struct PageInStep {
  uint32_t layer;
  uint32_t first_slot;
  uint32_t slots;
  bool ahead;
  uint16_t stream;
};

struct PageOutStep {
  uint32_t layer;
  uint32_t max_pages;
  uint16_t stream;
};

using Step = std::variant<LaunchStep, CopyStep, SignalStep, WaitStep,
                          SelectPagesStep, PageInStep, PageOutStep>;

// Carries out a program's paging steps on the sequences of its batch
// (runtime/context/pager.h). Select may be called while another thread is in
// PageIn or PageOut of other layers; those two by one thread.
class PageMover {
 public:
  virtual ~PageMover() = default;
  // Takes down which pages of a layer the batch is going to read, for which
  // each sequence has `slots` staging slots.
  virtual Status Select(uint32_t layer, const uint32_t* selection,
                        const SteleBatch& batch, uint32_t slots) = 0;
  // Brings pages of a layer into staging slots [first, first + slots) of every
  // sequence of the batch: what was selected, or `ahead` of a selection what
  // the one before it asked for.
  virtual Status PageIn(uint32_t layer, uint32_t first, uint32_t slots,
                        bool ahead) = 0;
  // Takes the pages of a layer that fall out of device memory with this step,
  // at most `max_pages` of each sequence.
  virtual Status PageOut(uint32_t layer, uint32_t max_pages) = 0;
};

// A Function of the plan with every name resolved.
struct ProgramSpec {
  std::string name;
  std::vector<Step> steps;  // in an order in which they can be issued
  uint16_t streams = 1;
  uint32_t events = 0;
  uint64_t scratch_bytes = 0;  // per worker
  uint64_t shared_bytes = 0;   // for all workers together
  PageMover* mover = nullptr;  // of programs with paging steps; outlives them
};

// When a step ran, by the machine's steady clock.
struct StepTime {
  uint64_t begin_ns = 0;
  uint64_t end_ns = 0;
};

class Program {
 public:
  virtual ~Program() = default;
  // Runs all steps over one batch and returns when their results can be read.
  virtual Status Run(const SteleBatch& batch) = 0;
  // What block-sparse attention did in all runs so far.
  virtual SteleAttentionWork work() const { return {}; }
  // How long all runs so far held stream 0 in waits.
  virtual uint64_t waited_ns() const { return 0; }
  // From now on, takes down when each step runs; times() are the last run's,
  // one of each step, or none.
  virtual void KeepTimes() {}
  virtual std::span<const StepTime> times() const { return {}; }
};

// Makes one page or record from another, on the calling thread.
using PageTransform = std::function<void(const std::byte* from, std::byte* to)>;

class Device {
 public:
  virtual ~Device() = default;

  virtual std::string_view name() const = 0;
  // Whether code of this target runs here; the message says what is missing.
  virtual Status Supports(const plan::Target& target) const = 0;
  // Bytes that `scratch_bytes` per worker cost on this device.
  virtual uint64_t ScratchTotal(uint64_t scratch_bytes) const = 0;

  // Uninitialised, aligned to 4096. `what` names the use in messages.
  virtual Result<DeviceMemory> Allocate(uint64_t bytes,
                                        std::string_view what) = 0;
  // Host memory that the device's transforms read and write, likewise.
  virtual Result<DeviceMemory> AllocateHost(uint64_t bytes,
                                            std::string_view what) = 0;
  // The device address of weights that stay mapped in host memory for as long
  // as the Device.
  virtual Result<const std::byte*> MapWeights(
      std::span<const uint8_t> bytes) = 0;
  virtual Result<std::unique_ptr<LoadedCode>> LoadCode(
      const plan::Executable& executable, std::span<const uint8_t> bytes) = 0;
  virtual Result<std::unique_ptr<Program>> Prepare(ProgramSpec spec) = 0;
  // Entry `entry` of `code`, which takes a page or record and the other.
  virtual Result<PageTransform> Transform(const LoadedCode& code,
                                          uint32_t entry) = 0;
  virtual Status CopyFromHost(std::byte* destination,
                              std::span<const std::byte> source) = 0;
  virtual Status Zero(std::byte* destination, uint64_t bytes) = 0;
  virtual Status CopyToHost(std::span<std::byte> destination,
                            const std::byte* source) = 0;
};

}  // namespace stele

#endif  // STELE_RUNTIME_DEVICE_DEVICE_H_
