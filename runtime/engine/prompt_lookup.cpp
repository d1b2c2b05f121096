// The search for n-grams; see prompt_lookup.h.
#include "stele/runtime/engine/prompt_lookup.h"

#include <algorithm>

namespace stele {
namespace {

// One past the last place before the end where the last `n` tokens stand; 0
// when there is none.
size_t FindLast(std::span<const int32_t> tokens, size_t n) {
  const auto wanted = tokens.last(n);
  for (size_t end = tokens.size() - 1; end >= n; --end)
    if (std::equal(wanted.rbegin(), wanted.rend(), tokens.first(end).rbegin()))
      return end;
  return 0;
}

}  // namespace

size_t PromptLookup(std::span<const int32_t> tokens, std::span<int32_t> draft) {
  for (const size_t n : {3, 2}) {
    if (tokens.size() <= n) continue;
    const size_t from = FindLast(tokens, n);
    if (from == 0) continue;
    // Where the source ends in the draft itself, that goes on: a repetition.
    for (size_t i = 0; i < draft.size(); ++i)
      draft[i] = from + i < tokens.size() ? tokens[from + i]
                                          : draft[from + i - tokens.size()];
    return draft.size();
  }
  return 0;
}

}  // namespace stele
