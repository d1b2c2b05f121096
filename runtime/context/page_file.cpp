// Writing and checking page files; see page_file.h.
#include "stele/runtime/context/page_file.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <bit>
#include <cstring>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/format.h"

namespace stele {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr char kMagic[8] = {'S', 'T', 'E', 'L', 'E', 'P', 'G', '1'};
constexpr uint64_t kMaxPageBytes = uint64_t{1} << 31;
constexpr uint32_t kMaxPages = 1u << 20;
// Keys and values are noise in their low bits: more effort finds nothing.
constexpr int kLevel = 1;

// The head of a file: Header, Frame [pages], uint64 checksum of both. Frames
// follow in order, and the file ends with the last one.
struct Header {
  char magic[8];
  uint8_t key[32];
  uint32_t pages;
  uint32_t tokens;
  uint64_t page_bytes;
};
static_assert(sizeof(Header) == 56);

struct Frame {
  uint64_t xxh3;    // of the stored bytes
  uint64_t length;  // of the stored bytes; page_bytes: not compressed
};
static_assert(sizeof(Frame) == 16);

uint64_t HeadBytes(uint64_t pages) {
  return sizeof(Header) + pages * sizeof(Frame) + sizeof(uint64_t);
}

uint64_t Checksum(const void* bytes, uint64_t length) {
  return Xxh3({static_cast<const uint8_t*>(bytes), length});
}

Status Damaged(const char* what) {
  return DataLoss(std::string("a page file ") + what);
}

}  // namespace

uint64_t PageFileShape::MaxFileBytes() const {
  return HeadBytes(pages) + block_bytes();
}

void PageCodec::FreeCompressor::operator()(ZSTD_CCtx_s* context) const {
  ZSTD_freeCCtx(context);
}
void PageCodec::FreeDecompressor::operator()(ZSTD_DCtx_s* context) const {
  ZSTD_freeDCtx(context);
}

PageCodec::~PageCodec() = default;

Result<std::unique_ptr<PageCodec>> PageCodec::Create(
    const PageFileShape& shape) {
  if (shape.pages == 0 || shape.pages > kMaxPages || shape.page_bytes == 0 ||
      shape.page_bytes >= kMaxPageBytes)
    return Unsupported(Format(
        "a block of %u pages of %llu bytes cannot be stored; at most 2^20 "
        "pages below 2^31 bytes can",
        shape.pages, static_cast<unsigned long long>(shape.page_bytes)));
  std::unique_ptr<PageCodec> codec(new PageCodec(shape));
  codec->compressor_.reset(ZSTD_createCCtx());
  codec->decompressor_.reset(ZSTD_createDCtx());
  if (!codec->compressor_ || !codec->decompressor_)
    return ResourceExhausted("out of memory for compressing pages");
  codec->file_.resize(shape.MaxFileBytes());
  return codec;
}

Result<std::span<const std::byte>> PageCodec::Encode(
    const PageKey& key, uint32_t tokens, std::span<const std::byte> block) {
  if (block.size() != shape_.block_bytes())
    return Internal("a block of another shape than its codec's");
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  std::memcpy(header.key, key.data(), key.size());
  header.pages = shape_.pages;
  header.tokens = tokens;
  header.page_bytes = shape_.page_bytes;
  std::memcpy(file_.data(), &header, sizeof header);

  const uint64_t head = HeadBytes(shape_.pages);
  uint64_t end = head;
  for (uint32_t i = 0; i < shape_.pages; ++i) {
    const auto room = std::span(file_).subspan(end, shape_.page_bytes);
    Frame frame;
    STELE_ASSIGN_OR_RETURN(
        frame.length,
        Compress(block.subspan(i * shape_.page_bytes, shape_.page_bytes),
                 room));
    frame.xxh3 = Checksum(room.data(), frame.length);
    std::memcpy(file_.data() + sizeof header + i * sizeof frame, &frame,
                sizeof frame);
    end += frame.length;
  }
  const uint64_t covered = head - sizeof(uint64_t);
  const uint64_t checksum = Checksum(file_.data(), covered);
  std::memcpy(file_.data() + covered, &checksum, sizeof checksum);
  return std::span<const std::byte>(file_).first(end);
}

// Bytes used of `room`, which has the page's size.
Result<uint64_t> PageCodec::Compress(std::span<const std::byte> page,
                                     std::span<std::byte> room) {
  // A byte less than the page: what does not get smaller stays as it is.
  const size_t length =
      ZSTD_compressCCtx(compressor_.get(), room.data(), room.size() - 1,
                        page.data(), page.size(), kLevel);
  if (!ZSTD_isError(length)) return length;
  if (ZSTD_getErrorCode(length) == ZSTD_error_memory_allocation)
    return ResourceExhausted("out of memory for compressing pages");
  std::memcpy(room.data(), page.data(), page.size());
  return page.size();
}

Result<uint32_t> PageCodec::Decode(const PageKey& key, std::string_view file,
                                   std::span<std::byte> block) {
  if (block.size() != shape_.block_bytes())
    return Internal("a block of another shape than its codec's");
  const uint64_t head = HeadBytes(shape_.pages);
  const uint64_t covered = head - sizeof(uint64_t);
  if (file.size() < head) return Damaged("ends inside its head");
  uint64_t checksum;
  std::memcpy(&checksum, file.data() + covered, sizeof checksum);
  if (checksum != Checksum(file.data(), covered))
    return Damaged("has another checksum than its head");
  Header header;
  std::memcpy(&header, file.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    return Damaged("is of another format");
  if (std::memcmp(header.key, key.data(), key.size()) != 0)
    return Damaged("belongs to another key");
  if (header.pages != shape_.pages || header.page_bytes != shape_.page_bytes)
    return Damaged("holds pages of another shape");

  uint64_t at = head;
  for (uint32_t i = 0; i < shape_.pages; ++i) {
    Frame frame;
    std::memcpy(&frame, file.data() + sizeof header + i * sizeof frame,
                sizeof frame);
    if (!RangeFits(at, frame.length, file.size()))
      return Damaged("ends inside a frame");
    const std::string_view stored = file.substr(at, frame.length);
    if (frame.xxh3 != Checksum(stored.data(), stored.size()))
      return Damaged("has another checksum than a frame");
    STELE_RETURN_IF_ERROR(Decompress(
        stored, block.subspan(i * shape_.page_bytes, shape_.page_bytes)));
    at += frame.length;
  }
  if (at != file.size()) return Damaged("goes on behind its last frame");
  return header.tokens;
}

Status PageCodec::Decompress(std::string_view frame,
                             std::span<std::byte> page) {
  if (frame.size() == page.size()) {
    std::memcpy(page.data(), frame.data(), page.size());
    return OkStatus();
  }
  const size_t length =
      ZSTD_decompressDCtx(decompressor_.get(), page.data(), page.size(),
                          frame.data(), frame.size());
  if (length != page.size()) return Damaged("has a frame of another length");
  return OkStatus();
}

}  // namespace stele
