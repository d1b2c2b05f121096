// Compressing, writing and reading records; see cold_file.h.
#include "stele/runtime/context/cold_file.h"

#include <unistd.h>
#include <zstd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/base/hash.h"

namespace stele {
namespace {

// Records of codes gain little from more.
constexpr int kLevel = 1;

uint64_t HashOf(std::span<const std::byte> bytes) {
  return Xxh3({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

}  // namespace

void RecordCompressor::Free::operator()(ZSTD_CCtx_s* context) const {
  ZSTD_freeCCtx(context);
}
void RecordCompressor::Free::operator()(ZSTD_DCtx_s* context) const {
  ZSTD_freeDCtx(context);
}

// zstd takes what it needs for a size with the first record of it.
Result<std::unique_ptr<RecordCompressor>> RecordCompressor::Create(
    uint64_t record_bytes) {
  std::unique_ptr<RecordCompressor> made(new RecordCompressor(record_bytes));
  made->compressor_.reset(ZSTD_createCCtx());
  made->decompressor_.reset(ZSTD_createDCtx());
  if (!made->compressor_ || !made->decompressor_)
    return ResourceExhausted("out of memory for compressing older KV pages");
  made->room_.resize(ZSTD_compressBound(record_bytes));
  std::vector<std::byte> record(record_bytes);
  STELE_ASSIGN_OR_RETURN(const auto bytes, made->Compress(record));
  if (bytes.size() < record_bytes)
    STELE_RETURN_IF_ERROR(made->Decompress(bytes.size(), record));
  return made;
}

uint64_t RecordCompressor::Bytes(uint64_t record_bytes) {
  constexpr uint64_t kContexts = 2
                                 << 20;  // what zstd takes at level 1, at most
  return kContexts + ZSTD_compressBound(record_bytes);
}

Result<std::span<const std::byte>> RecordCompressor::Compress(
    std::span<const std::byte> record) {
  const size_t length =
      ZSTD_compressCCtx(compressor_.get(), room_.data(), room_.size(),
                        record.data(), record.size(), kLevel);
  if (ZSTD_isError(length))
    return ResourceExhausted("cannot compress older KV pages: " +
                             std::string(ZSTD_getErrorName(length)));
  if (length >= record.size()) return record;
  return std::span<const std::byte>(room_).first(length);
}

Status RecordCompressor::Decompress(uint64_t bytes,
                                    std::span<std::byte> record) {
  const size_t length = ZSTD_decompressDCtx(decompressor_.get(), record.data(),
                                            record.size(), room_.data(), bytes);
  if (!ZSTD_isError(length) && length == record.size()) return OkStatus();
  return DataLoss("a record of older KV pages does not decompress");
}

Result<std::unique_ptr<ColdFile>> ColdFile::Create(const std::string& folder,
                                                   uint64_t records) {
  // A store's folder is there only from its first page on.
  (void)MakeFolder(folder);
  std::string name = folder + "/stele-pages-XXXXXX";
  Descriptor file(mkstemp(name.data()));
  if (file.get() < 0)
    return Unavailable("cannot make a file for older KV pages in '" +
                       Printable(folder) + "': " + std::strerror(errno) +
                       "; set TMPDIR to a folder with room, or give more "
                       "--host-memory");
  (void)unlink(name.c_str());
  return std::unique_ptr<ColdFile>(
      new ColdFile(folder, std::move(file), records));
}

Status ColdFile::Failed(const char* what, const char* why,
                        StatusCode code) const {
  return {code, std::string("cannot ") + what + " older KV pages in '" +
                    Printable(folder_) + "': " + why +
                    (code == StatusCode::kResourceExhausted
                         ? "; free space there, set TMPDIR to a folder with "
                           "room, or give more --host-memory"
                         : "")};
}

Result<uint64_t> ColdFile::Write(uint64_t index,
                                 std::span<const std::byte> record,
                                 RecordCompressor* compressor) {
  STELE_ASSIGN_OR_RETURN(const auto bytes, compressor->Compress(record));
  for (uint64_t done = 0; done < bytes.size();) {
    const ssize_t written =
        pwrite(file_.get(), bytes.data() + done, bytes.size() - done,
               static_cast<off_t>(end_ + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      return Failed("write", written < 0 ? std::strerror(errno) : "no progress",
                    written < 0 && (errno == ENOSPC || errno == EDQUOT)
                        ? StatusCode::kResourceExhausted
                        : StatusCode::kUnavailable);
    done += static_cast<uint64_t>(written);
  }
  places_[index] = {end_, HashOf(bytes), bytes.size()};
  end_ += bytes.size();
  return bytes.size();
}

Result<uint64_t> ColdFile::Read(uint64_t index, std::span<std::byte> record,
                                RecordCompressor* compressor) const {
  const Place& place = places_[index];
  const bool is_plain = place.length == record.size();
  const std::span<std::byte> bytes =
      is_plain ? record : compressor->Room(place.length);
  for (uint64_t done = 0; done < bytes.size();) {
    const ssize_t got =
        pread(file_.get(), bytes.data() + done, bytes.size() - done,
              static_cast<off_t>(place.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return Failed("read", std::strerror(errno), StatusCode::kUnavailable);
    if (got == 0)
      return Failed("read", "the file is shorter than what was written",
                    StatusCode::kDataLoss);
    done += static_cast<uint64_t>(got);
  }
  if (HashOf(bytes) != place.xxh3)
    return Failed("use", "the disk gives back other bytes than were written",
                  StatusCode::kDataLoss);
  if (!is_plain)
    STELE_RETURN_IF_ERROR(compressor->Decompress(place.length, record));
  return place.length;
}

}  // namespace stele
