// Robustness fault 13: allocation N fails, for every N, until all succeed; each
// must come back as a status. A program of its own, since it replaces operator
// new, which sanitizers do, too.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>

#include "stele/stele.hpp"
#include "toy_artifact.h"

namespace {

// How many more allocations of this thread succeed; below 0: all.
thread_local long allocations_left = -1;

} // namespace

// Replaces the library's too: it takes operator new from the program.
void *operator new(size_t size) {
  if (allocations_left == 0)
    throw std::bad_alloc();
  if (allocations_left > 0)
    --allocations_left;
  if (void *p = std::malloc(size ? size : 1))
    return p;
  throw std::bad_alloc();
}
void operator delete(void *p) noexcept { std::free(p); }
void operator delete(void *p, size_t) noexcept { std::free(p); }

namespace {

using stele::Options;

TEST(Allocations, FailedOnesAreStatuses) {
  const std::string path =
      testing::TempDir() + std::to_string(getpid()) + "alloc.stele";
  ASSERT_TRUE(stele::test::WriteToyArtifact(path));
  const std::string folder = path + ".store";
  long tries = 0;
  for (bool done = false; !done; ++tries) {
    stele_model *model = nullptr;
    stele_engine *engine = nullptr;
    stele_session *session = nullptr, *loaded = nullptr;
    stele_store *store = nullptr;
    const auto model_options = [] {
      auto options = Options<stele_model_options>();
      options.threads = 1;
      return options;
    }();
    auto engine_options = Options<stele_engine_options>();
    engine_options.session_tokens = 48;
    engine_options.max_sessions = 2;
    engine_options.measure_mass = 1;
    auto generate = Options<stele_generate_options>();
    generate.max_tokens = 2;
    const int32_t tokens[] = {1, 2, 3, 4, 5, 6};
    allocations_left = tries;
    stele_status status =
        stele_model_open(path.c_str(), &model_options, &model);
    if (status == STELE_OK)
      status = stele_engine_create(model, &engine_options, &engine);
    if (status == STELE_OK)
      status = stele_session_create(engine, 0, &session);
    if (status == STELE_OK)
      status = stele_session_feed(session, tokens, 6);
    if (status == STELE_OK)
      status =
          stele_session_generate(session, &generate, nullptr, nullptr, nullptr);
    if (status == STELE_OK)
      status = stele_store_open(folder.c_str(), &store);
    if (status == STELE_OK)
      status = stele_session_save(session, store, "a", nullptr);
    if (status == STELE_OK)
      status = stele_session_create(engine, 0, &loaded);
    if (status == STELE_OK) {
      status = stele_session_load(loaded, store, "a", nullptr);
      uint64_t fed = 0;
      if (status != STELE_OK && loaded) {
        allocations_left = -1;
        EXPECT_EQ(stele_session_tokens(loaded, &fed, nullptr), STELE_OK);
        EXPECT_EQ(fed, 0u);
      }
    }
    done = status == STELE_OK;
    allocations_left = -1;
    EXPECT_TRUE(done || status == STELE_RESOURCE_EXHAUSTED)
        << "allocation " << tries << ": " << status << " "
        << stele_last_error();
    stele_session_destroy(loaded);
    stele_store_close(store);
    stele_session_destroy(session);
    stele_engine_destroy(engine);
    stele_model_close(model);
    ASSERT_LT(tries, 100000);
  }
  unlink(path.c_str());
  std::filesystem::remove_all(folder);
  std::printf("%ld allocations failed one by one\n", tries - 1);
}

} // namespace
