// stele inspect --timeline: a step of each function as streams over time.
#ifndef STELE_TOOLS_STELE_SHOW_TIMELINE_H_
#define STELE_TOOLS_STELE_SHOW_TIMELINE_H_

#include <string>

#include "stele/runtime/base/status.h"
#include "stele/schema/plan_generated.h"

namespace stele::cli {

// Draws what the compiler expects, and over it what a run recorded in the file
// `trace` (empty: nothing). As text to stdout, or as a picture into `output`,
// which ends in .svg or .html (empty: text).
Status ShowTimeline(const plan::Plan& plan, const std::string& output,
                    const std::string& trace);

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_SHOW_TIMELINE_H_
