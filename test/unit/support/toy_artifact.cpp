// The toy artifact as a file; see toy_artifact.h.
#include "toy_artifact.h"

#include "artifact_builder.h"
#include "stele/runtime/base/file.h"

namespace stele::test {

static bool Write(ArtifactBuilder builder, const std::string &path) {
  const AlignedBytes bytes = builder.Build();
  return WriteFile(path, std::as_bytes(std::span<const uint8_t>(bytes))).ok();
}

bool WriteToyArtifact(const std::string &path) {
  return Write(ArtifactBuilder::Toy(), path);
}

bool WritePagedToyArtifact(const std::string &path) {
  return Write(ArtifactBuilder::ToySparse(/*paging=*/true), path);
}

} // namespace stele::test
