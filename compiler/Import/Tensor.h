// A weight as the checkpoint stores it: name, type, shape and where its bytes
// are. The readers (SafeTensors, Gguf) make these, Checkpoint reads by them.
#ifndef STELE_COMPILER_IMPORT_TENSOR_H
#define STELE_COMPILER_IMPORT_TENSOR_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>
#include <string>

namespace stele::checkpoint {

enum class ElementType {
  F32,
  F16,
  BF16,
  I8, // integers are parts of packed weights, never weights themselves
  I32,
  I64,
  Q8_0,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q4_K,
  Q5_K,
  Q6_K
};

llvm::StringRef name(ElementType type);
// Elements that share one block of storage (1 for the plain types), and the
// bytes of such a block. Blocks run along the last dimension.
int64_t blockElements(ElementType type);
int64_t blockBytes(ElementType type);

bool isInteger(ElementType type);

struct TensorInfo {
  std::string name;
  ElementType type;
  llvm::SmallVector<int64_t, 4> shape; // outermost first

  // Storage.
  unsigned file = 0; // index into the checkpoint's files
  uint64_t offset = 0;
  uint64_t bytes = 0;
  // Rows per head when the file interleaves the two halves of every head's
  // rows (llama in GGUF does so for q and k); 0: rows are stored in order.
  int64_t interleavedHeadRows = 0;
  // The number of the packed weight that this is, see PackedWeights.h; its type
  // is then that of its scales, and its storage that of its codes.
  std::optional<unsigned> packed;

  // The tensor seen as a matrix: [shape[0], product of the rest].
  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  int64_t rowWidth() const;
};

// Product of the dimensions, or nothing when one is negative or it overflows.
std::optional<int64_t> elementCount(llvm::ArrayRef<int64_t> shape);

// "[2, 3]"
std::string describeShape(llvm::ArrayRef<int64_t> shape);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_TENSOR_H
