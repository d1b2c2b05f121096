// What this process has used, and the programs beside it.
#ifndef STELE_TOOLS_STELE_PROCESS_H_
#define STELE_TOOLS_STELE_PROCESS_H_

#include <cstdint>
#include <string>

namespace stele::cli {

// Most memory resident at a time, mapped files included.
uint64_t PeakMemory();
// Memory resident now that is no mapped file.
uint64_t AnonymousMemory();

// Path of stele-compile, beside this program or on PATH; empty if it is in
// neither place.
std::string FindCompiler();

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_PROCESS_H_
