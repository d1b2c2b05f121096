// One file per entry: the digest of key and bytes, then the bytes
// (ObjectCache.h).
#include "stele/compiler/Codegen/Host/ObjectCache.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CachePruning.h"
#include "llvm/Support/Chrono.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace stele::compiler {
namespace {

using Digest = std::array<uint8_t, 32>;

// The key belongs to it, so that an entry under a wrong name is damage too.
Digest digestOf(const ObjectCache::Key &key, StringRef bytes) {
  SHA256 hash;
  hash.update(key);
  hash.update(bytes);
  return hash.final();
}

// Many systems do not note when a file was read, by which pruning chooses.
void markUsed(StringRef name) {
  Expected<sys::fs::file_t> file = sys::fs::openNativeFileForRead(name);
  if (!file)
    return consumeError(file.takeError());
  sys::fs::setLastAccessAndModificationTime(*file,
                                            std::chrono::system_clock::now());
  sys::fs::closeFile(*file);
}

// The prefix is the one of which LLVM's pruning takes files.
constexpr StringLiteral kPrefix = "llvmcache-";

} // namespace

std::string cacheFolder() {
  if (std::optional<std::string> given = sys::Process::GetEnv("STELE_CACHE"))
    return *given;
  SmallString<128> folder;
  if (!sys::path::cache_directory(folder))
    return "";
  sys::path::append(folder, "stele");
  return folder.str().str();
}

ObjectCache ObjectCache::ofUser() {
  SmallString<128> folder(cacheFolder());
  if (!folder.empty())
    sys::path::append(folder, "objects");
  return ObjectCache(folder.str().str());
}

std::string ObjectCache::path(const Key &key) const {
  SmallString<128> result(folder);
  sys::path::append(result, kPrefix + toHex(key, /*LowerCase=*/true));
  return result.str().str();
}

std::optional<std::string> ObjectCache::find(const Key &key) const {
  if (folder.empty())
    return std::nullopt;
  const std::string name = path(key);
  ErrorOr<std::unique_ptr<MemoryBuffer>> file =
      MemoryBuffer::getFile(name, /*IsText=*/false,
                            /*RequiresNullTerminator=*/false);
  if (!file)
    return std::nullopt;
  StringRef stored = (*file)->getBuffer();
  StringRef bytes = stored.drop_front(std::min(stored.size(), sizeof(Digest)));
  if (stored.take_front(sizeof(Digest)) != toStringRef(digestOf(key, bytes))) {
    sys::fs::remove(name);
    return std::nullopt;
  }
  markUsed(name);
  return bytes.str();
}

void ObjectCache::insert(const Key &key, StringRef bytes) const {
  if (folder.empty() || sys::fs::create_directories(folder))
    return;
  Expected<sys::fs::TempFile> file =
      sys::fs::TempFile::create(folder + "/" + kPrefix + "%%%%%%%%.tmp", 0644);
  if (!file)
    return consumeError(file.takeError());
  raw_fd_ostream stream(file->FD, /*shouldClose=*/false);
  stream << toStringRef(digestOf(key, bytes)) << bytes;
  stream.flush();
  const bool isWhole = !stream.has_error();
  stream.clear_error();
  consumeError(isWhole ? file->keep(path(key)) : file->discard());
}

void ObjectCache::prune() const {
  if (folder.empty())
    return;
  CachePruningPolicy policy;
  policy.Interval = std::chrono::seconds(0);   // now
  policy.Expiration = std::chrono::seconds(0); // never by age
  policy.MaxSizePercentageOfAvailableSpace = 0;
  policy.MaxSizeBytes = maxBytes;
  policy.MaxSizeFiles = 0;
  pruneCache(folder, policy);
}

} // namespace stele::compiler
