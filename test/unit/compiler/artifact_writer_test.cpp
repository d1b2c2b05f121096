// Tests of compiler/Driver/ArtifactWriter: the file's layout, that nothing is
// left behind when a write fails, and that a failure or a kill at any step of
// replacing an artifact leaves the old one or the new one, with its weights.

#include "stele/compiler/Driver/ArtifactWriter.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

/// Call number `at` of those below fails, or ends the process.
struct Fault {
  int at = -1;
  bool kills = false;
  int calls = 0;

  bool strikes() {
    if (calls++ != at)
      return false;
    if (kills)
      _exit(9);
    errno = EIO;
    return true;
  }
} fault;

} // namespace

// These stand in front of libc's for the whole program, LLVM's library
// included.
extern "C" int rename(const char *from, const char *to) noexcept {
  return fault.strikes() ? -1 : renameat(AT_FDCWD, from, AT_FDCWD, to);
}
extern "C" int fsync(int descriptor) {
  return fault.strikes() ? -1 : syscall(SYS_fsync, descriptor);
}
extern "C" int remove(const char *path) noexcept {
  if (fault.strikes())
    return -1;
  return std::filesystem::is_directory(path) ? rmdir(path) : unlink(path);
}

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
    plan.append(reinterpret_cast<const char *>(&segment.offset), 8);
    plan.append(reinterpret_cast<const char *>(&segment.xxh3), 8);
    plan += segment.file + ";";
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

/// Code in the artifact and weights in a file of their own, both of which say
/// which generation they are.
class ReplaceTest : public ArtifactWriterTest {
protected:
  llvm::Expected<uint64_t> write(const std::string &generation) {
    SegmentBytes weights = textSegment(generation + " weights");
    weights.file = path + ".weights";
    return writeArtifact(path, {textSegment(generation + " code"), weights},
                         planOf);
  }

  static std::string read(const std::string &name) {
    auto file = llvm::MemoryBuffer::getFile(name);
    return file ? (*file)->getBuffer().str() : "";
  }

  /// The generation that is at the path, whole; empty for anything else.
  std::string generation() {
    std::string bytes = read(path);
    size_t name = bytes.find("model.stele.weights.");
    if (name == std::string::npos)
      return "";
    std::string weights =
        read(folder + "/" + bytes.substr(name, bytes.find(';', name) - name));
    for (std::string one : {"old", "new"})
      if (weights == one + " weights" && bytes.ends_with(one + " code"))
        return one;
    return "";
  }
};

TEST_F(ReplaceTest, NamesWeightsAfterTheirContentAndRemovesTheOldOnes) {
  ASSERT_THAT(messageOf(write("old")), "");
  ASSERT_EQ(generation(), "old");
  std::ofstream(path + ".weights.notes") << "the user's";
  ASSERT_THAT(messageOf(write("new")), "");
  EXPECT_EQ(generation(), "new");
  // printf 'new weights' | sha256sum
  EXPECT_THAT(files(), ::testing::UnorderedElementsAre(
                           "model.stele", "model.stele.weights.notes",
                           "model.stele.weights.75f585ae1855ec1d"));
}

TEST_F(ReplaceTest, AFailureAtAnyStepLeavesTheOldOrTheNew) {
  int failures = 0;
  for (bool done = false; !done; ++failures) {
    ASSERT_EQ(messageOf(write("old")), "");
    fault = {failures};
    std::string message = messageOf(write("new"));
    done = fault.calls <= failures;
    fault = {};
    EXPECT_NE(generation(), "") << "call " << failures << ": " << message;
    for (const std::string &name : files())
      EXPECT_FALSE(llvm::StringRef(name).ends_with(".tmp")) << name;
    if (message.empty())
      EXPECT_EQ(generation(), "new");
    else
      EXPECT_THAT(message, ::testing::HasSubstr("Input/output error"));
  }
  EXPECT_EQ(generation(), "new");
  EXPECT_EQ(files().size(), 2u);
  std::printf("%d failures\n", failures - 1);
  EXPECT_GE(failures, 6);
}

TEST_F(ReplaceTest, AKillAtAnyStepLeavesTheOldOrTheNew) {
  int kills = 0, status = 9;
  for (; status != 0; ++kills) {
    ASSERT_EQ(messageOf(write("old")), "");
    pid_t child = fork();
    if (child == 0) {
      fault = {kills, /*kills=*/true};
      _exit(messageOf(write("new")).empty() ? 0 : 1);
    }
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 1);
    EXPECT_NE(generation(), "") << "call " << kills;
  }
  EXPECT_EQ(generation(), "new");
  std::printf("%d kills\n", kills - 1);
  EXPECT_GE(kills, 6);
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
