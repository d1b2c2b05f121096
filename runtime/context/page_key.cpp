// Hashing of tagged fields; see page_key.h and docs/page-store.md.
#include "stele/runtime/context/page_key.h"

#include <string_view>
#include <vector>

namespace stele {
namespace {

// Fields of any length and content that cannot run into each other.
class TaggedFields {
 public:
  void Add(std::string_view tag, std::span<const uint8_t> value) {
    AddSized({reinterpret_cast<const uint8_t*>(tag.data()), tag.size()});
    AddSized(value);
  }
  void Add(std::string_view tag, std::string_view value) {
    Add(tag, {reinterpret_cast<const uint8_t*>(value.data()), value.size()});
  }
  PageKey Hash() const { return Sha256(bytes_); }

 private:
  void AddSized(std::span<const uint8_t> value) {
    for (int shift = 0; shift < 64; shift += 8)
      bytes_.push_back(static_cast<uint8_t>(uint64_t{value.size()} >> shift));
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }

  std::vector<uint8_t> bytes_;
};

}  // namespace

PageKey RootKey(const PageSource& source) {
  TaggedFields fields;
  fields.Add("artifact", source.artifact);
  fields.Add("adapter", source.adapter);
  fields.Add("format", source.format);
  fields.Add("policy", source.policy);
  fields.Add("producer", source.producer);
  fields.Add("salt", source.salt);
  return fields.Hash();
}

PageKey ChildKey(const PageKey& parent, std::span<const int32_t> tokens) {
  std::vector<uint8_t> ids;
  ids.reserve(tokens.size() * sizeof(int32_t));
  for (int32_t token : tokens)
    for (int shift = 0; shift < 32; shift += 8)
      ids.push_back(
          static_cast<uint8_t>(static_cast<uint32_t>(token) >> shift));
  TaggedFields fields;
  fields.Add("parent", parent);
  fields.Add("tokens", ids);
  return fields.Hash();
}

}  // namespace stele
