// An input of a fuzz target as a file that has a path but no disk under it.
#ifndef STELE_TEST_FUZZ_MEMORY_FILE_H_
#define STELE_TEST_FUZZ_MEMORY_FILE_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace stele::fuzz {

class MemoryFile {
public:
  MemoryFile(const uint8_t *data, size_t size)
      : descriptor_(memfd_create("input", MFD_CLOEXEC)) {
    if (descriptor_ < 0 ||
        write(descriptor_, data, size) != static_cast<ssize_t>(size))
      std::abort();
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;

  std::string path() const {
    return "/proc/self/fd/" + std::to_string(descriptor_);
  }

private:
  int descriptor_;
};

inline void Require(bool holds) {
  if (!holds)
    std::abort();
}

} // namespace stele::fuzz

#endif // STELE_TEST_FUZZ_MEMORY_FILE_H_
