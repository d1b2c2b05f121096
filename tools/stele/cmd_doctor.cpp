// stele doctor: what this machine offers, and what is missing for which use.
#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli.h"
#include "process.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/device/host/cpu_features.h"
#include "verbs.h"

namespace stele::cli {
namespace {

using nlohmann::ordered_json;

// The value of the first line "NAME : VALUE" of a file in /proc.
std::string ProcValue(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

uint64_t MemInfo(const std::string& name) {
  return std::strtoull(ProcValue("/proc/meminfo", name).c_str(), nullptr, 10)
         << 10;
}

// CPUs that this process may use.
int UsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

ordered_json Limit(int resource) {
  rlimit limit;
  if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY)
    return nullptr;
  return static_cast<uint64_t>(limit.rlim_cur);
}

// The first of these shared libraries that loads; it stays loaded.
void* OpenAny(const std::vector<std::string>& names, std::string* found) {
  for (const std::string& name : names)
    if (void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      *found = name;
      return library;
    }
  return nullptr;
}

// The driver API by hand: doctor must run where no CUDA header ever was.
class CudaDriver {
 public:
  CudaDriver() {
    std::string name;
    library_ = OpenAny({"libcuda.so.1"}, &name);
    const auto init = Find<int (*)(unsigned)>("cuInit");
    usable_ = init && init(0) == 0;
  }

  bool present() const { return library_; }
  bool usable() const { return usable_; }

  int version() const {
    int version = 0;
    const auto get = Find<int (*)(int*)>("cuDriverGetVersion");
    return get && get(&version) == 0 ? version : 0;
  }

  ordered_json Devices() const {
    ordered_json devices = ordered_json::array();
    int count = 0;
    const auto get_count = Find<int (*)(int*)>("cuDeviceGetCount");
    if (!usable_ || !get_count || get_count(&count) != 0) return devices;
    for (int i = 0; i < count; ++i) devices.push_back(Describe(i));
    return devices;
  }

 private:
  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
  static constexpr int kMajor = 75, kMinor = 76;

  template <typename Function>
  Function Find(const char* name) const {
    return library_ ? reinterpret_cast<Function>(dlsym(library_, name))
                    : nullptr;
  }

  ordered_json Describe(int device) const {
    char name[128] = "";
    size_t bytes = 0;
    int major = 0, minor = 0;
    if (auto get = Find<int (*)(char*, int, int)>("cuDeviceGetName"))
      get(name, sizeof name, device);
    if (auto get = Find<int (*)(size_t*, int)>("cuDeviceTotalMem_v2"))
      get(&bytes, device);
    if (auto get = Find<int (*)(int*, int, int)>("cuDeviceGetAttribute")) {
      get(&major, kMajor, device);
      get(&minor, kMinor, device);
    }
    return {{"name", name},
            {"memory_bytes", bytes},
            {"architecture", Format("sm_%d%d", major, minor)}};
  }

