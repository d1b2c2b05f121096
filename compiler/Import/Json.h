// The one JSON reader of the compiler: config.json, safetensors headers, shard
// indices and tokenizer.json all pass through here.
//
// It is strict where those files are attacked or broken: nesting is limited,
// a key that appears twice is refused (which of the two counts would be a
// guess), text must be UTF-8, numbers must be finite. Members keep their order.
#ifndef STELE_COMPILER_IMPORT_JSON_H
#define STELE_COMPILER_IMPORT_JSON_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <nlohmann/json.hpp>

namespace stele::checkpoint {

// Note that looking a member up by name is linear; iterate large objects.
using Json = nlohmann::ordered_json;

struct JsonLimits {
  uint64_t bytes = uint64_t(64) << 20;
  unsigned depth = 64;
};

// Parses `text`; `file` only names it in errors: "FILE:LINE:COLUMN: what".
llvm::Expected<Json> parseJson(llvm::StringRef text, llvm::StringRef file,
                               JsonLimits limits = {});

// Reads and parses a regular file.
llvm::Expected<Json> readJsonFile(llvm::StringRef path, JsonLimits limits = {});

// The member `key` of an object, or null when it is absent.
const Json *findMember(const Json &object, llvm::StringRef key);

// A value for a message: as JSON, cut off where it is long.
std::string shown(const Json &value);

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_JSON_H
