// stele run: one batch of prompts, their answers, and what they cost.
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "attention_stats.h"
#include "batch.h"
#include "cli.h"
#include "npy.h"
#include "paging_stats.h"
#include "process.h"
#include "prompts.h"
#include "saved_session.h"
#include "stele/runtime/base/format.h"
#include "trace_file.h"
#include "verbs.h"

namespace stele::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct RunFlags {
  ModelFlags model;
  PromptFlags prompts;
  SamplingFlags sampling;
  StoreFlags store;
  uint64_t max_tokens = 256;
  uint32_t chunk = 0;
  uint32_t lookup = 0;
  MemoryFlags memory;
  AttentionFlags attention;
  std::string logits;
  std::string trace;
  bool print_prompt = false;
  bool stats = false;
  bool json = false;

  void AddTo(CLI::App& app) {
    model.AddTo(app);
    prompts.AddTo(app);
    app.add_option("-n,--max-tokens", max_tokens, "Most tokens to generate")
        ->transform(CountFlag())
        ->capture_default_str();
    sampling.AddTo(app);
    app.add_option("--chunk", chunk,
                   "Most tokens in one step; 0: as many as the artifact has a "
                   "step for")
        ->transform(CountFlag());
    AddLookup(app, lookup);
    memory.AddTo(app);
    attention.AddTo(app);
    store.AddTo(app);
    store.AddForkTo(app);
    app.get_option("--session")->excludes(app.get_option("--prompts"));
    app.add_option("--logits", logits,
                   "Write the prompt's logits to this .npy file")
        ->excludes(app.get_option("--store"));
    app.add_option("--trace", trace,
                   "Write when every operation ran to this file, as Chrome "
                   "trace events");
    app.add_flag("--print-prompt", print_prompt,
                 "Print the prompt as the model sees it, and stop");
    app.add_flag("--stats", stats, "Print times and memory");
    app.add_flag("--json", json, "Print one JSON document");
  }
};

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Runner {
 public:
  Runner(const CLI::App& app, const RunFlags& flags)
      : app_(app), flags_(flags) {}

  int Run() {
    if (Status status = Prepare(); !status.ok()) return Fail(status);
    if (flags_.print_prompt) return PrintPrompts();
    CatchInterrupts();
    if (Status status = Generate(); !status.ok()) return Fail(status);
    return Interrupted() ? kInterrupted : kDone;
  }

 private:
  Status Prepare() {
    STELE_ASSIGN_OR_RETURN(model_, flags_.model.Load());
    STELE_ASSIGN_OR_RETURN(tokenizer_, LoadTokenizer(*model_));
    load_seconds_ = SecondsSince(start_);
    STELE_ASSIGN_OR_RETURN(store_, flags_.store.Open());
    STELE_ASSIGN_OR_RETURN(
        saved_, FindSession(flags_.store, store_.get(), model_->artifact()));
    STELE_RETURN_IF_ERROR(ReadPrompts());
    if (!flags_.logits.empty() && requests_.size() != 1)
      return InvalidArgument("--logits takes one prompt, there are " +
                             std::to_string(requests_.size()));
    return OkStatus();
  }

  Status ReadPrompts() {
    History history;
    if (saved_) {
      history.tokens = saved_->tokens;
      STELE_ASSIGN_OR_RETURN(history.messages, MessagesOf(*saved_));
    } else if (!flags_.prompts.Check(app_).empty()) {
      return NotFound("session '" + flags_.store.session + "' in '" +
                      flags_.store.store +
                      "' was never saved; give a prompt to begin it with");
    }
    STELE_ASSIGN_OR_RETURN(requests_,
                           ReadRequests(flags_.prompts, tokenizer_.get(),
                                        saved_ ? &history : nullptr));
    return OkStatus();
  }

  int PrintPrompts() const {
    for (const Request& request : requests_)
      std::fwrite(request.text.data(), 1, request.text.size(), stdout);
    return kDone;
  }

  bool Lines() const { return !flags_.prompts.prompts.empty(); }
  bool Streams() const { return !flags_.json && !Lines(); }

  Status Generate() {
    BatchOptions options;
    options.max_tokens = flags_.max_tokens;
    options.sampling = flags_.sampling.Resolve(app_, model_->info());
    options.stop = flags_.sampling.stop;
    options.ignore_eos = flags_.sampling.ignore_eos;
    options.chunk = flags_.chunk;
    options.lookup = flags_.lookup;
    options.memory = flags_.memory;
    options.attention = flags_.attention;
    options.store = store_;
    options.store_folder = flags_.store.store;
    options.session = flags_.store.session;
    options.saved_as = flags_.store.SavedAs();
    if (saved_) {
      options.saved = &*saved_;
      if (!app_.count("--seed")) options.sampling.seed = saved_->next_seed;
    }
    STELE_ASSIGN_OR_RETURN(
        batch_, Batch::Create(model_, tokenizer_.get(), requests_, options));
    std::fputs(batch_->engine().memory_plan().ToString().c_str(), stderr);
    std::unique_ptr<NpyWriter> logits;
    if (!flags_.logits.empty()) {
      STELE_ASSIGN_OR_RETURN(logits, OpenLogits());
    }
    std::unique_ptr<TraceFile> trace;
    if (!flags_.trace.empty()) {
      STELE_ASSIGN_OR_RETURN(trace, TraceFile::Create(flags_.trace));
      batch_->engine().OnEveryStep(
          [&trace](const StepTrace& step) { trace->Add(step); });
    }
    STELE_RETURN_IF_ERROR(batch_->Run([&] {
      if (Streams())
        Stream();
      else if (Lines())
        PrintDoneLines();
    }));
    if (trace) STELE_RETURN_IF_ERROR(trace->Finish());
    // Who has waited for the answer gets it, saved or not.
    const Status saved = batch_->Save(Note());
    if (logits && !Interrupted()) STELE_RETURN_IF_ERROR(logits->Finish());
    if (Streams())
      std::printf("\n");
    else if (!Lines())
      std::printf("%s\n", Answer(0).dump(-1, ' ', false, kReplace).c_str());
    if (flags_.stats) PrintStats();
    return saved;
  }

  // The conversation with its answer; an answer that goes on is one message.
  std::string Note() const {
    nlohmann::ordered_json messages = requests_[0].messages;
    if (messages.is_null()) return "";
    const std::string& text = batch_->generation(0).text();
    if (!messages.empty() && messages.back().value("role", "") == "assistant" &&
        messages.back().value("content", nlohmann::ordered_json()).is_string())
      messages.back()["content"] =
          messages.back()["content"].get<std::string>() + text;
    else
      messages.push_back({{"role", "assistant"}, {"content", text}});
    return NoteOf(messages);
  }

  Result<std::unique_ptr<NpyWriter>> OpenLogits() {
    const uint64_t rows = requests_[0].tokens.size();
    STELE_ASSIGN_OR_RETURN(
        auto writer,
        NpyWriter::Create(flags_.logits, rows, model_->info().vocab_size()));
    Session* session = &batch_->session(0);
    session->OnEveryLogits([rows, writer = writer.get()](
                               uint64_t position, std::span<const float> row) {
      if (position < rows) writer->Append(row);
    });
    return writer;
  }

  // Text, or ids where there is no tokenizer, as it comes.
  void Stream() {
    const Generation& generation = batch_->generation(0);
    if (tokenizer_) {
      const std::string& text = generation.text();
      std::fwrite(text.data() + shown_, 1, text.size() - shown_, stdout);
      shown_ = text.size();
    } else {
      for (; shown_ < generation.tokens().size(); ++shown_)
        std::printf(shown_ ? " %d" : "%d", generation.tokens()[shown_]);
    }
    std::fflush(stdout);
  }

  // Answers in the order of their prompts.
  void PrintDoneLines() {
    for (; shown_ < batch_->size() && batch_->generation(shown_).done();
         ++shown_)
      std::printf("%s\n",
                  Answer(shown_).dump(-1, ' ', false, kReplace).c_str());
    std::fflush(stdout);
  }

  json Answer(size_t i) const {
    const Generation& generation = batch_->generation(i);
    return {{"prompt_tokens", requests_[i].tokens.size()},
            {"tokens", generation.tokens()},
            {"text", generation.text()},
            {"finish_reason", FinishReasonName(generation.finish_reason())},
            {"stats", Stats(i)}};
  }

  json Stats(size_t i) const {
    const AnswerTimes& times = batch_->times(i);
    const uint64_t generated = batch_->generation(i).tokens().size();
    const double decoding = times.done - times.first_token;
    json stats = {
        {"load_s", load_seconds_},
        {"time_to_first_token_s", times.first_token},
        {"prompt_tokens_per_s",
         times.first_token > 0
             ? static_cast<double>(requests_[i].tokens.size() -
                                   batch_->reused(i)) /
                   times.first_token
             : 0},
        {"tokens_per_s", generated > 1 && decoding > 0
                             ? static_cast<double>(generated - 1) / decoding
                             : 0},
        {"planned_bytes", batch_->engine().memory_plan().allocated()},
        {"mapped_bytes", batch_->engine().memory_plan().mapped()},
        {"anonymous_bytes", AnonymousMemory()},
        {"peak_bytes", PeakMemory()},
        {"steps", batch_->steps()},
        {"drafted", batch_->session(i).drafts().drafted},
        {"accepted", batch_->session(i).drafts().accepted}};
    const SteleAttentionWork work = batch_->engine().attention_work();
    if (work.causal_pairs)
      stats["attention"] = {{"work_share", WorkShare(work)},
                            {"effective_window", EffectiveWindow(work)}};
    if (model_->IsPaged())
      stats["paging"] = PagingStats(batch_->engine().paging_work());
    if (batch_->moved()) stats["store"] = StoreStats(*batch_->moved());
    return stats;
  }

  void PrintStats() const {
    for (size_t i = 0; i < batch_->size(); ++i) {
      const json stats = Stats(i);
      std::fprintf(
          stderr,
          "%zu prompt tokens, first token after %s (%.1f tokens/s); %zu "
          "generated, %.1f tokens/s\n",
          requests_[i].tokens.size(),
          FormatSeconds(stats["time_to_first_token_s"]).c_str(),
          stats["prompt_tokens_per_s"].get<double>(),
          batch_->generation(i).tokens().size(),
          stats["tokens_per_s"].get<double>());
      if (flags_.lookup > 0)
        std::fprintf(stderr, "%llu of %llu drafted tokens accepted\n",
                     stats["accepted"].get<unsigned long long>(),
                     stats["drafted"].get<unsigned long long>());
    }
    std::fprintf(stderr,
                 "loaded in %s; %llu steps; memory %s anonymous, %s at peak "
                 "with mapped files\n",
                 FormatSeconds(load_seconds_).c_str(),
                 static_cast<unsigned long long>(batch_->steps()),
                 FormatBytes(AnonymousMemory()).c_str(),
                 FormatBytes(PeakMemory()).c_str());
    if (model_->IsPaged())
      std::fprintf(stderr, "%s\n",
                   PagingStatsLine(batch_->engine().paging_work()).c_str());
    if (batch_->moved())
      std::fprintf(stderr, "%s\n", StoreStatsLine(*batch_->moved()).c_str());
  }

  static constexpr auto kReplace = json::error_handler_t::replace;

  const CLI::App& app_;
  const RunFlags& flags_;
  const Clock::time_point start_ = Clock::now();
  double load_seconds_ = 0;
  std::shared_ptr<Model> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::shared_ptr<Store> store_;
  std::optional<SessionManifest> saved_;
  std::vector<Request> requests_;
  std::unique_ptr<Batch> batch_;
  size_t shown_ = 0;  // bytes, ids or lines that are already printed
};

}  // namespace

int RunRun(int argc, char** argv) {
  CLI::App app("Generate text from a prompt");
  RunFlags flags;
  flags.AddTo(app);
  if (auto code = Parse(app, argc, argv,
                        "OUT.stele [-p TEXT | -f FILE | --tokens IDS|@FILE | "
                        "--messages FILE.json | "
                        "--prompts FILE.jsonl | -] [-n N] [flags]",
                        "stele run smollm2.stele -p \"Who carved the Rosetta "
                        "Stone?\" -n 64"))
    return *code;
  if (std::string wrong =
          flags.prompts.Check(app, !flags.store.session.empty());
      !wrong.empty())
    return WrongUsage(app, wrong);
  return Runner(app, flags).Run();
}

}  // namespace stele::cli
