// The answer to one prompt: samples from a session's logits, feeds the token
// back, decodes it, and knows when to stop.
//
// Place on the road: programs run many of these over one Engine: Step, then
// Advance each. What stopped it, its tokens and its text are read here.
#ifndef STELE_RUNTIME_ENGINE_GENERATION_H_
#define STELE_RUNTIME_ENGINE_GENERATION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/engine/model.h"
#include "stele/runtime/engine/sampler.h"
#include "stele/runtime/engine/session.h"
#include "stele/runtime/engine/stop_matcher.h"
#include "stele/runtime/text/tokenizer.h"

namespace stele {

struct GenerationOptions {
  uint64_t max_tokens = 256;
  SamplingOptions sampling;
  std::vector<std::string> stop;  // needs a tokenizer
  bool ignore_eos = false;
  uint32_t lookup = 0;  // tokens drafted from the context for every step
};

enum class FinishReason { kNone, kLength, kStop, kEos, kCancelled };

// "length", "stop", "eos", "cancelled"; "" for kNone.
const char* FinishReasonName(FinishReason reason);

// Not thread safe. The session, the model and the tokenizer must outlive it;
// without a tokenizer there is no text.
class Generation {
 public:
  static Result<std::unique_ptr<Generation>> Create(
      const Model& model, const text::Tokenizer* tokenizer, Session* session,
      GenerationOptions options);

  // Call after every step: when the session's logits are there, takes the next
  // token, and those that a draft foresaw. The last one is fed to the session,
  // with the next draft behind it, unless it ends the answer. With and without
  // drafts the tokens are the same.
  Status Advance();

  // Makes the answer end behind its first `tokens` tokens, of those there are.
  // The session forgets what follows them, drafts included.
  Status End(size_t tokens);

  // Feeds the answer's last token, where the session does not hold it and has
  // room: it then goes on behind the answer.
  Status Settle();

  FinishReason finish_reason() const { return reason_; }
  bool done() const { return reason_ != FinishReason::kNone; }
  // Generated so far, an end token included.
  const std::vector<int32_t>& tokens() const { return tokens_; }
  const std::string& text() const { return text_; }
  // Bytes of text() that were there when token `i` had been taken.
  size_t text_end(size_t i) const { return text_ends_[i]; }

 private:
  Generation(const Model& model, const text::Tokenizer* tokenizer,
             Session* session, GenerationOptions options);
  void TakeRows();
  void Take(int32_t token, uint64_t position);
  Status FeedNext();
  void Finish(FinishReason reason);
  bool IsEos(int32_t token) const;

  const Model& model_;
  Session* session_;
  GenerationOptions options_;
  Sampler sampler_;
  std::optional<text::StreamDecoder> decoder_;
  StopMatcher stops_;
  uint64_t start_;  // tokens of the session before the answer
  std::vector<int32_t> draft_;
  FinishReason reason_ = FinishReason::kNone;
  std::vector<int32_t> tokens_;
  std::string text_;
  std::vector<size_t> text_ends_;
  std::vector<uint64_t> next_seeds_;  // behind each token
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_GENERATION_H_
