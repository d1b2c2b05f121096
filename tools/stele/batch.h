// Runs requests through one engine as one ragged batch.
//
// Place on the road: between the flags of run, chat and bench, and the engine.
#ifndef STELE_TOOLS_STELE_BATCH_H_
#define STELE_TOOLS_STELE_BATCH_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli.h"
#include "prompts.h"
#include "stele/runtime/base/status.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/generation.h"
#include "stele/runtime/engine/session_archive.h"

namespace stele::cli {

// How answers are chosen. What is not given comes from the artifact, which has
// it from generation_config.json.
struct SamplingFlags {
  SamplingOptions options;
  std::vector<std::string> stop;
  bool ignore_eos = false;

  void AddTo(CLI::App& app);
  // The flags that were given, over the model's defaults.
  SamplingOptions Resolve(const CLI::App& app,
                          const plan::ModelInfo& model) const;
};

// --lookup of run and chat.
void AddLookup(CLI::App& app, uint32_t& lookup);

// Seconds since the batch started.
struct AnswerTimes {
  double first_token = 0;
  double done = 0;
};

struct BatchOptions {
  uint64_t max_tokens = 0;
  SamplingOptions sampling;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  uint32_t lookup = 0;  // tokens drafted from the context for a step
  uint32_t chunk = 0;
  MemoryFlags memory;
  AttentionFlags attention;
  // Prompts begin with what is in the store; null: none.
  std::shared_ptr<Store> store;
  std::string store_folder;                // empty without one
  std::string session;                     // the one request's; empty: none
  const SessionManifest* saved = nullptr;  // what it was; null: new
  std::string saved_as;                    // its name from now on
};

class Batch {
 public:
  // Plans memory for all requests together; nothing has run yet.
  static Result<std::unique_ptr<Batch>> Create(
      std::shared_ptr<Model> model, const text::Tokenizer* tokenizer,
      const std::vector<Request>& requests, const BatchOptions& options);

  const Engine& engine() const { return *engine_; }
  Engine& engine() { return *engine_; }
  Session& session(size_t i) { return *sessions_[i]; }
  const Session& session(size_t i) const { return *sessions_[i]; }
  const Generation& generation(size_t i) const { return *generations_[i]; }
  const AnswerTimes& times(size_t i) const { return times_[i]; }
  size_t size() const { return generations_.size(); }
  uint64_t steps() const { return steps_; }
  // Tokens of prompt `i` that came from the store.
  uint64_t reused(size_t i) const { return reused_[i]; }
  // What was moved to and from the store; null without one.
  const SessionArchive::Counters* moved() const {
    return archive_ ? &archive_->counters() : nullptr;
  }

  // Steps until all are done, or Ctrl-C was pressed. Calls `progress` after
  // every step.
  Status Run(const std::function<void()>& progress);

  // Saves the session, the answer included, with `note`; without a session the
  // pages that other prompts can begin with. Nothing without a store.
  Status Save(const std::string& note);

 private:
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<SessionArchive> archive_;
  std::string saved_as_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<std::unique_ptr<Generation>> generations_;
  std::vector<AnswerTimes> times_;
  std::vector<uint64_t> reused_;
  uint64_t steps_ = 0;
};

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_BATCH_H_
