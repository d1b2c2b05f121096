// How much memory the machine can give.
#ifndef STELE_RUNTIME_BASE_MEMORY_H_
#define STELE_RUNTIME_BASE_MEMORY_H_

#include <cstdint>

namespace stele {

// Bytes that can be had without swapping; 0 when the system does not say.
uint64_t AvailableMemory();

}  // namespace stele

#endif  // STELE_RUNTIME_BASE_MEMORY_H_
