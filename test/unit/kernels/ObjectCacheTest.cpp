// The cache of compiled kernels: hits, damage, several users, its bound.
#include <filesystem>
#include <fstream>
#include <thread>

#include "Harness.h"
#include "stele/compiler/Codegen/Host/ObjectCache.h"
#include "gmock/gmock.h"

namespace stele::test {
namespace {

using compiler::HostCodegen;
using compiler::ObjectCache;
namespace fs = std::filesystem;

// A cache in a folder that goes with the test.
class ObjectCacheTest : public testing::Test {
protected:
  ObjectCacheTest() { fs::remove_all(folder); }
  ~ObjectCacheTest() override { fs::remove_all(folder); }

  std::vector<fs::path> entries() const {
    std::vector<fs::path> found;
    for (const auto &entry : fs::directory_iterator(folder))
      if (entry.path().filename().string().size() > 64)
        found.push_back(entry.path());
    return found;
  }

  // The image of two instances, and how many of them the cache had.
  std::pair<std::vector<char>, unsigned> build() const {
    auto codegen =
        llvm::cantFail(HostCodegen::create("x86-64-v3", {}, cache()));
    llvm::cantFail(codegen->add({instance(4), instance(5)}));
    unsigned cached = codegen->numCached();
    return {llvm::cantFail(codegen->link()), cached};
  }

  ObjectCache cache(uint64_t maxBytes = 1 << 20) const {
    return ObjectCache(folder.string(), maxBytes);
  }
  static KernelInstance instance(int width) {
    return {"add", {{"width", width}}, {}};
  }
  static ObjectCache::Key key(uint8_t first) { return {first}; }

  const fs::path folder =
      fs::path(testing::TempDir()) /
      (std::string("stele-object-cache-") +
       testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(ObjectCacheTest, GivesBackWhatWasCompiled) {
  auto [image, cached] = build();
  EXPECT_EQ(cached, 0u);
  auto [again, cachedAgain] = build();
  EXPECT_EQ(cachedAgain, 2u);
  EXPECT_EQ(again, image);
}

TEST_F(ObjectCacheTest, KeepsInstancesOfOtherTargetsAndConstantsApart) {
  build();
  auto count = [&](const char *isa, const KernelInstance &instance) {
    auto codegen = llvm::cantFail(HostCodegen::create(isa, {}, cache()));
    llvm::cantFail(codegen->add(instance));
    return codegen->numCached();
  };
  EXPECT_EQ(count("x86-64-v4", instance(4)), 0u);
  EXPECT_EQ(count("x86-64-v3", instance(6)), 0u);
  EXPECT_EQ(count("x86-64-v3", instance(4)), 1u);
}

TEST_F(ObjectCacheTest, CompilesAnewWhatWasDamaged) {
  auto [image, cached] = build();
  std::vector<fs::path> files = entries();
  ASSERT_EQ(files.size(), 2u);
  fs::resize_file(files[0], 20);
  {
    std::fstream file(files[1], std::ios::in | std::ios::out);
    file.seekp(100);
    file.put('!');
  }
  auto [again, cachedAgain] = build();
  EXPECT_EQ(cachedAgain, 0u);
  EXPECT_EQ(again, image);
  EXPECT_EQ(build().second, 2u) << "damaged entries were not replaced";
}

TEST_F(ObjectCacheTest, TakesNoEntryOfAnotherName) {
  build();
  std::vector<fs::path> files = entries();
  ASSERT_EQ(files.size(), 2u);
  fs::copy_file(files[0], files[1], fs::copy_options::overwrite_existing);
  EXPECT_EQ(build().second, 1u);
}

TEST_F(ObjectCacheTest, ServesManyAtOnce) {
  const std::string bytes(10000, 'x');
  std::atomic<int> hits = 0, wrong = 0;
  auto work = [&] {
    for (int i = 0; i < 200; ++i) {
      cache().insert(key(i % 4), bytes + char(i % 4));
      if (auto found = cache().find(key(i % 4))) {
        ++hits;
        wrong += *found != bytes + char(i % 4);
      }
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back(work);
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(hits, 800);
  EXPECT_EQ(entries().size(), 4u) << "temporary files are left";
}

TEST_F(ObjectCacheTest, RemovesWhatWasUsedLongestAgo) {
  for (uint8_t i = 0; i < 8; ++i)
    cache().insert(key(i), std::string(1000, char(i)));
  const auto longAgo = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (const fs::path &file : entries())
    fs::last_write_time(file, longAgo);
  EXPECT_TRUE(cache().find(key(3)));
  cache(2500).prune();
  EXPECT_EQ(entries().size(), 2u);
  EXPECT_TRUE(cache().find(key(3)));
}

TEST_F(ObjectCacheTest, IsOffWithoutAFolderOrWithOneItCannotUse) {
  ObjectCache off("");
  off.insert(key(1), "bytes");
  off.prune();
  EXPECT_FALSE(off.find(key(1)));
  std::ofstream(folder.string()) << "a file where the folder would be";
  cache().insert(key(1), "bytes");
  EXPECT_FALSE(cache().find(key(1)));
  EXPECT_EQ(build().second, 0u);
}

TEST(CacheFolder, IsWhatTheEnvironmentSays) {
  const char *before = std::getenv("STELE_CACHE");
  const std::string kept = before ? before : "";
  setenv("STELE_CACHE", "/some/where", 1);
  EXPECT_EQ(compiler::cacheFolder(), "/some/where");
  setenv("STELE_CACHE", "", 1);
  EXPECT_EQ(compiler::cacheFolder(), "");
  unsetenv("STELE_CACHE");
  EXPECT_THAT(compiler::cacheFolder(), testing::EndsWith("/stele"));
  if (before)
    setenv("STELE_CACHE", kept.c_str(), 1);
}

} // namespace
} // namespace stele::test
