// Writes a float32 matrix as an .npy file (format 1.0), row by row.
#ifndef STELE_TOOLS_STELE_NPY_H_
#define STELE_TOOLS_STELE_NPY_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "output_file.h"
#include "stele/runtime/base/status.h"

namespace stele::cli {

class NpyWriter {
 public:
  static Result<std::unique_ptr<NpyWriter>> Create(const std::string& path,
                                                   uint64_t rows,
                                                   uint64_t columns);

  // Errors are remembered for Finish.
  void Append(std::span<const float> row);
  Status Finish() { return file_->Finish(); }

 private:
  explicit NpyWriter(std::unique_ptr<OutputFile> file)
      : file_(std::move(file)) {}

  std::unique_ptr<OutputFile> file_;
};

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_NPY_H_
