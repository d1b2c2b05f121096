// A Store in a folder: one file an object, "FOLDER/pages/NAME".
//
// A new object is written to FOLDER/tmp, flushed, renamed to its place, and its
// folder is flushed. So a reader sees whole objects, whenever a writer dies;
// what it leaves in tmp is swept away by a later one.
#ifndef STELE_RUNTIME_CONTEXT_STORE_DIRECTORY_STORE_H_
#define STELE_RUNTIME_CONTEXT_STORE_DIRECTORY_STORE_H_

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "stele/runtime/context/store/store.h"

namespace stele {

class DirectoryStore : public Store {
 public:
  // Nothing is written before the first Put: a store may be read-only.
  static Result<std::unique_ptr<Store>> Open(const std::string& path);

  const std::string& name() const override { return path_; }
  Result<bool> Has(const std::string& key) override;
  Result<std::string> Get(const std::string& key, uint64_t limit) override;
  Status Put(const std::string& key, std::span<const std::byte> bytes) override;
  Status Remove(const std::string& key) override;
  Result<std::vector<std::string>> List(const std::string& folder) override;

 private:
  explicit DirectoryStore(std::string path) : path_(std::move(path)) {}
  Result<std::string> PathOf(const std::string& key) const;
  Status MakeFolders(const std::string& folder);
  void SweepOnce();

  std::string path_;
  std::atomic<bool> swept_{false};
};

}  // namespace stele

#endif  // STELE_RUNTIME_CONTEXT_STORE_DIRECTORY_STORE_H_
