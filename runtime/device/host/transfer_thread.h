// The thread that moves pages while the pool computes.
//
// Place on the road: HostProgram gives it the steps of all streams but 0 before
// it runs those of stream 0 on the pool; events hold them together. Started
// once, by the first program that has such steps.
#ifndef STELE_RUNTIME_DEVICE_HOST_TRANSFER_THREAD_H_
#define STELE_RUNTIME_DEVICE_HOST_TRANSFER_THREAD_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "stele/runtime/base/status.h"

namespace stele {

// Used by one thread at a time.
class TransferThread {
 public:
  // Fails when the system grants no thread.
  static Result<std::unique_ptr<TransferThread>> Create();
  ~TransferThread();
  TransferThread(const TransferThread&) = delete;
  TransferThread& operator=(const TransferThread&) = delete;

  // Starts task(context), which must not throw.
  using Task = void (*)(void* context);
  void Start(Task task, void* context);
  // Returns when it is over.
  void Join();

 private:
  TransferThread() = default;
  void Loop();

  std::thread thread_;
  Task task_ = nullptr;
  void* context_ = nullptr;
  uint32_t round_ = 0;
  // One cache line each: spinning on one must not slow writers of another.
  alignas(64) std::atomic<uint32_t> started_{0};
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<uint32_t> finished_{0};
};

}  // namespace stele

#endif  // STELE_RUNTIME_DEVICE_HOST_TRANSFER_THREAD_H_
