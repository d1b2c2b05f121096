// stele inspect: what the pages of a cache take in each tier at the longest
// context, for one session.
#ifndef STELE_TOOLS_STELE_TIERS_H_
#define STELE_TOOLS_STELE_TIERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "stele/schema/plan_generated.h"

namespace stele::cli {

struct Tier {
  std::string name;  // "hot"
  uint64_t bytes;
  std::string note;  // where, and what of
};

// Hot, slots, index, warm and cold, those that there are; of a cache with
// paging.
std::vector<Tier> TiersOf(const plan::KvCache& cache, uint64_t context);

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_TIERS_H_
