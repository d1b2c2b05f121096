// The tokenizer of a checkpoint, read once at compile time and written as the
// tokenizer segment of the artifact (runtime/schema/tokenizer.fbs).
//
// Sources are tokenizer.json with its companions, or the metadata of a GGUF
// file. What a source asks for and the runtime cannot do is refused by name:
// a tokenizer that is almost right is worse than none.
#ifndef STELE_COMPILER_IMPORT_TOKENIZER_H
#define STELE_COMPILER_IMPORT_TOKENIZER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <vector>

namespace stele::checkpoint {

class Checkpoint;
class GgufFile;

// Tokenizers in other formats: alone in a folder, they are refused by name.
inline constexpr llvm::StringLiteral otherTokenizerFiles[] = {
    "tokenizer.model", "tekken.json", "vocab.json"};

// The segment's bytes; empty when the checkpoint has no tokenizer at all (the
// artifact then takes and gives ids only).
llvm::Expected<std::vector<uint8_t>> importTokenizer(const Checkpoint &source);

// Ids must be below `vocab`, the rows of the model's embedding.
llvm::Expected<std::vector<uint8_t>> importHfTokenizer(llvm::StringRef folder,
                                                       int64_t vocab);
llvm::Expected<std::vector<uint8_t>> importGgufTokenizer(const GgufFile &file,
                                                         int64_t vocab);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_TOKENIZER_H
