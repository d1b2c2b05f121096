// What verbs say about context paging.
#ifndef STELE_TOOLS_STELE_PAGING_STATS_H_
#define STELE_TOOLS_STELE_PAGING_STATS_H_

#include <nlohmann/json.hpp>
#include <string>

#include "stele/runtime/base/format.h"
#include "stele/runtime/context/pager.h"

namespace stele::cli {

inline nlohmann::json PagingStats(const PagingWork& work) {
  return {{"hits", work.hits},
          {"misses", work.misses},
          {"ahead", work.ahead},
          {"packed", work.packed},
          {"bytes_in", work.bytes_in},
          {"bytes_out", work.bytes_out},
          {"cooled", work.cooled},
          {"bytes_from_file", work.bytes_from_file},
          {"bytes_to_file", work.bytes_to_file},
          {"wait_s", static_cast<double>(work.waited_ns) / 1e9}};
}

inline std::string FileStats(const PagingWork& work) {
  if (work.cooled == 0) return "";
  return "; " + FormatBytes(work.bytes_to_file) + " went to a file and " +
         FormatBytes(work.bytes_from_file) + " came back";
}

inline std::string PagingStatsLine(const PagingWork& work) {
  const uint64_t selected = work.hits + work.misses;
  return Format(
      "paging: %.1f%% of %llu selected pages were there, %s fetched, %s "
      "packed, waited %s%s",
      selected ? 100.0 * static_cast<double>(work.hits) /
                     static_cast<double>(selected)
               : 100.0,
      static_cast<unsigned long long>(selected),
      FormatBytes(work.bytes_in).c_str(), FormatBytes(work.bytes_out).c_str(),
      FormatSeconds(static_cast<double>(work.waited_ns) / 1e9).c_str(),
      FileStats(work).c_str());
}

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_PAGING_STATS_H_
