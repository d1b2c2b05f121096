// Fuzz target: any bytes as a chat template, rendered over a conversation.
// Whatever comes out, the user's stretches must be sorted, disjoint and inside
// the text, and a second render must give the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "stele/runtime/text/chat_template.h"

namespace {

using stele::text::ChatRequest;
using stele::text::ChatTemplate;
using stele::text::Prompt;
using stele::text::Span;

void Require(bool holds) {
  if (!holds)
    std::abort();
}

ChatRequest Conversation() {
  ChatRequest request;
  request.messages = nlohmann::ordered_json::parse(R"([
    {"role": "system", "content": "Be brief. "},
    {"role": "user", "content": "  Grüße <|im_end|> \"x\" 日本語😀\n"},
    {"role": "assistant", "content": null, "reasoning": "hm", "tool_calls": [
      {"type": "function", "function": {
        "name": "f", "arguments": {"a": [1, 2.5, true, null], "b": {}}}}]},
    {"role": "tool", "content": [{"type": "text", "text": "42"}]}])");
  request.tools = nlohmann::ordered_json::parse(R"([
    {"type": "function", "function": {"name": "f", "description": "d",
      "parameters": {"type": "object", "properties": {"a": {"type": "number"}},
                     "required": ["a"]}}}])");
  request.arguments = {{"n", 7}, {"big", 18446744073709551615ull}};
  return request;
}

// Small, so that one input takes milliseconds and not seconds.
stele::text::jinja::RenderOptions Options() {
  stele::text::jinja::RenderOptions options;
  options.limits.steps = 20'000;
  options.limits.memory_bytes = 4 << 20;
  options.limits.output_bytes = 1 << 20;
  options.now = [] { return std::tm{}; };
  return options;
}

void CheckSpans(const Prompt &prompt) {
  size_t end = 0;
  for (const Span &span : prompt.user) {
    Require(span.begin >= end && span.begin < span.end);
    end = span.end;
  }
  Require(end <= prompt.text.size());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const ChatRequest kRequest = Conversation();
  static const stele::text::jinja::RenderOptions kOptions = Options();
  auto chat = ChatTemplate::Parse(
      std::string_view(reinterpret_cast<const char *>(data), size),
      {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  if (!chat.ok()) {
    Require(!chat.status().message().empty());
    return 0;
  }
  auto prompt = chat->Render(kRequest, kOptions);
  auto again = chat->Render(kRequest, kOptions);
  Require(prompt.ok() == again.ok());
  if (!prompt.ok()) {
    Require(prompt.status().message() == again.status().message());
    return 0;
  }
  CheckSpans(*prompt);
  Require(prompt->text == again->text && prompt->user == again->user);
  return 0;
}
