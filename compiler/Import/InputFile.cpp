// See InputFile.h.
#include "stele/compiler/Import/InputFile.h"
#include "stele/compiler/Import/Errors.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace stele::checkpoint;

static llvm::StringRef fileKind(mode_t mode) {
  if (S_ISDIR(mode))
    return "a folder";
  if (S_ISFIFO(mode))
    return "a FIFO";
  return "a device or socket";
}

llvm::Expected<std::unique_ptr<InputFile>>
InputFile::open(llvm::StringRef path) {
  std::string name = path.str();
  // O_NONBLOCK: opening a FIFO must not wait for its writer.
  int descriptor = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return makeError("{0}: cannot open: {1}", name, std::strerror(errno));
  struct stat status;
  if (::fstat(descriptor, &status) != 0) {
    int error = errno;
    ::close(descriptor);
    return makeError("{0}: cannot stat: {1}", name, std::strerror(error));
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return makeError("{0}: is {1}, a regular file is needed", name,
                     fileKind(status.st_mode));
  }
  return std::unique_ptr<InputFile>(
      new InputFile(std::move(name), descriptor, status.st_size));
}

InputFile::~InputFile() { ::close(descriptor); }

llvm::Error InputFile::read(uint64_t offset, uint64_t length, void *out) const {
  if (!rangeFits(offset, length, bytes))
    return makeError("{0}: bytes {1} to {2} are past the end of the file ({3} "
                     "bytes)",
                     name, offset, offset + length, bytes);
  char *to = static_cast<char *>(out);
  while (length) {
    ssize_t got = ::pread(descriptor, to, length, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return makeError("{0}: cannot read at byte {1}: {2}", name, offset,
                       std::strerror(errno));
    if (got == 0)
      return makeError("{0}: ends at byte {1}, it had {2} bytes when it was "
                       "opened",
                       name, offset, bytes);
    to += got;
    offset += got;
    length -= got;
  }
  return llvm::Error::success();
}

llvm::Expected<std::string>
stele::checkpoint::readTextFile(llvm::StringRef path, uint64_t limit) {
  auto file = InputFile::open(path);
  if (!file)
    return file.takeError();
  uint64_t size = (*file)->size();
  if (size > limit)
    return makeError("{0}: {1} bytes, more than the {2} accepted here", path,
                     size, limit);
  std::string text(size, '\0');
  if (llvm::Error error = (*file)->read(0, size, text.data()))
    return std::move(error);
  return text;
}
