// The .npy header and rows; see npy.h.
#include "npy.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"

namespace stele::cli {

Result<std::unique_ptr<NpyWriter>> NpyWriter::Create(const std::string& path,
                                                     uint64_t rows,
                                                     uint64_t columns) {
  // A pipe or a device is written to; renaming over it would remove it.
  struct stat there;
  const bool rename = stat(path.c_str(), &there) != 0 || S_ISREG(there.st_mode);
  const std::string named = FollowLinks(path);
  const std::string temporary =
      rename ? named + ".tmp" + std::to_string(getpid()) : "";
  FILE* file = std::fopen(rename ? temporary.c_str() : path.c_str(), "wb");
  if (!file)
    return Unavailable("'" + path + "': cannot write: " + std::strerror(errno));
  std::unique_ptr<NpyWriter> writer(new NpyWriter(named, temporary, file));
  std::string header = Format(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %llu), }",
      static_cast<unsigned long long>(rows),
      static_cast<unsigned long long>(columns));
  // Magic, version and length take 10 bytes; data starts at a multiple of 64.
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  const char start[10] = {'\x93',
                          'N',
                          'U',
                          'M',
                          'P',
                          'Y',
                          1,
                          0,
                          static_cast<char>(header.size() & 0xff),
                          static_cast<char>(header.size() >> 8)};
  writer->failed_ |= std::fwrite(start, sizeof start, 1, file) != 1;
  writer->failed_ |= std::fwrite(header.data(), header.size(), 1, file) != 1;
  return writer;
}

NpyWriter::~NpyWriter() {
  if (file_) std::fclose(file_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void NpyWriter::Append(std::span<const float> row) {
  failed_ |= std::fwrite(row.data(), row.size_bytes(), 1, file_) != 1;
}

Status NpyWriter::Finish() {
  failed_ |= std::fclose(file_) != 0;
  file_ = nullptr;
  if (!failed_ && !temporary_.empty())
    failed_ = std::rename(temporary_.c_str(), path_.c_str()) != 0;
  if (failed_)
    return Unavailable("'" + path_ +
                       "': cannot write: " + std::strerror(errno));
  temporary_.clear();
  return OkStatus();
}

}  // namespace stele::cli