  void* library_ = nullptr;
  bool usable_ = false;
};

std::string FindNvrtc() {
  std::vector<std::string> names = {"libnvrtc.so.13", "libnvrtc.so.12",
                                    "libnvrtc.so"};
  if (const char* home = std::getenv("CUDA_HOME"))
    names.push_back(std::string(home) + "/lib64/libnvrtc.so");
  std::string found;
  OpenAny(names, &found);
  return found;
}

ordered_json Examine() {
  ordered_json features = ordered_json::array();
  for (const std::string_view feature : KnownCpuFeatures())
    if (CpuHas(feature)) features.push_back(feature);
  const CudaDriver cuda;
  const std::string nvrtc = FindNvrtc();
  const std::string compiler = FindCompiler();
  ordered_json report = {
      {"version", STELE_VERSION},
      {"cpu",
       {{"name", ProcValue("/proc/cpuinfo", "model name")},
        {"usable", UsableCpus()},
        {"features", features}}},
      {"memory",
       {{"total_bytes", MemInfo("MemTotal")},
        {"available_bytes", MemInfo("MemAvailable")}}},
      {"limits",
       {{"address_space_bytes", Limit(RLIMIT_AS)},
        {"locked_bytes", Limit(RLIMIT_MEMLOCK)},
        {"open_files", Limit(RLIMIT_NOFILE)}}},
      {"cuda",
       {{"driver_version",
         cuda.present() ? ordered_json(cuda.version()) : ordered_json(nullptr)},
        {"devices", cuda.Devices()},
        {"nvrtc",
         nvrtc.empty() ? ordered_json(nullptr) : ordered_json(nvrtc)}}},
      {"compiler",
       compiler.empty() ? ordered_json(nullptr) : ordered_json(compiler)},
      {"missing", ordered_json::array()}};
  ordered_json& missing = report["missing"];
  if (!CpuHas("x86-64-v3"))
    missing.push_back("x86-64-v3 (AVX2, FMA): host kernels cannot run");
  if (compiler.empty())
    missing.push_back(
        "stele-compile beside stele or on PATH: only compiled artifacts can be "
        "used");
  if (!cuda.present())
    missing.push_back("libcuda.so.1 (NVIDIA driver): no GPU can be used");
  else if (!cuda.usable())
    missing.push_back("a GPU that the NVIDIA driver can use");
  if (nvrtc.empty())
    missing.push_back("libnvrtc: CUDA kernels cannot be compiled here");
  return report;
}

std::string LimitText(const ordered_json& limit) {
  return limit.is_null() ? "unlimited" : FormatBytes(limit.get<uint64_t>());
}

void Print(const ordered_json& report) {
  const ordered_json& cpu = report["cpu"];
  const ordered_json& cuda = report["cuda"];
  std::string features;
  for (const auto& feature : cpu["features"])
    features += (features.empty() ? "" : " ") + feature.get<std::string>();
  std::printf("stele      %s\n", STELE_VERSION);
  std::printf("cpu        %s, %d usable\n",
              cpu["name"].get_ref<const std::string&>().c_str(),
              cpu["usable"].get<int>());
  std::printf("features   %s\n", features.c_str());
  std::printf("memory     %s, %s available\n",
              FormatBytes(report["memory"]["total_bytes"]).c_str(),
              FormatBytes(report["memory"]["available_bytes"]).c_str());
  std::printf("limits     address space %s, locked memory %s\n",
              LimitText(report["limits"]["address_space_bytes"]).c_str(),
              LimitText(report["limits"]["locked_bytes"]).c_str());
  std::printf("driver     %s\n", cuda["driver_version"].is_null()
                                     ? "none"
                                     : cuda["driver_version"].dump().c_str());
  for (const auto& device : cuda["devices"])
    std::printf("gpu        %s, %s, %s\n",
                device["name"].get_ref<const std::string&>().c_str(),
                device["architecture"].get_ref<const std::string&>().c_str(),
                FormatBytes(device["memory_bytes"]).c_str());
  for (const auto& [label, value] :
       {std::pair("nvrtc", cuda["nvrtc"]), {"compiler", report["compiler"]}})
    std::printf("%-10s %s\n", label,
                value.is_null() ? "none" : value.get<std::string>().c_str());
  for (const auto& missing : report["missing"])
    std::printf("missing    %s\n",
                missing.get_ref<const std::string&>().c_str());
}

}  // namespace

int RunDoctor(int argc, char** argv) {
  CLI::App app("Show what this machine offers");
  bool json = false;
  app.add_flag("--json", json, "Print one JSON document");
  if (auto code = Parse(app, argc, argv, "[--json]", "stele doctor"))
    return *code;
  const ordered_json report = Examine();
  if (json)
    std::printf("%s\n", report.dump().c_str());
  else
    Print(report);
  return kDone;
}

}  // namespace stele::cli
