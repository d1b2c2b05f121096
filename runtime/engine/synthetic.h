// Weights made up from a seed, for artifacts that carry none: a plan of any
// size can be run and timed without its checkpoint.
#ifndef STELE_RUNTIME_ENGINE_SYNTHETIC_H_
#define STELE_RUNTIME_ENGINE_SYNTHETIC_H_

#include <cstdint>
#include <span>

#include "stele/schema/plan_generated.h"

namespace stele {

// Fills `out`, the bytes of `tensor`, with values that depend on the seed and
// the tensor's name only. Matrices get small values of either sign, so that
// activations stay finite through any depth; vectors (norm weights, rotary
// frequencies) get values in [0.5, 1.5].
void FillSynthetic(const plan::Tensor& tensor, uint64_t seed,
                   std::span<std::byte> out);

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_SYNTHETIC_H_
