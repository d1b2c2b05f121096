// A model whose pages fall out of device memory computes what it does with all
// of them there, bit for bit: in any chunks and company, behind steps that
// failed and tokens that were taken back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "forwarding_device.h"
#include "saved_sessions.h"

namespace stele::test {
namespace {

using testing::HasSubstr;

constexpr int kContext = kBlocks * kBlock;

// Logits behind each of `tokens`, with all pages in device memory.
std::vector<std::vector<float>> Expected(const std::vector<int32_t> &tokens) {
  Alone alone(ToySparseModel(1, false));
  std::vector<std::vector<float>> rows;
  for (int32_t token : tokens) {
    alone.Feed({token});
    alone.RunAll();
    rows.push_back(alone.Logits());
  }
  return rows;
}

TEST(Paging, ChunksAndThreadsChangeNothing) {
  const auto tokens = Tokens(1, kContext);
  const auto expected = Expected(tokens);
  for (uint32_t threads : {1u, 2u})
    for (uint32_t chunk : {1u, 3u, 4u, 7u, 8u}) {
      SCOPED_TRACE("chunk " + std::to_string(chunk));
      EngineOptions options;
      options.chunk = chunk;
      auto engine = *Engine::Create(ToySparseModel(threads, true), options);
      auto session = *engine->NewSession();
      std::vector<std::vector<float>> rows;
      session->OnEveryLogits([&](uint64_t, std::span<const float> row) {
        rows.emplace_back(row.begin(), row.end());
      });
      ASSERT_TRUE(session->Feed(tokens).ok());
      while (session->pending() > 0) {
        const auto report = engine->Step();
        ASSERT_TRUE(report.ok()) << report.status().message();
        // No step passes the end of a cell.
        EXPECT_EQ((session->position() - report->tokens) / 8,
                  (session->position() - 1) / 8);
      }
      EXPECT_EQ(rows, expected);
      const PagingWork work = engine->paging_work();
      // All but the last cell, the window and the cell before it.
      EXPECT_EQ(work.packed, uint64_t{kBlocks - 4} * kLayers * kKvHeads);
      EXPECT_GT(work.misses, 0u);
      EXPECT_GT(work.hits, 0u);
      EXPECT_EQ(work.bytes_in, (work.misses + work.ahead) * kPageBytes);
    }
}

// Sessions begin and end while others go on; slots and records go to the next.
TEST(Paging, BatchesChangeNothing) {
  EngineOptions options;
  options.max_sessions = 3;
  auto engine = *Engine::Create(ToySparseModel(2, true), options);
  std::vector<std::unique_ptr<Session>> sessions(3);
  for (int round = 0; round < 12; ++round) {
    auto &session = sessions[round % 3];
    if (session) {
      while (session->pending() > 0)
        ASSERT_TRUE(engine->Step().ok());
      const auto row = session->logits();
      EXPECT_EQ(std::vector<float>(row.begin(), row.end()),
                Expected(session->tokens()).back());
    }
    session.reset();
    session = *engine->NewSession();
    ASSERT_TRUE(session->Feed(Tokens(round, 5 + round * 5)).ok());
    ASSERT_TRUE(engine->Step().ok()); // not to the end of all
    ASSERT_TRUE(engine->Step().ok());
  }
  EXPECT_THAT(engine->NewSession().status().message(),
              HasSubstr("all 3 planned sessions are taken"));
}

// Fails behind as many moves as it is told to.
class FailingMover : public PageMover {
public:
  FailingMover(PageMover *mover, const int *left)
      : mover_(mover), left_(left) {}
  Status Select(uint32_t layer, const uint32_t *selection,
                const SteleBatch &batch, uint32_t slots) override {
    STELE_RETURN_IF_ERROR(Count());
    return mover_->Select(layer, selection, batch, slots);
  }
  Status PageIn(uint32_t layer, uint32_t first, uint32_t slots,
                bool ahead) override {
    STELE_RETURN_IF_ERROR(Count());
    return mover_->PageIn(layer, first, slots, ahead);
  }
  Status PageOut(uint32_t layer, uint32_t max_pages) override {
    STELE_RETURN_IF_ERROR(Count());
    return mover_->PageOut(layer, max_pages);
  }

private:
  Status Count() {
    return done_++ == *left_ ? Unavailable("failed as told") : OkStatus();
  }

