// The disk fails under the oldest records: whichever call it is, the step says
// so, the session is as it was, and goes on to the bits that it always has.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "disk_faults.h"
#include "saved_sessions.h"

namespace stele::test {
namespace {

TEST(PagingFaults, AStepThatFailedIsRunAgain) {
  const auto tokens = Tokens(1, kBlocks * kBlock);
  Alone whole(ToySparseModel(1, false));
  whole.Feed(tokens);
  whole.RunAll();
  EngineOptions options;
  options.host_memory = 4 * kLayers * kKvHeads * kPageBytes;
  options.cold_folder = testing::TempDir();
  int failures = 0;
  for (const auto &[error, code] :
       {std::pair{ENOSPC, StatusCode::kResourceExhausted},
        {EIO, StatusCode::kUnavailable}}) {
    auto engine = *Engine::Create(ToySparseModel(1, true), options);
    auto session = *engine->NewSession();
    ASSERT_TRUE(session->Feed(tokens).ok());
    while (session->pending() > 0) {
      const uint64_t position = session->position();
      for (int at = 0;; ++at) {
        Status status;
        WithFault({DiskFault::kError, at, error, false},
                  [&] { status = engine->Step().status(); });
        if (status.ok())
          break;
        ++failures;
        // Reading has no room to run out of.
        EXPECT_TRUE(status.code() == code ||
                    status.code() == StatusCode::kUnavailable)
            << status.message();
        EXPECT_THAT(status.message(),
                    testing::HasSubstr("older KV pages in '"));
        EXPECT_EQ(session->position(), position);
      }
    }
    const auto row = session->logits();
    EXPECT_EQ(std::vector<float>(row.begin(), row.end()), whole.Logits());
  }
  EXPECT_GT(failures, 2 * 8 * kLayers * kKvHeads);
}

} // namespace
} // namespace stele::test
