// Cuts text where a pre-tokeniser's pattern says so.
//
// The patterns of the GPT-2, Llama 3 and Qwen2 vocabularies are written out by
// hand: they run over every byte of a prompt, and a backtracking engine is ten
// times slower there. Immutable, thread safe.
#ifndef STELE_RUNTIME_TEXT_SPLITTER_H_
#define STELE_RUNTIME_TEXT_SPLITTER_H_

#include <cstddef>
#include <string_view>

namespace stele::text {

enum class NamedSplitter { kGpt2, kLlama3, kQwen2 };

// Length in bytes of the pattern's match at the start of `text`, which is
// valid UTF-8 and not empty. All three patterns match everywhere, so that
// repeated calls cover a text without gaps.
size_t MatchSplitter(NamedSplitter splitter, std::string_view text);

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_SPLITTER_H_
