// Penalties, filters and the draw; see sampler.h.
#include "stele/runtime/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stele/runtime/base/format.h"

namespace stele {
namespace {

template <typename Candidate>
bool Better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

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

SamplerScratch::SamplerScratch(uint32_t vocabulary)
    : scores_(vocabulary), penalised_(vocabulary, 0) {
  candidates_.reserve(vocabulary);
}

uint64_t SamplerScratch::Bytes(uint32_t vocabulary) {
  return uint64_t{vocabulary} *
         (sizeof(float) + sizeof(uint32_t) + sizeof(Candidate));
}

int32_t Sampler::Sample(std::span<const float> logits,
                        std::span<const int32_t> history,
                        SamplerScratch& scratch) {
  if (options_.repetition_penalty == 1 && options_.temperature == 0)
    return ArgMax(logits);
  scratch.scores_.assign(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1) Penalise(history, scratch);
  if (options_.temperature == 0) return ArgMax(scratch.scores_);
  return Draw(scratch);
}

// Each token of the history once, however often it is there.
void Sampler::Penalise(std::span<const int32_t> history,
                       SamplerScratch& scratch) const {
  ++scratch.call_;
  for (int32_t token : history) {
    if (scratch.penalised_[token] == scratch.call_) continue;
    scratch.penalised_[token] = scratch.call_;
    float& score = scratch.scores_[token];
    score = score > 0 ? score / options_.repetition_penalty
                      : score * options_.repetition_penalty;
  }
}

int32_t Sampler::Draw(SamplerScratch& scratch) {
  const std::vector<float>& scores = scratch.scores_;
  std::vector<Candidate>& candidates = scratch.candidates_;
  candidates.clear();
  for (size_t i = 0; i < scores.size(); ++i)
    if (scores[i] > -std::numeric_limits<float>::infinity())
      candidates.push_back(
          {scores[i] / options_.temperature, static_cast<int32_t>(i)});
  if (candidates.empty()) return ArgMax(scores);
  KeepTopK(candidates);
  // Best first; equal logits by id, so that the order is always the same.
  std::sort(candidates.begin(), candidates.end(), Better<Candidate>);
  KeepTopP(candidates);
  KeepMinP(candidates);
  double sum = 0;
  const double best = candidates.front().logit;
  for (const Candidate& c : candidates) sum += std::exp(c.logit - best);
  double left = random_.NextUnit() * sum;
  for (const Candidate& c : candidates) {
    left -= std::exp(c.logit - best);
    if (left < 0) return c.token;
  }
  return candidates.back().token;  // rounding used up the sum
}

void Sampler::KeepTopK(std::vector<Candidate>& candidates) const {
  if (options_.top_k == 0 || options_.top_k >= candidates.size()) return;
  const auto end = candidates.begin() + options_.top_k;
  std::nth_element(candidates.begin(), end - 1, candidates.end(),
                   Better<Candidate>);
  candidates.erase(end, candidates.end());
}

// The fewest best candidates that together reach top_p.
void Sampler::KeepTopP(std::vector<Candidate>& candidates) const {
  if (options_.top_p >= 1) return;
  const double best = candidates.front().logit;
  double sum = 0;
  for (const Candidate& c : candidates) sum += std::exp(c.logit - best);
  double reached = 0;
  size_t keep = 0;
  while (keep < candidates.size() && reached < options_.top_p * sum)
    reached += std::exp(candidates[keep++].logit - best);
  candidates.resize(std::max<size_t>(keep, 1));
}

// Candidates at least min_p as likely as the best one.
void Sampler::KeepMinP(std::vector<Candidate>& candidates) const {
  if (options_.min_p <= 0) return;
  const double least =
      candidates.front().logit + std::log(static_cast<double>(options_.min_p));
  std::erase_if(candidates,
                [&](const Candidate& c) { return c.logit < least; });
}

}  // namespace stele
