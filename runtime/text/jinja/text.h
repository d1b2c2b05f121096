// Text: a UTF-8 string of the interpreter that remembers which of its bytes
// came from the user.
//
// The provenance lives through every string operation, so that the rendered
// prompt can say where the conversation's own words are. Where an operation
// mixes bytes the answer errs towards "user".
#ifndef STELE_RUNTIME_TEXT_JINJA_TEXT_H_
#define STELE_RUNTIME_TEXT_JINJA_TEXT_H_

#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/text/span.h"

namespace stele::text::jinja {

struct Text {
  std::string bytes;       // valid UTF-8
  std::vector<Span> user;  // sorted, disjoint, not empty, not touching

  Text() = default;
  explicit Text(std::string b) : bytes(std::move(b)) {}

  bool empty() const { return bytes.empty(); }
  size_t size() const { return bytes.size(); }

  // A text whose bytes are all the user's.
  static Text FromUser(std::string bytes);

  void Append(std::string_view more) { bytes.append(more); }
  void Append(const Text& more) { Append(more, 0, more.size()); }
  // Appends bytes [begin, end) of `more`.
  void Append(const Text& more, size_t begin, size_t end);
  // Appends `more`, the user's if `is_user`.
  void Append(std::string_view more, bool is_user);

  Text Slice(size_t begin, size_t end) const;
  // Whether any byte of [begin, end) is the user's.
  bool IsUser(size_t begin, size_t end) const;
  bool IsUser() const { return !user.empty(); }
};

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_TEXT_H_
