// Chooses the next token from logits.
//
// Place on the road: behind Session::logits(). Deterministic: the same
// options, history and logits give the same token on every machine with the
// same C library; without temperature it is the first largest logit.
#ifndef STELE_RUNTIME_ENGINE_SAMPLER_H_
#define STELE_RUNTIME_ENGINE_SAMPLER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/engine/random.h"
#include "stele/schema/plan_generated.h"

namespace stele {

// In the order in which they are applied, which is transformers'.
struct SamplingOptions {
  float repetition_penalty = 1;  // > 0; 1: off
  float temperature = 0;         // >= 0; 0: greedy
  uint32_t top_k = 0;            // 0: off
  float top_p = 1;               // (0, 1]; 1: off
  float min_p = 0;               // [0, 1]; 0: off
  uint64_t seed = 0;

  // What the checkpoint's generation_config.json asks for.
  static SamplingOptions Defaults(const plan::ModelInfo& model);
  Status Validate() const;
};

// Working memory of the size of the vocabulary, which samplers that take turns
// share. Allocates nothing after construction.
class SamplerScratch {
 public:
  explicit SamplerScratch(uint32_t vocabulary);
  static uint64_t Bytes(uint32_t vocabulary);

 private:
  friend class Sampler;
  struct Candidate {
    float logit;
    int32_t token;
  };

  std::vector<float> scores_;
  std::vector<uint32_t> penalised_;  // call number that last penalised a token
  uint32_t call_ = 0;
  std::vector<Candidate> candidates_;
};

// Not thread safe. One per sequence: it carries the random state.
class Sampler {
 public:
  // `options` are valid.
  explicit Sampler(const SamplingOptions& options)
      : options_(options), random_(options.seed) {}

  // `history`: all tokens so far, for the repetition penalty. A NaN logit is
  // never chosen.
  int32_t Sample(std::span<const float> logits,
                 std::span<const int32_t> history, SamplerScratch& scratch);

  // A sampler with this seed goes on with the next draw.
  uint64_t next_seed() const { return random_.state(); }

 private:
  using Candidate = SamplerScratch::Candidate;

  void Penalise(std::span<const int32_t> history,
                SamplerScratch& scratch) const;
  int32_t Draw(SamplerScratch& scratch);
  void KeepTopK(std::vector<Candidate>& candidates) const;
  void KeepTopP(std::vector<Candidate>& candidates) const;
  void KeepMinP(std::vector<Candidate>& candidates) const;

  SamplingOptions options_;
  Random random_;
};

// Index of the first largest logit, NaN ignored; 0 when all are NaN.
int32_t ArgMax(std::span<const float> logits);

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_SAMPLER_H_
