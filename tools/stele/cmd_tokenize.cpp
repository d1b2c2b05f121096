// stele tokenize: text to the ids that `run --raw` would feed, and back.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "prompts.h"
#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"
#include "verbs.h"

namespace stele::cli {
namespace {

constexpr uint64_t kMaxInputBytes = 1ull << 30;

struct TokenizeFlags {
  ModelFlags model;
  std::string file = "-";
  bool decode = false;
  bool json = false;
};

Status CheckIds(const std::vector<int32_t>& ids, uint64_t vocabulary) {
  for (const int32_t id : ids)
    if (id < 0 || static_cast<uint64_t>(id) >= vocabulary)
      return InvalidArgument(
          Format("token id %d is not in the vocabulary of 0 to %llu", id,
                 static_cast<unsigned long long>(vocabulary - 1)));
  return OkStatus();
}

Result<std::string> Tokenize(const TokenizeFlags& flags) {
  STELE_ASSIGN_OR_RETURN(const auto artifact, flags.model.Open());
  STELE_ASSIGN_OR_RETURN(const auto tokenizer, LoadTokenizer(*artifact));
  if (!tokenizer)
    return FailedPrecondition("'" + flags.model.artifact +
                              "' has no tokenizer; compile a checkpoint with "
                              "tokenizer.json");
  STELE_ASSIGN_OR_RETURN(const std::string input,
                         ReadFile(flags.file, kMaxInputBytes));
  if (flags.decode) {
    STELE_ASSIGN_OR_RETURN(
        const auto ids,
        ParseIds(input, flags.file == "-" ? "standard input" : flags.file));
    STELE_RETURN_IF_ERROR(
        CheckIds(ids, artifact->plan().model()->vocab_size()));
    const std::string text = tokenizer->Decode(ids, false);
    if (!flags.json) return text;
    return nlohmann::json{{"text", text}}.dump(
               -1, ' ', false, nlohmann::json::error_handler_t::replace) +
           "\n";
  }
  STELE_ASSIGN_OR_RETURN(const auto ids, tokenizer->Encode(input));
  if (flags.json) return nlohmann::json{{"ids", ids}}.dump() + "\n";
  std::string line;
  for (const int32_t id : ids)
    line += (line.empty() ? "" : " ") + std::to_string(id);
  return line + "\n";
}

}  // namespace

int RunTokenize(int argc, char** argv) {
  CLI::App app("Turn text into token ids, or back");
  TokenizeFlags flags;
  flags.model.AddTo(app, true);
  app.add_option("-f,--file", flags.file, "The text, or with --decode the ids")
      ->capture_default_str();
  app.add_flag("--decode", flags.decode, "Read ids and print their text");
  app.add_flag("--json", flags.json,
               "Print {\"ids\": [...]}, or with --decode {\"text\": ...}");
  if (auto code =
          Parse(app, argc, argv, "OUT.stele [-f FILE] [--decode] [--json]",
                "echo hello | stele tokenize smollm2.stele"))
    return *code;
  const auto output = Tokenize(flags);
  if (!output.ok()) return Fail(output.status());
  std::fwrite(output->data(), 1, output->size(), stdout);
  return kDone;
}

}  // namespace stele::cli
