// Saves sessions of an engine in a store, and loads them back.
//
// Place on the road: between Session and Store. Whole blocks of a session go
// to the store under keys that say what is in them, so that sessions which
// begin alike share them, whoever computed them. Its last, partial block goes
// under the session's name, and the manifest after all pages: a save that dies
// leaves the session as it was saved before. A page that is missing or damaged
// is never an error: its tokens stay pending, and a step computes them.
//
// The states of kernelized attention are sums over all tokens of a session:
// they go under its name, and no other session can begin with a part of them.
#ifndef STELE_RUNTIME_ENGINE_SESSION_ARCHIVE_H_
#define STELE_RUNTIME_ENGINE_SESSION_ARCHIVE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/context/page_file.h"
#include "stele/runtime/context/page_key.h"
#include "stele/runtime/context/store/store.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/session.h"
#include "stele/runtime/engine/session_manifest.h"

namespace stele {

// Used by the thread that uses the engine, which must outlive it. Holds two
// blocks of pages, and a third while it reads one.
class SessionArchive {
 public:
  static Result<std::unique_ptr<SessionArchive>> Create(
      Engine* engine, std::shared_ptr<Store> store);

  // Saves the session under `name`, in place of what was saved there before.
  // `note` comes back in the manifest. Tokens that were only guessed are left
  // out.
  Status Save(const Session& session, const std::string& name,
              const std::string& note = "");
  // Saves only what other sessions can share. kUnsupported with states.
  Status SavePages(const Session& session);

  // Makes an empty session what it was when it was saved. kFailedPrecondition
  // when another artifact saved it, kDataLoss when the manifest is damaged;
  // the session is empty then.
  Status Load(Session* session, const std::string& name);

  // Spares the session the computation of pending tokens whose pages are in
  // the store, but for the last token: its logits are wanted. With `saved`,
  // read under `name`, its partial block, too, if the session begins with it;
  // with states it needs a name, and finds all of the saved session or nothing.
  Status LoadPrefix(Session* session, const std::string& name = "",
                    const SessionManifest* saved = nullptr);

  struct Counters {
    uint64_t tokens_reused = 0;  // that need not be computed
    uint64_t pages_read = 0;     // files, of a block each
    uint64_t pages_written = 0;
    uint64_t pages_found = 0;    // there already when they were to be written
    uint64_t pages_damaged = 0;  // refused, and computed again
    uint64_t bytes_read = 0;
    uint64_t bytes_written = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  SessionArchive(Engine* engine, std::shared_ptr<Store> store);
  // How far a session is, without guesses.
  static uint64_t TokensOf(const Session& session);
  static uint64_t PositionOf(const Session& session);

  // In front of the first block of a session.
  PageKey RootOf(const std::string& name) const;
  // The key behind the last whole block; `key` is in front of the first.
  Result<PageKey> SaveWholeBlocks(const Session& session, PageKey key);
  Status SaveTail(const Session& session, const PageKey& parent,
                  const std::string& name);
  Status WritePage(const Session& session, uint64_t block, uint32_t tokens,
                   const PageKey& key, const std::string& store_key);
  Status WriteRecords(const Session& session, uint64_t block,
                      const PageKey& key);
  Status WriteFile(PageCodec* codec, std::span<const std::byte> bytes,
                   uint32_t tokens, const PageKey& key,
                   const std::string& store_key);
  Status SaveStates(const Session& session, const std::string& name);
  Status CheckShareable() const;
  // As far as pages are there, at most the first `limit` tokens.
  Status LoadPages(Session* session, uint64_t limit, const std::string& name,
                   uint64_t saved_position);
  // How far pages of the session's tokens are there now.
  Result<uint64_t> ReadPages(Session* session, uint64_t limit,
                             const std::string& name, uint64_t saved_position);

  // With context paging, a block is stored as its pages or, once it has fallen
  // out, as its records, each under a key of its own.
  struct StoredBlock {
    PageKey page, record;
    bool has_page = false, has_record = false;
  };
  // How far a session can go: the first `whole` blocks, and with `has_tail` the
  // partial one behind them; those up to `fallen` as records, but for sinks.
  struct Reach {
    uint64_t end = 0;
    uint64_t whole = 0;
    uint64_t fallen = 0;
    bool has_tail = false;
  };
  // ReadPages of a session with context paging.
  Result<uint64_t> ReadPagedBlocks(Session* session, uint64_t limit,
                                   const std::string& name,
                                   uint64_t saved_position);
  Result<std::vector<StoredBlock>> FindBlocks(const Session& session,
                                              const std::string& name) const;
  Reach FindReach(const std::vector<StoredBlock>& blocks, uint64_t limit,
                  uint64_t saved_position) const;
  bool CanReach(const std::vector<StoredBlock>& blocks, Reach* reach) const;
  // False when a file was not what it should be; `blocks` say so then.
  Result<bool> ReadReach(Session* session, const Reach& reach,
                         const std::string& name,
                         std::vector<StoredBlock>* blocks);
  Result<bool> ReadRecords(Session* session, uint64_t block,
                           const PageKey& key);

  Result<bool> ReadStates(Session* session, const std::string& name,
                          uint64_t tokens);
  // False when the file is not there, or not to be trusted.
  Result<bool> ReadStored(PageCodec* codec, const PageKey& key,
                          const std::string& store_key,
                          std::span<std::byte> bytes);
  Result<bool> ReadPage(Session* session, uint64_t block, const PageKey& key,
                        const std::string& store_key);
  void Discard(const std::string& store_key, const Status& why);

  Engine* engine_;
  std::shared_ptr<Store> store_;
  PageKey root_;
  PageKey record_root_;                      // with context paging
  uint64_t block_tokens_ = 0;                // 0: the model has no pages
  std::unique_ptr<PageCodec> codec_;         // null: the same
  std::vector<std::byte> block_;             // [pages, page_bytes]
  std::unique_ptr<PageCodec> record_codec_;  // null without context paging
  std::vector<std::byte> records_;           // of a block
  std::unique_ptr<PageCodec> state_codec_;   // null: the model has no states
  std::vector<std::byte> states_;            // of one session
  Counters counters_;
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_SESSION_ARCHIVE_H_
