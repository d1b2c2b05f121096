// Fuzz target: any bytes as the manifest of a session, with the checksum that
// they need. What is accepted must be what it would be written as, to the bit.
#include <string>

#include "memory_file.h"
#include "stele/runtime/base/hash.h"
#include "stele/runtime/engine/session_manifest.h"

using stele::fuzz::Require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string bytes(reinterpret_cast<const char *>(data), size);
  const uint64_t checksum = stele::Xxh3({data, size});
  bytes.append(reinterpret_cast<const char *>(&checksum), sizeof checksum);
  const auto manifest = stele::SessionManifest::Parse(bytes);
  if (!manifest.ok()) {
    Require(manifest.status().code() == stele::StatusCode::kDataLoss);
    return 0;
  }
  Require(manifest->Serialise() == bytes);
  Require(manifest->position <= manifest->tokens.size());
  (void)manifest->WholeBlocks();
  return 0;
}
