// Fuzz target: any bytes as a safetensors file. What is accepted must lie
// inside the file, have as many bytes as its shape says, and overlap nothing.
#include "memory_file.h"
#include "stele/compiler/Import/SafeTensors.h"
#include <algorithm>

using namespace stele::checkpoint;
using stele::fuzz::Require;

static void checkTensors(const InputFile &file,
                         std::vector<TensorInfo> &tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorInfo &a, const TensorInfo &b) {
              return std::pair(a.offset, a.bytes) <
                     std::pair(b.offset, b.bytes);
            });
  uint64_t end = 0;
  for (const TensorInfo &tensor : tensors) {
    Require(rangeFits(tensor.offset, tensor.bytes, file.size()));
    Require(tensor.bytes == 0 || tensor.offset >= end);
    end = std::max(end, tensor.offset + tensor.bytes);
    std::optional<int64_t> count = elementCount(tensor.shape);
    Require(count.has_value());
    Require(static_cast<uint64_t>(*count) * blockBytes(tensor.type) ==
            tensor.bytes * blockElements(tensor.type));
    std::vector<uint8_t> bytes(tensor.bytes);
    llvm::cantFail(file.read(tensor.offset, tensor.bytes, bytes.data()));
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  stele::fuzz::MemoryFile memory(data, size);
  std::unique_ptr<InputFile> file =
      llvm::cantFail(InputFile::open(memory.path()));
  std::vector<TensorInfo> tensors;
  if (llvm::Error error = readSafeTensors(*file, 0, tensors)) {
    Require(!llvm::toString(std::move(error)).empty());
    return 0;
  }
  checkTensors(*file, tensors);
  return 0;
}
