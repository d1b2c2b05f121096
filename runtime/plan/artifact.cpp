// Opening an artifact: header, digest, structure, semantics, checksums, in
// this order, so that each step may rely on the ones before. See artifact.h.
#include "stele/runtime/plan/artifact.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <new>
#include <utility>
#include <vector>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/plan/verify.h"
#include "stele/schema/artifact_header.h"

namespace stele {
namespace {

using schema::ArtifactHeader;

// Bounds on what the FlatBuffers verifier walks: a plan nests 7 tables deep,
// and a model of 200 layers has some 20,000 of them.
constexpr uint32_t kMaxDepth = 16;
constexpr uint32_t kMaxTables = 500'000;
// Plans have a few MiB; this bounds what is copied before the digest is known.
constexpr uint64_t kMaxPlanBytes = 64 << 20;
// The only tables with a vector of strings, which many tables may share: the
// verifier reads it for each of them and counts tables only.
constexpr uint32_t kMaxTargets = 64;

// The plan as far as needed to count its targets.
struct PlanHead : private flatbuffers::Table {
  const flatbuffers::Vector<flatbuffers::Offset<plan::Target>>* targets()
      const {
    return GetPointer<
        const flatbuffers::Vector<flatbuffers::Offset<plan::Target>>*>(
        plan::Plan::VT_TARGETS);
  }
  bool Verify(flatbuffers::Verifier& verifier) const {
    return VerifyTableStart(verifier) &&
           VerifyOffset(verifier, plan::Plan::VT_TARGETS) &&
           verifier.VerifyVector(targets()) && verifier.EndTable();
  }
};

bool VerifyStructure(std::span<const uint8_t> flatbuffer) {
  static_assert(kMaxPlanBytes < FLATBUFFERS_MAX_BUFFER_SIZE);
  flatbuffers::Verifier head(flatbuffer.data(), flatbuffer.size());
  if (!head.VerifyBuffer<PlanHead>(plan::PlanIdentifier())) return false;
  const auto* targets =
      flatbuffers::GetRoot<PlanHead>(flatbuffer.data())->targets();
  if (targets && targets->size() > kMaxTargets) return false;
  flatbuffers::Verifier verifier(flatbuffer.data(), flatbuffer.size(),
                                 kMaxDepth, kMaxTables);
  return plan::VerifyPlanBuffer(verifier);
}

ArtifactHeader ReadHeader(std::span<const uint8_t> bytes) {
  ArtifactHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

std::string OptionalName(const flatbuffers::String* name) {
  return name ? "\"" + Printable(name->string_view()) + "\"" : "(no name)";
}

}  // namespace

Status Artifact::Damaged(const std::string& what) const {
  return DataLoss("'" + path_ + "': " + what +
                  "; the artifact is damaged or was edited: copy it again or "
                  "compile it again");
}

Result<std::shared_ptr<const Artifact>> Artifact::Open(
    const std::string& path, const ArtifactOptions& options) try {
  std::shared_ptr<Artifact> artifact(new Artifact(path));
  STELE_ASSIGN_OR_RETURN(artifact->file_, MappedFile::Open(path));
  STELE_RETURN_IF_ERROR(artifact->Load(artifact->file_.bytes(), options));
  return std::shared_ptr<const Artifact>(std::move(artifact));
} catch (const std::bad_alloc&) {
  return ResourceExhausted("'" + path + "': out of memory while opening it");
}

Result<std::shared_ptr<const Artifact>> Artifact::FromBytes(
    std::span<const uint8_t> bytes, const std::string& path,
    const ArtifactOptions& options) try {
  std::shared_ptr<Artifact> artifact(new Artifact(path));
  STELE_RETURN_IF_ERROR(artifact->Load(bytes, options));
  return std::shared_ptr<const Artifact>(std::move(artifact));
} catch (const std::bad_alloc&) {
  return ResourceExhausted("'" + path + "': out of memory while opening it");
}

Status Artifact::Load(std::span<const uint8_t> bytes,
                      const ArtifactOptions& options) {
  bytes_ = bytes;
  STELE_RETURN_IF_ERROR(CheckHeader());
  if (options.sha256) {
    const Sha256Digest digest = Sha256(bytes_);
    if (digest != *options.sha256)
      return DataLoss("'" + path_ + "': SHA-256 of the file is " +
                      ToHex(digest) + ", not the expected " +
                      ToHex(*options.sha256) + "; this is another artifact");
  }
  STELE_RETURN_IF_ERROR(CheckFlatBuffer());
  const PlanFile file = {sizeof(ArtifactHeader) + flatbuffer_.size(),
                         bytes_.size()};
  if (Status status = VerifyPlan(*plan_, file); !status.ok())
    return status.code() == StatusCode::kDataLoss
               ? Damaged(status.message())
               : Status(status.code(), "'" + path_ + "': " + status.message());
  STELE_RETURN_IF_ERROR(CheckPadding());
  STELE_RETURN_IF_ERROR(MapExternalSegments());
  CopySegments();
  STELE_RETURN_IF_ERROR(CheckSegments(options));
  return CheckUnchanged();
}

Status Artifact::CheckHeader() {
  const uint64_t size = bytes_.size();
  if (reinterpret_cast<uintptr_t>(bytes_.data()) % 64 != 0)
    return InvalidArgument("'" + path_ + "': its bytes are not aligned to 64");
  if (size < sizeof(ArtifactHeader))
    return Damaged(Format("the file has %llu bytes, a header needs 64",
                          static_cast<unsigned long long>(size)));
  const ArtifactHeader header = ReadHeader(bytes_);
  if (std::memcmp(header.magic, schema::kMagic, sizeof header.magic) != 0)
    return InvalidArgument(
        "'" + path_ +
        "': the magic bytes at offset 0 are not those of a .stele artifact; "
        "make one with `stele compile CHECKPOINT -o OUT.stele`");
  if (header.endian != schema::kEndianMark)
    return Unsupported(Format(
        "'%s': header.endian is 0x%08x, this machine needs 0x%08x: the "
        "artifact was written on a machine of other byte order; compile it "
        "on this one",
        path_.c_str(), header.endian, schema::kEndianMark));
  if (header.total_size != size)
    return Damaged(
        Format("header.total_size is %llu but the file has %llu bytes",
               static_cast<unsigned long long>(header.total_size),
               static_cast<unsigned long long>(size)));
  if (!RangeFits(sizeof header, header.flatbuffer_size, size))
    return Damaged(
        Format("header.flatbuffer_size %llu does not fit a file of %llu bytes",
               static_cast<unsigned long long>(header.flatbuffer_size),
               static_cast<unsigned long long>(size)));
  if (header.flatbuffer_size > kMaxPlanBytes)
    return Damaged(
        Format("header.flatbuffer_size %llu is beyond 64 MiB",
               static_cast<unsigned long long>(header.flatbuffer_size)));
  const auto flatbuffer = bytes_.subspan(sizeof header, header.flatbuffer_size);
  flatbuffer_.assign(flatbuffer.begin(), flatbuffer.end());
  format_minor_ = header.minor;
  std::copy(std::begin(header.sha256), std::end(header.sha256),
            digest_.begin());
  return CheckVersion();
}

Status Artifact::CheckVersion() const {
  const ArtifactHeader header = ReadHeader(bytes_);
  if (header.major == schema::kFormatMajor &&
      header.minor <= schema::kFormatMinor)
    return OkStatus();
  // The fields that name the producer are the oldest ones; when even they
  // cannot be read, the version numbers must do.
  std::string producer = "an unknown producer";
  if (Sha256(flatbuffer_) == digest_ && VerifyStructure(flatbuffer_))
    producer =
        Printable(plan::GetPlan(flatbuffer_.data())->producer()->string_view());
  const bool newer = header.major > schema::kFormatMajor ||
                     (header.major == schema::kFormatMajor &&
                      header.minor > schema::kFormatMinor);
  return Unsupported(Format(
      "'%s': artifact format %u.%u, written by %s; this runtime reads %u.0 to "
      "%u.%u; %s",
      path_.c_str(), header.major, header.minor, producer.c_str(),
      schema::kFormatMajor, schema::kFormatMajor, schema::kFormatMinor,
      newer ? "update stele, or compile the checkpoint with the stele-compile "
              "of this version"
            : "compile the checkpoint again with this version's "
              "stele-compile"));
}

Status Artifact::CheckFlatBuffer() {
  if (Sha256(flatbuffer_) != digest_)
    return Damaged("the FlatBuffer's SHA-256 is not header.sha256");
  if (!VerifyStructure(flatbuffer_))
    return Damaged("the FlatBuffer is malformed");
  plan_ = plan::GetPlan(flatbuffer_.data());
  return OkStatus();
}

Status Artifact::CheckPadding() const {
  // Bytes that belong to nothing are zero, so that no byte of the file can
  // change unseen.
  std::vector<std::pair<uint64_t, uint64_t>> used;  // [begin, end)
  used.emplace_back(0, sizeof(ArtifactHeader) + flatbuffer_.size());
  for (const plan::Segment* segment : *plan_->segments())
    if (segment->storage() == plan::Storage::Inline)
      used.emplace_back(segment->offset(),
                        segment->offset() + segment->length());
  used.emplace_back(bytes_.size(), bytes_.size());
  std::sort(used.begin(), used.end());
  for (size_t i = 0; i + 1 < used.size(); ++i) {
    const uint64_t begin = used[i].second, end = used[i + 1].first;
    if (end - begin >= schema::kSegmentAlignment)
      return Damaged(Format("bytes %llu to %llu belong to no segment",
                            static_cast<unsigned long long>(begin),
                            static_cast<unsigned long long>(end)));
    for (uint64_t at = begin; at < end; ++at)
      if (bytes_[at] != 0)
        return Damaged(Format("padding byte at offset %llu is not zero",
                              static_cast<unsigned long long>(at)));
  }
  return OkStatus();
}

Status Artifact::MapExternalSegments() {
  for (const plan::Segment* segment : *plan_->segments()) {
    if (segment->storage() != plan::Storage::External) continue;
    const std::string name = segment->external_path()->str();
    if (external_.count(name) == 0) {
      const auto beside = std::filesystem::path(path_).parent_path() / name;
      STELE_ASSIGN_OR_RETURN(external_[name],
                             MappedFile::Open(beside.string()));
    }
    const uint64_t size = external_[name].bytes().size();
    if (!RangeFits(segment->offset(), segment->length(), size))
      return Damaged("segment " + OptionalName(segment->name()) +
                     " does not fit the " + FormatBytes(size) +
                     " of its external file '" + Printable(name) + "'");
  }
  return OkStatus();
}

void Artifact::CopySegments() {
  for (uint32_t i = 0; i < plan_->segments()->size(); ++i) {
    const auto bytes = segment(i);
    const bool weights =
        plan_->segments()->Get(i)->kind() == plan::SegmentKind::Weights;
    copies_.emplace_back(bytes.begin(), weights ? bytes.begin() : bytes.end());
  }
}

Status Artifact::CheckSegments(const ArtifactOptions& options) const {
  const auto& segments = *plan_->segments();
  for (uint32_t i = 0; i < segments.size(); ++i) {
    if (options.verify_weights ||
        segments[i]->kind() != plan::SegmentKind::Weights)
      STELE_RETURN_IF_ERROR(VerifySegment(i));
    if (segments[i]->storage() == plan::Storage::External &&
        (options.verify_weights || options.sha256))
      STELE_RETURN_IF_ERROR(CheckExternalDigest(*segments[i], options));
  }
  return OkStatus();
}

Status Artifact::CheckExternalDigest(const plan::Segment& segment,
                                     const ArtifactOptions& options) const {
  const std::string name = segment.external_path()->str();
  if (!segment.sha256() || segment.sha256()->size() == 0) {
    if (!options.sha256) return OkStatus();
    return Unsupported("'" + path_ + "': a SHA-256 is expected, but segment " +
                       OptionalName(segment.name()) +
                       " has none for its external file '" + Printable(name) +
                       "'; compile the checkpoint again, or put the weights "
                       "inside with --weights inline");
  }
  Sha256Digest expected;
  std::copy(segment.sha256()->begin(), segment.sha256()->end(),
            expected.begin());
  const Sha256Digest found = Sha256(external_.at(name).bytes());
  if (found == expected) return OkStatus();
  return Damaged("the external file '" + Printable(name) + "' has SHA-256 " +
                 ToHex(found) + ", the plan says " + ToHex(expected));
}

std::span<const uint8_t> Artifact::segment(uint32_t index) const {
  const plan::Segment* segment = plan_->segments()->Get(index);
  if (index < copies_.size() && !copies_[index].empty()) return copies_[index];
  switch (segment->storage()) {
    case plan::Storage::Inline:
      return bytes_.subspan(segment->offset(), segment->length());
    case plan::Storage::External:
      return external_.at(segment->external_path()->str())
          .bytes()
          .subspan(segment->offset(), segment->length());
    case plan::Storage::Synthetic:
      break;
  }
  return {};
}

Status Artifact::CheckUnchanged() const {
  STELE_RETURN_IF_ERROR(file_.CheckUnchanged());
  for (const auto& [name, file] : external_)
    STELE_RETURN_IF_ERROR(file.CheckUnchanged());
  return OkStatus();
}

Status Artifact::VerifySegment(uint32_t index) const {
  const plan::Segment* segment = plan_->segments()->Get(index);
  if (segment->storage() == plan::Storage::Synthetic) return OkStatus();
  const uint64_t found = Xxh3(this->segment(index));
  if (found == segment->xxh3()) return OkStatus();
  return Damaged(Format("segment %s has XXH3 %016llx, the plan says %016llx",
                        OptionalName(segment->name()).c_str(),
                        static_cast<unsigned long long>(found),
                        static_cast<unsigned long long>(segment->xxh3())));
}

}  // namespace stele
