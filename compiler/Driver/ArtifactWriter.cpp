// Streams an artifact to disk (ArtifactWriter.h). The FlatBuffer holds the
// segments' checksums and stands before them, so it is serialised twice: once
// for its size, before the segments are written behind the room it needs, and
// once with what is then known.

#include "stele/compiler/Driver/ArtifactWriter.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

using namespace stele;
using checkpoint::makeError;

static constexpr uint64_t headerBytes = 64;
static constexpr uint64_t segmentAlignment = 4096;
static constexpr uint16_t formatMajor = 1;
static constexpr uint16_t formatMinor = 0;

namespace {

/// Forwards to a file and keeps the XXH3 of what went through.
class HashingStream : public llvm::raw_ostream {
public:
  explicit HashingStream(llvm::raw_fd_ostream &out)
      : out(out), state(XXH3_createState()) {
    XXH3_64bits_reset(state);
    SetBufferSize(1 << 20);
  }
  ~HashingStream() override {
    flush();
    XXH3_freeState(state);
  }

  uint64_t digest() {
    flush();
    return XXH3_64bits_digest(state);
  }

private:
  void write_impl(const char *bytes, size_t size) override {
    XXH3_64bits_update(state, bytes, size);
    out.write(bytes, size);
    written += size;
  }
  uint64_t current_pos() const override { return written; }

  llvm::raw_fd_ostream &out;
  XXH3_state_t *state;
  uint64_t written = 0;
};

} // namespace

static llvm::Error systemError(llvm::StringRef what, llvm::StringRef path) {
  return makeError("{0} {1}: {2}; check the space and permissions there", what,
                   path,
                   std::error_code(errno, std::generic_category()).message());
}

/// The file and the entry that names it reach the disk, or an error.
static llvm::Error flushFolder(llvm::StringRef path) {
  llvm::SmallString<128> folder(llvm::sys::path::parent_path(path));
  if (folder.empty())
    folder = ".";
  int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (descriptor < 0)
    return systemError("cannot open the folder", folder);
  int result = ::fsync(descriptor);
  ::close(descriptor);
  return result == 0 ? llvm::Error::success()
                     : systemError("cannot flush the folder", folder);
}

static std::string makeHeader(llvm::StringRef plan, uint64_t totalBytes) {
  std::string header(headerBytes, '\0');
  char *at = header.data();
  std::memcpy(at, "STELE\r\n\0", 8);
  llvm::support::endian::write16le(at + 8, formatMajor);
  llvm::support::endian::write16le(at + 10, formatMinor);
  llvm::support::endian::write32le(at + 12, 0x01020304);
  llvm::support::endian::write64le(at + 16, totalBytes);
  llvm::support::endian::write64le(at + 24, plan.size());
  std::array<uint8_t, 32> digest =
      llvm::SHA256::hash(llvm::arrayRefFromStringRef(plan));
  std::memcpy(at + 32, digest.data(), digest.size());
  return header;
}

/// Writes everything into the open temporary file.
static llvm::Expected<uint64_t>
writeAll(llvm::StringRef path, llvm::raw_fd_ostream &out,
         llvm::ArrayRef<compiler::SegmentBytes> segments,
         compiler::PlanSerialiser serialise) {
  std::vector<compiler::PlacedSegment> placed(segments.size());
  const uint64_t planBytes = serialise(placed).size();

  uint64_t end = headerBytes + planBytes;
  for (auto [segment, place] : llvm::zip_equal(segments, placed)) {
    place.offset = llvm::alignTo(end, segmentAlignment);
    end = place.offset + segment.length;
    out.seek(place.offset);
    HashingStream stream(out);
    if (llvm::Error error = segment.write(stream))
      return error;
    place.xxh3 = stream.digest();
    if (out.tell() != end)
      return makeError("{0}: a segment of {1} bytes wrote {2}; this is a bug "
                       "of the compiler, please report it",
                       path, segment.length, out.tell() - place.offset);
  }

  const std::string plan = serialise(placed);
  if (plan.size() != planBytes)
    return makeError("{0}: the plan's size changed from {1} to {2} bytes while "
                     "writing; this is a bug of the compiler, please report it",
                     path, planBytes, plan.size());
  out.seek(0);
  out << makeHeader(plan, end) << plan;
  return end;
}

llvm::Expected<uint64_t>
compiler::writeArtifact(llvm::StringRef path,
                        llvm::ArrayRef<SegmentBytes> segments,
                        PlanSerialiser serialise) {
  if (llvm::sys::fs::is_directory(path))
    return makeError("cannot write {0}: it is a folder; name a file (-o "
                     "model.stele)",
                     path);
  llvm::Expected<llvm::sys::fs::TempFile> file =
      llvm::sys::fs::TempFile::create(path + ".%%%%%%.tmp", 0644);
  if (!file)
    return makeError("cannot write {0}: {1}; check that the folder exists and "
                     "is writable",
                     path, llvm::toString(file.takeError()));

  llvm::Expected<uint64_t> size = [&] {
    llvm::raw_fd_ostream out(file->FD, /*shouldClose=*/false);
    llvm::Expected<uint64_t> written = writeAll(path, out, segments, serialise);
    out.flush();
    if (!out.has_error())
      return written;
    // The disk's word comes before what followed from it.
    if (!written)
      llvm::consumeError(written.takeError());
    std::string reason = out.error().message();
    out.clear_error();
    return llvm::Expected<uint64_t>(
        makeError("cannot write {0}: {1}; make room there or name another "
                  "place with -o",
                  path, reason));
  }();
  if (!size) {
    llvm::consumeError(file->discard());
    return size.takeError();
  }
  if (::fsync(file->FD) != 0) {
    llvm::Error error = systemError("cannot flush", file->TmpName);
    llvm::consumeError(file->discard());
    return error;
  }
  if (llvm::Error error = file->keep(path)) {
    llvm::consumeError(file->discard());
    return makeError("cannot write {0}: {1}", path,
                     llvm::toString(std::move(error)));
  }
  if (llvm::Error error = flushFolder(path))
    return error;
  return size;
}
