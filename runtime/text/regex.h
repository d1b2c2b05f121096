// Regular expressions of vocabularies whose splitter is not hand-written.
//
// Patterns come from a checkpoint and text from a user, so matching is bounded:
// a pattern that backtracks without end is an error, not a hang. Immutable
// after Compile, thread safe.
#ifndef STELE_RUNTIME_TEXT_REGEX_H_
#define STELE_RUNTIME_TEXT_REGEX_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "stele/runtime/base/status.h"

namespace stele::text {

class Regex {
 public:
  // `pattern` is in the syntax of Hugging Face's engine (Oniguruma). What that
  // and PCRE2 read differently is rewritten (\s, \w) or refused by name (class
  // operations, \b, \h and others).
  static Result<Regex> Compile(std::string_view pattern);

  // Calls `match(begin, end)` for every match in `text` (valid UTF-8) from left
  // to right. Empty matches are reported, except right behind another match.
  Status FindAll(std::string_view text,
                 const std::function<void(size_t, size_t)>& match) const;

 private:
  struct CodeDeleter {
    void operator()(void* code) const;
  };
  std::unique_ptr<void, CodeDeleter> code_;
  std::string pattern_;
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_REGEX_H_
