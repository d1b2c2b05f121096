// Faults of a disk, for tests of what writes files: every call that changes one
// can fail, be cut short, or be the last thing that the process does.
//
// Place on the road: linked into a test program, the functions of
// disk_faults.cpp stand in front of libc's; they count while a fault is armed.
#ifndef STELE_TEST_UNIT_SUPPORT_DISK_FAULTS_H_
#define STELE_TEST_UNIT_SUPPORT_DISK_FAULTS_H_

#include <functional>

namespace stele::test {

// Call number `at` of open, read, write, pread, pwrite, fsync, rename, mkdir,
// mkstemp, unlink and close strikes. Nothing is flushed, armed or not: tests
// cut no power.
struct DiskFault {
  enum Kind {
    kError,      // the call does nothing and fails with `error`
    kKillBefore, // the process dies instead of the call
    kKillAfter,  // the process dies right behind the call
    kInterrupt,  // the call fails once with EINTR, a read or write only
    kShort,      // a read or write moves one byte
  };
  Kind kind = kError;
  int at = 0;
  int error = 0;
  bool lasting = false; // kError: all later calls that write fail, too
};

// Runs `body` with the fault armed; returns how many calls it made.
int WithFault(const DiskFault &fault, const std::function<void()> &body);

// The same in a child process, which ends when `body` returns. True when the
// fault killed it, false when there were fewer calls.
bool KillAt(int at, DiskFault::Kind kind, const std::function<void()> &body);

} // namespace stele::test

#endif // STELE_TEST_UNIT_SUPPORT_DISK_FAULTS_H_
