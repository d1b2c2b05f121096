// Penalties, filters and the draw; see sampler.h.
#include "stele/runtime/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stele/runtime/base/format.h"

namespace stele {

SamplingOptions SamplingOptions::Defaults(const plan::ModelInfo& model) {
  SamplingOptions options;
  options.repetition_penalty = model.repetition_penalty();
  if (!model.sample()) return options;
  options.temperature = model.temperature();
  options.top_k = model.top_k();
  options.top_p = model.top_p();
  options.min_p = model.min_p();
  return options;
}

Status SamplingOptions::Validate() const {
  const auto bad = [](const char* name, double value, const char* range) {
    return InvalidArgument(
        Format("%s is %g, allowed is %s", name, value, range));
  };
  if (!(temperature >= 0) || std::isinf(temperature))
    return bad("temperature", temperature, "0 and above");
  if (!(top_p > 0 && top_p <= 1)) return bad("top_p", top_p, "(0, 1]");
  if (!(min_p >= 0 && min_p <= 1)) return bad("min_p", min_p, "[0, 1]");
  if (!(repetition_penalty > 0) || std::isinf(repetition_penalty))
    return bad("repetition_penalty", repetition_penalty, "above 0");
  return OkStatus();
}

int32_t ArgMax(std::span<const float> logits) {
  float best = -std::numeric_limits<float>::infinity();
  int32_t token = 0;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > best) {
      best = logits[i];
      token = static_cast<int32_t>(i);
    }
  return token;
}

Sampler::Sampler(const SamplingOptions& options, uint32_t vocabulary)
    : options_(options),
      random_(options.seed),
      scores_(vocabulary),
      penalised_(vocabulary, 0) {
  if (options_.temperature > 0) candidates_.reserve(vocabulary);
}

int32_t Sampler::Sample(std::span<const float> logits,
                        std::span<const int32_t> history) {
  if (options_.repetition_penalty == 1 && options_.temperature == 0)
    return ArgMax(logits);
  scores_.assign(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1) Penalise(history);
  if (options_.temperature == 0) return ArgMax(scores_);
  return Draw();
}

// Each token of the history once, however often it is there.
void Sampler::Penalise(std::span<const int32_t> history) {
  ++call_;
  for (int32_t token : history) {
    if (penalised_[token] == call_) continue;
    penalised_[token] = call_;
    float& score = scores_[token];
    score = score > 0 ? score / options_.repetition_penalty
                      : score * options_.repetition_penalty;
  }
}

int32_t Sampler::Draw() {
  candidates_.clear();
  for (size_t i = 0; i < scores_.size(); ++i)
    if (scores_[i] > -std::numeric_limits<float>::infinity())
      candidates_.push_back(
          {scores_[i] / options_.temperature, static_cast<int32_t>(i)});
  if (candidates_.empty()) return ArgMax(scores_);
  KeepTopK();
  // Best first; equal logits by id, so that the order is always the same.
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) {
              return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
            });
  KeepTopP();
  KeepMinP();
  double sum = 0;
  const double best = candidates_.front().logit;
  for (const Candidate& c : candidates_) sum += std::exp(c.logit - best);
  double left = random_.NextUnit() * sum;
  for (const Candidate& c : candidates_) {
    left -= std::exp(c.logit - best);
    if (left < 0) return c.token;
  }
  return candidates_.back().token;  // rounding used up the sum
}

void Sampler::KeepTopK() {
  if (options_.top_k == 0 || options_.top_k >= candidates_.size()) return;
  const auto end = candidates_.begin() + options_.top_k;
  std::nth_element(candidates_.begin(), end - 1, candidates_.end(),
                   [](const Candidate& a, const Candidate& b) {
                     return a.logit != b.logit ? a.logit > b.logit
                                               : a.token < b.token;
                   });
  candidates_.erase(end, candidates_.end());
}

// The fewest best candidates that together reach top_p.
void Sampler::KeepTopP() {
  if (options_.top_p >= 1) return;
  const double best = candidates_.front().logit;
  double sum = 0;
  for (const Candidate& c : candidates_) sum += std::exp(c.logit - best);
  double reached = 0;
  size_t keep = 0;
  while (keep < candidates_.size() && reached < options_.top_p * sum)
    reached += std::exp(candidates_[keep++].logit - best);
  candidates_.resize(std::max<size_t>(keep, 1));
}

// Candidates at least min_p as likely as the best one.
void Sampler::KeepMinP() {
  if (options_.min_p <= 0) return;
  const double least =
      candidates_.front().logit + std::log(static_cast<double>(options_.min_p));
  std::erase_if(candidates_,
                [&](const Candidate& c) { return c.logit < least; });
}

}  // namespace stele
