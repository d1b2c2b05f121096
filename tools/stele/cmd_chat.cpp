// stele chat: a conversation in a terminal, or line by line from a pipe.
//
// Every turn renders the whole conversation again, as templates want it; what
// the session already holds of it is kept, so that only new tokens are run.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "batch.h"
#include "cli.h"
#include "process.h"
#include "prompts.h"
#include "saved_session.h"
#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/generation.h"
#include "stele/runtime/text/json.h"
#include "verbs.h"

namespace stele::cli {
namespace {

using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr uint64_t kMaxConversationBytes = 64 << 20;
// Planned when nothing else is asked for, if the model has so many.
constexpr uint64_t kDefaultContext = 8192;

constexpr char kHelp[] =
    "/help         this text\n"
    "/reset        forget the conversation\n"
    "/save FILE    write the conversation as JSON\n"
    "/load FILE    go on with a saved conversation\n"
    "/stats        tokens, speed and memory\n"
    "/exit         leave (Ctrl-D does, too); Ctrl-C stops an answer\n";

struct ChatFlags {
  ModelFlags model;
  SamplingFlags sampling;
  StoreFlags store;
  std::string system;
  uint64_t max_tokens = 1024;
  uint64_t context = 0;
  uint32_t lookup = 0;
  MemoryFlags memory;
  AttentionFlags attention;

  void AddTo(CLI::App& app) {
    model.AddTo(app);
    sampling.AddTo(app);
    store.AddTo(app);
    app.add_option("--system", system, "The system message");
    app.add_option("-n,--max-tokens", max_tokens, "Most tokens of an answer")
        ->transform(CountFlag())
        ->capture_default_str();
    app.add_option("--context", context,
                   "Longest conversation in tokens (default: 8K, or the "
                   "model's context if that is less)")
        ->transform(CountFlag());
    AddLookup(app, lookup);
    memory.AddTo(app);
    attention.AddTo(app);
  }
};

// What the last answer cost.
struct AnswerStats {
  uint64_t prompt_tokens = 0;
  uint64_t reused_tokens = 0;
  uint64_t generated = 0;
  double first_token_s = 0;
  double total_s = 0;
};

class Chat {
 public:
  Chat(const CLI::App& app, const ChatFlags& flags)
      : app_(app), flags_(flags) {}

  int Run() {
    if (Status status = Prepare(); !status.ok()) return Fail(status);
    CatchInterrupts();
    if (terminal_)
      std::fprintf(stderr, "%s; /help lists the commands\n",
                   model_->info().name()->c_str());
    while (!over_) {
      std::optional<std::string> line = ReadLine();
      if (!line) break;
      Status status = line->starts_with('/') ? Command(*line) : Say(*line);
      if (!status.ok()) {
        failed_ = true;
        Fail(status);
      }
    }
    // A person has seen the errors; a pipe learns of them here.
    return failed_ && !terminal_ ? kFailed : kDone;
  }

 private:
  Status Prepare() {
    STELE_ASSIGN_OR_RETURN(model_, flags_.model.Load());
    STELE_ASSIGN_OR_RETURN(tokenizer_, LoadTokenizer(*model_));
    if (!tokenizer_)
      return FailedPrecondition("'" + flags_.model.artifact +
                                "' has no tokenizer; use run --tokens");
    STELE_ASSIGN_OR_RETURN(template_, LoadChatTemplate(*tokenizer_, false));
    options_.max_tokens = flags_.max_tokens;
    options_.sampling = flags_.sampling.Resolve(app_, model_->info());
    options_.stop = flags_.sampling.stop;
    options_.ignore_eos = flags_.sampling.ignore_eos;
    options_.lookup = flags_.lookup;
    EngineOptions engine;
    engine.session_tokens =
        flags_.context ? flags_.context
                       : std::min(kDefaultContext, model_->info().context());
    engine.draft_tokens = flags_.lookup;
    flags_.memory.Apply(&engine);
    flags_.attention.Apply(&engine);
    engine.cold_folder = flags_.store.store;
    STELE_ASSIGN_OR_RETURN(engine_, Engine::Create(model_, engine));
    std::fputs(engine_->memory_plan().ToString().c_str(), stderr);
    STELE_ASSIGN_OR_RETURN(session_, engine_->NewSession());
    Reset();
    return OpenStore();
  }

