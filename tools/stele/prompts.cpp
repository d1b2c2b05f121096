// Reading, rendering and tokenising prompts; see prompts.h.
#include "prompts.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <utility>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/text/json.h"

namespace stele::cli {
namespace {

using json = nlohmann::ordered_json;

constexpr uint64_t kMaxPromptBytes = 1ull << 30;

Result<json> ReadJson(const std::string& path) {
  STELE_ASSIGN_OR_RETURN(const std::string content,
                         ReadFile(path, kMaxPromptBytes));
  return text::ParseJson(content, "'" + path + "'");
}

Result<Request> Checked(Request request, const std::string& source) {
  if (request.tokens.empty())
    return InvalidArgument(source +
                           " is empty: there is no token to start from");
  return request;
}

class RequestReader {
 public:
  RequestReader(const PromptFlags& flags, const text::Tokenizer* tokenizer,
                const History* history)
      : flags_(flags), tokenizer_(tokenizer), history_(history) {}

  Result<std::vector<Request>> Read() {
    if (!flags_.prompts.empty()) return FromLines();
    std::vector<Request> requests(1);
    STELE_ASSIGN_OR_RETURN(requests[0], One());
    return requests;
  }

 private:
  Result<Request> One() {
    if (!flags_.tokens.empty()) return FromIds();
    if (!flags_.messages.empty()) return FromMessagesFile();
    if (history_ && flags_.NoPrompt())
      return Request{"", history_->tokens, history_->messages};
    std::string text;
    if (!flags_.source.empty() || !flags_.file.empty()) {
      STELE_ASSIGN_OR_RETURN(
          text,
          ReadFile(flags_.source.empty() ? flags_.file : "-", kMaxPromptBytes));
    }
    if (flags_.prompt.empty()) return FromText(std::move(text), "the prompt");
    if (!text.empty()) text += "\n\n";
    text += flags_.prompt;
    return FromQuestion(std::move(text));
  }

  Result<Request> FromIds() const {
    std::string list = flags_.tokens;
    if (list.starts_with('@')) {
      STELE_ASSIGN_OR_RETURN(list, ReadFile(list.substr(1), kMaxPromptBytes));
    }
    Request request;
    STELE_ASSIGN_OR_RETURN(request.tokens, ParseIds(list, "--tokens"));
    return Behind(std::move(request), "--tokens");
  }

  // Plain tokens behind those of the history.
  Result<Request> Behind(Request request, const std::string& source) const {
    STELE_ASSIGN_OR_RETURN(request, Checked(std::move(request), source));
    if (!history_) return request;
    if (!history_->messages.is_null())
      return InvalidArgument(source +
                             " is no message, but the session is a "
                             "conversation; use -p, --chat or --messages");
    request.tokens.insert(request.tokens.begin(), history_->tokens.begin(),
                          history_->tokens.end());
    return request;
  }

  // The history's messages, and `messages` behind them.
  Result<json> WithHistory(json messages, const std::string& source) const {
    if (!history_) return messages;
    if (history_->messages.is_null())
      return InvalidArgument(source +
                             " is a message, but the session is no "
                             "conversation; use --raw or --tokens");
    if (!flags_.system.empty())
      return InvalidArgument(
          "--system is too late, the session has begun; use another name");
    json all = history_->messages;
    for (json& message : messages) all.push_back(std::move(message));
    return all;
  }

  // Text that a user typed: a chat where the model is made for chats.
  Result<Request> FromQuestion(std::string text) {
    const bool chat = flags_.chat || (!flags_.raw && tokenizer_ &&
                                      !tokenizer_->chat_templates().empty());
    return chat ? FromMessages(Conversation(std::move(text)), "the prompt")
                : FromRawText(std::move(text), "the prompt");
  }

  Result<Request> FromText(std::string text, const std::string& source) {
    return flags_.chat ? FromMessages(Conversation(std::move(text)), source)
                       : FromRawText(std::move(text), source);
  }

  Result<Request> FromRawText(std::string text,
                              const std::string& source) const {
    STELE_RETURN_IF_ERROR(NeedTokenizer(source));
    Request request;
    request.text = std::move(text);
    text::EncodeOptions options;
    options.add_special_tokens = !history_;  // they are in front of it
    STELE_ASSIGN_OR_RETURN(request.tokens,
                           tokenizer_->Encode(request.text, options));
    return Behind(std::move(request), source);
  }

  Status NeedTokenizer(const std::string& source) const {
    if (tokenizer_) return OkStatus();
    return FailedPrecondition(
        source + " is text, but this artifact has no tokenizer; use --tokens");
  }

  json Conversation(std::string text) const {
    json messages = json::array();
    if (!flags_.system.empty())
      messages.push_back({{"role", "system"}, {"content", flags_.system}});
    messages.push_back({{"role", "user"}, {"content", std::move(text)}});
    return messages;
  }

  Result<Request> FromMessagesFile() {
    STELE_ASSIGN_OR_RETURN(json messages, ReadJson(flags_.messages));
    return FromMessages(std::move(messages), "'" + flags_.messages + "'");
  }

  Result<Request> FromMessages(json messages, const std::string& source) {
    STELE_RETURN_IF_ERROR(NeedTokenizer(source));
    if (!messages.is_array())
      return InvalidArgument(source + " is not an array of messages");
    if (messages.empty())
      return InvalidArgument(source + " has no message to answer");
    text::ChatRequest chat;
    STELE_ASSIGN_OR_RETURN(chat.messages,
                           WithHistory(std::move(messages), source));
    if (!flags_.tools.empty()) {
      STELE_ASSIGN_OR_RETURN(chat.tools, ReadJson(flags_.tools));
    }
    if (!template_) {
      STELE_ASSIGN_OR_RETURN(
          template_, LoadChatTemplate(*tokenizer_, !chat.tools.is_null()));
    }
    return RenderChat(*tokenizer_, *template_, chat);
  }

