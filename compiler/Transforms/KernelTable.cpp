// The table of kernels, and which row fits (KernelTable.h).

#include "stele/compiler/Transforms/KernelTable.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace stele::compiler;

static llvm::ArrayRef<KernelRow> getKernelRows() {
  static const std::vector<KernelRow> rows = {
#define STELE_TILE(name, value) TileConstant{name, value}
#define STELE_KERNEL(operation, arithmetic, isa, features, kernel, layout,     \
                     ...)                                                      \
  KernelRow{operation, arithmetic, isa,          features,                     \
            kernel,    layout,     {__VA_ARGS__}},
#include "selection.inc"
#undef STELE_KERNEL
#undef STELE_TILE
  };
  return rows;
}

/// Whether a machine of level `target` runs code of level `needed`.
static bool isaRuns(llvm::StringRef target, llvm::StringRef needed) {
  return target == needed || (target == "x86-64-v4" && needed == "x86-64-v3");
}

static bool hasFeatures(llvm::ArrayRef<std::string> features,
                        llvm::StringRef needed) {
  llvm::SmallVector<llvm::StringRef> names;
  needed.split(names, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  return llvm::all_of(names, [&](llvm::StringRef name) {
    return llvm::is_contained(features, name);
  });
}

std::string KernelRow::describe() const {
  std::string name = llvm::join_items(", ", operation, arithmetic, isa);
  return features.empty() ? name : name + ", " + features.str();
}

const KernelRow *
stele::compiler::findKernelRow(llvm::StringRef operation,
                               llvm::StringRef arithmetic, llvm::StringRef isa,
                               llvm::ArrayRef<std::string> features) {
  const KernelRow *found = nullptr;
  for (const KernelRow &row : getKernelRows())
    if (row.operation == operation && isaRuns(isa, row.isa) &&
        (row.arithmetic == "any" || row.arithmetic == arithmetic) &&
        hasFeatures(features, row.features))
      found = &row;
  return found;
}
