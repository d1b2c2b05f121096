// What both tokenizer importers fill in: a tokenizer in the terms of
// tokenizer.fbs, with the checks that do not depend on where it came from.
#ifndef STELE_COMPILER_IMPORT_TOKENIZERMODEL_H
#define STELE_COMPILER_IMPORT_TOKENIZERMODEL_H

#include "stele/schema/tokenizer_generated.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace stele::checkpoint {

namespace tokens = stele::text::schema;

// Is this the name of a byte token, "<0x00>" to "<0xFF>"?
bool isByteTokenName(llvm::StringRef text);

// The bytes that a token of a byte-level vocabulary stands for: GPT-2 spells
// every byte as a printable character. Nothing if another character is there.
std::optional<std::string> bytesOfByteLevelToken(llvm::StringRef token);

struct TokenizerModel {
  struct Token {
    std::string text; // as the source spells it
    tokens::TokenType type = tokens::TokenType::Hole;
  };
  struct Merge {
    uint32_t left, right, result, rank;
  };

  // `file` names the source in errors, `vocab` is the number of ids.
  TokenizerModel(llvm::StringRef file, int64_t vocab)
      : file(file), vocab(vocab) {}

  // Puts a token of the BPE vocabulary at its id.
  llvm::Error addToken(llvm::StringRef text, int64_t id,
                       tokens::TokenType type = tokens::TokenType::Normal);
  // Adds a token that is looked for in the text. It may also be one of the
  // vocabulary, of the same id.
  llvm::Error addAddedToken(tokens::AddedTokenT token, int64_t id);
  // Appends a merge of two tokens, in order of rank; of merges of the same pair
  // the last counts.
  llvm::Error addMerge(llvm::StringRef left, llvm::StringRef right);
  // Appends a merge, all of this rank, for every way to cut a token in two.
  void addMergesOf(uint32_t token, uint32_t rank);
  // Marks the tokens <0x00> to <0xFF>.
  llvm::Error markByteTokens();
  // The id of a token or added token.
  std::optional<uint32_t> find(llvm::StringRef text) const;

  bool isAdded(llvm::StringRef text) const { return addedIds.contains(text); }

  llvm::Expected<std::vector<uint8_t>> serialise();

  std::string file;
  int64_t vocab;
  std::vector<Token> list; // by id
  std::vector<Merge> merges;
  bool explicitRanks = false; // a merge's rank is not its index
  // Everything else is taken over as it is.
  tokens::TokenizerT rest;

private:
  llvm::Error check(llvm::StringRef text, int64_t id) const;
  bool isNormal(uint32_t id) const {
    return list[id].type == tokens::TokenType::Normal;
  }

  llvm::StringMap<uint32_t> ids;      // of the BPE vocabulary
  llvm::StringMap<uint32_t> addedIds; // of added tokens
};

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_TOKENIZERMODEL_H
