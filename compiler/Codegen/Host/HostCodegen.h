// Host code: from kernel instances to the ELF image that the artifact carries.
//
// Place on the road: compiler/Conversion asks for one instance per distinct
// launch; this file specialises the template's bitcode (kernels-templates/host)
// to the instance's constants, optimises it for the ISA level and links all
// instances into one shared object that runtime/device/host maps.
#ifndef STELE_COMPILER_CODEGEN_HOST_HOSTCODEGEN_H
#define STELE_COMPILER_CODEGEN_HOST_HOSTCODEGEN_H

#include "stele/compiler/Codegen/Host/ObjectCache.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace stele::compiler {

// A kernel template with all its constants.
struct KernelInstance {
  std::string templateName;
  std::map<std::string, int64_t> ints;
  std::map<std::string, double> floats;

  // The name of its entry point: derived from template and constants alone.
  std::string symbol() const;
};

class HostCodegen {
public:
  // Code for a machine of a psABI level ("x86-64-v3", "x86-64-v4") with the
  // given further features; as much of them as the templates can use.
  static llvm::Expected<std::unique_ptr<HostCodegen>>
  create(llvm::StringRef isa, llvm::ArrayRef<std::string> features,
         ObjectCache cache = ObjectCache::ofUser());
  ~HostCodegen();

  // Compiles the instances on `jobs` threads (0: every core); one that was
  // added before costs nothing. A missing or unknown constant is an error that
  // names it. What link() gives does not depend on jobs, order or cache.
  llvm::Error add(llvm::ArrayRef<KernelInstance> instances, unsigned jobs = 0);
  // Bytes of scratch that each worker needs to run an instance added before.
  uint64_t scratchBytes(const KernelInstance &instance) const;
  // Bytes that its workers share, for each token of the largest batch.
  uint64_t sharedBytesPerToken(const KernelInstance &instance) const;
  // How many of the instances the cache had.
  unsigned numCached() const;
  // Calls `take` with each instance's symbol and relocatable object.
  void forEachObject(
      llvm::function_ref<void(llvm::StringRef symbol, llvm::StringRef object)>
          take) const;
  // The shared object: every entry exported, nothing undefined, only RELATIVE
  // relocations, segments aligned to 4096.
  llvm::Expected<std::vector<char>> link();

private:
  explicit HostCodegen(ObjectCache cache);
  struct State;
  std::unique_ptr<State> state;
};

} // namespace stele::compiler

#endif // STELE_COMPILER_CODEGEN_HOST_HOSTCODEGEN_H
