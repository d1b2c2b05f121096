// Memory of this process as the system counts it; see process.h.
#include "process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>

#include "stele/runtime/base/file.h"

namespace stele::cli {

uint64_t PeakMemory() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

uint64_t AnonymousMemory() {
  constexpr std::string_view kKey = "RssAnon:";
  const Result<std::string> status = ReadFile("/proc/self/status", 1 << 20);
  if (!status.ok()) return 0;
  const size_t at = status->find(kKey);
  if (at == std::string::npos) return 0;
  return std::strtoull(status->c_str() + at + kKey.size(), nullptr, 10) * 1024;
}

std::string FindCompiler() {
  constexpr const char* kName = "stele-compile";
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto beside = self.parent_path() / kName;
  if (!error && access(beside.c_str(), X_OK) == 0) return beside.string();
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto candidate = std::filesystem::path(folder) / kName;
    if (access(candidate.c_str(), X_OK) == 0) return candidate.string();
  }
  return "";
}

}  // namespace stele::cli
