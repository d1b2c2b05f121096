// Writes a float32 matrix as an .npy file (format 1.0), row by row.
#ifndef STELE_TOOLS_STELE_NPY_H_
#define STELE_TOOLS_STELE_NPY_H_

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include "stele/runtime/base/status.h"

namespace stele::cli {

// The file appears under its name when Finish succeeds; until then the rows
// are in a temporary file beside it, which goes with the writer. What exists
// and is no regular file (a pipe, a device) is written to as it is.
class NpyWriter {
 public:
  static Result<std::unique_ptr<NpyWriter>> Create(const std::string& path,
                                                   uint64_t rows,
                                                   uint64_t columns);
  ~NpyWriter();
  NpyWriter(const NpyWriter&) = delete;
  NpyWriter& operator=(const NpyWriter&) = delete;

  // Errors are remembered for Finish.
  void Append(std::span<const float> row);
  Status Finish();

 private:
  NpyWriter(std::string path, std::string temporary, FILE* file)
      : path_(std::move(path)), temporary_(std::move(temporary)), file_(file) {}

  std::string path_;
  std::string temporary_;
  FILE* file_;
  bool failed_ = false;
};

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_NPY_H_