  // Goes on with the saved conversation, if there is one.
  Status OpenStore() {
    STELE_ASSIGN_OR_RETURN(const std::shared_ptr<Store> store,
                           flags_.store.Open());
    if (!store) return OkStatus();
    STELE_ASSIGN_OR_RETURN(archive_,
                           SessionArchive::Create(engine_.get(), store));
    STELE_ASSIGN_OR_RETURN(
        saved_, FindSession(flags_.store, store.get(), model_->artifact()));
    if (!saved_) return OkStatus();
    STELE_ASSIGN_OR_RETURN(messages_, MessagesOf(*saved_));
    if (messages_.is_null())
      return InvalidArgument("session '" + flags_.store.session +
                             "' is a text, no conversation; go on with it by "
                             "`stele run`, or use another name");
    if (!flags_.system.empty())
      return InvalidArgument("--system is too late, session '" +
                             flags_.store.session +
                             "' has begun; use another name");
    if (!app_.count("--seed")) options_.sampling.seed = saved_->next_seed;
    return OkStatus();
  }

  // Every turn is saved, so that a crash costs one turn at most.
  Status SaveTurn() {
    if (!archive_) return OkStatus();
    session_->set_next_seed(options_.sampling.seed);
    return flags_.store.session.empty()
               ? archive_->SavePages(*session_)
               : archive_->Save(*session_, flags_.store.session,
                                NoteOf(messages_));
  }

  void Reset() {
    messages_ = ordered_json::array();
    if (!flags_.system.empty())
      messages_.push_back({{"role", "system"}, {"content", flags_.system}});
  }

  // The next line that is not blank; nothing at the end of the input.
  std::optional<std::string> ReadLine() {
    for (std::string line;;) {
      if (terminal_) std::fputs("> ", stderr);
      if (!std::getline(std::cin, line)) return std::nullopt;
      const size_t begin = line.find_first_not_of(" \t\r");
      if (begin == std::string::npos) continue;
      return line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin);
    }
  }

  Status Command(const std::string& line) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string name = line.substr(0, space);
    const size_t begin = line.find_first_not_of(' ', space);
    const std::string argument =
        begin == std::string::npos ? "" : line.substr(begin);
    if (name == "/save" || name == "/load") {
      if (argument.empty()) return InvalidArgument(name + " needs a file name");
      return name == "/save" ? Save(argument) : Load(argument);
    }
    if (name == "/help") {
      std::fputs(kHelp, stdout);
    } else if (name == "/reset") {
      Reset();
    } else if (name == "/stats") {
      PrintStats();
    } else if (name == "/exit" || name == "/quit") {
      over_ = true;
    } else {
      return InvalidArgument("there is no command '" + Printable(name) +
                             "'; /help lists them");
    }
    std::fflush(stdout);
    return OkStatus();
  }

  Status Save(const std::string& path) const {
    const std::string text =
        messages_.dump(2, ' ', false, ordered_json::error_handler_t::replace) +
        "\n";
    return WriteFile(path, std::as_bytes(std::span(text)));
  }

  Status Load(const std::string& path) {
    STELE_ASSIGN_OR_RETURN(const std::string content,
                           ReadFile(path, kMaxConversationBytes));
    STELE_ASSIGN_OR_RETURN(ordered_json messages,
                           text::ParseJson(content, "'" + path + "'"));
    const bool valid =
        messages.is_array() &&
        std::all_of(messages.begin(), messages.end(), [](const auto& message) {
          return message.is_object() && message.contains("role");
        });
    if (!valid)
      return InvalidArgument("'" + path + "' is not an array of messages");
    messages_ = std::move(messages);
    return OkStatus();
  }

  // One turn. After an error the conversation is as it was.
  Status Say(const std::string& text) {
    ordered_json before = messages_;
    messages_.push_back({{"role", "user"}, {"content", text}});
    Result<std::string> answer = Answer();
    if (!answer.ok()) {
      messages_ = std::move(before);
      return answer.status();
    }
    messages_.push_back({{"role", "assistant"}, {"content", *answer}});
    return SaveTurn();
  }

