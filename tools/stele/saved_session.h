// The flags --store and --session: where pages and a conversation are kept.
//
// Place on the road: run and chat read what was said before a prompt, and save
// what was said behind it.
#ifndef STELE_TOOLS_STELE_SAVED_SESSION_H_
#define STELE_TOOLS_STELE_SAVED_SESSION_H_

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "stele/runtime/base/status.h"
#include "stele/runtime/context/store/store.h"
#include "stele/runtime/engine/session_archive.h"
#include "stele/runtime/engine/session_manifest.h"

namespace stele::cli {

struct StoreFlags {
  std::string store;
  std::string session;
  std::string fork;  // of run only

  void AddTo(CLI::App& app);
  void AddForkTo(CLI::App& app);
  // The name that the session is saved under; empty: none.
  const std::string& SavedAs() const { return fork.empty() ? session : fork; }
  // Null without --store.
  Result<std::shared_ptr<Store>> Open() const;
};

// The saved session; nothing when none has the name, or none was asked for. A
// fork needs one, and a name that no other session has.
Result<std::optional<SessionManifest>> FindSession(const StoreFlags& flags,
                                                   Store* store,
                                                   const Artifact& artifact);

// The messages of a saved conversation; null for a session of plain tokens.
Result<nlohmann::ordered_json> MessagesOf(const SessionManifest& saved);
// What MessagesOf reads back; "" for null.
std::string NoteOf(const nlohmann::ordered_json& messages);

// What was moved to and from a store, as JSON and as a line for people.
nlohmann::json StoreStats(const SessionArchive::Counters& moved);
std::string StoreStatsLine(const SessionArchive::Counters& moved);

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_SAVED_SESSION_H_
