// Mapping, reading and writing files; see file.h.
#include "stele/runtime/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "stele/runtime/base/format.h"

namespace stele {
namespace {

// Closes the descriptor that it holds.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  // Reports what close reports, which for a written file matters.
  int Close() { return close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

Status IoError(const std::string& path, const char* what) {
  const int error = errno;
  std::string message =
      "'" + path + "': cannot " + what + ": " + std::strerror(error);
  if (error == ENOENT) return NotFound(std::move(message));
  if (error == ENOMEM) return ResourceExhausted(std::move(message));
  return Unavailable(std::move(message));
}

struct OpenFile {
  Descriptor fd;
  uint64_t size;
};

Result<OpenFile> OpenRegular(const std::string& path) {
  if (path.find('\0') != std::string::npos)
    return InvalidArgument("the path holds a NUL character");
  // O_NONBLOCK: opening a FIFO must not hang before it is refused.
  Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return IoError(path, "open");
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return IoError(path, "stat");
  if (!S_ISREG(info.st_mode))
    return InvalidArgument("'" + path + "' is not a regular file");
  return OpenFile{std::move(fd), static_cast<uint64_t>(info.st_size)};
}

// Appends all that `fd` yields; EINTR and short reads are not the end.
Status ReadAll(int fd, const std::string& path, uint64_t limit,
               std::string* out) {
  char buffer[65536];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return IoError(path, "read");
    if (n == 0) return OkStatus();
    if (out->size() + static_cast<uint64_t>(n) > limit)
      return InvalidArgument("'" + path + "' is longer than the limit of " +
                             FormatBytes(limit));
    out->append(buffer, static_cast<size_t>(n));
  }
}

Status WriteAll(int fd, const std::string& path,
                std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return IoError(path, "write");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return OkStatus();
}

Status WriteAndSync(Descriptor fd, const std::string& path,
                    std::span<const std::byte> bytes) {
  STELE_RETURN_IF_ERROR(WriteAll(fd.get(), path, bytes));
  if (fsync(fd.get()) != 0) return IoError(path, "sync");
  if (fd.Close() != 0) return IoError(path, "close");
  return OkStatus();
}

}  // namespace

Result<MappedFile> MappedFile::Open(const std::string& path) {
  STELE_ASSIGN_OR_RETURN(OpenFile file, OpenRegular(path));
  if (file.size == 0) return MappedFile();
  void* data =
      mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
  if (data == MAP_FAILED) return IoError(path, "map");
  return MappedFile({static_cast<const uint8_t*>(data), file.size});
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty())
    munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

Result<std::string> ReadFile(const std::string& path, uint64_t limit) {
  std::string content;
  if (path == "-") {
    STELE_RETURN_IF_ERROR(
        ReadAll(STDIN_FILENO, "standard input", limit, &content));
    return content;
  }
  STELE_ASSIGN_OR_RETURN(OpenFile file, OpenRegular(path));
  STELE_RETURN_IF_ERROR(ReadAll(file.fd.get(), path, limit, &content));
  return content;
}

Status WriteFile(const std::string& path, std::span<const std::byte> bytes) {
  // The rename below would put a file in the place of a device or a pipe.
  struct stat there;
  if (stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
    return InvalidArgument("'" + path + "' is not a regular file");
  std::string temporary = path + ".XXXXXX";
  Descriptor fd(mkstemp(temporary.data()));
  if (fd.get() < 0) return IoError(path, "create");
  // mkstemp makes a private file; a result gets the permissions of any other.
  const mode_t mask = umask(0);
  umask(mask);
  fchmod(fd.get(), 0666 & ~mask);
  Status status = WriteAndSync(std::move(fd), path, bytes);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0)
    status = IoError(path, "rename");
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

}  // namespace stele
