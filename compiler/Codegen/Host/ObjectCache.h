// Compiled kernels that outlive the process.
//
// Place on the road: HostCodegen asks here before it compiles an instance. An
// entry is found by a digest of all that it was made from, and carries a digest
// of what it holds: a damaged or strange file is as good as none. The cache is
// a convenience, so that whatever goes wrong with it is silently a miss.
#ifndef STELE_COMPILER_CODEGEN_HOST_OBJECTCACHE_H
#define STELE_COMPILER_CODEGEN_HOST_OBJECTCACHE_H

#include "llvm/ADT/StringRef.h"
#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace stele::compiler {

// Where this user's caches are: $STELE_CACHE, by default ~/.cache/stele. Empty
// when the variable is set and empty, which turns them off.
std::string cacheFolder();

// Any number of threads and processes may share a folder.
class ObjectCache {
public:
  using Key = std::array<uint8_t, 32>;

  // In `folder`, of at most about `maxBytes`; off when the folder is empty.
  explicit ObjectCache(std::string folder, uint64_t maxBytes = uint64_t(256)
                                                               << 20)
      : folder(std::move(folder)), maxBytes(maxBytes) {}
  // `objects` in the user's folder.
  static ObjectCache ofUser();

  std::optional<std::string> find(const Key &key) const;
  void insert(const Key &key, llvm::StringRef bytes) const;
  // Removes what was not used for longest until the rest fits.
  void prune() const;

private:
  std::string path(const Key &key) const;

  std::string folder;
  uint64_t maxBytes;
};

} // namespace stele::compiler

#endif // STELE_COMPILER_CODEGEN_HOST_OBJECTCACHE_H
