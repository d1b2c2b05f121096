// Start, end and rounds of the transfer thread; see transfer_thread.h.
#include "stele/runtime/device/host/transfer_thread.h"

#include <pthread.h>
#include <sched.h>

#include <string>
#include <system_error>

#include "stele/runtime/device/host/spin_wait.h"

namespace stele {

Result<std::unique_ptr<TransferThread>> TransferThread::Create() {
  std::unique_ptr<TransferThread> transfer(new TransferThread);
  try {
    transfer->thread_ = std::thread(&TransferThread::Loop, transfer.get());
  } catch (const std::system_error& error) {
    return ResourceExhausted("cannot start the thread that moves pages: " +
                             std::string(error.what()) +
                             "; use --threads with fewer");
  }
  return transfer;
}

TransferThread::~TransferThread() {
  if (!thread_.joinable()) return;
  stop_ = true;
  Publish(&started_, round_ + 1);
  thread_.join();
}

void TransferThread::Start(Task task, void* context) {
  task_ = task;
  context_ = context;
  Publish(&started_, ++round_);
}

void TransferThread::Join() { WaitWhile(finished_, round_ - 1); }

// It must not take a core from a worker each time it wakes up: moves that are
// needed at once are a worker's to take over.
void TransferThread::Loop() {
  const sched_param priority{};
  (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &priority);
  for (uint32_t round = 0;; ++round) {
    WaitWhile(started_, round);
    if (stop_) return;
    task_(context_);
    Publish(&finished_, round + 1);
  }
}

}  // namespace stele
