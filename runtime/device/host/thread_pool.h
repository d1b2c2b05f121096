// The workers that run host kernels: started once, no allocation afterwards.
//
// Place on the road: HostProgram runs all steps of a function inside one
// Run(), so that a step costs one barrier and not one wake-up. Waiting spins
// for some microseconds, as most steps end together, and then sleeps.
//
// Run is called by one thread at a time; it is worker 0.
#ifndef STELE_RUNTIME_DEVICE_HOST_THREAD_POOL_H_
#define STELE_RUNTIME_DEVICE_HOST_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "stele/runtime/base/status.h"

namespace stele {

class ThreadPool {
 public:
  // `workers` >= 1, the caller of Run included. Fails when the system grants
  // fewer threads.
  static Result<std::unique_ptr<ThreadPool>> Create(uint32_t workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  uint32_t workers() const { return workers_; }

  // Calls task(context, worker) once on every worker; returns when all are
  // done. The task must not throw.
  using Task = void (*)(void* context, uint32_t worker);
  void Run(Task task, void* context);

  // Inside a task: returns once every worker has called it. What a worker
  // wrote before is visible to all behind it.
  void Barrier();

 private:
  explicit ThreadPool(uint32_t workers) : workers_(workers) {}
  void WorkerLoop(uint32_t worker);

  const uint32_t workers_;
  std::vector<std::thread> threads_;
  Task task_ = nullptr;
  void* context_ = nullptr;
  // One cache line each: spinning on one must not slow writers of another.
  alignas(64) std::atomic<uint32_t> round_{0};  // incremented by each Run
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};  // incremented by each barrier
};

}  // namespace stele

#endif  // STELE_RUNTIME_DEVICE_HOST_THREAD_POOL_H_
