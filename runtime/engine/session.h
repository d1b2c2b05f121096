// One sequence of tokens inside an Engine.
//
// Place on the road: a program feeds a Session tokens; Engine::Step takes some
// of them from every session into one batch; when a session has none left,
// logits() are those behind its last token.
#ifndef STELE_RUNTIME_ENGINE_SESSION_H_
#define STELE_RUNTIME_ENGINE_SESSION_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/context/page_pool.h"
#include "stele/runtime/context/pager.h"
#include "stele/runtime/engine/sampler.h"

namespace stele {

class Engine;

// Not thread safe, and used by the thread that uses its Engine, but for
// Cancel. Gives its memory back to the Engine, which must outlive it, when
// destroyed.
class Session {
 public:
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Appends tokens to be processed by coming steps. Refuses ids outside the
  // vocabulary and more tokens than the session was admitted for. Logits will
  // be kept of the last `rows` pending tokens, at most 1 + max_drafts().
  Status Feed(std::span<const int32_t> tokens, uint32_t rows = 1);

  // All tokens so far: the first position() are processed, the rest pending.
  const std::vector<int32_t>& tokens() const { return tokens_; }
  uint64_t position() const { return position_; }
  uint64_t pending() const { return tokens_.size() - position_; }
  uint64_t max_tokens() const { return max_tokens_; }

  // Logits behind the last token; empty while tokens are pending.
  std::span<const float> logits() const;
  // How many rows of logits there are, and row `row` of them; the last is
  // logits(). No row while tokens are pending.
  uint32_t rows() const { return has_logits_ ? rows_ : 0; }
  std::span<const float> logits(uint32_t row) const;
  // Forgets the tokens behind the one of row `row`; its row is the only one
  // left. Tokens of other rows were drafts: those before it are accepted.
  void Keep(uint32_t row);

  // Most tokens whose logits are kept beside the last one's.
  uint32_t max_drafts() const { return max_rows_ - 1; }
  // How many of them may be fed now: with context paging they must lie in one
  // cell with the token before them, so that they can be forgotten again.
  uint64_t draft_room() const;
  struct Drafts {
    uint64_t drafted = 0;
    uint64_t accepted = 0;
  };
  const Drafts& drafts() const { return drafts_; }

  // Calls `row` with the logits behind every token that is processed from now
  // on, in order; an empty function stops that.
  using LogitsRow =
      std::function<void(uint64_t position, std::span<const float> logits)>;
  void OnEveryLogits(LogitsRow row) { every_logits_ = std::move(row); }

  // The seed with which an answer goes on with the draws of the last one.
  uint64_t next_seed() const { return next_seed_; }
  void set_next_seed(uint64_t seed) { next_seed_ = seed; }

  // Makes coming steps leave this session out, until Resume. From any thread.
  void Cancel() { cancelled_ = true; }
  void Resume() { cancelled_ = false; }
  bool cancelled() const { return cancelled_; }

  // The engine's, for sampling from logits().
  SamplerScratch& sampler_scratch() const;

  // Forgets the tokens behind the first `tokens`, processed or not. With
  // kernelized attention, whose sums no token can be taken from, all tokens
  // are pending again where a processed one goes; with context paging where
  // pages have fallen out since that the next token would see in device memory.
  Status Truncate(uint64_t tokens);

 private:
  friend class Engine;
  friend class SessionArchive;
  Session(Engine* engine, uint32_t place, uint64_t max_tokens,
          std::unique_ptr<PageTable> pages, std::unique_ptr<PagedContext> paged,
          int32_t states, uint32_t vocabulary, uint32_t max_rows);
  // The first position whose logits a step hands out.
  uint64_t FirstRow() const;
  // Makes the tokens behind the first `tokens` pending, and those before them,
  // too, where it cannot go on from there.
  void GoBack(uint64_t tokens);
  bool CanGoBack(uint64_t tokens) const;
  // A decode: all that is pending asks for logits.
  bool IsDecode() const { return pending() <= rows_; }

  Engine* engine_;
  uint32_t place_;  // among the sessions that the engine plans
  uint64_t max_tokens_;
  uint32_t vocabulary_;
  uint32_t max_rows_;
  std::unique_ptr<PageTable> pages_;     // null for a model without a cache
  std::unique_ptr<PagedContext> paged_;  // null without context paging
  int32_t states_;  // the first of the session's; -1 for a model without
  std::vector<int32_t> tokens_;
  uint64_t position_ = 0;
  uint32_t rows_ = 1;          // of the last tokens, that logits are kept of
  std::vector<float> logits_;  // [max_rows, vocabulary]
  bool has_logits_ = false;
  Drafts drafts_;
  uint64_t next_seed_ = 0;
  LogitsRow every_logits_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_SESSION_H_
