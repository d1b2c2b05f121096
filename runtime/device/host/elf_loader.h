// Loads a shared object from memory: the kernels of an Executable segment.
//
// Place on the road: compiler/Codegen links all kernels of a target into one
// ELF image without dependencies, which this loader maps. It is stricter than
// a system loader, since it need not load anything else: x86-64, PT_LOAD
// segments that are never writable and executable, relative relocations only,
// no needed libraries, no initialisers, no thread-local data.
#ifndef STELE_RUNTIME_DEVICE_HOST_ELF_LOADER_H_
#define STELE_RUNTIME_DEVICE_HOST_ELF_LOADER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "stele/runtime/base/status.h"

namespace stele {

// Immutable after Load; unmaps when destroyed.
class ElfImage {
 public:
  static Result<std::unique_ptr<ElfImage>> Load(std::span<const uint8_t> bytes);
  ~ElfImage();
  ElfImage(const ElfImage&) = delete;
  ElfImage& operator=(const ElfImage&) = delete;

  // The address of an exported function; null when there is none.
  void* Find(std::string_view symbol) const;

 private:
  friend class ElfReader;
  ElfImage(uint8_t* base, uint64_t size) : base_(base), size_(size) {}

  uint8_t* base_;
  uint64_t size_;
  std::map<std::string, void*, std::less<>> functions_;
};

}  // namespace stele

#endif  // STELE_RUNTIME_DEVICE_HOST_ELF_LOADER_H_
