// Guesses what comes next from what was there before.
//
// Place on the road: Generation feeds the guess behind the token it chose, and
// keeps of it what the model says, too. Work on a long document repeats its
// source, so that whole phrases are often right.
#ifndef STELE_RUNTIME_ENGINE_PROMPT_LOOKUP_H_
#define STELE_RUNTIME_ENGINE_PROMPT_LOOKUP_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace stele {

// Writes to `draft` the tokens that followed where the last three tokens, or
// else the last two, were last seen; returns how many, 0 when they are new.
// Reads `tokens` from the end, once or twice: at a million tokens that is less
// than a hundredth of the step that it may save.
size_t PromptLookup(std::span<const int32_t> tokens, std::span<int32_t> draft);

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_PROMPT_LOOKUP_H_
