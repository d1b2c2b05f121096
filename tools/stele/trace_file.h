// Writes what `stele run --trace` records: Chrome trace events, which Perfetto
// opens and `stele inspect --timeline --trace` reads.
//
// Place on the road: between Engine::OnEveryStep and a file. A step is an event
// of category "step" on stream 0; its operations are events on their streams,
// each with its number in the function.
#ifndef STELE_TOOLS_STELE_TRACE_FILE_H_
#define STELE_TOOLS_STELE_TRACE_FILE_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "output_file.h"
#include "stele/runtime/base/status.h"
#include "stele/runtime/engine/engine.h"

namespace stele::cli {

class TraceFile {
 public:
  static Result<std::unique_ptr<TraceFile>> Create(const std::string& path);

  void Add(const StepTrace& step);
  // Ends the file; says if any of it could not be written.
  Status Finish();

 private:
  explicit TraceFile(std::unique_ptr<OutputFile> file)
      : file_(std::move(file)) {}
  void AddOp(const StepTrace& step, uint32_t index);
  void Write(nlohmann::ordered_json event, const StepTime& time);

  std::unique_ptr<OutputFile> file_;
  uint64_t begin_ns_ = 0;  // of the first step
  bool is_first_ = true;
};

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_TRACE_FILE_H_
