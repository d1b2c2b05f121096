// A block's pages as bytes of a store: compressed, named, checked.
//
// Place on the road: between the page pool and a store. One file holds a block
// of tokens of a sequence: all its pages (a page is one layer and one KV head),
// each in a frame of its own, so that a tier that wants some of them reads some
// of them. What a page's bytes mean is the kernels' business.
//
// docs/page-store.md has the format. Every bit of a file is covered by a
// checksum: of the file's head, or of a frame.
#ifndef STELE_RUNTIME_CONTEXT_PAGE_FILE_H_
#define STELE_RUNTIME_CONTEXT_PAGE_FILE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/context/page_key.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace stele {

// How many pages a file holds and how long each is.
struct PageFileShape {
  uint32_t pages = 0;
  uint64_t page_bytes = 0;  // below 2^31

  uint64_t block_bytes() const { return pages * page_bytes; }
  // No file of this shape is longer.
  uint64_t MaxFileBytes() const;
};

// Compresses and decompresses pages, one thread at a time. What it needs is
// allocated when it is made.
class PageCodec {
 public:
  static Result<std::unique_ptr<PageCodec>> Create(const PageFileShape& shape);
  ~PageCodec();
  PageCodec(const PageCodec&) = delete;
  PageCodec& operator=(const PageCodec&) = delete;

  const PageFileShape& shape() const { return shape_; }

  // The file of a block, of which `tokens` tokens are there. `block` is
  // [pages, page_bytes]. Valid until the next call.
  Result<std::span<const std::byte>> Encode(const PageKey& key, uint32_t tokens,
                                            std::span<const std::byte> block);

  // Fills `block` and returns how many tokens are there. kDataLoss says what is
  // wrong with a file that is not, to the bit, one that Encode made for `key`;
  // `block` may hold anything then.
  Result<uint32_t> Decode(const PageKey& key, std::string_view file,
                          std::span<std::byte> block);

 private:
  explicit PageCodec(const PageFileShape& shape) : shape_(shape) {}
  Result<uint64_t> Compress(std::span<const std::byte> page,
                            std::span<std::byte> room);
  Status Decompress(std::string_view frame, std::span<std::byte> page);

  PageFileShape shape_;
  struct FreeCompressor {
    void operator()(ZSTD_CCtx_s* context) const;
  };
  struct FreeDecompressor {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_CCtx_s, FreeCompressor> compressor_;
  std::unique_ptr<ZSTD_DCtx_s, FreeDecompressor> decompressor_;
  std::vector<std::byte> file_;
};

}  // namespace stele

#endif  // STELE_RUNTIME_CONTEXT_PAGE_FILE_H_
