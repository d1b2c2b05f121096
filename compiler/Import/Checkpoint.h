// The front door of the road: a checkpoint on disk as the rest of the compiler
// sees it, whatever its format. Configuration, tensors under their Hugging
// Face names, rows of weights as f32; the weights themselves stay on disk.
#ifndef STELE_COMPILER_IMPORT_CHECKPOINT_H
#define STELE_COMPILER_IMPORT_CHECKPOINT_H

#include "stele/compiler/Import/Config.h"
#include "stele/compiler/Import/InputFile.h"
#include "stele/compiler/Import/Quantised.h"
#include "stele/compiler/Import/Tensor.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringMap.h"
#include <memory>
#include <vector>

namespace stele::checkpoint {

class GgufFile;
class PackedWeights;

class Checkpoint {
public:
  // A Hugging Face folder, a .gguf file, or a config.json alone. The last has
  // no tensors and serves compiles with synthetic weights.
  static llvm::Expected<std::unique_ptr<Checkpoint>> open(llvm::StringRef path);
  ~Checkpoint();

  // The path it was opened by, for messages.
  llvm::StringRef path() const { return openedPath; }
  const ModelConfig &config() const { return modelConfig; }
  llvm::ArrayRef<TensorInfo> tensors() const { return tensorList; }
  // The tensor of that name, or null.
  const TensorInfo *find(llvm::StringRef name) const;

  // What the file calls that tensor, whether or not it has it: GGUF has names
  // of its own. For messages.
  std::string nameInFile(llvm::StringRef name) const;

  // Rows [begin, end) of the tensor seen as [shape[0], rest], dequantised to
  // f32. A NaN or infinity is an error that names its place. Safe from several
  // threads; holds at most a few rows of the file's bytes.
  llvm::Error readRows(const TensorInfo &tensor, int64_t begin, int64_t end,
                       float *out) const;

  // How the file quantises the tensor, in the format that keeps each of its
  // values exactly; nothing for a plain tensor.
  std::optional<schema::QuantFormat>
  quantFormat(const TensorInfo &tensor) const;
  // As readRows, for a tensor that has a quantFormat: the rows as they are
  // stored. Their columns are those of the codes, see columnOrder.
  llvm::Error readQuantised(const TensorInfo &tensor, int64_t begin,
                            int64_t end, QuantRows &out) const;

  // Column j of the codes is column order[j] of the weight; empty when they are
  // the same. Only formats whose groups are not contiguous have an order.
  llvm::ArrayRef<int32_t> columnOrder(const TensorInfo &tensor) const;

  // Where tokenizer and template files are looked for: the Hugging Face
  // folder, empty for a GGUF file.
  llvm::StringRef folder() const { return folderPath; }
  // The GGUF file with its metadata (tokenizer.ggml.*), or null.
  const GgufFile *gguf() const { return ggufFile.get(); }
  // The checkpoint's chat template: chat_template.jinja, or the one inside
  // tokenizer_config.json or the GGUF metadata; nothing when there is none.
  llvm::Expected<std::optional<std::string>> chatTemplate() const;

private:
  Checkpoint() = default;
  llvm::Error openAny(llvm::StringRef path);
  llvm::Error openFolder(llvm::StringRef path);
  llvm::Error openConfig(llvm::StringRef path);
  llvm::Error openGguf(llvm::StringRef path);
  llvm::Error openSafeTensors();
  llvm::Error readSafeTensorsFiles();
  llvm::Error dropZeroBiases();
  llvm::Error readRopeFactors(const TensorInfo &tensor);
  llvm::Error indexTensors();
  llvm::Error checkTiedWeights();
  llvm::Error checkRange(const TensorInfo &tensor, int64_t begin,
                         int64_t end) const;
  llvm::Error
  readStored(const TensorInfo &tensor, int64_t begin, int64_t end,
             llvm::function_ref<llvm::Error(int64_t, int64_t, const uint8_t *)>
                 take) const;
  llvm::Error checkFinite(const TensorInfo &tensor, int64_t row,
                          llvm::ArrayRef<float> values) const;
  llvm::Error checkScales(const TensorInfo &tensor, int64_t row,
                          llvm::ArrayRef<float> values,
                          llvm::StringRef what) const;

  std::string openedPath;
  ModelConfig modelConfig;
  std::string folderPath;
  std::vector<std::unique_ptr<InputFile>> files;
  std::vector<TensorInfo> tensorList;
  llvm::StringMap<size_t> tensorIndex;
  std::unique_ptr<GgufFile> ggufFile;
  std::unique_ptr<PackedWeights> packedWeights; // null where there are none
};

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_CHECKPOINT_H
