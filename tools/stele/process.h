// What this process has used.
#ifndef STELE_TOOLS_STELE_PROCESS_H_
#define STELE_TOOLS_STELE_PROCESS_H_

#include <cstdint>

namespace stele::cli {

// Most memory resident at a time, mapped files included.
uint64_t PeakMemory();
// Memory resident now that is no mapped file.
uint64_t AnonymousMemory();

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_PROCESS_H_
