// stele inspect --calibration: what `--quant auto` measured and decided.
#ifndef STELE_TOOLS_STELE_CALIBRATION_H_
#define STELE_TOOLS_STELE_CALIBRATION_H_

#include "stele/runtime/base/status.h"
#include "stele/runtime/plan/artifact.h"

namespace stele::cli {

// Prints the table in the artifact's calibration segment, as text or as the
// JSON that is there.
Status PrintCalibration(const Artifact& artifact, bool json);

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_CALIBRATION_H_
