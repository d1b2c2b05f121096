// Records come back from a file as they were, or with an error that says why.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#include "disk_faults.h"
#include "stele/runtime/context/cold_file.h"

namespace stele::test {
namespace {

using testing::HasSubstr;

constexpr uint64_t kRecord = 6000, kRecords = 12;

// Every other one is noise, which does not compress.
std::vector<std::byte> Record(uint64_t index) {
  std::mt19937 random(static_cast<unsigned>(index));
  std::vector<std::byte> record(kRecord);
  for (std::byte &byte : record)
    byte = static_cast<std::byte>(index % 2 ? random() % 256
                                            : random() % 3 + index);
  return record;
}

struct Files : testing::Test {
  std::unique_ptr<RecordCompressor> compressor =
      *RecordCompressor::Create(kRecord);
  std::unique_ptr<ColdFile> file =
      *ColdFile::Create(testing::TempDir(), kRecords);

  Status Write(uint64_t index) {
    return file->Write(index, Record(index), compressor.get()).status();
  }
  Status Read(uint64_t index, std::vector<std::byte> *record) {
    record->assign(kRecord, std::byte{0});
    return file->Read(index, *record, compressor.get()).status();
  }
  void WriteAll() {
    for (uint64_t i = 0; i < kRecords; ++i)
      ASSERT_TRUE(Write((i * 5) % kRecords).ok());
  }
  void ExpectAll() {
    std::vector<std::byte> record;
    for (uint64_t i = 0; i < kRecords; ++i) {
      ASSERT_TRUE(Read(i, &record).ok());
      EXPECT_EQ(record, Record(i)) << i;
    }
  }
  // The one descriptor of a file of that name that was removed.
  static int DescriptorOf(const std::string &name) {
    for (const auto &entry :
         std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code error;
      const auto target = std::filesystem::read_symlink(entry.path(), error);
      if (target.string().find(name) != std::string::npos)
        return std::stoi(entry.path().filename());
    }
    return -1;
  }
};

TEST_F(Files, GiveBackWhatWasWritten) {
  WriteAll();
  ExpectAll();
  EXPECT_LT(file->end(), kRecords * kRecord * 3 / 4);
  // What is written over is gone, the others are not.
  file->Rewind(0);
  WriteAll();
  ExpectAll();
}

TEST_F(Files, HaveNoName) {
  const std::string folder = testing::TempDir() + "/cold_file_test";
  std::filesystem::remove(folder);
  auto made = *ColdFile::Create(folder, 1);
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  std::filesystem::remove(folder);
  const std::string nowhere = folder + "/there";
  const Status none = ColdFile::Create(nowhere, 1).status();
  EXPECT_EQ(none.code(), StatusCode::kUnavailable);
  EXPECT_THAT(none.message(), HasSubstr("cannot make a file for older KV pages "
                                        "in '" +
                                        nowhere + "': No such file"));
}

// No flipped bit of the file is ever used, and what is cut off is missed.
TEST_F(Files, NoticeDamage) {
  WriteAll();
  const int fd = DescriptorOf("stele-pages-");
  ASSERT_GE(fd, 0);
  std::vector<std::byte> record;
  std::mt19937 random(1);
  int refused = 0;
  for (int flips = 0; flips < 60; ++flips) {
    const auto at = static_cast<off_t>(random() % file->end());
    uint8_t byte;
    ASSERT_EQ(pread(fd, &byte, 1, at), 1);
    const uint8_t bad = byte ^ static_cast<uint8_t>(1 << random() % 8);
    ASSERT_EQ(pwrite(fd, &bad, 1, at), 1);
    for (uint64_t i = 0; i < kRecords; ++i) {
      const Status status = Read(i, &record);
      if (status.ok()) {
        EXPECT_EQ(record, Record(i));
        continue;
      }
      ++refused;
      EXPECT_EQ(status.code(), StatusCode::kDataLoss);
      EXPECT_THAT(status.message(), HasSubstr("other bytes than were written"));
    }
    ASSERT_EQ(pwrite(fd, &byte, 1, at), 1);
  }
  EXPECT_EQ(refused, 60);
  ExpectAll();
  ASSERT_EQ(ftruncate(fd, static_cast<off_t>(file->end()) - 1), 0);
  int cut = 0;
  for (uint64_t i = 0; i < kRecords; ++i) {
    const Status status = Read(i, &record);
    if (status.ok())
      continue;
    ++cut;
    EXPECT_EQ(status.code(), StatusCode::kDataLoss);
    EXPECT_THAT(status.message(), HasSubstr("shorter than what was written"));
  }
  EXPECT_EQ(cut, 1);
}

// Whichever call fails, the records that were written before stay.
TEST_F(Files, SayWhatTheDiskSays) {
  const std::pair<int, StatusCode> errors[] = {
      {ENOSPC, StatusCode::kResourceExhausted},
      {EDQUOT, StatusCode::kResourceExhausted},
      {EIO, StatusCode::kUnavailable}};
  for (const auto &[error, code] : errors) {
    WriteAll();
    Status status;
    const int calls = WithFault({DiskFault::kError, 0, error, true},
                                [&] { status = Write(3); });
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(status.code(), code);
    EXPECT_THAT(status.message(), HasSubstr(std::strerror(error)));
    ExpectAll();
    std::vector<std::byte> record;
    WithFault({DiskFault::kError, 0, EIO, false},
              [&] { status = Read(3, &record); });
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_THAT(status.message(), HasSubstr("cannot read older KV pages"));
    ExpectAll();
  }
}

TEST_F(Files, GoOnBehindShortAndInterruptedCalls) {
  for (const auto kind : {DiskFault::kShort, DiskFault::kInterrupt})
    for (int at = 0; at < 3; ++at) {
      WithFault({kind, at, 0, false}, [&] { WriteAll(); });
      WithFault({kind, at, 0, false}, [&] { ExpectAll(); });
    }
}

} // namespace
} // namespace stele::test
