// The toy artifact as a file, for tests that see only the public API.
#ifndef STELE_TEST_UNIT_SUPPORT_TOY_ARTIFACT_H_
#define STELE_TEST_UNIT_SUPPORT_TOY_ARTIFACT_H_

#include <string>

namespace stele::test {

// Writes it to `path`; false when that failed.
bool WriteToyArtifact(const std::string &path);
// The one with context paging.
bool WritePagedToyArtifact(const std::string &path);

} // namespace stele::test

#endif // STELE_TEST_UNIT_SUPPORT_TOY_ARTIFACT_H_
