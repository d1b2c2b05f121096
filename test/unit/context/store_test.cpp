// The directory store: objects by key, and what a disk or a kill can do to it.
// Whatever happens, a key has its old object or the new one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "disk_faults.h"
#include "stele/runtime/context/store/store.h"

namespace stele::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kLimit = 1 << 20;

class StoreTest : public testing::Test {
protected:
  StoreTest() {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    root_ = folder_ + "/store";
  }
  ~StoreTest() override { fs::remove_all(folder_); }

  std::unique_ptr<Store> Open() {
    auto store = OpenStore(root_);
    EXPECT_TRUE(store.ok()) << store.status().message();
    return *std::move(store);
  }
  static Status Put(Store &store, const std::string &key,
                    const std::string &text) {
    return store.Put(key, std::as_bytes(std::span(text)));
  }
  // The object, or "none", or what is wrong.
  std::string Get(const std::string &key) {
    const auto got = Open()->Get(key, kLimit);
    if (got.ok())
      return *got;
    return got.status().code() == StatusCode::kNotFound
               ? "none"
               : got.status().message();
  }
  std::vector<std::string> Leftovers() {
    std::vector<std::string> names;
    if (fs::exists(root_ + "/tmp"))
      for (const auto &entry : fs::directory_iterator(root_ + "/tmp"))
        names.push_back(entry.path().filename());
    return names;
  }

  std::string folder_ = testing::TempDir() + "store-XXXXXX";
  std::string root_;
};

TEST_F(StoreTest, KeepsObjectsByKey) {
  auto store = Open();
  EXPECT_FALSE(fs::exists(root_)); // reading makes nothing
  EXPECT_FALSE(*store->Has("pages/a"));
  EXPECT_EQ(store->Get("pages/a", kLimit).status().code(),
            StatusCode::kNotFound);
  EXPECT_THAT(*store->List("pages"), IsEmpty());
  ASSERT_TRUE(Put(*store, "pages/b", "two").ok());
  ASSERT_TRUE(Put(*store, "pages/a", "one").ok());
  ASSERT_TRUE(Put(*store, "sessions/a", "").ok());
  EXPECT_TRUE(*store->Has("pages/a"));
  EXPECT_EQ(Get("pages/a"), "one");
  EXPECT_EQ(Get("sessions/a"), "");
  EXPECT_THAT(*store->List("pages"), ElementsAre("a", "b"));
  ASSERT_TRUE(Put(*store, "pages/a", "three").ok());
  EXPECT_EQ(Get("pages/a"), "three");
  ASSERT_TRUE(store->Remove("pages/a").ok());
  EXPECT_EQ(Get("pages/a"), "none");
  EXPECT_EQ(store->Remove("pages/a").code(), StatusCode::kNotFound);
  EXPECT_THAT(Leftovers(), IsEmpty());
}

TEST_F(StoreTest, RefusesWhatIsTooLongToBeIt) {
  auto store = Open();
  ASSERT_TRUE(Put(*store, "pages/a", "12345").ok());
  EXPECT_TRUE(store->Get("pages/a", 5).ok());
  EXPECT_THAT(store->Get("pages/a", 4).status().message(), HasSubstr("limit"));
}

