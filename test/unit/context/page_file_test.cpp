// Page files: what is written comes back, one written by hand is read, and one
// that differs in any bit or length is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdio>
#include <cstring>
#include <random>

#include "stele/runtime/context/page_file.h"

namespace stele {
namespace {

using testing::HasSubstr;

constexpr PageFileShape kShape = {3, 128};

PageKey Key(uint8_t first) {
  PageKey key = {};
  key[0] = first;
  return key;
}

// Page 0 is noise, which does not compress, the others do.
std::vector<std::byte> Block() {
  std::vector<std::byte> block(kShape.block_bytes());
  std::minstd_rand random(7);
  for (size_t i = 0; i < block.size(); ++i)
    block[i] = static_cast<std::byte>(i < 128 ? random() >> 8 : i / 16);
  return block;
}

std::unique_ptr<PageCodec> Codec(const PageFileShape &shape = kShape) {
  auto codec = PageCodec::Create(shape);
  EXPECT_TRUE(codec.ok()) << codec.status().message();
  return *std::move(codec);
}

std::string Encoded(PageCodec &codec) {
  auto file = codec.Encode(Key(1), 5, Block());
  EXPECT_TRUE(file.ok()) << file.status().message();
  return {reinterpret_cast<const char *>(file->data()), file->size()};
}

// What is wrong with `file` as the page of `key`; "" when nothing is.
std::string Refused(PageCodec &codec, std::string_view file,
                    const PageKey &key = Key(1)) {
  std::vector<std::byte> block(codec.shape().block_bytes());
  const auto tokens = codec.Decode(key, file, block);
  if (tokens.ok())
    return "";
  EXPECT_EQ(tokens.status().code(), StatusCode::kDataLoss);
  return tokens.status().message();
}

TEST(PageFile, GivesBackWhatWasWritten) {
  auto codec = Codec();
  const std::string file = Encoded(*codec);
  EXPECT_LT(file.size(), kShape.MaxFileBytes());
  std::vector<std::byte> block(kShape.block_bytes());
  const auto tokens = codec->Decode(Key(1), file, block);
  ASSERT_TRUE(tokens.ok()) << tokens.status().message();
  EXPECT_EQ(*tokens, 5u);
  EXPECT_EQ(block, Block());
}

// The format as docs/page-store.md has it, with frames that are not compressed.
TEST(PageFile, ReadsAFileWrittenByHand) {
  std::string file = "STELEPG1";
  const auto add = [&](auto value) {
    file.append(reinterpret_cast<const char *>(&value), sizeof value);
  };
  file += '\x09' + std::string(31, '\0');
  add(uint32_t{2}); // pages
  add(uint32_t{4}); // tokens
  add(uint64_t{8}); // bytes of a page
  const std::string pages[] = {"01234567", "abcdefgh"};
  for (const std::string &page : pages) {
    add(uint64_t{XXH3_64bits(page.data(), page.size())});
    add(uint64_t{8});
  }
  add(uint64_t{XXH3_64bits(file.data(), file.size())});
  file += pages[0] + pages[1];

  auto codec = Codec({2, 8});
  std::vector<std::byte> block(16);
  const auto tokens = codec->Decode(Key(9), file, block);
  ASSERT_TRUE(tokens.ok()) << tokens.status().message();
  EXPECT_EQ(*tokens, 4u);
  EXPECT_EQ(std::memcmp(block.data(), "01234567abcdefgh", 16), 0);
}

TEST(PageFile, RefusesEveryFlippedBit) {
  auto codec = Codec();
  std::string file = Encoded(*codec);
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    file[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_NE(Refused(*codec, file), "") << "bit " << bit;
    file[bit / 8] ^= static_cast<char>(1 << bit % 8);
  }
  EXPECT_EQ(Refused(*codec, file), "");
  std::printf("%zu bits flipped\n", 8 * file.size());
}

TEST(PageFile, RefusesEveryOtherLength) {
  auto codec = Codec();
  const std::string file = Encoded(*codec);
  for (size_t length = 0; length < file.size(); ++length)
    EXPECT_NE(Refused(*codec, file.substr(0, length)), "") << length;
  EXPECT_THAT(Refused(*codec, file + '\0'), HasSubstr("goes on behind"));
}

TEST(PageFile, RefusesForeignFiles) {
  auto codec = Codec();
  const std::string file = Encoded(*codec);
  EXPECT_THAT(Refused(*codec, file, Key(2)), HasSubstr("another key"));
  auto wider = Codec({3, 256});
  EXPECT_THAT(Refused(*wider, file), HasSubstr("another shape"));
}

// Robustness case 52: somebody who edits a file makes its checksums right.
TEST(PageFile, SurvivesEditedFrames) {
  auto codec = Codec();
  const std::string file = Encoded(*codec);
  const size_t frames = 56, head = 56 + 3 * 16;
  std::minstd_rand random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string edited = file;
    const size_t at = random() % edited.size();
    edited[at] = static_cast<char>(random() >> 8);
    size_t begin = head + 8;
    for (int page = 0; page < 3; ++page) {
      uint64_t length;
      std::memcpy(&length, &edited[frames + page * 16 + 8], 8);
      if (length > edited.size() - begin)
        break;
      const uint64_t sum = XXH3_64bits(&edited[begin], length);
      std::memcpy(&edited[frames + page * 16], &sum, 8);
      begin += length;
    }
    const uint64_t sum = XXH3_64bits(edited.data(), head);
    std::memcpy(&edited[head], &sum, 8);
    std::vector<std::byte> block(kShape.block_bytes());
    (void)codec->Decode(Key(1), edited, block);
  }
}

TEST(PageFile, RefusesShapesBeyondItsNumbers) {
  for (const PageFileShape &shape :
       {PageFileShape{0, 64}, PageFileShape{1, 0},
        PageFileShape{1, uint64_t{1} << 31}, PageFileShape{1u << 21, 64}}) {
    const auto codec = PageCodec::Create(shape);
    ASSERT_FALSE(codec.ok());
    EXPECT_EQ(codec.status().code(), StatusCode::kUnsupported);
  }
}

} // namespace
} // namespace stele
