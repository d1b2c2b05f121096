// Tests of compiler/Driver/ArtifactWriter: the file's layout, and that nothing
// is left behind when a write fails.

#include "stele/compiler/Driver/ArtifactWriter.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <csignal>
#include <filesystem>
#include <sys/resource.h>

namespace stele::compiler {
namespace {

using llvm::support::endian::read64le;

class ArtifactWriterTest : public ::testing::Test {
protected:
  void SetUp() override {
    llvm::SmallString<128> made;
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("stele-writer", made));
    folder = made.str().str();
    path = folder + "/model.stele";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(folder))
      names.push_back(entry.path().filename());
    return names;
  }

  std::string folder, path;
};

SegmentBytes textSegment(std::string text) {
  return {text.size(), [text](llvm::raw_ostream &out) {
            out << text;
            return llvm::Error::success();
          }};
}

std::string planOf(llvm::ArrayRef<PlacedSegment> placed) {
  std::string plan = "plan";
  for (const PlacedSegment &segment : placed) {
    plan.append(reinterpret_cast<const char *>(&segment), sizeof segment);
  }
  return plan;
}

std::string messageOf(llvm::Expected<uint64_t> result) {
  return result ? "" : llvm::toString(result.takeError());
}

TEST_F(ArtifactWriterTest, PutsSegmentsAtPageBoundariesBehindThePlan) {
  std::string plan;
  llvm::Expected<uint64_t> size = writeArtifact(
      path, {textSegment("first"), textSegment(std::string(5000, 'x'))},
      [&](llvm::ArrayRef<PlacedSegment> placed) {
        return plan = planOf(placed);
      });
  ASSERT_TRUE(bool(size)) << llvm::toString(size.takeError());
  EXPECT_EQ(*size, 2 * 4096u + 5000u);

  auto file = llvm::MemoryBuffer::getFile(path);
  ASSERT_TRUE(bool(file));
  llvm::StringRef bytes = (*file)->getBuffer();
  EXPECT_EQ(bytes.size(), *size);
  EXPECT_EQ(bytes.take_front(8), llvm::StringRef("STELE\r\n\0", 8));
  EXPECT_EQ(read64le(bytes.data() + 16), *size);
  EXPECT_EQ(read64le(bytes.data() + 24), plan.size());
  EXPECT_EQ(bytes.substr(64, plan.size()), plan);
  EXPECT_EQ(bytes.substr(4096, 5), "first");
  EXPECT_EQ(bytes.substr(8192), std::string(5000, 'x'));
  EXPECT_THAT(files(), ::testing::ElementsAre("model.stele"));
}

TEST_F(ArtifactWriterTest, KeepsTheOldFileAndNothingElseWhenASegmentFails) {
  std::filesystem::copy_file(STELE_SOURCE_DIR "/LICENSE", path);
  auto before = std::filesystem::file_size(path);
  SegmentBytes failing = {10, [](llvm::raw_ostream &out) {
                            out << "half";
                            return llvm::createStringError("weights end");
                          }};
  EXPECT_EQ(messageOf(writeArtifact(path, {failing}, planOf)), "weights end");
  EXPECT_EQ(std::filesystem::file_size(path), before);
  EXPECT_THAT(files(), ::testing::ElementsAre("model.stele"));
}

TEST_F(ArtifactWriterTest, NamesSegmentsOfAnotherLengthThanSaid) {
  SegmentBytes shorter = {10, [](llvm::raw_ostream &out) {
                            out << "nine here";
                            return llvm::Error::success();
                          }};
  EXPECT_THAT(messageOf(writeArtifact(path, {shorter}, planOf)),
              ::testing::HasSubstr("a segment of 10 bytes wrote 9"));
  EXPECT_THAT(files(), ::testing::IsEmpty());
}

TEST_F(ArtifactWriterTest, RefusesPlacesThatCannotBeWritten) {
  EXPECT_THAT(messageOf(writeArtifact(folder + "/no/x.stele", {}, planOf)),
              ::testing::HasSubstr("check that the folder exists"));
  EXPECT_THAT(messageOf(writeArtifact(folder, {}, planOf)),
              ::testing::HasSubstr("it is a folder"));
}

TEST(ArtifactWriterFullDisk, SaysWhatTheDiskSaid) {
  // A file size limit stands in for a full disk.
  struct rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = {1 << 20, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  llvm::SmallString<128> made;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("stele-full", made));
  std::string message = messageOf(
      writeArtifact((made + "/x.stele").str(),
                    {textSegment(std::string(4 << 20, 'x'))}, planOf));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_THAT(message, ::testing::HasSubstr("File too large"));
  EXPECT_TRUE(std::filesystem::is_empty(made.str().str()));
  std::filesystem::remove_all(made.str().str());
}

} // namespace
} // namespace stele::compiler