  // Makes the session hold this prompt and nothing else.
  Status FeedPrompt(const std::vector<int32_t>& prompt) {
    const std::vector<int32_t>& held = session_->tokens();
    const size_t limit = std::min<size_t>(session_->position(), prompt.size());
    size_t common = 0;
    while (common < limit && held[common] == prompt[common]) ++common;
    // The last token always runs: its logits are what the answer starts from.
    if (common == prompt.size()) --common;
    STELE_RETURN_IF_ERROR(session_->Truncate(common));
    STELE_RETURN_IF_ERROR(session_->Feed(std::span(prompt).subspan(common)));
    if (archive_)
      STELE_RETURN_IF_ERROR(archive_->LoadPrefix(
          session_.get(), flags_.store.session, saved_ ? &*saved_ : nullptr));
    stats_ = {.prompt_tokens = prompt.size(),
              .reused_tokens = session_->position()};
    return OkStatus();
  }

  Result<std::string> Answer() {
    text::ChatRequest request;
    request.messages = messages_;
    STELE_ASSIGN_OR_RETURN(const Request prompt,
                           RenderChat(*tokenizer_, *template_, request));
    if (prompt.tokens.size() >= session_->max_tokens())
      return ResourceExhausted(Format(
          "the conversation is %zu tokens long, the chat was planned for %llu; "
          "/reset, or start with a larger --context",
          prompt.tokens.size(),
          static_cast<unsigned long long>(session_->max_tokens())));
    STELE_RETURN_IF_ERROR(FeedPrompt(prompt.tokens));
    ClearInterrupt();
    return Generate();
  }

  Result<std::string> Generate() {
    const Clock::time_point start = Clock::now();
    const auto seconds = [&] {
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    STELE_ASSIGN_OR_RETURN(auto generation,
                           Generation::Create(*model_, tokenizer_.get(),
                                              session_.get(), options_));
    ++options_.sampling.seed;  // another answer draws other numbers
    size_t shown = 0;
    while (!generation->done() && !Interrupted()) {
      STELE_RETURN_IF_ERROR(engine_->Step().status());
      STELE_RETURN_IF_ERROR(generation->Advance());
      if (stats_.generated == 0) stats_.first_token_s = seconds();
      stats_.generated = generation->tokens().size();
      const std::string& text = generation->text();
      std::fwrite(text.data() + shown, 1, text.size() - shown, stdout);
      std::fflush(stdout);
      shown = text.size();
    }
    std::printf("\n");
    std::fflush(stdout);
    stats_.total_s = seconds();
    return generation->text();
  }

  void PrintStats() const {
    std::printf("conversation  %zu messages, %zu of %llu tokens\n",
                messages_.size(), session_->tokens().size(),
                static_cast<unsigned long long>(session_->max_tokens()));
    std::printf("last prompt   %llu tokens, %llu of them kept from before\n",
                static_cast<unsigned long long>(stats_.prompt_tokens),
                static_cast<unsigned long long>(stats_.reused_tokens));
    const double decoding = stats_.total_s - stats_.first_token_s;
    std::printf(
        "last answer   %llu tokens, the first after %s, then %.1f tokens/s\n",
        static_cast<unsigned long long>(stats_.generated),
        FormatSeconds(stats_.first_token_s).c_str(),
        stats_.generated > 1 && decoding > 0
            ? static_cast<double>(stats_.generated - 1) / decoding
            : 0);
    std::printf("memory        %s planned, %s anonymous\n",
                FormatBytes(engine_->memory_plan().allocated()).c_str(),
                FormatBytes(AnonymousMemory()).c_str());
    if (archive_)
      std::printf("%s\n", StoreStatsLine(archive_->counters()).c_str());
  }

  const CLI::App& app_;
  const ChatFlags& flags_;
  const bool terminal_ = isatty(STDIN_FILENO);
  bool over_ = false;
  bool failed_ = false;
  std::shared_ptr<Model> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::optional<text::ChatTemplate> template_;
  GenerationOptions options_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<SessionArchive> archive_;  // null: no --store
  std::optional<SessionManifest> saved_;     // the session before this chat
  ordered_json messages_;
  AnswerStats stats_;
};

}  // namespace

int RunChat(int argc, char** argv) {
  CLI::App app("Talk with a model");
  ChatFlags flags;
  flags.AddTo(app);
  if (auto code = Parse(
          app, argc, argv,
          "OUT.stele [--system TEXT] [-n N] [--context N] "
          "[--store DIR [--session NAME]] [run's sampling and device flags]",
          "stele chat smollm2.stele --system \"Be brief.\""))
    return *code;
  return Chat(app, flags).Run();
}

}  // namespace stele::cli
