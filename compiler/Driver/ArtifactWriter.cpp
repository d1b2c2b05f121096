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
static constexpr uint16_t formatMinor = 1;
/// Of the hexadecimal SHA-256, in the name of a segment's file.
static constexpr size_t digestDigits = 16;

namespace {

/// Forwards to a file and keeps the XXH3 of what went through, and the SHA-256
/// on request.
class HashingStream : public llvm::raw_ostream {
public:
  HashingStream(llvm::raw_fd_ostream &out, bool withSha256)
      : out(out), withSha256(withSha256), state(XXH3_createState()) {
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
  std::array<uint8_t, 32> sha256() {
    flush();
    return sha.final();
  }

private:
  void write_impl(const char *bytes, size_t size) override {
    XXH3_64bits_update(state, bytes, size);
    if (withSha256)
      sha.update(llvm::StringRef(bytes, size));
    out.write(bytes, size);
    written += size;
  }
  uint64_t current_pos() const override { return written; }

  llvm::raw_fd_ostream &out;
  const bool withSha256;
  XXH3_state_t *state;
  llvm::SHA256 sha;
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

namespace {

/// A file that is not there until keep(): written under a temporary name, which
/// goes away with the object and on signals.
class OutputFile {
public:
  static llvm::Expected<std::unique_ptr<OutputFile>>
  create(llvm::StringRef path) {
    llvm::Expected<llvm::sys::fs::TempFile> file =
        llvm::sys::fs::TempFile::create(path + ".%%%%%%.tmp", 0644);
    if (!file)
      return makeError("cannot write {0}: {1}; check that the folder exists "
                       "and is writable",
                       path, llvm::toString(file.takeError()));
    return std::unique_ptr<OutputFile>(new OutputFile(path, std::move(*file)));
  }
  ~OutputFile() {
    stream.clear_error();
    if (!kept)
      llvm::consumeError(file.discard());
  }

  llvm::raw_fd_ostream &out() { return stream; }
  llvm::StringRef path() const { return name; }
  bool isKept() const { return kept; }

  /// The name that keep() gives it.
  void setPath(std::string path) { name = std::move(path); }

  /// What the disk said so far.
  llvm::Error status() {
    stream.flush();
    if (!stream.has_error())
      return llvm::Error::success();
    return makeError("cannot write {0}: {1}; make room there or name another "
                     "place with -o",
                     name, stream.error().message());
  }
  llvm::Error flushToDisk() {
    if (llvm::Error error = status())
      return error;
    return ::fsync(file.FD) == 0 ? llvm::Error::success()
                                 : systemError("cannot flush", file.TmpName);
  }
  /// Only a rename: TempFile::keep(name) would copy when that fails, over a
  /// file that others have mapped.
  llvm::Error keep() {
    if (std::error_code code = llvm::sys::fs::rename(file.TmpName, name))
      return makeError("cannot write {0}: {1}; check the permissions there",
                       name, code.message());
    kept = true;
    if (llvm::Error error = file.keep())
      return error;
    return flushFolder(name);
  }

private:
  OutputFile(llvm::StringRef path, llvm::sys::fs::TempFile made)
      : name(path.str()), file(std::move(made)),
        stream(file.FD, /*shouldClose=*/false) {}

  std::string name;
  llvm::sys::fs::TempFile file;
  llvm::raw_fd_ostream stream;
  bool kept = false;
};

/// The artifact and the files of its own that segments have.
class Writer {
public:
  Writer(llvm::StringRef path, llvm::ArrayRef<compiler::SegmentBytes> segments)
      : path(path), segments(segments), placed(segments.size()) {}

  llvm::Expected<uint64_t> run(compiler::PlanSerialiser serialise) {
    llvm::Expected<uint64_t> size = write(serialise);
    // The disk's word comes before what followed from it.
    for (std::unique_ptr<OutputFile> &file : files)
      if (llvm::Error error = file->status()) {
        if (!size)
          llvm::consumeError(size.takeError());
        return std::move(error);
      }
    if (!size)
      return size.takeError();
    for (std::unique_ptr<OutputFile> &file : files)
      if (llvm::Error error = file->flushToDisk())
        return std::move(error);
    if (llvm::Error error = keepAll())
      return std::move(error);
    removeOutdated();
    return size;
  }

private:
  llvm::Expected<OutputFile *> open(llvm::StringRef name) {
    llvm::Expected<std::unique_ptr<OutputFile>> file = OutputFile::create(name);
    if (!file)
      return file.takeError();
    files.push_back(std::move(*file));
    return files.back().get();
  }

  llvm::Error writeSegment(llvm::raw_fd_ostream &out,
                           const compiler::SegmentBytes &segment,
                           compiler::PlacedSegment &place) {
    out.seek(place.offset);
    HashingStream stream(out, /*withSha256=*/!segment.file.empty());
    if (llvm::Error error = segment.write(stream))
      return error;
    place.xxh3 = stream.digest();
    if (!segment.file.empty())
      place.sha256 = stream.sha256();
    if (out.tell() == place.offset + segment.length)
      return llvm::Error::success();
    return makeError("{0}: a segment of {1} bytes wrote {2}; this is a bug of "
                     "the compiler, please report it",
                     path, segment.length, out.tell() - place.offset);
  }

  /// Writes a segment's own file and names it after its content.
  llvm::Error writeOwnFile(const compiler::SegmentBytes &segment,
                           compiler::PlacedSegment &place) {
    llvm::Expected<OutputFile *> own = open(segment.file);
    if (!own)
      return own.takeError();
    if (llvm::Error error = writeSegment((*own)->out(), segment, place))
      return error;
    place.file = nameOf(segment, place);
    (*own)->setPath(segment.file + place.file.substr(place.file.rfind('.')));
    return llvm::Error::success();
  }

  static std::string nameOf(const compiler::SegmentBytes &segment,
                            const compiler::PlacedSegment &place) {
    return (llvm::sys::path::filename(segment.file) + "." +
            llvm::toHex(place.sha256, /*LowerCase=*/true)
                .substr(0, digestDigits))
        .str();
  }

  llvm::Expected<uint64_t> write(compiler::PlanSerialiser serialise) {
    if (llvm::Error error = compiler::checkOutput(path))
      return std::move(error);
    llvm::Expected<OutputFile *> artifact = open(path);
    if (!artifact)
      return artifact.takeError();
    llvm::raw_fd_ostream &out = (*artifact)->out();
    // Names of the right length, as yet without a digest.
    for (auto [segment, place] : llvm::zip_equal(segments, placed))
      if (!segment.file.empty())
        place.file = nameOf(segment, place);
    const uint64_t planBytes = serialise(placed).size();
    uint64_t end = headerBytes + planBytes;
    for (auto [segment, place] : llvm::zip_equal(segments, placed)) {
      if (segment.file.empty()) {
        place.offset = llvm::alignTo(end, segmentAlignment);
        end = place.offset + segment.length;
      }
      if (llvm::Error error = segment.file.empty()
                                  ? writeSegment(out, segment, place)
                                  : writeOwnFile(segment, place))
        return std::move(error);
    }
    const std::string plan = serialise(placed);
    if (plan.size() != planBytes)
      return makeError("{0}: the plan's size changed from {1} to {2} bytes "
                       "while writing; this is a bug of the compiler, please "
                       "report it",
                       path, planBytes, plan.size());
    out.seek(0);
    out << makeHeader(plan, end) << plan;
    return end;
  }

  /// The artifact last: until its rename everything is as it was, but for
  /// files that no artifact names.
  llvm::Error keepAll() {
    std::vector<std::string> added;
    for (std::unique_ptr<OutputFile> &file : llvm::reverse(files)) {
      if (!llvm::sys::fs::exists(file->path()))
        added.push_back(file->path().str());
      llvm::Error error = file->keep();
      if (!error)
        continue;
      if (!files.front()->isKept())
        for (const std::string &name : added)
          llvm::sys::fs::remove(name);
      return error;
    }
    return llvm::Error::success();
  }

  /// Removes what segments' files of earlier compiles left: the same start of
  /// the name, another digest. One that cannot be removed only takes room.
  void removeOutdated() {
    for (const compiler::SegmentBytes &segment : segments) {
      if (segment.file.empty())
        continue;
      llvm::StringRef folder = llvm::sys::path::parent_path(segment.file);
      std::error_code code;
      llvm::sys::fs::directory_iterator at(
          folder.empty() ? llvm::StringRef(".") : folder, code),
          end;
      for (; !code && at != end; at.increment(code))
        if (isOutdated(llvm::sys::path::filename(at->path()), segment))
          llvm::sys::fs::remove(at->path());
    }
  }

  bool isOutdated(llvm::StringRef name, const compiler::SegmentBytes &segment) {
    if (llvm::is_contained(
            llvm::map_range(placed,
                            [](const compiler::PlacedSegment &place) {
                              return llvm::StringRef(place.file);
                            }),
            name))
      return false;
    return name.consume_front(llvm::sys::path::filename(segment.file)) &&
           name.consume_front(".") && name.size() == digestDigits &&
           llvm::all_of(name, llvm::isHexDigit);
  }

  llvm::StringRef path;
  llvm::ArrayRef<compiler::SegmentBytes> segments;
  std::vector<compiler::PlacedSegment> placed;
  std::vector<std::unique_ptr<OutputFile>> files; // the artifact first
};

} // namespace

llvm::Error compiler::checkOutput(llvm::StringRef path) {
  namespace fs = llvm::sys::fs;
  fs::file_status there;
  if (!fs::status(path, there) && !fs::is_regular_file(there))
    return makeError(
        "cannot write {0}: it is {1}; name a file (-o "
        "model.stele)",
        path, fs::is_directory(there) ? "a folder" : "a device or a pipe");
  llvm::StringRef folder = llvm::sys::path::parent_path(path);
  if (!folder.empty() && !fs::is_directory(folder))
    return makeError("cannot write {0}: {1} is not a folder; check that the "
                     "folder exists and is writable",
                     path, folder);
  return llvm::Error::success();
}

llvm::Expected<uint64_t>
compiler::writeArtifact(llvm::StringRef path,
                        llvm::ArrayRef<SegmentBytes> segments,
                        PlanSerialiser serialise) {
  // A link stays, and what it names is written.
  llvm::SmallString<128> named = path;
  if (llvm::sys::fs::is_symlink_file(path) &&
      llvm::sys::fs::real_path(path, named))
    named = path;
  return Writer(named, segments).run(serialise);
}
