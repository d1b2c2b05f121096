// See Tensor.h.
#include "stele/compiler/Import/Tensor.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/MathExtras.h"

using namespace stele::checkpoint;

namespace {
struct Traits {
  llvm::StringLiteral name;
  int blockElements;
  int blockBytes;
};
} // namespace

static Traits traits(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return {"F32", 1, 4};
  case ElementType::F16:
    return {"F16", 1, 2};
  case ElementType::BF16:
    return {"BF16", 1, 2};
  case ElementType::I8:
    return {"I8", 1, 1};
  case ElementType::I32:
    return {"I32", 1, 4};
  case ElementType::I64:
    return {"I64", 1, 8};
  case ElementType::Q8_0:
    return {"Q8_0", 32, 34};
  case ElementType::Q4_0:
    return {"Q4_0", 32, 18};
  case ElementType::Q4_1:
    return {"Q4_1", 32, 20};
  case ElementType::Q5_0:
    return {"Q5_0", 32, 22};
  case ElementType::Q5_1:
    return {"Q5_1", 32, 24};
  case ElementType::Q4_K:
    return {"Q4_K", 256, 144};
  case ElementType::Q5_K:
    return {"Q5_K", 256, 176};
  case ElementType::Q6_K:
    return {"Q6_K", 256, 210};
  }
  llvm_unreachable("every element type has traits");
}

llvm::StringRef stele::checkpoint::name(ElementType type) {
  return traits(type).name;
}

int64_t stele::checkpoint::blockElements(ElementType type) {
  return traits(type).blockElements;
}

int64_t stele::checkpoint::blockBytes(ElementType type) {
  return traits(type).blockBytes;
}

bool stele::checkpoint::isInteger(ElementType type) {
  return type == ElementType::I8 || type == ElementType::I32 ||
         type == ElementType::I64;
}

int64_t TensorInfo::rowWidth() const {
  int64_t width = 1;
  for (int64_t dim : llvm::ArrayRef<int64_t>(shape).drop_front(!shape.empty()))
    width *= dim;
  return width;
}

std::optional<int64_t>
stele::checkpoint::elementCount(llvm::ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t dim : shape)
    if (dim < 0 || llvm::MulOverflow(count, dim, count))
      return std::nullopt;
  return count;
}

std::string stele::checkpoint::describeShape(llvm::ArrayRef<int64_t> shape) {
  std::string text = "[";
  llvm::ListSeparator separator;
  for (int64_t dim : shape)
    text += (llvm::StringRef(separator) + std::to_string(dim)).str();
  return text + "]";
}
