// The tokenizer of whatever a checkpoint is. See Tokenizer.h.
#include "stele/compiler/Import/Tokenizer.h"

#include "stele/compiler/Import/Checkpoint.h"
#include "stele/compiler/Import/Gguf.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace stele::checkpoint {

llvm::Expected<std::vector<uint8_t>> importTokenizer(const Checkpoint &source) {
  const int64_t vocab = source.config().vocab;
  if (const GgufFile *gguf = source.gguf()) {
    if (!gguf->find("tokenizer.ggml.model"))
      return std::vector<uint8_t>();
    return importGgufTokenizer(*gguf, vocab);
  }
  if (source.folder().empty())
    return std::vector<uint8_t>();
  auto has = [&](llvm::StringRef name) {
    llvm::SmallString<256> path(source.folder());
    llvm::sys::path::append(path, name);
    return llvm::sys::fs::exists(path);
  };
  // A folder with another kind of tokenizer is refused by name.
  if (!has("tokenizer.json") && llvm::none_of(otherTokenizerFiles, has))
    return std::vector<uint8_t>();
  return importHfTokenizer(source.folder(), vocab);
}

} // namespace stele::checkpoint
