// Cuts normalised text into the pieces that BPE never merges across.
//
// A chain of steps as the vocabulary's author wrote it; every step cuts (or
// rewrites) each piece that the one before it made. Immutable, thread safe.
#ifndef STELE_RUNTIME_TEXT_PRE_TOKENIZER_H_
#define STELE_RUNTIME_TEXT_PRE_TOKENIZER_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/text/regex.h"
#include "stele/runtime/text/span.h"
#include "stele/schema/tokenizer_generated.h"

namespace stele::text {

class PreTokenizer {
 public:
  using Sink = std::function<void(std::string_view)>;

  static Result<PreTokenizer> Load(const schema::Tokenizer& tokenizer);

  // Calls `sink` with every piece of `text`, in order, none of them empty.
  // `at_start`: `text` is the beginning of what the user gave. A piece is valid
  // only during its call.
  Status Split(std::string_view text, bool at_start, const Sink& sink) const;

 private:
  struct Step {
    schema::PreTokenizerKind kind = {};
    schema::Splitter splitter = {};
    std::optional<Regex> regex;
    std::string pattern;
    schema::SplitBehavior behavior = {};
    bool invert = false;
    bool individual = false;
    std::string replacement;
    schema::PrependScheme scheme = {};
    bool split = false;
  };
  struct Cut {
    Span span;
    bool match;
  };

  static Result<Step> LoadStep(const schema::PreTokenizer& source);
  Status Run(size_t step, std::string_view text, bool at_start,
             const Sink& sink) const;
  Status RunNamed(size_t step, std::string_view text, bool at_start,
                  const Sink& sink) const;
  Status RunCuts(size_t step, std::string_view text, std::vector<Cut> cuts,
                 schema::SplitBehavior behavior, bool at_start,
                 const Sink& sink) const;
  Status RunMetaspace(size_t step, std::string_view text, bool at_start,
                      const Sink& sink) const;
  static Status FindMatches(const Step& step, std::string_view text,
                            std::vector<Cut>& cuts);

  std::vector<Step> steps_;
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_PRE_TOKENIZER_H_
