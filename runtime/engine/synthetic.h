// Weights made up from a seed, for artifacts that carry none: a plan of any
// size can be run and timed without its checkpoint.
#ifndef STELE_RUNTIME_ENGINE_SYNTHETIC_H_
#define STELE_RUNTIME_ENGINE_SYNTHETIC_H_

#include <cstdint>
#include <optional>
#include <span>

#include "stele/runtime/engine/random.h"
#include "stele/schema/plan_generated.h"
#include "stele/schema/quant_format.h"

namespace stele {

// The values of one tensor, in order. They depend on the seed and the tensor's
// name only. Matrices get small values of either sign, so that activations
// stay finite through any depth; vectors (norm weights, rotary frequencies)
// get values in [0.5, 1.5].
class SyntheticValues {
 public:
  SyntheticValues(const plan::Tensor& tensor, uint64_t seed);

  // Fills `out`, the next bytes of the tensor; all but its last piece hold
  // whole elements.
  void Fill(std::span<std::byte> out);

 private:
  float Next();
  void FillQuantised(std::span<std::byte> out);
  static void FillReals(std::span<std::byte> out,
                        schema::QuantFormat::Real type, float value);

  Random random_;
  plan::DType dtype_;
  std::optional<schema::QuantFormat> quant_;
  uint64_t columns_;
  uint64_t at_ = 0;  // bytes filled before, of a quantised tensor
  bool vector_;
  double scale_;
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_SYNTHETIC_H_
