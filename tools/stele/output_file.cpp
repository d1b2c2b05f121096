// The temporary file and its renaming; see output_file.h.
#include "output_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"

namespace stele::cli {
namespace {

Status CannotWrite(const std::string& path) {
  return Unavailable("cannot write '" + Printable(path) +
                     "': " + std::strerror(errno) +
                     "; free space there, or name another file");
}

}  // namespace

Result<std::unique_ptr<OutputFile>> OutputFile::Create(
    const std::string& path) {
  // A pipe or a device is written to; renaming over it would remove it.
  struct stat there;
  const bool rename = stat(path.c_str(), &there) != 0 || S_ISREG(there.st_mode);
  const std::string named = FollowLinks(path);
  const std::string temporary =
      rename ? named + ".tmp" + std::to_string(getpid()) : "";
  std::FILE* file = std::fopen(rename ? temporary.c_str() : path.c_str(), "wb");
  if (!file) return CannotWrite(path);
  return std::unique_ptr<OutputFile>(new OutputFile(named, temporary, file));
}

OutputFile::~OutputFile() {
  if (file_) std::fclose(file_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void OutputFile::Write(std::string_view bytes) {
  failed_ |= std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size();
}

Status OutputFile::Finish() {
  failed_ |= std::fclose(file_) != 0;
  file_ = nullptr;
  if (!failed_ && !temporary_.empty())
    failed_ = std::rename(temporary_.c_str(), path_.c_str()) != 0;
  if (failed_) return CannotWrite(path_);
  temporary_.clear();
  return OkStatus();
}

}  // namespace stele::cli
