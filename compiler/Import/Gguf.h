// Reads a GGUF file (v2, v3, little endian) or the parts of a split one:
// metadata, tensor names, types, shapes and places. Names are llama.cpp's here;
// Checkpoint translates them.
#ifndef STELE_COMPILER_IMPORT_GGUF_H
#define STELE_COMPILER_IMPORT_GGUF_H

#include "stele/compiler/Import/InputFile.h"
#include "stele/compiler/Import/Tensor.h"
#include "llvm/ADT/StringMap.h"
#include <variant>
#include <vector>

namespace stele::checkpoint {

// Every integer type of the format becomes uint64_t or int64_t, both float
// types double.
using GgufScalar = std::variant<uint64_t, int64_t, double, bool, std::string>;
using GgufArray = std::vector<GgufScalar>;
using GgufValue =
    std::variant<uint64_t, int64_t, double, bool, std::string, GgufArray>;

class GgufFile {
public:
  // Reads everything but the tensors' bytes. `file` must outlive this.
  static llvm::Expected<std::unique_ptr<GgufFile>> read(const InputFile &file);
  // Opens the file, and the others when it is the first part of a split model
  // (X-00001-of-0000N.gguf); a tensor's `file` is then its part. The metadata
  // is that of the first.
  static llvm::Expected<std::unique_ptr<GgufFile>>
  open(llvm::StringRef path, std::vector<std::unique_ptr<InputFile>> &files);

  llvm::StringRef path() const { return filePath; }
  llvm::ArrayRef<TensorInfo> tensors() const { return tensorList; }

  // The value of `key`, or null when the file has no such key.
  const GgufValue *find(llvm::StringRef key) const;
  llvm::ArrayRef<std::pair<std::string, GgufValue>> metadata() const {
    return entries;
  }

  // The value of `key` as the type asked for: nothing when it is absent, an
  // error when it has another type. Any integer type that holds the value
  // serves for an integer, any number for a double.
  llvm::Expected<std::optional<std::string>> string(llvm::StringRef key) const;
  llvm::Expected<std::optional<int64_t>> integer(llvm::StringRef key) const;
  llvm::Expected<std::optional<double>> number(llvm::StringRef key) const;
  llvm::Expected<std::optional<bool>> boolean(llvm::StringRef key) const;
  llvm::Expected<const GgufArray *> array(llvm::StringRef key) const;

private:
  friend class GgufReader;
  llvm::Error openParts(int64_t count,
                        std::vector<std::unique_ptr<InputFile>> &files);
  llvm::Error checkTensors(int64_t total) const;
  std::string filePath;
  std::vector<std::pair<std::string, GgufValue>> entries;
  llvm::StringMap<size_t> index;
  std::vector<TensorInfo> tensorList;
};

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_GGUF_H
