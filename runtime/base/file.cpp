// Mapping, reading and writing files; see file.h.
#include "stele/runtime/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "stele/runtime/base/format.h"

namespace stele {
namespace {

Status IoError(const std::string& path, const char* what) {
  const int error = errno;
  std::string message =
      "'" + path + "': cannot " + what + ": " + std::strerror(error);
  if (error == ENOENT) return NotFound(std::move(message));
  if (error == ENOMEM) return ResourceExhausted(std::move(message));
  if (error == ENOSPC || error == EDQUOT)
    return ResourceExhausted(std::move(message) + "; make room there");
  return Unavailable(std::move(message));
}

struct OpenFile {
  Descriptor fd;
  struct stat info;
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
  return OpenFile{std::move(fd), info};
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

Descriptor::Descriptor(Descriptor&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

int Descriptor::Close() { return close(std::exchange(fd_, -1)); }

Result<MappedFile> MappedFile::Open(const std::string& path) {
  STELE_ASSIGN_OR_RETURN(OpenFile file, OpenRegular(path));
  MappedFile mapped;
  const auto size = static_cast<uint64_t>(file.info.st_size);
  if (size != 0) {
    void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
    if (data == MAP_FAILED) return IoError(path, "map");
    mapped.bytes_ = {static_cast<const uint8_t*>(data), size};
    mapped.guard_ = GuardedMapping(mapped.bytes_);
  }
  mapped.path_ = path;
  mapped.fd_ = std::move(file.fd);
  mapped.modified_ = file.info.st_mtim;
  return mapped;
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(modified_, other.modified_);
  std::swap(bytes_, other.bytes_);
  std::swap(guard_, other.guard_);
  return *this;
}

MappedFile::~MappedFile() {
  guard_ = GuardedMapping();
  if (!bytes_.empty())
    munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

Status MappedFile::CheckUnchanged() const {
  if (fd_.get() < 0) return OkStatus();
  struct stat info;
  if (fstat(fd_.get(), &info) != 0) return IoError(path_, "stat");
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size != bytes_.size())
    return DataLoss("'" + path_ + "': has " + FormatBytes(size) +
                    " now and had " + FormatBytes(bytes_.size()) +
                    " when it was opened; open it again, and replace files by "
                    "renaming new ones over them");
  if (info.st_mtim.tv_sec != modified_.tv_sec ||
      info.st_mtim.tv_nsec != modified_.tv_nsec)
    return DataLoss("'" + path_ +
                    "': was written to after it was opened; open it again, "
                    "and replace files by renaming new ones over them");
  if (guard_.lost())
    return DataLoss("'" + path_ +
                    "': a part of it could not be read; check the disk, and "
                    "open it again");
  return OkStatus();
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

std::string FollowLinks(const std::string& path) {
  struct stat there;
  if (lstat(path.c_str(), &there) != 0 || !S_ISLNK(there.st_mode)) return path;
  const std::unique_ptr<char, decltype(&free)> named(
      realpath(path.c_str(), nullptr), free);
  return named ? named.get() : path;
}

Status WriteFile(const std::string& path, std::span<const std::byte> bytes) {
  const std::string named = FollowLinks(path);
  return WriteFile(named, named + ".XXXXXX", bytes);
}

Status WriteFile(const std::string& path, std::string temporary,
                 std::span<const std::byte> bytes) {
  // The rename below would put a file in the place of a device or a pipe.
  struct stat there;
  if (stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
    return InvalidArgument("'" + path + "' is not a regular file");
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

Result<bool> MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0777) == 0) return true;
  if (errno == EEXIST) return false;
  return IoError(path, "create the folder");
}

Status SyncFolder(const std::string& path) {
  Descriptor fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return IoError(path, "open the folder");
  if (fsync(fd.get()) != 0) return IoError(path, "sync the folder");
  return OkStatus();
}

Result<bool> Exists(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT) return false;
  return IoError(path, "stat");
}

Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) == 0) return OkStatus();
  return IoError(path, "remove");
}

}  // namespace stele
