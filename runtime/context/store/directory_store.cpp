// Objects as files; see directory_store.h.
#include "stele/runtime/context/store/directory_store.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "stele/runtime/base/file.h"

namespace stele {
namespace {

namespace fs = std::filesystem;

// No live writer has a temporary file that was not touched for so long: an
// object is written and flushed in one go.
constexpr auto kAbandoned = std::chrono::hours(1);

}  // namespace

Result<std::unique_ptr<Store>> DirectoryStore::Open(const std::string& path) {
  std::error_code error;
  const fs::file_status there = fs::status(path, error);
  if (fs::exists(there) && !fs::is_directory(there))
    return InvalidArgument("store '" + path +
                           "' is not a folder; name another --store");
  if (error && there.type() == fs::file_type::none)
    return Unavailable("store '" + path + "': " + error.message());
  return std::unique_ptr<Store>(new DirectoryStore(path));
}

Result<std::string> DirectoryStore::PathOf(const std::string& key) const {
  const size_t slash = std::min(key.find('/'), key.size());
  STELE_RETURN_IF_ERROR(CheckKeyPart(key.substr(0, slash), "the key's folder"));
  STELE_RETURN_IF_ERROR(CheckKeyPart(
      std::string_view(key).substr(std::min(slash + 1, key.size())),
      "the key"));
  return path_ + "/" + key;
}

Result<bool> DirectoryStore::Has(const std::string& key) {
  STELE_ASSIGN_OR_RETURN(const std::string path, PathOf(key));
  return Exists(path);
}

Result<std::string> DirectoryStore::Get(const std::string& key,
                                        uint64_t limit) {
  STELE_ASSIGN_OR_RETURN(const std::string path, PathOf(key));
  return ReadFile(path, limit);
}

Status DirectoryStore::Put(const std::string& key,
                           std::span<const std::byte> bytes) {
  STELE_ASSIGN_OR_RETURN(const std::string path, PathOf(key));
  const std::string folder = path_ + "/" + key.substr(0, key.find('/'));
  STELE_RETURN_IF_ERROR(MakeFolders(folder));
  SweepOnce();
  STELE_RETURN_IF_ERROR(WriteFile(path, path_ + "/tmp/XXXXXX", bytes));
  return SyncFolder(folder);
}

// A folder that was made is an entry of the one above it.
Status DirectoryStore::MakeFolders(const std::string& folder) {
  STELE_RETURN_IF_ERROR(MakeFolder(path_).status());
  STELE_RETURN_IF_ERROR(MakeFolder(path_ + "/tmp").status());
  STELE_ASSIGN_OR_RETURN(const bool made, MakeFolder(folder));
  if (!made) return OkStatus();
  STELE_RETURN_IF_ERROR(SyncFolder(path_));
  return SyncFolder(path_ + "/..");
}

Status DirectoryStore::Remove(const std::string& key) {
  STELE_ASSIGN_OR_RETURN(const std::string path, PathOf(key));
  return RemoveFile(path);
}

Result<std::vector<std::string>> DirectoryStore::List(
    const std::string& folder) {
  STELE_RETURN_IF_ERROR(CheckKeyPart(folder, "the folder"));
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator at(path_ + "/" + folder, error);
  if (error == std::errc::no_such_file_or_directory) return names;
  for (; !error && at != fs::directory_iterator(); at.increment(error))
    names.push_back(at->path().filename());
  if (error)
    return Unavailable("'" + path_ + "/" + folder +
                       "': cannot list: " + error.message());
  std::sort(names.begin(), names.end());
  return names;
}

// Leftovers cost room, nothing else: what cannot be removed stays.
void DirectoryStore::SweepOnce() {
  if (swept_.exchange(true)) return;
  std::error_code error;
  const auto oldest = fs::file_time_type::clock::now() - kAbandoned;
  fs::directory_iterator at(path_ + "/tmp", error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    std::error_code ignored;
    const auto written = fs::last_write_time(at->path(), ignored);
    if (!ignored && written < oldest) fs::remove(at->path(), ignored);
  }
}

}  // namespace stele
