// Sampling, stopping and text of one answer; see generation.h.
#include "stele/runtime/engine/generation.h"

#include <algorithm>
#include <utility>

namespace stele {

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

Result<std::unique_ptr<Generation>> Generation::Create(
    const Model& model, const text::Tokenizer* tokenizer, Session* session,
    GenerationOptions options) {
  STELE_RETURN_IF_ERROR(options.sampling.Validate());
  if (!tokenizer && !options.stop.empty())
    return InvalidArgument(
        "stop strings need text, but this artifact has no tokenizer");
  return std::unique_ptr<Generation>(
      new Generation(model, tokenizer, session, std::move(options)));
}

Generation::Generation(const Model& model, const text::Tokenizer* tokenizer,
                       Session* session, GenerationOptions options)
    : model_(model),
      session_(session),
      options_(std::move(options)),
      sampler_(options_.sampling),
      stops_(options_.stop) {
  if (tokenizer) decoder_.emplace(*tokenizer);
  if (options_.max_tokens == 0) Finish(FinishReason::kLength);
}

bool Generation::IsEos(int32_t token) const {
  const auto& ids = *model_.info().eos_ids();
  return std::find(ids.begin(), ids.end(), static_cast<uint32_t>(token)) !=
         ids.end();
}

Status Generation::Advance() {
  if (done()) return OkStatus();
  if (session_->cancelled()) {
    Finish(FinishReason::kCancelled);
    return OkStatus();
  }
  if (session_->logits().empty()) return OkStatus();
  Take(sampler_.Sample(session_->logits(), session_->tokens(),
                       session_->sampler_scratch()));
  if (done()) return OkStatus();
  return session_->Feed({&tokens_.back(), 1});
}

void Generation::Take(int32_t token) {
  tokens_.push_back(token);
  if (IsEos(token) && !options_.ignore_eos) return Finish(FinishReason::kEos);
  if (decoder_) text_ += stops_.Push(decoder_->Push(token));
  if (stops_.matched()) return Finish(FinishReason::kStop);
  if (tokens_.size() == options_.max_tokens ||
      session_->tokens().size() == session_->max_tokens())
    Finish(FinishReason::kLength);
}

void Generation::Finish(FinishReason reason) {
  reason_ = reason;
  if (!decoder_) return;
  text_ += stops_.Push(decoder_->Finish());
  text_ += stops_.Finish();
}

}  // namespace stele
