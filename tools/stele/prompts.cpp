// Reading and tokenising prompts; see prompts.h.
#include "prompts.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"

namespace stele::cli {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxPromptBytes = 1ull << 30;

Result<std::vector<int32_t>> ParseIds(std::string_view text,
                                      const std::string& source) {
  constexpr std::string_view kSeparators = ", \t\r\n";
  std::vector<int32_t> ids;
  for (size_t at = 0;;) {
    at = text.find_first_not_of(kSeparators, at);
    if (at == std::string_view::npos) break;
    const size_t end =
        std::min(text.find_first_of(kSeparators, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    int32_t id = 0;
    const auto [rest, error] =
        std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || rest != word.data() + word.size())
      return InvalidArgument(source + ": '" + Printable(word) +
                             "' is not a token id");
    ids.push_back(id);
    at = end;
  }
  return ids;
}

class RequestReader {
 public:
  RequestReader(const PromptFlags& flags, const text::Tokenizer* tokenizer)
      : flags_(flags), tokenizer_(tokenizer) {}

  Result<std::vector<Request>> Read() const {
    if (!flags_.prompts.empty()) return FromLines();
    std::vector<Request> requests(1);
    STELE_ASSIGN_OR_RETURN(requests[0], One());
    return requests;
  }

 private:
  Result<Request> One() const {
    if (!flags_.tokens.empty()) return FromIds();
    std::string text;
    if (!flags_.source.empty() || !flags_.file.empty()) {
      STELE_ASSIGN_OR_RETURN(
          text,
          ReadFile(flags_.source.empty() ? flags_.file : "-", kMaxPromptBytes));
    }
    if (!flags_.prompt.empty()) {
      if (!text.empty()) text += "\n\n";
      text += flags_.prompt;
    }
    return FromText(std::move(text), "prompt");
  }

  Result<Request> FromIds() const {
    std::string list = flags_.tokens;
    if (list.starts_with('@')) {
      STELE_ASSIGN_OR_RETURN(list, ReadFile(list.substr(1), kMaxPromptBytes));
    }
    Request request;
    STELE_ASSIGN_OR_RETURN(request.tokens, ParseIds(list, "--tokens"));
    return Checked(std::move(request), "--tokens");
  }

  Result<Request> FromText(std::string text, const std::string& source) const {
    if (!tokenizer_)
      return FailedPrecondition(
          source + ": this artifact has no tokenizer; use --tokens");
    Request request;
    request.text = std::move(text);
    STELE_ASSIGN_OR_RETURN(request.tokens, tokenizer_->Encode(request.text));
    return Checked(std::move(request), source);
  }

  static Result<Request> Checked(Request request, const std::string& source) {
    if (request.tokens.empty())
      return InvalidArgument(source +
                             " is empty: there is no token to start "
                             "from");
    return request;
  }

  Result<std::vector<Request>> FromLines() const {
    STELE_ASSIGN_OR_RETURN(const std::string content,
                           ReadFile(flags_.prompts, kMaxPromptBytes));
    std::vector<Request> requests;
    std::istringstream lines(content);
    std::string line;
    for (int number = 1; std::getline(lines, line); ++number) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const std::string where =
          "'" + flags_.prompts + "' line " + std::to_string(number);
      STELE_ASSIGN_OR_RETURN(Request request, FromLine(line, where));
      requests.push_back(std::move(request));
    }
    if (requests.empty())
      return InvalidArgument("'" + flags_.prompts + "' holds no request");
    return requests;
  }

  Result<Request> FromLine(const std::string& line,
                           const std::string& where) const {
    const json value = json::parse(line, nullptr, false);
    if (!value.is_object() || value.size() != 1)
      return InvalidArgument(where +
                             ": expected one of {\"prompt\": TEXT}, "
                             "{\"tokens\": [IDS]}");
    const auto& [key, content] = *value.items().begin();
    if (key == "prompt" && content.is_string())
      return FromText(content.get<std::string>(), where);
    if (key == "tokens" && content.is_array()) {
      Request request;
      for (const json& id : content) {
        if (!id.is_number_integer())
          return InvalidArgument(where + ": " + id.dump() +
                                 " is not a token id");
        request.tokens.push_back(id.get<int32_t>());
      }
      return Checked(std::move(request), where);
    }
    return InvalidArgument(where + ": \"" + Printable(key) +
                           "\" is not a request");
  }

  const PromptFlags& flags_;
  const text::Tokenizer* tokenizer_;
};

}  // namespace

void PromptFlags::AddTo(CLI::App& app) {
  app.add_option("source", source, "-: the prompt is on standard input")
      ->check(CLI::IsMember({"-"}));
  app.add_option("-p,--prompt", prompt, "The prompt");
  app.add_option("-f,--file", file, "A file with the prompt");
  app.add_option("--tokens", tokens, "Token ids, or @FILE with token ids");
  app.add_option("--prompts", prompts,
                 "A file of requests, one JSON object a line: {\"prompt\": "
                 "TEXT} or {\"tokens\": [IDS]}; all run in one batch");
}

std::string PromptFlags::Check(const CLI::App& app) const {
  const bool text = app.count("--prompt") || app.count("--file");
  const int sources = text + (app.count("--tokens") > 0) +
                      (app.count("--prompts") > 0) + !source.empty();
  if (sources == 0) return "no prompt; give -p, -f, --tokens, --prompts or -";
  if (sources > 1) return "more than one source of prompts";
  return "";
}

Result<std::unique_ptr<text::Tokenizer>> LoadTokenizer(const Model& model) {
  if (model.tokenizer().empty()) return std::unique_ptr<text::Tokenizer>();
  STELE_ASSIGN_OR_RETURN(auto tokenizer,
                         text::Tokenizer::Load(model.tokenizer()));
  return tokenizer;
}

Result<std::vector<Request>> ReadRequests(const PromptFlags& flags,
                                          const text::Tokenizer* tokenizer) {
  return RequestReader(flags, tokenizer).Read();
}

}  // namespace stele::cli
