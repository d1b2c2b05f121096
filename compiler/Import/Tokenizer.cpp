//===- Tokenizer.cpp - the tokenizer of whatever a checkpoint is
//-----------===//
#include "stele/compiler/Import/Tokenizer.h"

#include "stele/compiler/Import/Checkpoint.h"

namespace stele::checkpoint {

llvm::Expected<std::vector<uint8_t>> importTokenizer(const Checkpoint &source) {
  const int64_t vocab = source.config().vocab;
  if (const GgufFile *gguf = source.gguf())
    return importGgufTokenizer(*gguf, vocab);
  return importHfTokenizer(source.folder(), vocab);
}

} // namespace stele::checkpoint
