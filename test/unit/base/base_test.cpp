// Tests of runtime/base: files, hashes, formats, log.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/file.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/base/hash.h"
#include "stele/runtime/base/log.h"
#include "stele/schema/size_text.h"

namespace stele {
namespace {

using testing::HasSubstr;

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

std::string TempPath(const std::string &name) {
  return testing::TempDir() + std::to_string(getpid()) + name;
}

TEST(Checked, RangeFitsDoesNotWrap) {
  EXPECT_TRUE(RangeFits(0, 10, 10));
  EXPECT_TRUE(RangeFits(10, 0, 10));
  EXPECT_FALSE(RangeFits(1, 10, 10));
  EXPECT_FALSE(RangeFits(UINT64_MAX, 2, 10));
  EXPECT_FALSE(RangeFits(2, UINT64_MAX, 10));
}

TEST(Hash, MatchesPublishedValues) {
  EXPECT_EQ(ToHex(Sha256(Bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ToHex(Sha256({})),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  // xxhsum -H3 of an empty input.
  EXPECT_EQ(Xxh3({}), 0x2d06800538d394c2ull);
}

TEST(Hash, ParsesItsOwnHex) {
  const Sha256Digest digest = Sha256(Bytes("abc"));
  EXPECT_EQ(ParseSha256(ToHex(digest)), digest);
  EXPECT_EQ(ParseSha256(std::string(63, '0')), std::nullopt);
  EXPECT_EQ(ParseSha256(std::string(63, '0') + "g"), std::nullopt);
  EXPECT_EQ(ParseSha256(std::string(63, '0') + "\x10"), std::nullopt);
}

TEST(Format, SizesAndTimes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(12ull << 30), "12.0 GiB");
  EXPECT_EQ(FormatSeconds(0.0123), "12.3 ms");
  EXPECT_EQ(FormatSeconds(200), "3 min 20 s");
}

TEST(Format, ParsesSizesAndCounts) {
  EXPECT_EQ(schema::ParseSize("8GiB"), 8ull << 30);
  EXPECT_EQ(schema::ParseSize("4096"), 4096u);
  EXPECT_EQ(schema::ParseSize("12B"), 12u);
  for (const char *size :
       {"700M", "700m", "700MB", "700mb", "700MiB", "700mib"})
    EXPECT_EQ(schema::ParseSize(size), 700ull << 20) << size;
  EXPECT_EQ(schema::ParseSize("3T"), 3ull << 40);
  EXPECT_EQ(schema::ParseSize("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(schema::ParseCount("32K"), 32768u);
  EXPECT_EQ(schema::ParseCount("1M"), 1048576u);
  EXPECT_EQ(schema::ParseCount("1m"), 1048576u);
  for (const char *wrong : {"", "K", "1G", "1KB", "-1"})
    EXPECT_EQ(schema::ParseCount(wrong), std::nullopt) << wrong;
  for (const char *wrong :
       {"", "GiB", "-1", "1.5GiB", "8iB", "8Gi", "8GiBB", "8bG", "1 KiB",
        "99999999999TiB", "18446744073709551616", "99999999999999999999999"})
    EXPECT_EQ(schema::ParseSize(wrong), std::nullopt) << wrong;
}

TEST(Format, PrintableEscapesAndCuts) {
  EXPECT_EQ(Printable("a\n\xff"), "a\\x0a\\xff");
  EXPECT_EQ(Printable(std::string(200, 'x')), std::string(100, 'x') + "...");
}

TEST(File, MapsWhatWasWritten) {
  const std::string path = TempPath("file");
  ASSERT_TRUE(WriteFile(path, std::as_bytes(std::span("hello", 5))).ok());
  auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(std::string(file->bytes().begin(), file->bytes().end()), "hello");
  EXPECT_EQ(*ReadFile(path, 5), "hello");
  EXPECT_THAT(ReadFile(path, 4).status().message(), HasSubstr("limit of 4 B"));
  unlink(path.c_str());
}

TEST(File, EmptyFileIsEmpty) {
  const std::string path = TempPath("empty");
  ASSERT_TRUE(WriteFile(path, {}).ok());
  auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->bytes().empty());
  unlink(path.c_str());
}

TEST(File, RefusesWhatIsNoRegularFile) {
  EXPECT_EQ(MappedFile::Open("/nonexistent").status().code(),
            StatusCode::kNotFound);
  EXPECT_THAT(MappedFile::Open("/tmp").status().message(),
              HasSubstr("'/tmp' is not a regular file"));
  const std::string fifo = TempPath("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(MappedFile::Open(fifo).status().message(),
              HasSubstr("is not a regular file"));
  EXPECT_THAT(WriteFile(fifo, {}).message(),
              HasSubstr("is not a regular file"));
  unlink(fifo.c_str());
  EXPECT_FALSE(MappedFile::Open(std::string("a\0b", 3)).ok());
}

TEST(File, FailedWriteLeavesNothing) {
  const Status status = WriteFile("/nonexistent/file", {});
  EXPECT_THAT(status.message(), HasSubstr("'/nonexistent/file': cannot"));
}

TEST(Log, ReachesTheSinkFromTheLevelUp) {
  std::string seen;
  SetLogSink([&](LogLevel, std::string_view line) { seen += line; });
  SetLogLevel(LogLevel::kInfo);
  Log(LogLevel::kDebug, "no");
  Log(LogLevel::kInfo, "yes");
  SetLogSink(nullptr);
  SetLogLevel(LogLevel::kWarning);
  EXPECT_EQ(seen, "yes");
  EXPECT_EQ(ParseLogLevel("debug"), LogLevel::kDebug);
  EXPECT_EQ(ParseLogLevel("loud"), std::nullopt);
}

} // namespace
} // namespace stele
