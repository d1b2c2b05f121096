// Mapped files whose bytes go away under their readers.
//
// Place on the road: weights are read where they are mapped. When the file is
// cut short, or its disk fails, such a read raises SIGBUS, which ends the
// process. With the guard installed the mapping turns to zeros instead, the
// read goes on, and the mapping remembers that its content is lost; whoever
// used it asks afterwards (MappedFile::CheckUnchanged) and throws away what it
// computed. So nothing has to be unwound in the middle of a kernel.
//
// A signal handler belongs to the process, so a library must not set one
// unasked: programs do, with InstallMappingGuard or through stele.h.
#ifndef STELE_RUNTIME_BASE_MAPPING_GUARD_H_
#define STELE_RUNTIME_BASE_MAPPING_GUARD_H_

#include <cstdint>
#include <span>

namespace stele {

// Sets the process's handler of SIGBUS, once; safe from any thread. Faults
// outside registered mappings go on to the handler that was there before.
void InstallMappingGuard();

// Registers a mapping with the guard, installed or not, for as long as it
// lives. Move only. Must be destroyed before the bytes are unmapped.
class GuardedMapping {
 public:
  GuardedMapping() = default;
  explicit GuardedMapping(std::span<const uint8_t> bytes);
  GuardedMapping(GuardedMapping&& other) noexcept;
  GuardedMapping& operator=(GuardedMapping&& other) noexcept;
  ~GuardedMapping();

  // Whether some of the bytes could not be read and are zero now.
  bool lost() const;

 private:
  struct Slot* slot_ = nullptr;
};

}  // namespace stele

#endif  // STELE_RUNTIME_BASE_MAPPING_GUARD_H_
