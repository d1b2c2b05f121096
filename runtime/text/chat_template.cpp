// Preparation of a conversation for its template. See chat_template.h.
#include "stele/runtime/text/chat_template.h"

#include <algorithm>
#include <array>
#include <utility>

namespace stele::text {
namespace {

using nlohmann::ordered_json;

// Names under which a message's reasoning arrives; the first not null counts.
constexpr std::array<const char*, 3> kReasoning = {"reasoning_content",
                                                   "thinking", "reasoning"};

// The usual roles are not the user's words: templates may build a special token
// from one ("<|" ~ role ~ "|>"). Any other role is treated as content.
bool IsTrusted(std::string_view key, std::string_view value) {
  static constexpr std::array<std::string_view, 8> kRoles = {
      "assistant", "developer", "function", "ipython",
      "model",     "system",    "tool",     "user"};
  return key == "role" &&
         std::find(kRoles.begin(), kRoles.end(), value) != kRoles.end();
}

// transformers drops members that are null and makes the reasoning available
// under each name that templates use.
ordered_json PrepareMessage(const ordered_json& message) {
  ordered_json prepared = ordered_json::object();
  const ordered_json* reasoning = nullptr;
  for (const char* name : kReasoning) {
    auto it = message.find(name);
    if (it == message.end() || it->is_null()) continue;
    reasoning = &*it;
    prepared["thinking"] = *reasoning;
    break;
  }
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) prepared[key] = value;
  }
  if (reasoning) prepared["reasoning_content"] = *reasoning;
  return prepared;
}

Result<ordered_json> PrepareMessages(const ordered_json& messages) {
  if (!messages.is_array() || messages.empty()) {
    return InvalidArgument(
        "messages: expected an array of at least one message");
  }
  ordered_json prepared = ordered_json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object()) {
      return InvalidArgument("messages[" + std::to_string(i) + "]: a " +
                             messages[i].type_name() +
                             " is no message; expected an object with role "
                             "and content");
    }
    prepared.push_back(PrepareMessage(messages[i]));
  }
  return prepared;
}

Status CheckList(const char* name, const ordered_json& list) {
  if (list.is_null()) return OkStatus();
  bool objects = list.is_array() &&
                 std::all_of(list.begin(), list.end(),
                             [](const auto& item) { return item.is_object(); });
  if (objects) return OkStatus();
  return InvalidArgument(std::string(name) + ": expected an array of objects");
}

}  // namespace

Result<ChatTemplate> ChatTemplate::Parse(
    std::string_view source,
    std::map<std::string, std::string> special_tokens) {
  STELE_ASSIGN_OR_RETURN(jinja::Template parsed,
                         jinja::Template::Parse(source));
  return ChatTemplate(std::move(parsed), std::move(special_tokens));
}

Result<Prompt> ChatTemplate::Render(const ChatRequest& request,
                                    const jinja::RenderOptions& options) const {
  STELE_ASSIGN_OR_RETURN(ordered_json messages,
                         PrepareMessages(request.messages));
  STELE_RETURN_IF_ERROR(CheckList("tools", request.tools));
  STELE_RETURN_IF_ERROR(CheckList("documents", request.documents));
  if (!request.arguments.is_object()) {
    return InvalidArgument("template arguments: expected an object");
  }
  std::vector<jinja::Variable> variables;
  for (const auto& [name, token] : special_tokens_) {
    variables.push_back({name, token, true});
  }
  variables.push_back({"messages", std::move(messages), false, IsTrusted});
  variables.push_back({"tools", request.tools});
  variables.push_back({"documents", request.documents});
  variables.push_back({"add_generation_prompt", request.add_generation_prompt});
  for (const auto& [name, value] : request.arguments.items()) {
    variables.push_back({name, value});
  }
  STELE_ASSIGN_OR_RETURN(jinja::Text text,
                         template_.Render(variables, options));
  return Prompt{std::move(text.bytes), std::move(text.user)};
}

}  // namespace stele::text
