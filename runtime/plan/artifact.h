// A mapped, verified artifact.
//
// Place on the road: the first thing the runtime does. Open checks the header,
// the digest and structure of the FlatBuffer, every index and range in it
// (verify.h), and the checksums of code and tokenizer; what an Artifact hands
// out afterwards may be trusted by everything behind it: what was checked is a
// copy, so that nobody can change it in the file afterwards. Only weights are
// read where they are mapped; they are checked on request, since that reads
// them all.
#ifndef STELE_RUNTIME_PLAN_ARTIFACT_H_
#define STELE_RUNTIME_PLAN_ARTIFACT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/hash.h"
#include "stele/runtime/base/status.h"
#include "stele/schema/plan_generated.h"

namespace stele {

struct ArtifactOptions {
  bool verify_weights = false;
  // What SHA-256 of the whole file must be (`sha256sum FILE`). Costs a read of
  // the whole file, and of external weights: the file holds their SHA-256.
  std::optional<Sha256Digest> sha256;
};

// Immutable, so safe to use from any thread; owns the mappings.
class Artifact {
 public:
  static Result<std::shared_ptr<const Artifact>> Open(
      const std::string& path, const ArtifactOptions& options = {});

  // The same for bytes in memory, which stay the caller's and are aligned to
  // 64; `path` names them in messages and finds external weights.
  static Result<std::shared_ptr<const Artifact>> FromBytes(
      std::span<const uint8_t> bytes, const std::string& path,
      const ArtifactOptions& options = {});

  const std::string& path() const { return path_; }
  const plan::Plan& plan() const { return *plan_; }
  uint64_t file_size() const { return bytes_.size(); }
  // SHA-256 of the FlatBuffer: two artifacts with equal digests hold the same
  // plan and segments with the same checksums.
  const Sha256Digest& digest() const { return digest_; }
  uint16_t format_minor() const { return format_minor_; }

  // The bytes of segment `index`; empty for a synthetic one.
  std::span<const uint8_t> segment(uint32_t index) const;

  // Compares the checksum of segment `index` with its bytes.
  Status VerifySegment(uint32_t index) const;

  // kDataLoss once a mapped file changed or could not be read. What was
  // computed from weights counts only if this is OK afterwards.
  Status CheckUnchanged() const;

 private:
  explicit Artifact(std::string path) : path_(std::move(path)) {}
  Status Load(std::span<const uint8_t> bytes, const ArtifactOptions& options);
  Status CheckHeader();
  Status CheckVersion() const;
  Status CheckFlatBuffer();
  Status CheckPadding() const;
  Status MapExternalSegments();
  void CopySegments();
  Status CheckSegments(const ArtifactOptions& options) const;
  Status CheckExternalDigest(const plan::Segment& segment,
                             const ArtifactOptions& options) const;
  Status Damaged(const std::string& what) const;

  std::string path_;
  MappedFile file_;  // empty for FromBytes
  std::span<const uint8_t> bytes_;
  uint16_t format_minor_ = 0;
  Sha256Digest digest_ = {};
  std::vector<uint8_t> flatbuffer_;
  const plan::Plan* plan_ = nullptr;
  std::map<std::string, MappedFile> external_;  // by file name
  std::vector<std::vector<uint8_t>> copies_;    // by segment; none of weights
};

}  // namespace stele

#endif  // STELE_RUNTIME_PLAN_ARTIFACT_H_
