// How the checks of a plan report: the path of a field, its value, the rule.
// Shared by verify.cpp and verify_function.cpp only.
#ifndef STELE_RUNTIME_PLAN_VERIFY_INTERNAL_H_
#define STELE_RUNTIME_PLAN_VERIFY_INTERNAL_H_

#include <cstdint>
#include <string>

#include "flatbuffers/flatbuffers.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/base/status.h"

namespace stele {

// 0 for a vector that is absent.
template <typename Vector>
uint32_t LengthOf(const Vector* vector) {
  return vector ? vector->size() : 0;
}

namespace plan_check {

// plan.tensors[3], plan.tensors[3] "model.norm.weight"
inline std::string Where(const std::string& vector, uint64_t index,
                         const flatbuffers::String* name = nullptr) {
  std::string where = vector + "[" + std::to_string(index) + "]";
  if (name) where += " \"" + Printable(name->string_view()) + "\"";
  return where;
}

inline Status Bad(const std::string& where, const std::string& rule) {
  return DataLoss(where + ": " + rule);
}

inline Status Bad(const std::string& where, uint64_t value,
                  const std::string& rule) {
  return DataLoss(where + ": " + std::to_string(value) + " " + rule);
}

inline Status CheckIndex(const std::string& where, uint64_t index,
                         uint64_t count, const char* of) {
  if (index < count) return OkStatus();
  return Bad(where, index,
             Format("is not below %llu, the number of %s",
                    static_cast<unsigned long long>(count), of));
}

inline Status CheckPositive(const std::string& where, uint64_t value,
                            uint64_t limit) {
  if (value >= 1 && value <= limit) return OkStatus();
  return Bad(
      where, value,
      Format("is not in 1..%llu", static_cast<unsigned long long>(limit)));
}

// FlatBuffers' verifier aligns the length of a vector, not its elements; those
// of 8 bytes would be read misaligned. The FlatBuffer itself is aligned.
template <typename T>
Status CheckAligned(const std::string& where,
                    const flatbuffers::Vector<T>* vector) {
  if (!vector || vector->size() == 0 ||
      reinterpret_cast<uintptr_t>(vector->data()) % sizeof(T) == 0)
    return OkStatus();
  return Bad(where, "is misaligned");
}

template <typename Enum>
Status CheckEnum(const std::string& where, Enum value, Enum max) {
  if (value <= max) return OkStatus();
  return Bad(where, static_cast<uint64_t>(value), "is not a known value");
}

}  // namespace plan_check
}  // namespace stele

#endif  // STELE_RUNTIME_PLAN_VERIFY_INTERNAL_H_
