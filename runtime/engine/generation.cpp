// Sampling, stopping and text of one answer; see generation.h.
#include "stele/runtime/engine/generation.h"

#include <algorithm>
#include <utility>

#include "stele/runtime/engine/prompt_lookup.h"

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
  if (options.lookup > session->max_drafts())
    return InvalidArgument("drafts of " + std::to_string(options.lookup) +
                           " tokens, but the engine plans for " +
                           std::to_string(session->max_drafts()) +
                           "; plan more draft_tokens");
  return std::unique_ptr<Generation>(
      new Generation(model, tokenizer, session, std::move(options)));
}

Generation::Generation(const Model& model, const text::Tokenizer* tokenizer,
                       Session* session, GenerationOptions options)
    : model_(model),
      session_(session),
      options_(std::move(options)),
      sampler_(options_.sampling),
      stops_(options_.stop),
      start_(session->tokens().size()),
      draft_(options_.lookup) {
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
    return End(tokens_.size());
  }
  if (session_->rows() == 0) return OkStatus();
  TakeRows();
  return done() ? OkStatus() : FeedNext();
}

// A draft is one certain guess, so that rejection sampling is this: draw from
// the model's distribution, and go on to the next row while the draw is what
// was guessed. Each token takes one draw, as it does without drafts.
void Generation::TakeRows() {
  const uint32_t rows = session_->rows();
  const std::span<const int32_t> fed = session_->tokens();
  for (uint32_t row = 0;; ++row) {
    const size_t known = fed.size() - (rows - 1 - row);
    const int32_t token = sampler_.Sample(
        session_->logits(row), fed.first(known), session_->sampler_scratch());
    Take(token, known);
    const bool foreseen = row + 1 < rows && fed[known] == token;
    if (!done() && foreseen) continue;
    return session_->Keep(row);
  }
}

// `position`: of the session's tokens, those before this one.
void Generation::Take(int32_t token, uint64_t position) {
  tokens_.push_back(token);
  if (IsEos(token) && !options_.ignore_eos) {
    Finish(FinishReason::kEos);
  } else {
    if (decoder_) text_ += stops_.Push(decoder_->Push(token));
    if (stops_.matched())
      Finish(FinishReason::kStop);
    else if (tokens_.size() == options_.max_tokens ||
             position == session_->max_tokens())
      Finish(FinishReason::kLength);
  }
  text_ends_.push_back(text_.size());
  next_seeds_.push_back(sampler_.next_seed());
  session_->set_next_seed(next_seeds_.back());
}

// A draft longer than what may still be taken would be work for nothing.
Status Generation::FeedNext() {
  STELE_RETURN_IF_ERROR(session_->Feed({&tokens_.back(), 1}));
  const uint64_t most =
      std::min<uint64_t>({options_.lookup, session_->draft_room(),
                          options_.max_tokens - tokens_.size() - 1,
                          session_->max_tokens() - session_->tokens().size()});
  const size_t drafted =
      PromptLookup(session_->tokens(), std::span(draft_).first(most));
  return session_->Feed(std::span(draft_).first(drafted),
                        static_cast<uint32_t>(drafted) + 1);
}

// What was fed behind the kept tokens goes; the last of them is fed again, so
// that the session can go on from there.
Status Generation::End(size_t tokens) {
  tokens_.resize(tokens);
  session_->set_next_seed(tokens > 0 ? next_seeds_[tokens - 1]
                                     : options_.sampling.seed);
  const uint64_t kept = start_ + tokens;
  if (tokens == 0 || session_->tokens().size() <= kept) return OkStatus();
  STELE_RETURN_IF_ERROR(session_->Truncate(kept - 1));
  return session_->Feed({&tokens_.back(), 1});
}

Status Generation::Settle() {
  const uint64_t held = session_->tokens().size();
  if (held >= start_ + tokens_.size() || held == session_->max_tokens())
    return OkStatus();
  return session_->Feed({&tokens_.back(), 1});
}

void Generation::Finish(FinishReason reason) {
  reason_ = reason;
  if (!decoder_) return;
  text_ += stops_.Push(decoder_->Finish());
  text_ += stops_.Finish();
}

}  // namespace stele
