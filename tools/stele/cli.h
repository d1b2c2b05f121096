// What every verb of the command line shares: parsing, errors, exit codes, and
// the flags that open a model.
//
// Exit codes: 0 done, 1 refused or failed (one `error: ` line on stderr), 2
// wrong usage, 130 interrupted. Results go to stdout, all else to stderr.
#ifndef STELE_TOOLS_STELE_CLI_H_
#define STELE_TOOLS_STELE_CLI_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "stele/runtime/base/status.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/model.h"
#include "stele/runtime/plan/artifact.h"

namespace stele::cli {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kInterrupted = 130;

// A verb: `stele NAME ...`; argv[0] is the verb.
struct Verb {
  const char* name;
  const char* summary;
  int (*run)(int argc, char** argv);
};

// Parses argv into what `app` bound. Returns an exit code when the verb is
// over: --help was printed, or the usage was wrong. `usage` is the line behind
// "stele VERB", `example` a whole command.
std::optional<int> Parse(CLI::App& app, int argc, char** argv,
                         const std::string& usage, const std::string& example);

// Prints the one `error: ` line and returns kFailed.
int Fail(const Status& status);

// Says what is wrong with the flags, then the usage line; returns kUsage.
int WrongUsage(const CLI::App& app, const std::string& what);

// A size as cli.md writes it: CLI11 validators that turn "8GiB" into bytes and
// "32K" into a count.
CLI::Validator SizeFlag();
CLI::Validator CountFlag();
// A whole number from 0 to `limit`, said so in the message.
CLI::Validator WholeFlag(uint64_t limit);

// The artifact argument and the flags that decide how it is opened.
struct ModelFlags {
  std::string artifact;
  bool verify = false;
  std::string sha256;
  std::string device = "host";
  uint32_t threads = 0;

  // `artifact_only`: not the flags about devices.
  void AddTo(CLI::App& app, bool artifact_only = false);
  Result<std::shared_ptr<const Artifact>> Open() const;
  // Open, then load onto the device.
  Result<std::shared_ptr<Model>> Load() const;
};

// How much memory an engine may plan, and with context paging how far back
// pages stay in device memory.
struct MemoryFlags {
  uint64_t device_memory = 0;
  uint64_t host_memory = 0;
  uint64_t hot_window = 0;

  void AddTo(CLI::App& app);
  void Apply(EngineOptions* options) const;
};

// What is attended to, of what the artifact was compiled to allow.
struct AttentionFlags {
  std::string attention;
  float density = 0;

  void AddTo(CLI::App& app);
  void Apply(EngineOptions* options) const;
};

// From now on Ctrl-C and SIGTERM only set Interrupted(); a second one ends the
// program.
void CatchInterrupts();
bool Interrupted();
void ClearInterrupt();

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_CLI_H_