// Robustness case 60.
TEST_F(StoreTest, RefusesKeysThatLeaveTheFolder) {
  auto store = Open();
  for (const std::string key :
       {"", "a", "a/", "/a", "../a", "a/../b", "a/..", "a/b/c", "a/.b", ".a/b",
        "a/b c", "a/b\n", "a/\xc3\xa4", "~/a"}) {
    EXPECT_EQ(Put(*store, key, "x").code(), StatusCode::kInvalidArgument)
        << key;
    EXPECT_EQ(store->Get(key, 1).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(store->Has(key).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(store->Remove(key).code(), StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(Put(*store, "a/" + std::string(129, 'b'), "x").ok());
  EXPECT_TRUE(Put(*store, "a/" + std::string(128, 'b'), "x").ok());
  EXPECT_FALSE(Put(*store, std::string("a/b\0c", 5), "x").ok());
}

TEST_F(StoreTest, RefusesPlacesThatAreNoFolder) {
  std::ofstream(root_) << "a file";
  EXPECT_THAT(OpenStore(root_).status().message(), HasSubstr("not a folder"));
  EXPECT_EQ(OpenStore("s3://bucket").status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(OpenStore("").status().code(), StatusCode::kInvalidArgument);
  fs::remove(root_);
  auto store = *OpenStore(root_ + "/missing/store");
  EXPECT_EQ(Put(*store, "pages/a", "x").code(), StatusCode::kNotFound);
}

// Every call of a Put fails in turn, once and for good.
TEST_F(StoreTest, AFailedPutLeavesTheOldObject) {
  auto store = Open();
  int cases = 0;
  for (const int error : {ENOSPC, EIO, EACCES, EROFS})
    for (const bool lasting : {false, true})
      for (const bool fresh : {true, false}) {
        for (int at = 0;; ++at, ++cases) {
          if (fresh)
            fs::remove_all(root_);
          else
            ASSERT_TRUE(Put(*store, "pages/a", "old").ok());
          Status status;
          DiskFault fault;
          fault.at = at;
          fault.error = error;
          fault.lasting = lasting;
          const int calls =
              WithFault(fault, [&] { status = Put(*store, "pages/a", "new"); });
          if (at >= calls)
            break;
          const std::string got = Get("pages/a");
          if (status.ok()) {
            EXPECT_EQ(got, "new");
          } else {
            EXPECT_THAT(got, testing::AnyOf(fresh ? "none" : "old", "new"));
            EXPECT_EQ(status.code(), error == ENOSPC
                                         ? StatusCode::kResourceExhausted
                                         : StatusCode::kUnavailable)
                << status.message();
            EXPECT_THAT(status.message(), HasSubstr(root_));
          }
          ASSERT_TRUE(Put(*store, "pages/a", "next").ok());
          EXPECT_EQ(Get("pages/a"), "next");
        }
      }
  std::printf("%d failed calls\n", cases);
}

TEST_F(StoreTest, InterruptedAndShortTransfersGoOn) {
  auto store = Open();
  const std::string text(1000, 'x');
  for (const auto kind : {DiskFault::kInterrupt, DiskFault::kShort})
    for (int at = 0;; ++at) {
      DiskFault fault;
      fault.kind = kind;
      fault.at = at;
      const int calls = WithFault(fault, [&] {
        EXPECT_TRUE(Put(*store, "pages/a", text).ok());
        const auto got = store->Get("pages/a", kLimit);
        ASSERT_TRUE(got.ok());
        EXPECT_EQ(*got, text);
      });
      if (at >= calls)
        break;
    }
}

TEST_F(StoreTest, AKilledPutLeavesTheOldObjectOrTheNewOne) {
  int kills = 0;
  for (const auto kind : {DiskFault::kKillBefore, DiskFault::kKillAfter})
    for (const bool fresh : {true, false})
      for (int at = 0;; ++at, ++kills) {
        if (fresh)
          fs::remove_all(root_);
        else
          ASSERT_TRUE(Put(*Open(), "pages/a", "old").ok());
        const bool killed =
            KillAt(at, kind, [&] { (void)Put(*Open(), "pages/a", "new"); });
        EXPECT_THAT(Get("pages/a"),
                    testing::AnyOf(fresh ? "none" : "old", "new"));
        EXPECT_TRUE(Put(*Open(), "pages/a", "next").ok());
        EXPECT_EQ(Get("pages/a"), "next");
        if (!killed)
          break;
      }
  EXPECT_GT(kills, 20);
  std::printf("%d kills\n", kills);
}

TEST_F(StoreTest, SweepsOldLeftoversOnly) {
  ASSERT_TRUE(Put(*Open(), "pages/a", "x").ok());
  for (const char *name : {"/tmp/old", "/tmp/young"})
    std::ofstream(root_ + name) << "half";
  fs::last_write_time(root_ + "/tmp/old",
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  ASSERT_TRUE(Put(*Open(), "pages/b", "x").ok());
  EXPECT_THAT(Leftovers(), ElementsAre("young"));
}

// Robustness fault 11: two processes write the same keys; readers see whole
// objects all the time.
TEST_F(StoreTest, TwoProcessesShareIt) {
  const std::string texts[] = {std::string(100000, 'a'),
                               std::string(50000, 'b')};
  pid_t children[2];
  for (int i = 0; i < 2; ++i) {
    children[i] = fork();
    if (children[i] != 0)
      continue;
    auto store = Open();
    bool ok = true;
    for (int round = 0; round < 100; ++round)
      ok &= Put(*store, "pages/" + std::to_string(round % 3), texts[i]).ok();
    _exit(ok ? 0 : 1);
  }
  for (int i = 0; i < 300; ++i)
    EXPECT_THAT(Get("pages/" + std::to_string(i % 3)),
                testing::AnyOf("none", texts[0], texts[1]));
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_THAT(Leftovers(), IsEmpty());
}

} // namespace
} // namespace stele::test
