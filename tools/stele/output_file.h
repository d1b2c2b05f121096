// A file that a verb writes piece by piece.
#ifndef STELE_TOOLS_STELE_OUTPUT_FILE_H_
#define STELE_TOOLS_STELE_OUTPUT_FILE_H_

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "stele/runtime/base/status.h"

namespace stele::cli {

// The file appears under its name when Finish succeeds; until then its content
// is in a temporary file beside it, which goes with this. What exists and is no
// regular file (a pipe, a device) is written to as it is.
class OutputFile {
 public:
  static Result<std::unique_ptr<OutputFile>> Create(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Errors are remembered for Finish.
  void Write(std::string_view bytes);
  Status Finish();

 private:
  OutputFile(std::string path, std::string temporary, std::FILE* file)
      : path_(std::move(path)), temporary_(std::move(temporary)), file_(file) {}

  std::string path_;
  std::string temporary_;  // empty: written to as it is
  std::FILE* file_;
  bool failed_ = false;
};

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_OUTPUT_FILE_H_
