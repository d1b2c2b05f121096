// Feeding and truncating a session; see session.h. Engine::Step does the rest.
#include "stele/runtime/engine/session.h"

#include <algorithm>
#include <string>
#include <utility>

#include "stele/runtime/engine/engine.h"

namespace stele {

Session::Session(Engine* engine, uint32_t place, uint64_t max_tokens,
                 std::unique_ptr<PageTable> pages,
                 std::unique_ptr<PagedContext> paged, int32_t states,
                 uint32_t vocabulary, uint32_t max_rows)
    : engine_(engine),
      place_(place),
      max_tokens_(max_tokens),
      vocabulary_(vocabulary),
      max_rows_(max_rows),
      pages_(std::move(pages)),
      paged_(std::move(paged)),
      states_(states),
      logits_(size_t{max_rows} * vocabulary) {
  tokens_.reserve(max_tokens);
}

Session::~Session() { engine_->Remove(this); }

Status Session::Feed(std::span<const int32_t> tokens, uint32_t rows) {
  if (rows == 0 || rows > max_rows_ ||
      rows > std::max<uint64_t>(pending() + tokens.size(), 1))
    return InvalidArgument(
        "logits of " + std::to_string(rows) + " tokens, but " +
        std::to_string(pending() + tokens.size()) + " are pending and memory " +
        "is planned for " + std::to_string(max_rows_));
  const uint64_t fed = tokens_.size() + tokens.size();
  if (paged_ && rows > 1 &&
      (fed - rows) / paged_->grid_tokens() != (fed - 1) / paged_->grid_tokens())
    return InvalidArgument(
        "drafts from token " + std::to_string(fed - rows + 1) + " to " +
        std::to_string(fed - 1) + " pass a multiple of " +
        std::to_string(paged_->grid_tokens()) +
        ", where pages fall out of device memory; feed draft_room() at most");
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
  if (tokens.empty()) return OkStatus();
  has_logits_ = false;
  rows_ = rows;
  return OkStatus();
}

std::span<const float> Session::logits() const {
  if (!has_logits_) return {};
  return logits(rows_ - 1);
}

std::span<const float> Session::logits(uint32_t row) const {
  return std::span(logits_).subspan(size_t{row} * vocabulary_, vocabulary_);
}

void Session::Keep(uint32_t row) {
  drafts_.drafted += rows_ - 1;
  drafts_.accepted += row;
  tokens_.resize(tokens_.size() - (rows_ - 1 - row));
  position_ = tokens_.size();
  if (pages_) pages_->Truncate(position_);
  const std::span<const float> kept = logits(row);
  if (row > 0) std::copy(kept.begin(), kept.end(), logits_.begin());
  rows_ = 1;
}

uint64_t Session::FirstRow() const {
  if (every_logits_) return position_;
  return std::max<uint64_t>(position_, tokens_.size() - rows_);
}

SamplerScratch& Session::sampler_scratch() const {
  return *engine_->sampler_scratch_;
}

Status Session::Truncate(uint64_t tokens) {
  if (tokens > tokens_.size())
    return InvalidArgument("cannot keep " + std::to_string(tokens) +
                           " tokens of " + std::to_string(tokens_.size()));
  if (tokens < tokens_.size()) {
    has_logits_ = false;
    rows_ = 1;
  }
  tokens_.resize(tokens);
  GoBack(tokens);
  return OkStatus();
}

bool Session::CanGoBack(uint64_t tokens) const {
  return states_ < 0 && (!paged_ || paged_->CanGoBack(tokens));
}

void Session::GoBack(uint64_t tokens) {
  if (position_ > tokens) position_ = CanGoBack(tokens) ? tokens : 0;
  if (paged_ && position_ == 0) paged_->Clear();
  if (pages_) pages_->Truncate(position_);
}

uint64_t Session::draft_room() const {
  const uint64_t most = max_drafts();
  if (tokens_.empty() || !paged_) return most;
  const uint64_t grid = paged_->grid_tokens();
  return std::min(most, grid - 1 - (tokens_.size() - 1) % grid);
}

}  // namespace stele
