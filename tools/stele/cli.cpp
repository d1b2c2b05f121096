// Parsing, errors and model flags; see cli.h.
#include "cli.h"

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "stele/runtime/base/format.h"
#include "stele/runtime/base/hash.h"
#include "stele/runtime/device/host/host_device.h"
#include "stele/schema/size_text.h"

namespace stele::cli {
namespace {

std::atomic<bool> interrupted{false};

void OnSignal(int number) {
  interrupted = true;
  std::signal(number, SIG_DFL);
}

std::string UsageLine(const CLI::App& app) {
  return "usage: " + app.get_name() + " " + app.get_description();
}

template <typename ParseText>
CLI::Validator Converter(const char* type, ParseText parse) {
  return CLI::Validator(
      [parse, type](std::string& text) -> std::string {
        const auto value = parse(text);
        if (!value) return "'" + text + "' is not a " + type;
        text = std::to_string(*value);
        return "";
      },
      "");
}

Result<uint32_t> ThreadCount(uint32_t flag) {
  const char* variable = std::getenv("STELE_THREADS");
  if (flag != 0 || !variable) return flag;
  const auto count = schema::ParseCount(variable);
  if (!count || *count == 0 || *count > 1024)
    return InvalidArgument("STELE_THREADS is '" + Printable(variable) +
                           "', not a number from 1 to 1024");
  return static_cast<uint32_t>(*count);
}

}  // namespace

std::optional<int> Parse(CLI::App& app, int argc, char** argv,
                         const std::string& usage, const std::string& example) {
  const std::string summary = app.get_description();
  app.name("stele " + std::string(argv[0]));
  app.description(usage);
  app.footer("Example: " + example);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    // CLI11 would print a usage line of its own.
    auto formatter = std::make_shared<CLI::Formatter>();
    std::string help = formatter->make_positionals(&app) +
                       formatter->make_groups(&app, CLI::AppFormatMode::Normal);
    std::printf("%s\n%s\n%s\n%s\n", UsageLine(app).c_str(), summary.c_str(),
                help.c_str(), app.get_footer().c_str());
    return kDone;
  } catch (const CLI::ParseError& error) {
    return WrongUsage(app, error.what());
  }
  return std::nullopt;
}

int Fail(const Status& status) {
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return kFailed;
}

int WrongUsage(const CLI::App& app, const std::string& what) {
  std::fprintf(stderr, "%s: %s\n%s\n", app.get_name().c_str(), what.c_str(),
               UsageLine(app).c_str());
  return kUsage;
}

CLI::Validator SizeFlag() {
  return Converter(
      "size: bytes, or K, M, G or T of them, powers of 1024 (700M, 8GiB)",
      schema::ParseSize);
}
CLI::Validator CountFlag() {
  return Converter("count like 32K", schema::ParseCount);
}

CLI::Validator WholeFlag(uint64_t limit) {
  return CLI::Validator(
      [limit](std::string& text) -> std::string {
        uint64_t value = 0;
        const char* end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, value);
        if (error == std::errc() && rest == end && value <= limit) return "";
        return "'" + text + "' is not a whole number from 0 to " +
               std::to_string(limit);
      },
      "");
}

void ModelFlags::AddTo(CLI::App& app, bool artifact_only) {
  app.add_option("artifact", artifact, "The .stele artifact")->required();
  app.add_flag("--verify", verify, "Check the checksum of the weights, too");
  app.add_option("--sha256", sha256,
                 "Refuse an artifact file with another SHA-256");
  if (artifact_only) return;
  app.add_option("--device", device, "Where to run")
      ->check(CLI::IsMember({"host"}))
      ->capture_default_str();
  app.add_option("--threads", threads,
                 "Worker threads (default: $STELE_THREADS, or one per CPU)")
      ->check(CLI::Range(1, 1024));
}

Result<std::shared_ptr<const Artifact>> ModelFlags::Open() const {
  ArtifactOptions options;
  options.verify_weights = verify;
  if (!sha256.empty()) {
    options.sha256 = ParseSha256(sha256);
    if (!options.sha256)
      return InvalidArgument("--sha256 '" + Printable(sha256) +
                             "' is not 64 hexadecimal digits");
  }
  return Artifact::Open(artifact, options);
}

Result<std::shared_ptr<Model>> ModelFlags::Load() const {
  STELE_ASSIGN_OR_RETURN(auto opened, Open());
  STELE_ASSIGN_OR_RETURN(const uint32_t count, ThreadCount(threads));
  STELE_ASSIGN_OR_RETURN(auto host, HostDevice::Create(count));
  return Model::Load(std::move(opened), std::move(host));
}

void MemoryFlags::AddTo(CLI::App& app) {
  app.add_option("--device-memory", device_memory,
                 "Refuse to plan more for weights, pages and kernels. SIZE: "
                 "bytes, or K, M, G or T of them, powers of 1024 (700M, 8GiB)")
      ->transform(SizeFlag())
      ->type_name("SIZE");
  app.add_option("--host-memory", host_memory,
                 "Refuse to plan more memory than this; with context paging, "
                 "for what left device memory")
      ->transform(SizeFlag())
      ->type_name("SIZE");
  app.add_option("--hot-window", hot_window,
                 "With context paging: tokens that stay in device memory "
                 "(default and least: what the artifact was compiled for)")
      ->transform(CountFlag());
}

void MemoryFlags::Apply(EngineOptions* options) const {
  options->device_memory = device_memory;
  options->host_memory = host_memory;
  options->hot_window = hot_window;
}

void AttentionFlags::AddTo(CLI::App& app) {
  app.add_option("--attention", attention,
                 "dense: read every key; sparse: choose blocks of keys, of an "
                 "artifact that was compiled with --attention sparse (default: "
                 "as it was compiled)")
      ->check(CLI::IsMember({"dense", "sparse"}));
  app.add_option("--density", density,
                 "With sparse attention: the share of the blocks that are "
                 "chosen (default: what the artifact was compiled for)")
      ->check(CLI::Range(1e-6f, 1.0f));
  app.parse_complete_callback([this] {
    if (density > 0 && attention == "dense")
      throw CLI::ValidationError("--density", "is for --attention sparse");
  });
}

void AttentionFlags::Apply(EngineOptions* options) const {
  if (attention == "dense") options->attention = AttentionKind::kDense;
  if (attention == "sparse") options->attention = AttentionKind::kSparse;
  options->density = density;
}

void CatchInterrupts() {
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
}

bool Interrupted() { return interrupted; }

void ClearInterrupt() {
  interrupted = false;
  CatchInterrupts();
}

}  // namespace stele::cli
