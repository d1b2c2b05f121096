// kernels-templates/selection.inc, the one table of kernels, for the passes
// that name templates.
#ifndef STELE_COMPILER_TRANSFORMS_KERNELTABLE_H
#define STELE_COMPILER_TRANSFORMS_KERNELTABLE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>
#include <vector>

namespace stele::compiler {

struct TileConstant {
  llvm::StringRef name;
  int64_t value;
};

struct KernelRow {
  llvm::StringRef operation;
  llvm::StringRef arithmetic;
  llvm::StringRef isa;
  llvm::StringRef features;
  llvm::StringRef templateName;
  llvm::StringRef layout;
  std::vector<TileConstant> tile;

  /// What `inspect` says chose a kernel: "linear, f32, x86-64-v3".
  std::string describe() const;
};

/// The newest row for an operation of the table, computed so, on a machine of
/// that ISA level with these features; null if none fits.
const KernelRow *findKernelRow(llvm::StringRef operation,
                               llvm::StringRef arithmetic, llvm::StringRef isa,
                               llvm::ArrayRef<std::string> features);

} // namespace stele::compiler

#endif // STELE_COMPILER_TRANSFORMS_KERNELTABLE_H
