// Saved conversations behind the command line; see saved_session.h.
#include "saved_session.h"

#include <utility>

#include "stele/runtime/base/format.h"
#include "stele/runtime/text/json.h"

namespace stele::cli {

using nlohmann::ordered_json;

namespace {

// A fork must not take another session's place.
Status CheckFork(const StoreFlags& flags, Store* store) {
  STELE_ASSIGN_OR_RETURN(const bool taken, store->Has(ManifestKey(flags.fork)));
  if (!taken) return OkStatus();
  return FailedPrecondition("session '" + flags.fork + "' in '" + flags.store +
                            "' is there already; go on with it by --session, "
                            "or give --fork another name");
}

}  // namespace

void StoreFlags::AddTo(CLI::App& app) {
  CLI::Option* folder = app.add_option(
      "--store", store,
      "A folder that keeps what prompts have computed: equal beginnings are "
      "read from it");
  app.add_option("--session", session,
                 "Go on with the conversation saved under this name, and save "
                 "it again")
      ->needs(folder);
}

void StoreFlags::AddForkTo(CLI::App& app) {
  app.add_option("--fork", fork,
                 "Save what the session becomes under this name; the one that "
                 "was gone on with stays as it is")
      ->needs(app.get_option("--session"));
}

Result<std::shared_ptr<Store>> StoreFlags::Open() const {
  if (store.empty()) return std::shared_ptr<Store>();
  if (!session.empty())
    STELE_RETURN_IF_ERROR(CheckKeyPart(session, "--session"));
  if (!fork.empty()) STELE_RETURN_IF_ERROR(CheckKeyPart(fork, "--fork"));
  STELE_ASSIGN_OR_RETURN(auto opened, OpenStore(store));
  return std::shared_ptr<Store>(std::move(opened));
}

Result<std::optional<SessionManifest>> FindSession(const StoreFlags& flags,
                                                   Store* store,
                                                   const Artifact& artifact) {
  if (flags.session.empty()) return std::optional<SessionManifest>();
  if (!flags.fork.empty()) STELE_RETURN_IF_ERROR(CheckFork(flags, store));
  auto saved = ReadSession(*store, flags.session, artifact);
  if (saved.status().code() == StatusCode::kNotFound && flags.fork.empty())
    return std::optional<SessionManifest>();
  if (!saved.ok()) return saved.status();
  return std::optional<SessionManifest>(*std::move(saved));
}

Result<ordered_json> MessagesOf(const SessionManifest& saved) {
  if (saved.note.empty()) return ordered_json();
  STELE_ASSIGN_OR_RETURN(
      ordered_json messages,
      text::ParseJson(saved.note, "the conversation of the saved session"));
  if (!messages.is_array())
    return InvalidArgument(
        "the saved session was not saved by run or chat: what it holds beside "
        "its tokens is no conversation");
  return messages;
}

std::string NoteOf(const ordered_json& messages) {
  if (messages.is_null()) return "";
  return messages.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

nlohmann::json StoreStats(const SessionArchive::Counters& moved) {
  return {{"tokens_reused", moved.tokens_reused},
          {"pages_read", moved.pages_read},
          {"pages_written", moved.pages_written},
          {"pages_found", moved.pages_found},
          {"pages_damaged", moved.pages_damaged},
          {"bytes_read", moved.bytes_read},
          {"bytes_written", moved.bytes_written}};
}

std::string StoreStatsLine(const SessionArchive::Counters& moved) {
  const auto number = [](uint64_t n) {
    return static_cast<unsigned long long>(n);
  };
  std::string line = Format(
      "store: %llu tokens reused, %llu pages read (%s), %llu written "
      "(%s), %llu were there",
      number(moved.tokens_reused), number(moved.pages_read),
      FormatBytes(moved.bytes_read).c_str(), number(moved.pages_written),
      FormatBytes(moved.bytes_written).c_str(), number(moved.pages_found));
  if (moved.pages_damaged > 0)
    line += Format(", %llu damaged", number(moved.pages_damaged));
  return line;
}

}  // namespace stele::cli
