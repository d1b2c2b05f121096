// Fuzz target: any bytes as a page file. Its checksums are made right first, so
// that every input gets as far as its lengths and frames deserve; what is read
// must lie inside the file, and what is written inside the block.
#include <cstring>
#include <string>
#include <vector>

#include "memory_file.h"
#include "stele/runtime/base/hash.h"
#include "stele/runtime/context/page_file.h"

using stele::fuzz::Require;

namespace {

// As docs/page-store.md has it: 56 bytes of header, 16 for each of two frames,
// the checksum of these, and the frames.
constexpr stele::PageFileShape kShape = {2, 64};
constexpr size_t kFrames = 56, kCovered = kFrames + 2 * 16,
                 kHead = kCovered + 8;

void SetChecksum(std::string &file, size_t at, size_t begin, size_t length) {
  const uint64_t sum = stele::Xxh3(
      {reinterpret_cast<const uint8_t *>(file.data()) + begin, length});
  std::memcpy(file.data() + at, &sum, sizeof sum);
}

void Seal(std::string &file) {
  size_t begin = kHead;
  for (size_t frame = kFrames; frame < kCovered; frame += 16) {
    uint64_t length;
    std::memcpy(&length, file.data() + frame + 8, sizeof length);
    if (length > file.size() - begin)
      break;
    SetChecksum(file, frame, begin, length);
    begin += length;
  }
  SetChecksum(file, kCovered, 0, kCovered);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const auto codec = *stele::PageCodec::Create(kShape);
  std::string file(reinterpret_cast<const char *>(data), size);
  if (size >= kHead)
    Seal(file);
  std::vector<std::byte> block(kShape.block_bytes());
  const auto tokens = codec->Decode({}, file, block);
  if (!tokens.ok()) {
    Require(tokens.status().code() == stele::StatusCode::kDataLoss);
    return 0;
  }
  // What was read is what would be written again, and reads the same.
  const auto again = codec->Encode({}, *tokens, block);
  Require(again.ok());
  std::vector<std::byte> second(block.size());
  const std::string bytes(reinterpret_cast<const char *>(again->data()),
                          again->size());
  Require(codec->Decode({}, bytes, second).ok());
  Require(second == block);
  return 0;
}
