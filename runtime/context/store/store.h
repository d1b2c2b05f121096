// Where pages and sessions outlast a process: named objects of bytes.
//
// Place on the road: behind the KV pages. The engine saves a session's pages
// here and reads them back instead of computing them again; what an object
// holds is the business of page_file.h and of the engine's session archive. A
// directory today (directory_store.h); the interface asks for no more than an
// object store gives: whole objects, replaced atomically, found by key.
#ifndef STELE_RUNTIME_CONTEXT_STORE_STORE_H_
#define STELE_RUNTIME_CONTEXT_STORE_STORE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/status.h"

namespace stele {

// A key is "folder/name"; each part has 1 to 128 of A-Z a-z 0-9 . _ - and does
// not begin with a dot. Other keys are refused (kInvalidArgument). An object
// that is not there is kNotFound, a full disk kResourceExhausted, any other
// failure of the disk kUnavailable. Safe to use from any thread, and by many
// processes at a time: of two that write one key the last one stays, whole.
class Store {
 public:
  virtual ~Store() = default;

  // What the user called it, for messages.
  virtual const std::string& name() const = 0;

  virtual Result<bool> Has(const std::string& key) = 0;
  // Refuses an object of more than `limit` bytes.
  virtual Result<std::string> Get(const std::string& key, uint64_t limit) = 0;
  // The object is there, whole and lasting, when this returns; if it fails or
  // never returns, the key has its old object or the new one.
  virtual Status Put(const std::string& key,
                     std::span<const std::byte> bytes) = 0;
  virtual Status Remove(const std::string& key) = 0;
  // The names in a folder, sorted.
  virtual Result<std::vector<std::string>> List(const std::string& folder) = 0;
};

// The store at `place`: a folder, which the first Put makes.
Result<std::unique_ptr<Store>> OpenStore(const std::string& place);

// Whether a key may have this part; the message names `what`.
Status CheckKeyPart(std::string_view part, std::string_view what);

}  // namespace stele

#endif  // STELE_RUNTIME_CONTEXT_STORE_STORE_H_
