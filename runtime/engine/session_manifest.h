// What a store keeps of a session beside its pages.
//
// Place on the road: written last when a session is saved, so that it names
// only what is there; read first when one is loaded. Pages that got lost since
// are computed again from the tokens in it. docs/page-store.md has the format.
#ifndef STELE_RUNTIME_ENGINE_SESSION_MANIFEST_H_
#define STELE_RUNTIME_ENGINE_SESSION_MANIFEST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/hash.h"
#include "stele/runtime/base/status.h"
#include "stele/runtime/context/page_key.h"
#include "stele/runtime/context/store/store.h"
#include "stele/runtime/plan/artifact.h"

namespace stele {

struct SessionManifest {
  Sha256Digest artifact = {};  // that computed it
  PageKey root = {};           // of its chain of page keys
  uint64_t block_tokens = 0;   // tokens of a page; 0: the model has no pages
  uint64_t position = 0;       // tokens that were processed
  uint64_t next_seed = 0;      // Session::next_seed
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // behind the last token; empty: some are pending
  std::string note;           // the program's own: its conversation

  std::string Serialise() const;
  // kDataLoss when `bytes` are not, to the bit, what Serialise made.
  static Result<SessionManifest> Parse(std::string_view bytes);

  // Keys of the blocks that were processed whole, first to last.
  std::vector<PageKey> WholeBlocks() const;
};

// Reads the manifest of session `name`; messages name session and store.
Result<SessionManifest> ReadSession(Store& store, const std::string& name);
// The same, and refuses (kFailedPrecondition) what another artifact saved.
Result<SessionManifest> ReadSession(Store& store, const std::string& name,
                                    const Artifact& artifact);

// Names of all sessions in the store, sorted.
Result<std::vector<std::string>> ListSessions(Store& store);

// Removes a session, and its pages but for those that other sessions share.
Status RemoveSession(Store& store, const std::string& name);

// Keys of what is stored of a session, and of a page.
std::string ManifestKey(const std::string& name);
std::string TailKey(const std::string& name);
std::string StatesKey(const std::string& name);
std::string StoreKey(const PageKey& key);

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_SESSION_MANIFEST_H_
