// Records of pages that host memory has no room for, in a file.
//
// Place on the road: the pager moves a sequence's oldest records here and reads
// them back one by one, into a staging slot. A record is compressed and has a
// checksum in memory: what the disk gives back is what was written, or an
// error.
//
// The file has no name, so that it goes with the process, and is read and
// written by offset, never mapped.
#ifndef STELE_RUNTIME_CONTEXT_COLD_FILE_H_
#define STELE_RUNTIME_CONTEXT_COLD_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "stele/runtime/base/file.h"
#include "stele/runtime/base/status.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace stele {

// Compresses records of one size and back; takes its memory when it is made.
// Used by one thread at a time.
class RecordCompressor {
 public:
  static Result<std::unique_ptr<RecordCompressor>> Create(
      uint64_t record_bytes);
  // Bytes that one takes.
  static uint64_t Bytes(uint64_t record_bytes);

  uint64_t record_bytes() const { return record_bytes_; }
  // `record` itself where nothing is gained. Valid until the next call.
  Result<std::span<const std::byte>> Compress(
      std::span<const std::byte> record);
  // Room for a compressed record of `bytes`, at most record_bytes().
  std::span<std::byte> Room(uint64_t bytes) {
    return std::span(room_).first(bytes);
  }
  // What is in the room's first `bytes`, as a record.
  Status Decompress(uint64_t bytes, std::span<std::byte> record);

 private:
  struct Free {
    void operator()(ZSTD_CCtx_s* context) const;
    void operator()(ZSTD_DCtx_s* context) const;
  };
  explicit RecordCompressor(uint64_t record_bytes)
      : record_bytes_(record_bytes) {}

  uint64_t record_bytes_;
  std::unique_ptr<ZSTD_CCtx_s, Free> compressor_;
  std::unique_ptr<ZSTD_DCtx_s, Free> decompressor_;
  std::vector<std::byte> room_;
};

// The records of one sequence, numbered from 0.
class ColdFile {
 public:
  // In `folder`, which is made if only the one above it is there, for up to
  // `records`. Memory for their places is taken now.
  static Result<std::unique_ptr<ColdFile>> Create(const std::string& folder,
                                                  uint64_t records);
  // Bytes of memory that one takes.
  static uint64_t Bytes(uint64_t records) { return records * sizeof(Place); }

  // Puts a record behind all others. Written: what it takes there.
  Result<uint64_t> Write(uint64_t index, std::span<const std::byte> record,
                         RecordCompressor* compressor);
  // Reads one that was written. Read: what it took there.
  Result<uint64_t> Read(uint64_t index, std::span<std::byte> record,
                        RecordCompressor* compressor) const;

  // Where the next record goes; forgets what was written since.
  uint64_t end() const { return end_; }
  void Rewind(uint64_t end) { end_ = end; }

 private:
  struct Place {
    uint64_t offset = 0;
    uint64_t xxh3 = 0;    // of the bytes there
    uint64_t length = 0;  // record_bytes: stored as it is
  };

  ColdFile(std::string folder, Descriptor file, uint64_t records)
      : folder_(std::move(folder)), file_(std::move(file)), places_(records) {}
  Status Failed(const char* what, const char* why, StatusCode code) const;

  std::string folder_;
  Descriptor file_;
  std::vector<Place> places_;
  uint64_t end_ = 0;
};

}  // namespace stele

#endif  // STELE_RUNTIME_CONTEXT_COLD_FILE_H_
