// Files as the runtime sees them: read-only mappings of regular files, and
// small files read whole.
//
// Place on the road: the artifact is mapped, never read, so that loading costs
// page faults of what is used and weights stay in the page cache.
#ifndef STELE_RUNTIME_BASE_FILE_H_
#define STELE_RUNTIME_BASE_FILE_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "stele/runtime/base/mapping_guard.h"
#include "stele/runtime/base/status.h"

namespace stele {

// A descriptor that is closed when destroyed. Move only.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const { return fd_; }
  // Reports what close reports, which for a written file matters.
  int Close();

 private:
  int fd_;
};

// A read-only private mapping of a whole regular file. Move only; unmaps when
// destroyed. The bytes may be read from any thread. Artifacts are replaced by
// rename, never rewritten in place: in a file that another process shortens
// while it is mapped, reads raise SIGBUS, or give zeros where the guard
// (mapping_guard.h) is installed.
class MappedFile {
 public:
  // Folders, FIFOs, sockets and devices are refused; an empty file maps to an
  // empty span.
  static Result<MappedFile> Open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const uint8_t> bytes() const { return bytes_; }

  // kDataLoss once the file was written to since Open or could not be read:
  // what was computed from the bytes does not count. Costs one fstat.
  Status CheckUnchanged() const;

 private:
  std::string path_;
  Descriptor fd_;
  timespec modified_ = {};
  std::span<const uint8_t> bytes_;
  GuardedMapping guard_;
};

// The content of a regular file, of standard input for "-". Fails when it is
// longer than `limit` bytes.
Result<std::string> ReadFile(const std::string& path, uint64_t limit);

// The file that `path` names through symbolic links; `path` itself when it is
// no link, or leads nowhere. What is renamed over it replaces the file and
// leaves the links.
std::string FollowLinks(const std::string& path);

// Writes `bytes` to a temporary file beside `path`, or beside what it links to,
// and renames it, so that `path` holds the old bytes or the new ones.
Status WriteFile(const std::string& path, std::span<const std::byte> bytes);
// The same with a temporary file of the caller's choice, as mkstemp wants it
// ("folder/XXXXXX"), on the same file system.
Status WriteFile(const std::string& path, std::string temporary,
                 std::span<const std::byte> bytes);

// Makes the folder unless it is there; true when it was made.
Result<bool> MakeFolder(const std::string& path);
// Names that were made or renamed in a folder outlast a power failure only
// after this.
Status SyncFolder(const std::string& path);
// Whether anything has that name.
Result<bool> Exists(const std::string& path);
Status RemoveFile(const std::string& path);

}  // namespace stele

#endif  // STELE_RUNTIME_BASE_FILE_H_
