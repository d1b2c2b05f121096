// Calls in front of libc's; see disk_faults.h. They go to the kernel directly,
// since sanitizers stand in front of libc, too.
#include "disk_faults.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace stele::test {
namespace {

struct {
  bool armed = false;
  DiskFault fault;
  int calls = 0;
  bool struck = false;
} state;

enum class Call { kPlain, kTransfer, kWrites };

[[noreturn]] void Die() {
  raise(SIGKILL);
  abort();
}

// What a call does instead of its work: nothing (0), or fail with errno.
int Strike(Call call) {
  if (!state.armed)
    return 0;
  const DiskFault &fault = state.fault;
  const bool now = state.calls++ == fault.at;
  if (now && fault.kind == DiskFault::kKillBefore)
    Die();
  if (fault.kind == DiskFault::kInterrupt)
    return now && call == Call::kTransfer ? EINTR : 0;
  if (fault.kind != DiskFault::kError)
    return 0;
  state.struck |= now;
  return now || (fault.lasting && state.struck && call != Call::kPlain)
             ? fault.error
             : 0;
}

// Behind the work of call number `at`.
void Behind() {
  if (state.armed && state.fault.kind == DiskFault::kKillAfter &&
      state.calls == state.fault.at + 1)
    Die();
}

size_t Length(size_t count) {
  const bool now = state.armed && state.calls == state.fault.at + 1;
  return now && state.fault.kind == DiskFault::kShort && count > 1 ? 1 : count;
}

template <typename Work> auto Through(Call call, Work work) {
  using R = decltype(work());
  if (const int error = Strike(call)) {
    errno = error;
    return static_cast<R>(-1);
  }
  const R result = work();
  const int error = errno;
  Behind();
  errno = error;
  return result;
}

} // namespace

int WithFault(const DiskFault &fault, const std::function<void()> &body) {
  state = {true, fault, 0, false};
  body();
  state.armed = false;
  return state.calls;
}

bool KillAt(int at, DiskFault::Kind kind, const std::function<void()> &body) {
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    DiskFault fault;
    fault.kind = kind;
    fault.at = at;
    WithFault(fault, body);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

} // namespace stele::test

using stele::test::Call;
using stele::test::Length;
using stele::test::Through;

extern "C" {

int open(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  const bool writes = flags & (O_CREAT | O_WRONLY | O_RDWR);
  return Through(writes ? Call::kWrites : Call::kPlain, [&] {
    return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
  });
}

ssize_t read(int fd, void *data, size_t count) {
  return Through(Call::kTransfer, [&]() -> ssize_t {
    return syscall(SYS_read, fd, data, Length(count));
  });
}

ssize_t write(int fd, const void *data, size_t count) {
  // Messages of the test itself are not its subject.
  if (fd == STDOUT_FILENO || fd == STDERR_FILENO)
    return syscall(SYS_write, fd, data, count);
  return Through(Call::kTransfer, [&]() -> ssize_t {
    return syscall(SYS_write, fd, data, Length(count));
  });
}

ssize_t pread(int fd, void *data, size_t count, off_t offset) {
  return Through(Call::kTransfer, [&]() -> ssize_t {
    return syscall(SYS_pread64, fd, data, Length(count), offset);
  });
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) {
  return Through(Call::kTransfer, [&]() -> ssize_t {
    return syscall(SYS_pwrite64, fd, data, Length(count), offset);
  });
}

int fsync(int fd) {
  // A killed process loses nothing that it wrote; only a machine does.
  return Through(Call::kWrites, [] { return 0; });
}

int rename(const char *from, const char *to) noexcept {
  return Through(Call::kWrites, [&] {
    return static_cast<int>(syscall(SYS_rename, from, to));
  });
}

int mkdir(const char *path, mode_t mode) noexcept {
  return Through(Call::kWrites, [&] {
    return static_cast<int>(syscall(SYS_mkdir, path, mode));
  });
}

int mkstemp(char *pattern) {
  return Through(Call::kWrites, [&] {
    char *digits = pattern + strlen(pattern) - 6;
    for (unsigned i = 0;; ++i) {
      snprintf(digits, 7, "%06x", (getpid() * 97u + i) & 0xffffff);
      const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, pattern,
                                              O_RDWR | O_CREAT | O_EXCL, 0600));
      if (fd >= 0 || errno != EEXIST)
        return fd;
    }
  });
}

int unlink(const char *path) noexcept {
  return Through(Call::kWrites,
                 [&] { return static_cast<int>(syscall(SYS_unlink, path)); });
}

int close(int fd) {
  return Through(Call::kPlain,
                 [&] { return static_cast<int>(syscall(SYS_close, fd)); });
}

} // extern "C"
