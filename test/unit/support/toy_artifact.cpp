// The toy artifact as a file; see toy_artifact.h.
#include "toy_artifact.h"

#include "artifact_builder.h"
#include "stele/runtime/base/file.h"

namespace stele::test {

bool WriteToyArtifact(const std::string &path) {
  const AlignedBytes bytes = ArtifactBuilder::Toy().Build();
  return WriteFile(path, std::as_bytes(std::span<const uint8_t>(bytes))).ok();
}

} // namespace stele::test
