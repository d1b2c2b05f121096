// Files as the runtime sees them: read-only mappings of regular files, and
// small files read whole.
//
// Place on the road: the artifact is mapped, never read, so that loading costs
// page faults of what is used and weights stay in the page cache.
#ifndef STELE_RUNTIME_BASE_FILE_H_
#define STELE_RUNTIME_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "stele/runtime/base/status.h"

namespace stele {

// A read-only private mapping of a whole regular file. Move only; unmaps when
// destroyed. The bytes may be read from any thread. A file that another
// process shortens while it is mapped raises SIGBUS on access: artifacts are
// replaced by rename, never rewritten in place.
class MappedFile {
 public:
  // Folders, FIFOs, sockets and devices are refused; an empty file maps to an
  // empty span.
  static Result<MappedFile> Open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  std::span<const uint8_t> bytes_;
};

// The content of a regular file, of standard input for "-". Fails when it is
// longer than `limit` bytes.
Result<std::string> ReadFile(const std::string& path, uint64_t limit);

// Writes `bytes` to a temporary file beside `path` and renames it, so that
// `path` holds the old bytes or the new ones.
Status WriteFile(const std::string& path, std::span<const std::byte> bytes);

}  // namespace stele

#endif  // STELE_RUNTIME_BASE_FILE_H_
