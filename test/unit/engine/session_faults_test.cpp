// Saved sessions and what can happen to their files: every call of a save fails
// or is its last, every bit is flipped, every file is cut short or gone, two
// processes save at once. What is loaded is a state that was saved, to the bit,
// or a typed error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "disk_faults.h"
#include "saved_sessions.h"
#include "stele/runtime/base/log.h"

namespace stele::test {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

std::string ReadBytes(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void WriteBytes(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

class SessionFaults : public SavedSessions {
protected:
  // Damaged pages are told about thousands of times.
  SessionFaults() { SetLogLevel(LogLevel::kError); }
  ~SessionFaults() override { SetLogLevel(LogLevel::kInfo); }

  // Logits behind `tokens`, computed by nobody but this.
  const std::vector<float> &Expected(const std::vector<int32_t> &tokens) {
    auto [at, fresh] = expected_.try_emplace(tokens);
    if (fresh) {
      Alone alone(model_);
      alone.Feed(tokens);
      alone.RunAll();
      at->second = alone.Logits();
    }
    return at->second;
  }

  // Loads `name` and checks that it is what its tokens make it. How many tokens
  // it has; 0 when it is refused, then `refusal_` says why.
  size_t LoadAndCheck(const std::string &name) {
    refusal_ = OkStatus();
    loaded_ = std::make_unique<Alone>(model_);
    refusal_ = Archive(*loaded_)->Load(loaded_->session.get(), name);
    if (!refusal_.ok()) {
      EXPECT_TRUE(loaded_->session->tokens().empty());
      return 0;
    }
    computed_ = loaded_->RunAll();
    const auto tokens = loaded_->session->tokens();
    EXPECT_EQ(loaded_->Logits(), Expected(tokens));
    return tokens.size();
  }

  // A session of `count` tokens, all processed.
  std::unique_ptr<Alone> Made(int count) {
    auto alone = std::make_unique<Alone>(model_);
    alone->Feed(Tokens(1, count));
    alone->RunAll();
    return alone;
  }

  std::map<std::vector<int32_t>, std::vector<float>> expected_;
  std::unique_ptr<Alone> loaded_;
  Status refusal_;
  uint64_t computed_ = 0;
};

constexpr int kOld = 6, kNew = 15;

// Robustness fault 10: at most the turn that was being saved is lost.
TEST_F(SessionFaults, AKilledSaveLeavesTheOldSessionOrTheNewOne) {
  auto before = Made(kOld), after = Made(kNew);
  int kills = 0, old = 0;
  for (const auto kind : {DiskFault::kKillBefore, DiskFault::kKillAfter})
    for (const bool fresh : {true, false})
      for (int at = 0;; ++at, ++kills) {
        std::filesystem::remove_all(PathOf(""));
        if (!fresh)
          ASSERT_TRUE(Save(*before, "a").ok());
        const bool killed = KillAt(at, kind, [&] { (void)Save(*after, "a"); });
        const size_t got = LoadAndCheck("a");
        if (!killed) {
          EXPECT_EQ(got, static_cast<size_t>(kNew));
          break;
        }
        EXPECT_THAT(got, AnyOf(fresh ? 0u : unsigned{kOld}, unsigned{kNew}));
        if (got == 0)
          EXPECT_EQ(refusal_.code(), StatusCode::kNotFound);
        old += got != kNew;
        // The next save is whole, whatever the dead one left.
        ASSERT_TRUE(Save(*after, "a").ok());
        EXPECT_EQ(LoadAndCheck("a"), static_cast<size_t>(kNew));
        EXPECT_EQ(computed_, 0u);
      }
  EXPECT_GT(kills, 100);
  EXPECT_GT(old, 50);
  std::printf("%d kills, %d left the old session\n", kills, old);
}

// A save that grows over many turns, killed in each of them at a later call.
TEST_F(SessionFaults, ALoopOfTurnsSurvivesKills) {
  size_t saved = 0;
  int kills = 0;
  for (int at = 0; saved < 40; ++at) {
    const size_t next = saved + 5;
    const bool killed = KillAt(at % 60, DiskFault::kKillAfter, [&] {
      Alone turn(model_);
      if (saved > 0)
        (void)Archive(turn)->Load(turn.session.get(), "a");
      const auto tokens = Tokens(1, static_cast<int>(next));
      turn.Feed({tokens.begin() + static_cast<long>(saved), tokens.end()});
      turn.RunAll();
      (void)Save(turn, "a");
    });
    kills += killed;
    const size_t got = LoadAndCheck("a");
    EXPECT_THAT(got, AnyOf(saved, next));
    if (!killed)
      EXPECT_EQ(got, next);
    saved = got;
    ASSERT_LT(at, 1000);
  }
  EXPECT_GT(kills, 40);
  std::printf("%d turns killed\n", kills);
}

// Robustness faults 1, 2, 5 to 7.
TEST_F(SessionFaults, AFailedSaveSaysSoAndLeavesTheOldSessionOrTheNewOne) {
  auto before = Made(kOld), after = Made(kNew);
  int cases = 0;
  for (const int error : {ENOSPC, EIO, EACCES})
    for (const bool lasting : {false, true})
      for (int at = 0;; ++at, ++cases) {
        std::filesystem::remove_all(PathOf(""));
        ASSERT_TRUE(Save(*before, "a").ok());
        DiskFault fault;
        fault.at = at;
        fault.error = error;
        fault.lasting = lasting;
        Status status;
        const int calls = WithFault(fault, [&] { status = Save(*after, "a"); });
        if (at >= calls)
          break;
        const size_t got = LoadAndCheck("a");
        if (status.ok()) {
          EXPECT_EQ(got, static_cast<size_t>(kNew));
          continue;
        }
        EXPECT_THAT(got, AnyOf(unsigned{kOld}, unsigned{kNew}));
        EXPECT_EQ(status.code(), error == ENOSPC
                                     ? StatusCode::kResourceExhausted
                                     : StatusCode::kUnavailable);
        EXPECT_THAT(status.message(), HasSubstr(folder_));
        // The session itself is none the worse.
        ASSERT_TRUE(Save(*after, "a").ok());
        EXPECT_EQ(LoadAndCheck("a"), static_cast<size_t>(kNew));
      }
  std::printf("%d failed calls\n", cases);
}

TEST_F(SessionFaults, AFailedReadIsAnErrorOrComputedAgain) {
  auto alone = Made(kNew);
  ASSERT_TRUE(Save(*alone, "a").ok());
  int refused = 0, computed = 0;
  for (const int error : {EIO, EACCES, EMFILE})
    for (int at = 0;; ++at) {
      Alone second(model_);
      Status status;
      DiskFault fault;
      fault.at = at;
      fault.error = error;
      const int calls = WithFault(fault, [&] {
        status = Archive(second)->Load(second.session.get(), "a");
      });
      if (at >= calls)
        break;
      if (!status.ok()) {
        EXPECT_EQ(status.code(), StatusCode::kUnavailable);
        ++refused;
        continue;
      }
      computed += second.RunAll() > 0;
      EXPECT_EQ(second.Logits(), alone->Logits());
    }
  EXPECT_GT(refused, 3);
  EXPECT_GT(computed, 3);
  // Pages that could not be read were not thrown away.
  EXPECT_EQ(LoadAndCheck("a"), static_cast<size_t>(kNew));
  EXPECT_EQ(computed_, 0u);
}

// Robustness fault 9, on every file of a session.
TEST_F(SessionFaults, EveryFlippedBitIsFound) {
  auto alone = Made(kOld);
  ASSERT_TRUE(Save(*alone, "a").ok());
  const std::string page = "pages/" + Files("pages").at(0);
  size_t flips = 0;
  for (const std::string &key : {page, TailKey("a"), ManifestKey("a")}) {
    const std::string whole = ReadBytes(PathOf(key));
    for (size_t bit = 0; bit < 8 * whole.size(); ++bit, ++flips) {
      std::string flipped = whole;
      flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
      WriteBytes(PathOf(key), flipped);
      const size_t got = LoadAndCheck("a");
      if (key == ManifestKey("a")) {
        ASSERT_EQ(got, 0u) << "bit " << bit;
        ASSERT_EQ(refusal_.code(), StatusCode::kDataLoss);
      } else {
        ASSERT_EQ(got, static_cast<size_t>(kOld)) << key << " bit " << bit;
        ASSERT_GT(computed_, 0u);
        // It is gone, so that the next save writes it anew.
        ASSERT_FALSE(std::filesystem::exists(PathOf(key)));
      }
    }
    WriteBytes(PathOf(key), whole);
  }
  EXPECT_THAT(refusal_.message(), HasSubstr("'a'"));
  EXPECT_EQ(LoadAndCheck("a"), static_cast<size_t>(kOld));
  EXPECT_EQ(computed_, 0u);
  std::printf("%zu bits flipped\n", flips);
}

TEST_F(SessionFaults, EveryOtherLengthIsFound) {
  auto alone = Made(kOld);
  ASSERT_TRUE(Save(*alone, "a").ok());
  const std::string page = "pages/" + Files("pages").at(0);
  for (const std::string &key : {page, TailKey("a"), ManifestKey("a")}) {
    const std::string whole = ReadBytes(PathOf(key));
    for (size_t length = 0; length <= whole.size() + 1; ++length) {
      if (length == whole.size())
        continue;
      WriteBytes(PathOf(key), (whole + '\0').substr(0, length));
      const size_t got = LoadAndCheck("a");
      if (key == ManifestKey("a"))
        ASSERT_EQ(refusal_.code(), StatusCode::kDataLoss) << length;
      else
        ASSERT_TRUE(got == kOld && computed_ > 0) << key << " " << length;
    }
    WriteBytes(PathOf(key), whole);
  }
}

// A page is missing, or is another's: the chain is computed from there on, and
// saved again.
TEST_F(SessionFaults, AMissingOrForeignPageIsComputedAgain) {
  auto alone = Made(kNew);
  const SessionManifest manifest = [&] {
    EXPECT_TRUE(Save(*alone, "a").ok());
    return *ReadSession(*OpenFolder(), "a");
  }();
  const auto keys = manifest.WholeBlocks();
  ASSERT_EQ(keys.size(), 3u);
  for (const bool foreign : {false, true})
    for (size_t i = 0; i < keys.size(); ++i) {
      const std::string path = PathOf(StoreKey(keys[i]));
      std::filesystem::remove(path);
      if (foreign)
        std::filesystem::copy_file(PathOf(StoreKey(keys[(i + 1) % 3])), path);
      EXPECT_EQ(LoadAndCheck("a"), static_cast<size_t>(kNew));
      EXPECT_EQ(computed_, kNew - i * kBlock);
      auto archive = Archive(*loaded_);
      ASSERT_TRUE(archive->Save(*loaded_->session, "a").ok());
      EXPECT_EQ(archive->counters().pages_written, 2u); // it, and the tail
      EXPECT_EQ(LoadAndCheck("a"), static_cast<size_t>(kNew));
      EXPECT_EQ(computed_, 0u);
    }
}

// Robustness fault 11. A manifest and a partial block that two processes wrote
// need not belong together.
TEST_F(SessionFaults, TwoProcessesSaveAtOnce) {
  pid_t children[2];
  for (int i = 0; i < 2; ++i) {
    children[i] = fork();
    if (children[i] != 0)
      continue;
    bool ok = true;
    for (int round = 1; ok && round <= 25; ++round) {
      Alone alone(model_);
      alone.Feed(Tokens(1, 2 * round + i));
      alone.RunAll();
      ok = Save(alone, "a").ok();
    }
    _exit(ok ? 0 : 1);
  }
  for (int i = 0; i < 100; ++i) {
    LoadAndCheck("a");
    if (!refusal_.ok())
      EXPECT_EQ(refusal_.code(), StatusCode::kNotFound) << refusal_.message();
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_THAT(LoadAndCheck("a"), AnyOf(50u, 51u));
}

// Robustness fault 7, as a user whom permissions bind, which root is not.
TEST_F(SessionFaults, AReadOnlyStoreLoadsAndRefusesSaves) {
  constexpr uid_t kNobody = 65534;
  const bool root = geteuid() == 0;
  if (root) {
    ASSERT_EQ(chown(folder_.c_str(), kNobody, kNobody), 0);
    ASSERT_EQ(seteuid(kNobody), 0);
  }
  auto alone = Made(kOld);
  EXPECT_TRUE(Save(*alone, "a").ok());
  const auto allow = [&](std::filesystem::perms perms) {
    for (const char *folder : {"pages", "tails", "sessions", "tmp", ""})
      std::filesystem::permissions(PathOf(folder), perms);
  };
  allow(std::filesystem::perms::owner_read |
        std::filesystem::perms::owner_exec);
  EXPECT_EQ(LoadAndCheck("a"), static_cast<size_t>(kOld));
  EXPECT_EQ(computed_, 0u);
  const Status status = Save(*alone, "b");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr(folder_));
  std::filesystem::permissions(PathOf(""), std::filesystem::perms::owner_all);
  allow(std::filesystem::perms::owner_all);
  if (root)
    ASSERT_EQ(seteuid(0), 0);
}

} // namespace
} // namespace stele::test
