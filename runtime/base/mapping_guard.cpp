// The SIGBUS handler and the list of mappings that it may repair; see
// mapping_guard.h.
#include "stele/runtime/base/mapping_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

namespace stele {

// A registered stretch of addresses; free while `end` is 0. The handler walks
// the list while others change it, so slots are never freed, only used again,
// and `end` is written first when one is given back and last when it is taken.
struct Slot {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> lost{false};
  Slot* next = nullptr;
};

namespace {

std::mutex g_mutex;  // writers of the list, and installing
std::atomic<Slot*> g_slots{nullptr};
struct sigaction g_previous;

Slot* TakeSlot() {
  for (Slot* slot = g_slots; slot; slot = slot->next)
    if (slot->end == 0) return slot;
  Slot* slot = new Slot;
  slot->next = g_slots;
  g_slots = slot;
  return slot;
}

// Puts zeros in place of a registered mapping that holds `address`. Runs in
// the signal handler: no locks, no allocation, nothing but a system call, and
// that past whatever stands in for mmap in this process.
bool ReplaceByZeros(uintptr_t address) {
  for (Slot* slot = g_slots; slot; slot = slot->next) {
    const uintptr_t end = slot->end, begin = slot->begin;
    if (address < begin || address >= end || slot->end != end) continue;
    slot->lost = true;
    return syscall(SYS_mmap, begin, end - begin, PROT_READ,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
                   0) != -1;
  }
  return false;
}

void CallPrevious(int signal, siginfo_t* info, void* context) {
  if (g_previous.sa_flags & SA_SIGINFO)
    return g_previous.sa_sigaction(signal, info, context);
  if (g_previous.sa_handler != SIG_DFL && g_previous.sa_handler != SIG_IGN)
    return g_previous.sa_handler(signal);
  // A fault happens again on return and then ends the process; a signal that
  // somebody sent has to be sent again.
  sigaction(signal, &g_previous, nullptr);
  if (info->si_code <= 0) raise(signal);
}

void OnSigbus(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  // A positive code comes from the kernel, with an address.
  if (info->si_code <= 0 ||
      !ReplaceByZeros(reinterpret_cast<uintptr_t>(info->si_addr)))
    CallPrevious(signal, info, context);
  errno = error;
}

}  // namespace

void InstallMappingGuard() {
  std::lock_guard lock(g_mutex);
  static bool installed = false;
  if (std::exchange(installed, true)) return;
  sigaction(SIGBUS, nullptr, &g_previous);
  struct sigaction action = {};
  action.sa_sigaction = OnSigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

GuardedMapping::GuardedMapping(std::span<const uint8_t> bytes) {
  std::lock_guard lock(g_mutex);
  slot_ = TakeSlot();
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  slot_->lost = false;
  slot_->begin = begin;
  slot_->end = begin + bytes.size();
}

GuardedMapping::GuardedMapping(GuardedMapping&& other) noexcept
    : slot_(std::exchange(other.slot_, nullptr)) {}

GuardedMapping& GuardedMapping::operator=(GuardedMapping&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

GuardedMapping::~GuardedMapping() {
  if (!slot_) return;
  std::lock_guard lock(g_mutex);
  slot_->end = 0;
}

bool GuardedMapping::lost() const { return slot_ && slot_->lost; }

}  // namespace stele