  PageMover *mover_;
  const int *left_;
  std::atomic<int> done_{0};

public:
  void Reset() { done_ = 0; }
};

class FailingDevice : public ForwardingDevice {
public:
  FailingDevice(std::unique_ptr<Device> device, const int *left)
      : ForwardingDevice(std::move(device)), left_(left) {}
  Result<std::unique_ptr<Program>> Prepare(ProgramSpec spec) override {
    movers.push_back(std::make_unique<FailingMover>(spec.mover, left_));
    spec.mover = movers.back().get();
    return ForwardingDevice::Prepare(std::move(spec));
  }

  std::vector<std::unique_ptr<FailingMover>> movers;

private:
  const int *left_;
};

// Whatever move of a step fails, the session is as it was before.
TEST(Paging, GoesOnBehindAStepThatFailed) {
  int left = -1;
  ArtifactBuilder builder = ArtifactBuilder::ToySparse(true);
  const AlignedBytes bytes = builder.Build();
  auto artifact = *Artifact::FromBytes(bytes, "toy.stele");
  auto device = std::make_unique<FailingDevice>(*ToyDevice(2), &left);
  FailingDevice *failing = device.get();
  Alone alone(*Model::Load(artifact, std::move(device)));
  const auto tokens = Tokens(1, kContext);
  const auto expected = Expected(tokens);
  int failures = 0;
  for (int at = 0; at < kContext;) {
    const int count = std::min(kContext - at, at % 3 == 0 ? 5 : 8 - at % 8);
    alone.Feed({tokens.begin() + at, tokens.begin() + at + count});
    while (alone.session->pending() > 0)
      for (left = 0;; ++left) {
        for (auto &mover : failing->movers)
          mover->Reset();
        const auto report = alone.engine->Step();
        if (report.ok())
          break;
        EXPECT_EQ(report.status().code(), StatusCode::kUnavailable);
        ++failures;
      }
    at += count;
    EXPECT_EQ(alone.Logits(), expected[at - 1]) << "token " << at;
  }
  EXPECT_GT(failures, 8 * 8);
}

TEST(Paging, GoesBackWhereItCan) {
  const auto tokens = Tokens(1, kContext);
  const auto expected = Expected(tokens);
  Alone alone(ToySparseModel(2, true));
  alone.Feed({tokens.begin(), tokens.begin() + 45});
  alone.RunAll();
  // The cell of 40 is there still.
  ASSERT_TRUE(alone.session->Truncate(41).ok());
  EXPECT_EQ(alone.session->pending(), 0u);
  alone.Feed({tokens.begin() + 41, tokens.begin() + 47});
  EXPECT_EQ(alone.RunAll(), 6u);
  EXPECT_EQ(alone.Logits(), expected[46]);
  // That of 32 saw more.
  ASSERT_TRUE(alone.session->Truncate(39).ok());
  EXPECT_EQ(alone.session->pending(), 39u);
  EXPECT_EQ(alone.RunAll(), 39u);
  alone.Feed({tokens.begin() + 39, tokens.end()});
  alone.RunAll();
  EXPECT_EQ(alone.Logits(), expected.back());
}

TEST(Paging, DraftsStayInACell) {
  uint64_t accepted = 0;
  for (uint64_t seed = 1; seed < 9; ++seed) {
    Alone plain(ToySparseModel(1, false)), alone(ToySparseModel(2, true), 6);
    for (Alone *each : {&plain, &alone}) {
      each->Feed(Tokens(2, 11));
      each->RunAll();
    }
    const auto expected = plain.Answer(seed, kContext - 12);
    auto generation = alone.Start(seed, kContext - 12, 6);
    while (!generation->done()) {
      ASSERT_TRUE(alone.engine->Step().ok());
      ASSERT_TRUE(generation->Advance().ok());
    }
    EXPECT_EQ(generation->tokens(), expected);
    accepted += alone.session->drafts().accepted;
  }
  EXPECT_GT(accepted, 0u);

  Alone drafting(ToySparseModel(1, true), 6);
  drafting.Feed(Tokens(2, 12));
  EXPECT_EQ(drafting.session->draft_room(), 4u); // 11 is in the cell of 8
  EXPECT_THAT(drafting.session->Feed(Tokens(3, 6), 6).message(),
              HasSubstr("drafts from token 13 to 17 pass a multiple of 8"));
  EXPECT_TRUE(drafting.session->Feed(Tokens(3, 4), 5).ok());
}

// Memory for four blocks' records of each: the others are in files.
TEST(Paging, FilesChangeNothing) {
  const auto tokens = Tokens(1, kContext);
  const auto expected = Expected(tokens);
  EngineOptions options;
  options.max_sessions = 2;
  options.host_memory = 8 * kLayers * kKvHeads * kPageBytes;
  options.cold_folder = testing::TempDir();
  auto engine = *Engine::Create(ToySparseModel(2, true), options);
  auto one = *engine->NewSession(), two = *engine->NewSession();
  ASSERT_TRUE(one->Feed(tokens).ok());
  ASSERT_TRUE(two->Feed({tokens.begin(), tokens.begin() + 50}).ok());
  std::vector<std::vector<float>> rows;
  one->OnEveryLogits([&](uint64_t, std::span<const float> row) {
    rows.emplace_back(row.begin(), row.end());
  });
  while (one->pending() > 0 || two->pending() > 0)
    ASSERT_TRUE(engine->Step().ok());
  EXPECT_EQ(rows, expected);
  const auto row = two->logits();
  EXPECT_EQ(std::vector<float>(row.begin(), row.end()), expected[49]);
  const PagingWork work = engine->paging_work();
  EXPECT_GT(work.cooled, 0u);
  EXPECT_GT(work.bytes_from_file, 0u);
  // Over again, with what the file has forgotten.
  ASSERT_TRUE(two->Truncate(9).ok());
  ASSERT_TRUE(two->Feed({tokens.begin() + 9, tokens.end()}).ok());
  while (two->pending() > 0)
    ASSERT_TRUE(engine->Step().ok());
  const auto last = two->logits();
  EXPECT_EQ(std::vector<float>(last.begin(), last.end()), expected.back());

  options.cold_folder = testing::TempDir() + "/not/there";
  auto nowhere = *Engine::Create(ToySparseModel(2, true), options);
  EXPECT_THAT(nowhere->NewSession().status().message(),
              HasSubstr("cannot make a file for older KV pages in"));
}

class PagedSessions : public SavedSessions {
protected:
  static Alone Start(int records = 0) {
    Alone alone(ToySparseModel(1, true));
    if (records == 0)
      return alone;
    EngineOptions options;
    options.host_memory =
        static_cast<uint64_t>(records) * kLayers * kKvHeads * kPageBytes;
    options.cold_folder = testing::TempDir();
    alone.session.reset();
    alone.engine = *Engine::Create(ToySparseModel(1, true), options);
    alone.session = *alone.engine->NewSession();
    return alone;
  }
  const std::vector<int32_t> tokens_ = Tokens(1, kContext);
  const std::vector<std::vector<float>> expected_ = Expected(tokens_);
};

// Wherever it was saved, with and without files for the oldest records.
TEST_F(PagedSessions, GoOnWhereTheyWere) {
  for (const int records : {0, 4})
    for (const int at : {5, 16, 23, 24, 25, 32, 37, 40, 48, 55, 63}) {
      SCOPED_TRACE(at);
      const std::string name = "at" + std::to_string(at);
      {
        Alone alone = Start(records);
        alone.Feed({tokens_.begin(), tokens_.begin() + at});
        alone.RunAll();
        ASSERT_TRUE(Save(alone, name).ok());
      }
      Alone alone = Start(records);
      const Status status = Archive(alone)->Load(alone.session.get(), name);
      ASSERT_TRUE(status.ok()) << status.message();
      EXPECT_EQ(alone.session->pending(), 0u);
      EXPECT_EQ(alone.Logits(), expected_[at - 1]);
      // What it computes from here on is all that it computes.
      alone.Feed({tokens_.begin() + at, tokens_.end()});
      EXPECT_EQ(alone.RunAll(), static_cast<uint64_t>(kContext - at));
      EXPECT_EQ(alone.Logits(), expected_.back());
    }
}

TEST_F(PagedSessions, SharePrefixes) {
  Alone first = Start();
  for (const int end : {20, 44, 60}) {
    first.Feed({tokens_.begin() + static_cast<long>(first.session->position()),
                tokens_.begin() + end});
    first.RunAll();
    ASSERT_TRUE(Archive(first)->SavePages(*first.session).ok());
  }
  for (const int length : {9, 21, 30, 45, 61, 64}) {
    Alone alone = Start();
    alone.Feed({tokens_.begin(), tokens_.begin() + length});
    ASSERT_TRUE(Archive(alone)->LoadPrefix(alone.session.get()).ok());
    // What was saved at 20, 44 and 60 tokens: blocks of 4.
    const uint64_t reused = length >= 60 ? 60 : length >= 44 ? 44 : 0;
    EXPECT_GE(alone.session->position(), reused) << length;
    alone.RunAll();
    EXPECT_EQ(alone.Logits(), expected_[length - 1]) << length;
  }
}

// A damaged page or record is computed again, whichever it is.
TEST_F(PagedSessions, NeverUseDamage) {
  Alone saved = Start();
  saved.Feed({tokens_.begin(), tokens_.begin() + 54});
  saved.RunAll();
  ASSERT_TRUE(Save(saved, "a").ok());
  std::vector<std::string> files;
  for (const auto &entry :
       std::filesystem::recursive_directory_iterator(folder_ + "/store"))
    if (entry.is_regular_file() &&
        entry.path().string().find("/sessions/") == std::string::npos)
      files.push_back(entry.path());
  EXPECT_GT(files.size(), 12u);
  uint64_t damaged = 0;
  for (const std::string &file : files) {
    std::filesystem::copy_file(file, folder_ + "/kept");
    {
      std::fstream stream(file,
                          std::ios::in | std::ios::out | std::ios::binary);
      stream.seekp(100);
      stream.put('\x55');
    }
    Alone alone = Start();
    auto archive = Archive(alone);
    ASSERT_TRUE(archive->Load(alone.session.get(), "a").ok());
    damaged += archive->counters().pages_damaged;
    alone.Feed({tokens_.begin() + 54, tokens_.end()});
    alone.RunAll();
    EXPECT_EQ(alone.Logits(), expected_.back()) << file;
    std::filesystem::remove(file);
    std::filesystem::rename(folder_ + "/kept", file);
  }
  EXPECT_GE(damaged, 12u);
}

// Another hot window computes other pages: nothing is taken for its own.
TEST_F(PagedSessions, KeepTheirWindow) {
  Alone saved = Start();
  saved.Feed({tokens_.begin(), tokens_.begin() + 54});
  saved.RunAll();
  ASSERT_TRUE(Save(saved, "a").ok());
  Alone alone = Start();
  EngineOptions options;
  options.hot_window = 16;
  alone.session.reset();
  alone.engine = *Engine::Create(ToySparseModel(1, true), options);
  alone.session = *alone.engine->NewSession();
  ASSERT_TRUE(Archive(alone)->Load(alone.session.get(), "a").ok());
  EXPECT_EQ(alone.session->pending(), 54u);
  alone.RunAll();
  EXPECT_EQ(alone.Logits(), expected_[53]);
}

TEST(Paging, IsPlanned) {
  auto engine = *Engine::Create(ToySparseModel(1, true), {});
  std::map<std::string, uint64_t> items;
  for (const MemoryItem &item : engine->memory_plan().items)
    items[item.name] = item.bytes;
  constexpr uint64_t kPages = kLayers * kKvHeads; // of a block
  EXPECT_EQ(items["KV pages, last 8 tokens"], 6 * kPages * kPageBytes);
  EXPECT_EQ(items["KV pages, staging slots"], (kLayers * 12 + 1) * kPageBytes);
  EXPECT_EQ(items["KV pages, older as they are"], 12 * kPages * kPageBytes);
}

TEST(Paging, RefusesWhatDoesNotFit) {
  const auto refuse = [](const EngineOptions &options, bool paging = true) {
    return Engine::Create(ToySparseModel(1, paging), options)
        .status()
        .message();
  };
  EngineOptions options;
  options.device_memory = 2048;
  EXPECT_THAT(
      refuse(options),
      testing::AllOf(HasSubstr("KV pages, last 8 tokens 3.0 KiB + KV "
                               "pages, staging slots 3.1 KiB = "),
                     HasSubstr("--device-memory allows 2.0 KiB; plan")));
  EXPECT_THAT(refuse(options, false),
              HasSubstr("so that older pages leave it"));
  options = {};
  options.host_memory = 1024;
  EXPECT_THAT(
      refuse(options),
      HasSubstr("of 6.0 KiB that fall out of device memory as they are, "
                "host memory must hold two cells of 8 tokens for each "
                "session, 2.0 KiB, --host-memory allows 1.0 KiB"));
  options = {};
  options.hot_window = 4;
  EXPECT_THAT(refuse(options), HasSubstr("compiled for at least 8"));
  options = {};
  options.measure_mass = true;
  EXPECT_THAT(refuse(options), HasSubstr("(measure_mass) is known from all"));
  EXPECT_EQ(refuse(options, false), "");
  options = {};
  // A larger window is rounded up to the grid.
  options.hot_window = 17;
  auto engine = *Engine::Create(ToySparseModel(1, true), options);
  EXPECT_EQ(engine->memory_plan().items[3].name, "KV pages, last 24 tokens");
  Alone plain(ToySparseModel(1, false));
  auto session = *engine->NewSession();
  ASSERT_TRUE(session->Feed(Tokens(1, kContext)).ok());
  plain.Feed(Tokens(1, kContext));
  plain.RunAll();
  while (session->pending() > 0)
    ASSERT_TRUE(engine->Step().ok());
  const auto row = session->logits();
  EXPECT_EQ(std::vector<float>(row.begin(), row.end()), plain.Logits());
}

// The paged toy, whose kernels say that they choose by number.
std::shared_ptr<Model> ModelWithSparsity() {
  ArtifactBuilder builder = ArtifactBuilder::ToySparse(/*paging=*/true);
  auto sparsity = std::make_unique<plan::BlockSparsityT>();
  sparsity->block = kBlock;
  sparsity->local = sparsity->adjacent = 1;
  sparsity->select = plan::BlockSelect::TopK;
  sparsity->top_k = kChosen;
  builder.plan.executables[0]->entries[2]->sparsity = std::move(sparsity);
  return LoadToy(std::move(builder), 1);
}

// 13 of 16 blocks fall out of the longest context; a layer has slots for 3 of
// them, of 2 query blocks and 2 heads each.
TEST(Paging, RefusesMoreThanItsSlotsHold) {
  const auto model = ModelWithSparsity();
  EngineOptions options;
  const auto refused = [&] {
    return Engine::Create(model, options).status().message();
  };
  options.density = 3.0f / 16;
  EXPECT_EQ(refused(), "");
  options.density = 0.19f;
  EXPECT_THAT(
      refused(),
      testing::AllOf(HasSubstr("chooses 4 of 16 blocks for each of 2 query "
                               "blocks of a step (function decode)"),
                     HasSubstr("of 2 KV heads that may be 16 pages that left "
                               "device memory, of which a layer's slots hold "
                               "12; run with --density 0.187 or less")));
  options.chunk = 1; // of one query block
  EXPECT_EQ(refused(), "");
  options.density = 0;
  options.attention = AttentionKind::kDense;
  EXPECT_THAT(refused(), HasSubstr("chooses 16 of 16 blocks"));
  // As long as no more has fallen out than there are slots.
  options.session_tokens = 40;
  EXPECT_EQ(refused(), "");
  options.session_tokens = 41;
  EXPECT_THAT(refused(), HasSubstr("16 pages that left device memory"));
}

} // namespace
} // namespace stele::test
