// One batch of requests from start to end; see batch.h.
#include "batch.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "cli.h"

namespace stele::cli {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

void SamplingFlags::AddTo(CLI::App& app) {
  app.add_option("--temperature", options.temperature, "0 is greedy");
  app.add_option("--top-k", options.top_k, "Keep the K best tokens; 0: all")
      ->check(WholeFlag(UINT32_MAX));
  app.add_option("--top-p", options.top_p,
                 "Keep the best tokens that reach this probability");
  app.add_option("--min-p", options.min_p,
                 "Keep tokens this likely, relative to the best");
  app.add_option("--repeat-penalty", options.repetition_penalty,
                 "Divides the logits of tokens that were there; 1: off");
  app.add_option("--seed", options.seed, "Of the random draws")
      ->check(WholeFlag(UINT64_MAX))
      ->capture_default_str();
  app.add_option("--stop", stop, "End the answer before this text (repeatable)")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  app.add_flag("--ignore-eos", ignore_eos, "Go on after an end token");
}

void AddLookup(CLI::App& app, uint32_t& lookup) {
  app.add_option("--lookup", lookup,
                 "Guess this many tokens a step from the context; the answer "
                 "stays the same")
      ->check(CLI::Range(0u, 256u));
}

SamplingOptions SamplingFlags::Resolve(const CLI::App& app,
                                       const plan::ModelInfo& model) const {
  SamplingOptions resolved = SamplingOptions::Defaults(model);
  if (app.count("--temperature")) resolved.temperature = options.temperature;
  if (app.count("--top-k")) resolved.top_k = options.top_k;
  if (app.count("--top-p")) resolved.top_p = options.top_p;
  if (app.count("--min-p")) resolved.min_p = options.min_p;
  if (app.count("--repeat-penalty"))
    resolved.repetition_penalty = options.repetition_penalty;
  resolved.seed = options.seed;
  return resolved;
}

Result<std::unique_ptr<Batch>> Batch::Create(
    std::shared_ptr<Model> model, const text::Tokenizer* tokenizer,
    const std::vector<Request>& requests, const BatchOptions& options) {
  // An answer ends where the context does; only a prompt may be too long.
  const uint64_t context = model->info().context();
  const auto longest = [&](const Request& request) {
    const uint64_t prompt = request.tokens.size();
    return std::max(prompt, std::min(context, prompt + options.max_tokens));
  };
  EngineOptions engine_options;
  engine_options.max_sessions = static_cast<uint32_t>(requests.size());
  engine_options.chunk = options.chunk;
  options.memory.Apply(&engine_options);
  options.attention.Apply(&engine_options);
  engine_options.cold_folder = options.store_folder;
  engine_options.draft_tokens = options.lookup;
  for (const Request& request : requests) {
    engine_options.session_tokens =
        std::max(engine_options.session_tokens, longest(request));
    engine_options.total_tokens += longest(request);
  }
  auto batch = std::make_unique<Batch>();
  STELE_ASSIGN_OR_RETURN(batch->engine_,
                         Engine::Create(std::move(model), engine_options));
  batch->saved_as_ = options.saved_as;
  if (options.store) {
    STELE_ASSIGN_OR_RETURN(
        batch->archive_,
        SessionArchive::Create(batch->engine_.get(), options.store));
  }
  for (const Request& request : requests) {
    STELE_ASSIGN_OR_RETURN(auto session,
                           batch->engine_->NewSession(longest(request)));
    STELE_RETURN_IF_ERROR(session->Feed(request.tokens));
    if (batch->archive_)
      STELE_RETURN_IF_ERROR(batch->archive_->LoadPrefix(
          session.get(), options.session, options.saved));
    batch->reused_.push_back(session->position());
    STELE_ASSIGN_OR_RETURN(
        auto generation,
        Generation::Create(batch->engine_->model(), tokenizer, session.get(),
                           {options.max_tokens, options.sampling, options.stop,
                            options.ignore_eos, options.lookup}));
    batch->sessions_.push_back(std::move(session));
    batch->generations_.push_back(std::move(generation));
  }
  batch->times_.resize(requests.size());
  return batch;
}

Status Batch::Run(const std::function<void()>& progress) {
  const Clock::time_point start = Clock::now();
  for (;;) {
    if (Interrupted())
      for (auto& session : sessions_) session->Cancel();
    STELE_ASSIGN_OR_RETURN(const StepReport report, engine_->Step());
    steps_ += report.tokens > 0;
    bool done = true;
    for (size_t i = 0; i < generations_.size(); ++i) {
      Generation& generation = *generations_[i];
      if (generation.done()) continue;
      const size_t before = generation.tokens().size();
      STELE_RETURN_IF_ERROR(generation.Advance());
      const double now = SecondsSince(start);
      if (before == 0 && !generation.tokens().empty())
        times_[i].first_token = now;
      times_[i].done = now;
      done &= generation.done();
    }
    progress();
    // Prompts of which nothing is to be generated still run to their end.
    if (done && report.tokens == 0) return OkStatus();
  }
}

Status Batch::Save(const std::string& note) {
  if (!archive_) return OkStatus();
  for (size_t i = 0; i < sessions_.size(); ++i) {
    STELE_RETURN_IF_ERROR(generations_[i]->Settle());
    STELE_RETURN_IF_ERROR(saved_as_.empty()
                              ? archive_->SavePages(*sessions_[i])
                              : archive_->Save(*sessions_[i], saved_as_, note));
  }
  return OkStatus();
}

}  // namespace stele::cli
