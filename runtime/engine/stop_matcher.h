// Finds stop strings in text that arrives in pieces.
//
// Place on the road: between the decoded text of a generation and its reader.
// Text that could be the start of a stop string is held back until it is
// decided, so that no part of one is ever shown.
#ifndef STELE_RUNTIME_ENGINE_STOP_MATCHER_H_
#define STELE_RUNTIME_ENGINE_STOP_MATCHER_H_

#include <string>
#include <string_view>
#include <vector>

namespace stele {

// Not thread safe.
class StopMatcher {
 public:
  // Empty strings never match.
  explicit StopMatcher(std::vector<std::string> stops);

  // Adds text; returns what may be shown now. After a match: the text before
  // the earliest stop string, and from then on nothing.
  std::string Push(std::string_view text);
  // What was held back, when no more text comes.
  std::string Finish();
  bool matched() const { return matched_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_STOP_MATCHER_H_
