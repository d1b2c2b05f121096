// Fuzz target: any bytes as a quantised Hugging Face folder: two bytes of
// length, that much of quantization_config, and the rest as model.safetensors.
// Where a matrix has codes, they must mean what its rows say.
#include "stele/compiler/Import/Checkpoint.h"
#include "temp_folder.h"
#include <cmath>
#include <fstream>

using namespace stele::checkpoint;
using stele::fuzz::Require;
using stele::fuzz::TempFolder;

static constexpr const char *kConfig =
    R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 4,
        "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 1, "max_position_embeddings": 16,
        "quantization_config": )";

static void checkRow(const Checkpoint &checkpoint, const TensorInfo &tensor,
                     int64_t row) {
  int64_t columns = tensor.rowWidth();
  std::vector<float> values(columns), fromCodes(columns);
  if (llvm::Error error =
          checkpoint.readRows(tensor, row, row + 1, values.data())) {
    Require(!tensor.packed); // its numbers were checked when it was opened
    return llvm::consumeError(std::move(error));
  }
  auto format = checkpoint.quantFormat(tensor);
  if (!format)
    return;
  QuantRows rows;
  llvm::cantFail(checkpoint.readQuantised(tensor, row, row + 1, rows));
  dequantise(*format, rows, columns, fromCodes.data());
  llvm::ArrayRef<int32_t> order = checkpoint.columnOrder(tensor);
  for (int64_t j = 0; j < columns; ++j)
    Require(std::isfinite(fromCodes[j]) &&
            fromCodes[j] == values[order.empty() ? j : order[j]]);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const TempFolder folder;
  if (size < 2)
    return 0;
  size_t length = std::min<size_t>(data[0] | data[1] << 8, size - 2);
  std::string quantisation(reinterpret_cast<const char *>(data + 2), length);
  std::ofstream(folder.path + "/config.json") << kConfig << quantisation << "}";
  stele::fuzz::MemoryFile memory(data + 2 + length, size - 2 - length);
  folder.link("model.safetensors", memory);
  auto checkpoint = Checkpoint::open(folder.path);
  if (!checkpoint) {
    Require(!llvm::toString(checkpoint.takeError()).empty());
    return 0;
  }
  for (const TensorInfo &tensor : (*checkpoint)->tensors())
    if (tensor.rows() > 0) {
      checkRow(**checkpoint, tensor, 0);
      checkRow(**checkpoint, tensor, tensor.rows() - 1);
    }
  return 0;
}
