// What verbs say about block-sparse attention.
#ifndef STELE_TOOLS_STELE_ATTENTION_STATS_H_
#define STELE_TOOLS_STELE_ATTENTION_STATS_H_

#include <cmath>

#include "stele/schema/host_abi.h"

namespace stele::cli {

// Products, the estimate's included, as a share of dense attention's: a pair is
// multiplied twice, by its key and by its value, an estimated one once.
inline double WorkShare(const SteleAttentionWork& work) {
  const auto estimated = static_cast<double>(work.estimated_pairs);
  return (static_cast<double>(work.kept_pairs) + estimated / 2) /
         static_cast<double>(work.causal_pairs);
}

// Keys that a query reads, on average.
inline double EffectiveWindow(const SteleAttentionWork& work) {
  return static_cast<double>(work.kept_pairs) /
         static_cast<double>(work.queries);
}

// The share of dense attention's probabilities on the keys that were read, mean
// over queries and their heads.
inline double MeanKeptMass(const SteleHeadWork& work) {
  return std::ldexp(static_cast<double>(work.kept_mass),
                    -STELE_KEPT_MASS_BITS) /
         static_cast<double>(work.queries);
}

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_ATTENTION_STATS_H_