  Result<std::vector<Request>> FromLines() {
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

  Result<Request> FromLine(const std::string& line, const std::string& where) {
    STELE_ASSIGN_OR_RETURN(json value, text::ParseJson(line, where));
    if (!value.is_object() || value.size() != 1)
      return InvalidArgument(where +
                             ": expected one of {\"prompt\": TEXT}, "
                             "{\"messages\": [...]}, {\"tokens\": [IDS]}");
    const std::string key = value.begin().key();
    json& content = value.begin().value();
    if (key == "prompt" && content.is_string())
      return FromText(content.get<std::string>(), where);
    if (key == "messages") return FromMessages(std::move(content), where);
    if (key == "tokens" && content.is_array())
      return FromIdArray(content, where);
    return InvalidArgument(where + ": \"" + Printable(key) +
                           "\" is not a request");
  }

  static Result<Request> FromIdArray(const json& ids,
                                     const std::string& where) {
    Request request;
    for (const json& id : ids) {
      if (!id.is_number_integer() || id < INT32_MIN || id > INT32_MAX)
        return InvalidArgument(where + ": " + Printable(id.dump()) +
                               " is not a token id");
      request.tokens.push_back(id.get<int32_t>());
    }
    return Checked(std::move(request), where);
  }

  const PromptFlags& flags_;
  const text::Tokenizer* tokenizer_;
  const History* history_;
  std::optional<text::ChatTemplate> template_;  // parsed when first needed
};

}  // namespace

void PromptFlags::AddTo(CLI::App& app) {
  app.add_option("source", source, "-: the prompt is on standard input")
      ->check(CLI::IsMember({"-"}));
  app.add_option("-p,--prompt", prompt, "The prompt");
  app.add_option("-f,--file", file,
                 "A file with the prompt; with -p: before it");
  app.add_option("--tokens", tokens, "Token ids, or @FILE with token ids");
  CLI::Option* conversation = app.add_option(
      "--messages", messages,
      "A JSON file with a conversation: [{\"role\": ..., \"content\": ...}]");
  app.add_option("--tools", tools, "A JSON file with function schemas")
      ->needs(conversation);
  app.add_option("--prompts", prompts,
                 "A file of requests, one JSON object a line: {\"prompt\": "
                 "TEXT} (raw text unless --chat), {\"messages\": [...]} or "
                 "{\"tokens\": [IDS]}; all run in one batch");
  CLI::Option* raw_flag =
      app.add_flag("--raw", raw, "Do not use the chat template");
  app.add_flag("--chat", chat,
               "Use the chat template (default for -p, where there is one)")
      ->excludes(raw_flag);
  app.add_option("--system", system, "The system message of the chat")
      ->excludes(raw_flag);
}

bool PromptFlags::NoPrompt() const {
  return prompt.empty() && file.empty() && source.empty();
}

std::string PromptFlags::Check(const CLI::App& app, bool has_session) const {
  const bool text = app.count("--prompt") || app.count("--file");
  const int sources = text + (app.count("--tokens") > 0) +
                      (app.count("--messages") > 0) +
                      (app.count("--prompts") > 0) + !source.empty();
  if (sources == 0 && !has_session)
    return "no prompt; give -p, -f, --tokens, --messages, --prompts or -";
  if (sources > 1) return "more than one source of prompts";
  return "";
}

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

Result<std::unique_ptr<text::Tokenizer>> LoadTokenizer(
    const Artifact& artifact) {
  const auto& segments = *artifact.plan().segments();
  for (uint32_t i = 0; i < segments.size(); ++i)
    if (segments.Get(i)->kind() == plan::SegmentKind::Tokenizer)
      return text::Tokenizer::Load(artifact.segment(i));
  return std::unique_ptr<text::Tokenizer>();
}

Result<std::unique_ptr<text::Tokenizer>> LoadTokenizer(const Model& model) {
  return LoadTokenizer(model.artifact());
}

Result<text::ChatTemplate> LoadChatTemplate(const text::Tokenizer& tokenizer,
                                            bool with_tools) {
  const auto templates = tokenizer.chat_templates();
  if (templates.empty())
    return FailedPrecondition(
        "this artifact has no chat template; use --raw, or a checkpoint with "
        "chat_template.jinja");
  const text::NamedTemplate* chosen = &templates[0];
  for (const text::NamedTemplate& named : templates)
    if (with_tools && named.name == "tool_use") chosen = &named;
  std::map<std::string, std::string> special;
  for (const text::NamedToken& token : tokenizer.named_tokens())
    special.emplace(token.name, token.content);
  return text::ChatTemplate::Parse(chosen->text, std::move(special));
}

Result<Request> RenderChat(const text::Tokenizer& tokenizer,
                           const text::ChatTemplate& chat_template,
                           const text::ChatRequest& chat) {
  STELE_ASSIGN_OR_RETURN(text::Prompt prompt, chat_template.Render(chat));
  text::EncodeOptions options;
  options.add_special_tokens = false;  // the template spells them
  options.literal = prompt.user;
  Request request;
  STELE_ASSIGN_OR_RETURN(request.tokens,
                         tokenizer.Encode(prompt.text, options));
  request.text = std::move(prompt.text);
  request.messages = chat.messages;
  return Checked(std::move(request), "the rendered conversation");
}

Result<std::vector<Request>> ReadRequests(const PromptFlags& flags,
                                          const text::Tokenizer* tokenizer,
                                          const History* history) {
  return RequestReader(flags, tokenizer, history).Read();
}

}  // namespace stele::cli
