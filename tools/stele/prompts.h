// From the flags that name a prompt to token ids.
//
// Place on the road: `run` reads every source that cli.md lists; each becomes
// one or more requests, rendered by the chat template where that applies, and
// tokenised.
#ifndef STELE_TOOLS_STELE_PROMPTS_H_
#define STELE_TOOLS_STELE_PROMPTS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/engine/model.h"
#include "stele/runtime/text/chat_template.h"
#include "stele/runtime/text/tokenizer.h"

namespace stele::cli {

struct Request {
  std::string text;  // as given to the tokenizer; empty for token ids
  std::vector<int32_t> tokens;
  nlohmann::ordered_json messages;  // that were rendered; null: none were
};

// What a saved session holds before the prompt.
struct History {
  std::vector<int32_t> tokens;
  nlohmann::ordered_json messages;  // null: plain tokens
};

// Where prompts come from. One source is given; -f and -p together are one
// prompt, the file before the question.
struct PromptFlags {
  std::string prompt;
  std::string file;
  std::string tokens;
  std::string messages;
  std::string tools;
  std::string prompts;
  std::string source;  // "-": standard input
  std::string system;
  bool chat = false;
  bool raw = false;

  void AddTo(CLI::App& app);
  // Neither -p, -f nor -.
  bool NoPrompt() const;
  // What is wrong with the combination; empty when nothing is. A session goes
  // on without a prompt.
  std::string Check(const CLI::App& app, bool has_session = false) const;
};

// The artifact's tokenizer; null when it has none.
Result<std::unique_ptr<text::Tokenizer>> LoadTokenizer(
    const Artifact& artifact);
Result<std::unique_ptr<text::Tokenizer>> LoadTokenizer(const Model& model);

// The ids in `text`, between blanks or commas; `source` names it in errors.
Result<std::vector<int32_t>> ParseIds(std::string_view text,
                                      const std::string& source);

// The tokenizer's chat template; for a request with tools the one named
// "tool_use", where there is one.
Result<text::ChatTemplate> LoadChatTemplate(const text::Tokenizer& tokenizer,
                                            bool with_tools);

// A conversation as the model sees it, in tokens.
Result<Request> RenderChat(const text::Tokenizer& tokenizer,
                           const text::ChatTemplate& chat_template,
                           const text::ChatRequest& chat);

// `tokenizer` may be null: then only token ids can be read. With a history
// there is one request, which goes on from it: with its messages rendered
// together with the new ones, or behind its tokens. Without a prompt it is the
// history itself, whose last answer goes on.
Result<std::vector<Request>> ReadRequests(const PromptFlags& flags,
                                          const text::Tokenizer* tokenizer,
                                          const History* history = nullptr);

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_PROMPTS_H_
