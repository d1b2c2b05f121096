// Chat template: a conversation becomes the text of a prompt.
//
// The road: messages (JSON) -> the model's Jinja template -> prompt text with
// the stretches that the user wrote -> tokenizer, which reads special tokens
// only outside of them. Prepares its input as transformers' apply_chat_template
// does, so that the text is the same byte for byte.
#ifndef STELE_RUNTIME_TEXT_CHAT_TEMPLATE_H_
#define STELE_RUNTIME_TEXT_CHAT_TEMPLATE_H_

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/text/jinja/template.h"
#include "stele/runtime/text/span.h"

namespace stele::text {

struct ChatRequest {
  nlohmann::ordered_json messages;   // array of {"role", "content", ...}
  nlohmann::ordered_json tools;      // array of function schemas, or null
  nlohmann::ordered_json documents;  // array, or null
  // More variables for the template, such as {"enable_thinking": false}.
  nlohmann::ordered_json arguments = nlohmann::ordered_json::object();
  bool add_generation_prompt = true;
};

struct Prompt {
  std::string text;
  // Bytes of `text` that came from the request: sorted, disjoint.
  std::vector<Span> user;
};

// Immutable; any number of threads may render at a time.
class ChatTemplate {
 public:
  // `special_tokens` maps "bos_token", "eos_token", ... to their texts.
  static Result<ChatTemplate> Parse(
      std::string_view source,
      std::map<std::string, std::string> special_tokens);

  // See jinja::Template.
  const std::string& unknown() const { return template_.unknown(); }

  Result<Prompt> Render(const ChatRequest& request,
                        const jinja::RenderOptions& options = {}) const;

 private:
  ChatTemplate(jinja::Template parsed,
               std::map<std::string, std::string> special_tokens)
      : template_(std::move(parsed)),
        special_tokens_(std::move(special_tokens)) {}

  jinja::Template template_;
  std::map<std::string, std::string> special_tokens_;
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_CHAT_TEMPLATE_H_
