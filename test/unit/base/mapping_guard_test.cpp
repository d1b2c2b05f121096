// Files that are cut short or written to while they are mapped, with and
// without the guard. Each case is a process of its own: the handler stays.
#include "stele/runtime/base/mapping_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "stele/runtime/base/file.h"

namespace stele {
namespace {

using testing::HasSubstr;

constexpr size_t kPage = 4096;

class MappingGuard : public testing::Test {
protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const std::vector<std::byte> bytes(4 * kPage, std::byte{7});
    ASSERT_TRUE(WriteFile(path_, bytes).ok());
  }
  void TearDown() override { unlink(path_.c_str()); }

  MappedFile Open() {
    auto file = MappedFile::Open(path_);
    EXPECT_TRUE(file.ok()) << file.status().message();
    return *std::move(file);
  }

  const std::string path_ =
      testing::TempDir() + "guard" + std::to_string(getpid());
};

// Ends the process by 0 and says why not otherwise.
[[noreturn]] void ExitIf(bool holds, const std::string &what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  _exit(holds ? 0 : 1);
}

uint8_t ReadAt(const MappedFile &file, size_t at) {
  return *const_cast<const volatile uint8_t *>(file.bytes().data() + at);
}

TEST_F(MappingGuard, WithoutItAReadOfLostBytesEndsTheProcess) {
  EXPECT_DEATH(
      {
        const MappedFile file = Open();
        truncate(path_.c_str(), kPage);
        ReadAt(file, 2 * kPage);
      },
      "");
}

TEST_F(MappingGuard, TurnsLostBytesIntoZerosAndSaysSo) {
  EXPECT_EXIT(
      {
        InstallMappingGuard();
        const MappedFile file = Open();
        const MappedFile other = Open();
        truncate(path_.c_str(), kPage);
        bool holds = ReadAt(file, 2 * kPage) == 0 && ReadAt(file, 0) == 0 &&
                     ReadAt(other, 0) == 7;
        // As after a disk's failure: no sign but the fault.
        truncate(path_.c_str(), 4 * kPage);
        const Status status = file.CheckUnchanged();
        ExitIf(holds && !status.ok(), status.message());
      },
      testing::ExitedWithCode(0), "was written to after it was opened");
}

TEST_F(MappingGuard, AFileThatShrankIsAnErrorBeforeItIsRead) {
  const MappedFile file = Open();
  EXPECT_TRUE(file.CheckUnchanged().ok());
  ASSERT_EQ(truncate(path_.c_str(), kPage), 0);
  EXPECT_EQ(file.CheckUnchanged().code(), StatusCode::kDataLoss);
  EXPECT_THAT(file.CheckUnchanged().message(),
              HasSubstr(path_ + "': has 4.0 KiB now and had 16.0 KiB when it "
                                "was opened; open it again"));
}

TEST_F(MappingGuard, AFileThatIsReplacedByRenameIsUnchanged) {
  const MappedFile file = Open();
  ASSERT_TRUE(WriteFile(path_, {}).ok());
  EXPECT_TRUE(file.CheckUnchanged().ok());
  EXPECT_EQ(ReadAt(file, 3 * kPage), 7);
}

// Reads behind the end of a file that the guard does not know.
void FaultElsewhere(const std::string &path) {
  FILE *stream = std::fopen(path.c_str(), "r");
  const auto *bytes = static_cast<const volatile uint8_t *>(
      mmap(nullptr, 4 * kPage, PROT_READ, MAP_PRIVATE, fileno(stream), 0));
  truncate(path.c_str(), kPage);
  _exit(bytes[2 * kPage]);
}

TEST_F(MappingGuard, FaultsElsewhereGoToTheHandlerBefore) {
  EXPECT_EXIT(
      {
        signal(SIGBUS, [](int) { _exit(42); });
        InstallMappingGuard();
        InstallMappingGuard();
        {
          const MappedFile file = Open();
        } // leaves a slot behind
        FaultElsewhere(path_);
      },
      testing::ExitedWithCode(42), "");
}

TEST_F(MappingGuard, WithoutAHandlerBeforeFaultsAndSignalsEndTheProcess) {
  EXPECT_EXIT(
      {
        signal(SIGBUS, SIG_DFL);
        InstallMappingGuard();
        FaultElsewhere(path_);
      },
      testing::KilledBySignal(SIGBUS), "");
  EXPECT_EXIT(
      {
        signal(SIGBUS, SIG_DFL);
        InstallMappingGuard();
        raise(SIGBUS);
        _exit(0);
      },
      testing::KilledBySignal(SIGBUS), "");
}

} // namespace
} // namespace stele
