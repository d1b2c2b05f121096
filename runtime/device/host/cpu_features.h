// What the CPU offers, by the names that targets use.
#ifndef STELE_RUNTIME_DEVICE_HOST_CPU_FEATURES_H_
#define STELE_RUNTIME_DEVICE_HOST_CPU_FEATURES_H_

#include <string>
#include <string_view>
#include <vector>

namespace stele {

// Whether this CPU has `feature`: an ISA level ("x86-64-v3", "x86-64-v4") or a
// CPU feature by its LLVM name ("avx512vnni", "avx512bf16"). False for a name
// that is not known.
bool CpuHas(std::string_view feature);

// The names that CpuHas knows, ISA levels first.
std::vector<std::string_view> KnownCpuFeatures();

}  // namespace stele

#endif  // STELE_RUNTIME_DEVICE_HOST_CPU_FEATURES_H_
