// CPU features through the compiler's cpuid support, which also checks that
// the system saves the wide registers; see cpu_features.h.
#include "stele/runtime/device/host/cpu_features.h"

namespace stele {
namespace {

struct Feature {
  std::string_view name;
  bool (*present)();
};

// __builtin_cpu_supports takes literals only.
#define STELE_FEATURE(name) \
  {name, [] { return __builtin_cpu_supports(name) != 0; }}
constexpr Feature kFeatures[] = {
    STELE_FEATURE("x86-64-v2"),  STELE_FEATURE("x86-64-v3"),
    STELE_FEATURE("x86-64-v4"),  STELE_FEATURE("avx2"),
    STELE_FEATURE("fma"),        STELE_FEATURE("f16c"),
    STELE_FEATURE("avx512f"),    STELE_FEATURE("avx512bw"),
    STELE_FEATURE("avx512dq"),   STELE_FEATURE("avx512vl"),
    STELE_FEATURE("avx512vnni"), STELE_FEATURE("avx512bf16"),
    STELE_FEATURE("avx512vbmi"), STELE_FEATURE("avxvnni"),
};
#undef STELE_FEATURE

}  // namespace

bool CpuHas(std::string_view feature) {
  for (const Feature& known : kFeatures)
    if (known.name == feature) return known.present();
  return false;
}

std::vector<std::string_view> KnownCpuFeatures() {
  std::vector<std::string_view> names;
  for (const Feature& feature : kFeatures) names.push_back(feature.name);
  return names;
}

}  // namespace stele
