// The .npy header and rows; see npy.h.
#include "npy.h"

#include "stele/runtime/base/format.h"

namespace stele::cli {

Result<std::unique_ptr<NpyWriter>> NpyWriter::Create(const std::string& path,
                                                     uint64_t rows,
                                                     uint64_t columns) {
  STELE_ASSIGN_OR_RETURN(auto file, OutputFile::Create(path));
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
  file->Write({start, sizeof start});
  file->Write(header);
  return std::unique_ptr<NpyWriter>(new NpyWriter(std::move(file)));
}

void NpyWriter::Append(std::span<const float> row) {
  file_->Write({reinterpret_cast<const char*>(row.data()), row.size_bytes()});
}

}  // namespace stele::cli
