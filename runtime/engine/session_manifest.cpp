// Manifests as bytes, and what can be done with them alone; see
// session_manifest.h.
#include "stele/runtime/engine/session_manifest.h"

#include <bit>
#include <cstring>
#include <set>
#include <utility>

#include "stele/runtime/base/checked.h"

namespace stele {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr char kMagic[8] = {'S', 'T', 'E', 'L', 'E', 'S', 'E', '1'};
// Tokens, logits and conversation of the longest sessions fit many times.
constexpr uint64_t kMaxManifestBytes = uint64_t{1} << 30;

// Followed by the tokens, the logits, the note, and the XXH3 of it all.
struct Header {
  char magic[8];
  uint8_t artifact[32];
  uint8_t root[32];
  uint64_t block_tokens;
  uint64_t position;
  uint64_t next_seed;
  uint64_t tokens;
  uint64_t logits;
  uint64_t note_bytes;
};
static_assert(sizeof(Header) == 120);

uint64_t Checksum(std::string_view bytes) {
  return Xxh3({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

Status Damaged(const char* what) {
  return DataLoss(std::string("the manifest ") + what);
}

template <typename T>
void Append(std::string& bytes, const T* values, size_t count) {
  bytes.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

// Takes `count` values from the front of `bytes`; false when there are fewer.
template <typename T, typename Container>
bool Take(std::string_view& bytes, uint64_t count, Container& values) {
  const auto length = CheckedMul(count, sizeof(T));
  if (!length || *length > bytes.size()) return false;
  values.resize(count);
  if (count > 0) std::memcpy(values.data(), bytes.data(), *length);
  bytes.remove_prefix(*length);
  return true;
}

}  // namespace

std::string SessionManifest::Serialise() const {
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  std::memcpy(header.artifact, artifact.data(), artifact.size());
  std::memcpy(header.root, root.data(), root.size());
  header.block_tokens = block_tokens;
  header.position = position;
  header.next_seed = next_seed;
  header.tokens = tokens.size();
  header.logits = logits.size();
  header.note_bytes = note.size();
  std::string bytes;
  Append(bytes, &header, 1);
  Append(bytes, tokens.data(), tokens.size());
  Append(bytes, logits.data(), logits.size());
  bytes += note;
  const uint64_t checksum = Checksum(bytes);
  Append(bytes, &checksum, 1);
  return bytes;
}

Result<SessionManifest> SessionManifest::Parse(std::string_view bytes) {
  uint64_t checksum;
  if (bytes.size() < sizeof(Header) + sizeof checksum)
    return Damaged("ends inside its header");
  std::memcpy(&checksum, bytes.data() + bytes.size() - sizeof checksum,
              sizeof checksum);
  bytes.remove_suffix(sizeof checksum);
  if (checksum != Checksum(bytes)) return Damaged("has another checksum");
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  bytes.remove_prefix(sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    return Damaged("is of another format");
  SessionManifest manifest;
  std::memcpy(manifest.artifact.data(), header.artifact, 32);
  std::memcpy(manifest.root.data(), header.root, 32);
  manifest.block_tokens = header.block_tokens;
  manifest.position = header.position;
  manifest.next_seed = header.next_seed;
  if (!Take<int32_t>(bytes, header.tokens, manifest.tokens) ||
      !Take<float>(bytes, header.logits, manifest.logits) ||
      !Take<char>(bytes, header.note_bytes, manifest.note) || !bytes.empty())
    return Damaged("has another length than it says");
  if (manifest.position > manifest.tokens.size())
    return Damaged("has processed more tokens than there are");
  return manifest;
}

std::vector<PageKey> SessionManifest::WholeBlocks() const {
  std::vector<PageKey> keys;
  if (block_tokens == 0) return keys;
  const std::span<const int32_t> all(tokens);
  PageKey key = root;
  for (uint64_t begin = 0; RangeFits(begin, block_tokens, position);
       begin += block_tokens) {
    key = ChildKey(key, all.subspan(begin, block_tokens));
    keys.push_back(key);
  }
  return keys;
}

std::string ManifestKey(const std::string& name) { return "sessions/" + name; }
std::string TailKey(const std::string& name) { return "tails/" + name; }
std::string StatesKey(const std::string& name) { return "states/" + name; }
std::string StoreKey(const PageKey& key) { return "pages/" + ToHex(key); }

Result<SessionManifest> ReadSession(Store& store, const std::string& name) {
  STELE_RETURN_IF_ERROR(CheckKeyPart(name, "session"));
  const std::string where = "session '" + name + "' in '" + store.name() + "'";
  Result<std::string> bytes = store.Get(ManifestKey(name), kMaxManifestBytes);
  if (bytes.status().code() == StatusCode::kNotFound)
    return NotFound(where + " was never saved");
  if (!bytes.ok())
    return Status(bytes.status().code(),
                  where + ": " + bytes.status().message());
  Result<SessionManifest> manifest = SessionManifest::Parse(*bytes);
  if (manifest.ok()) return manifest;
  return Status(manifest.status().code(),
                where + ": " + manifest.status().message() + "; remove '" +
                    ManifestKey(name) +
                    "' there and begin again, or use another name");
}

Result<SessionManifest> ReadSession(Store& store, const std::string& name,
                                    const Artifact& artifact) {
  STELE_ASSIGN_OR_RETURN(SessionManifest manifest, ReadSession(store, name));
  if (manifest.artifact == artifact.digest()) return manifest;
  const auto shown = [](const Sha256Digest& digest) {
    return ToHex(digest).substr(0, 16);
  };
  return FailedPrecondition(
      "session '" + name + "' in '" + store.name() +
      "' was saved by another artifact, of digest " + shown(manifest.artifact) +
      "..; '" + artifact.path() + "' has " + shown(artifact.digest()) +
      "..; open that one, or use another session name");
}

Result<std::vector<std::string>> ListSessions(Store& store) {
  return store.List("sessions");
}

// A page that a session being saved right now has just found here may go with
// the others: it is then computed again.
Status RemoveSession(Store& store, const std::string& name) {
  STELE_RETURN_IF_ERROR(CheckKeyPart(name, "session"));
  const Result<SessionManifest> manifest = ReadSession(store, name);
  if (manifest.status().code() == StatusCode::kNotFound)
    return manifest.status();
  STELE_RETURN_IF_ERROR(store.Remove(ManifestKey(name)));
  // Most often there is a tail; states are there with kernelized attention.
  (void)store.Remove(TailKey(name));
  (void)store.Remove(StatesKey(name));
  if (!manifest.ok()) return OkStatus();
  const std::vector<PageKey> keys = manifest->WholeBlocks();
  std::set<PageKey> unshared(keys.begin(), keys.end());
  STELE_ASSIGN_OR_RETURN(const auto others, ListSessions(store));
  for (const std::string& other : others) {
    const Result<SessionManifest> kept = ReadSession(store, other);
    if (!kept.ok()) continue;  // nobody can load it
    for (const PageKey& key : kept->WholeBlocks()) unshared.erase(key);
  }
  for (const PageKey& key : unshared) {
    const Status status = store.Remove(StoreKey(key));
    if (!status.ok() && status.code() != StatusCode::kNotFound) return status;
  }
  return OkStatus();
}

}  // namespace stele
