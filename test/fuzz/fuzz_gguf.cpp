// Fuzz target: any bytes as a GGUF checkpoint: header, configuration, tensors,
// chat template, tokenizer, and the first row of every tensor, its codes too.
#include "memory_file.h"
#include "stele/compiler/Import/Checkpoint.h"
#include "stele/compiler/Import/Gguf.h"
#include "stele/compiler/Import/Tokenizer.h"

using namespace stele::checkpoint;
using stele::fuzz::Require;

// Rows wider than this are left unread: they would only cost time.
static constexpr int64_t kWidest = 1 << 16;

static void readFirstRows(const Checkpoint &checkpoint) {
  for (const TensorInfo &tensor : checkpoint.tensors()) {
    int64_t width = tensor.rowWidth();
    if (tensor.rows() == 0 || width > kWidest)
      continue;
    std::vector<float> row(width);
    bool isFinite = true;
    if (llvm::Error error = checkpoint.readRows(tensor, 0, 1, row.data())) {
      llvm::consumeError(std::move(error));
      isFinite = false;
    }
    auto format = checkpoint.quantFormat(tensor);
    QuantRows rows;
    if (!format)
      continue;
    if (llvm::Error error = checkpoint.readQuantised(tensor, 0, 1, rows)) {
      llvm::consumeError(std::move(error));
      Require(!isFinite || width == 0);
      continue;
    }
    std::vector<float> fromCodes(width);
    dequantise(*format, rows, width, fromCodes.data());
    Require(!isFinite || fromCodes == row);
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  stele::fuzz::MemoryFile memory(data, size);
  std::unique_ptr<InputFile> file =
      llvm::cantFail(InputFile::open(memory.path()));
  auto header = GgufFile::read(*file);
  if (!header) {
    Require(!llvm::toString(header.takeError()).empty());
    return 0;
  }
  for (const TensorInfo &tensor : (*header)->tensors())
    Require(rangeFits(tensor.offset, tensor.bytes, size));
  auto checkpoint = Checkpoint::open(memory.path());
  if (!checkpoint) {
    Require(!llvm::toString(checkpoint.takeError()).empty());
    return 0;
  }
  if (auto chat = (*checkpoint)->chatTemplate(); !chat)
    llvm::consumeError(chat.takeError());
  if (auto tokenizer = importTokenizer(**checkpoint); !tokenizer)
    llvm::consumeError(tokenizer.takeError());
  readFirstRows(**checkpoint);
  return 0;
}
