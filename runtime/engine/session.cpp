// Feeding and truncating a session; see session.h. Engine::Step does the rest.
#include "stele/runtime/engine/session.h"

#include <string>
#include <utility>

#include "stele/runtime/engine/engine.h"

namespace stele {

Session::Session(Engine* engine, uint64_t max_tokens,
                 std::unique_ptr<PageTable> pages, uint32_t vocabulary)
    : engine_(engine),
      max_tokens_(max_tokens),
      vocabulary_(vocabulary),
      pages_(std::move(pages)),
      logits_(vocabulary) {
  tokens_.reserve(max_tokens);
}

Session::~Session() { engine_->Remove(this); }

Status Session::Feed(std::span<const int32_t> tokens) {
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || static_cast<uint32_t>(tokens[i]) >= vocabulary_)
      return InvalidArgument(
          "token " + std::to_string(i) + " is " + std::to_string(tokens[i]) +
          ", the vocabulary has ids 0 to " + std::to_string(vocabulary_ - 1));
  if (tokens.size() > max_tokens_ - tokens_.size())
    return ResourceExhausted(std::to_string(tokens_.size() + tokens.size()) +
                             " tokens, but memory is planned for " +
                             std::to_string(max_tokens_) +
                             " in this session; plan a longer one");
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  if (!tokens.empty()) has_logits_ = false;
  return OkStatus();
}

std::span<const float> Session::logits() const {
  if (!has_logits_) return {};
  return logits_;
}

SamplerScratch& Session::sampler_scratch() const {
  return *engine_->sampler_scratch_;
}

Status Session::Truncate(uint64_t tokens) {
  if (tokens > tokens_.size())
    return InvalidArgument("cannot keep " + std::to_string(tokens) +
                           " tokens of " + std::to_string(tokens_.size()));
  if (tokens < tokens_.size()) has_logits_ = false;
  tokens_.resize(tokens);
  if (position_ > tokens) position_ = tokens;
  if (pages_) pages_->Truncate(position_);
  return OkStatus();
}

}  // namespace stele
