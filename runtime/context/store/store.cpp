// Keys, and the choice of a store; see store.h.
#include "stele/runtime/context/store/store.h"

#include <algorithm>

#include "stele/runtime/base/format.h"
#include "stele/runtime/context/store/directory_store.h"

namespace stele {
namespace {

constexpr size_t kMaxKeyPart = 128;

bool IsKeyCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

}  // namespace

Status CheckKeyPart(std::string_view part, std::string_view what) {
  if (!part.empty() && part.size() <= kMaxKeyPart && part[0] != '.' &&
      std::all_of(part.begin(), part.end(), IsKeyCharacter))
    return OkStatus();
  return InvalidArgument(std::string(what) + " '" + Printable(part) +
                         "' is not 1 to 128 of A-Z a-z 0-9 . _ - that begin "
                         "without a dot");
}

Result<std::unique_ptr<Store>> OpenStore(const std::string& place) {
  if (place.empty()) return InvalidArgument("the store's folder has no name");
  if (place.starts_with("s3://"))
    return Unsupported("store '" + Printable(place) +
                       "': object stores are not in this build; name a folder");
  return DirectoryStore::Open(place);
}

}  // namespace stele
