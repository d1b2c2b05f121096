// Static workers and a spin-then-sleep barrier; see thread_pool.h.
#include "stele/runtime/device/host/thread_pool.h"

#include <string>
#include <system_error>

#include "stele/runtime/device/host/spin_wait.h"

namespace stele {
Result<std::unique_ptr<ThreadPool>> ThreadPool::Create(uint32_t workers) {
  std::unique_ptr<ThreadPool> pool(new ThreadPool(workers));
  try {
    for (uint32_t worker = 1; worker < workers; ++worker)
      pool->threads_.emplace_back(&ThreadPool::WorkerLoop, pool.get(), worker);
  } catch (const std::system_error& error) {
    return ResourceExhausted("cannot start thread " +
                             std::to_string(pool->threads_.size() + 2) +
                             " of " + std::to_string(workers) + ": " +
                             error.what() + "; use --threads with fewer");
  }
  return pool;
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Run(Task task, void* context) {
  task_ = task;
  context_ = context;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  task(context, 0);
  Barrier();
}

void ThreadPool::WorkerLoop(uint32_t worker) {
  for (uint32_t round = 0;; ++round) {
    WaitWhile(round_, round);
    if (stop_) return;
    task_(context_, worker);
    Barrier();
  }
}

void ThreadPool::Barrier() {
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == workers_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    phase_.notify_all();
  } else {
    WaitWhile(phase_, phase);
  }
}

}  // namespace stele
