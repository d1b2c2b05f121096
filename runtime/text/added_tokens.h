// Finds added tokens (control tokens such as <|im_end|>) in a text.
//
// They are cut out before anything else sees the text: leftmost first, of those
// the longest. Immutable, thread safe.
#ifndef STELE_RUNTIME_TEXT_ADDED_TOKENS_H_
#define STELE_RUNTIME_TEXT_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/text/span.h"

namespace stele::text {

struct AddedToken {
  uint32_t id = 0;
  std::string content;  // as it is looked for: normalised if `normalized`
  bool special = false;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
  bool normalized = false;
};

class AddedTokenMatcher {
 public:
  // Which special tokens are not read.
  struct Filter {
    bool special = true;            // false: none is read
    std::span<const Span> literal;  // none that overlaps one of these is;
                                    // ascending, disjoint
    bool Allows(const AddedToken& token, size_t at) const;
  };
  // A stretch of the text: a token, or (null) text between tokens, which is
  // never empty.
  using Sink = std::function<void(Span, const AddedToken*)>;

  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  void Split(std::string_view text, const Filter& filter,
             const Sink& sink) const;

 private:
  const AddedToken* LongestAt(std::string_view text, size_t at,
                              const Filter& filter) const;

  std::vector<AddedToken> tokens_;  // by content
  struct Range {
    uint32_t begin = 0, end = 0;
  };
  std::array<Range, 256> by_first_byte_{};
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_ADDED_TOKENS_H_
