// Fault 8: an artifact that is cut short while it is mapped, before a step and
// in the middle of one. The step fails and the process lives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "artifact_builder.h"
#include "forwarding_device.h"
#include "stele/runtime/base/mapping_guard.h"
#include "stele/runtime/engine/engine.h"

namespace stele::test {
namespace {

using testing::HasSubstr;

// Cuts a file to its header when a program starts to run, as often as `armed`
// is set.
class CuttingProgram : public Program {
public:
  CuttingProgram(std::unique_ptr<Program> program, std::string path,
                 const bool *armed)
      : program_(std::move(program)), path_(std::move(path)), armed_(armed) {}
  Status Run(const SteleBatch &batch) override {
    if (*armed_)
      EXPECT_EQ(truncate(path_.c_str(), 64), 0);
    return program_->Run(batch);
  }

private:
  std::unique_ptr<Program> program_;
  std::string path_;
  const bool *armed_;
};

class CuttingDevice : public ForwardingDevice {
public:
  CuttingDevice(std::unique_ptr<Device> device, std::string path,
                const bool *armed)
      : ForwardingDevice(std::move(device)), path_(std::move(path)),
        armed_(armed) {}
  Result<std::unique_ptr<Program>> Prepare(ProgramSpec spec) override {
    STELE_ASSIGN_OR_RETURN(auto program,
                           ForwardingDevice::Prepare(std::move(spec)));
    return std::unique_ptr<Program>(
        std::make_unique<CuttingProgram>(std::move(program), path_, armed_));
  }

private:
  std::string path_;
  const bool *armed_;
};

class LostFile : public testing::Test {
protected:
  void SetUp() override {
    InstallMappingGuard();
    Load();
  }
  void TearDown() override { unlink(path_.c_str()); }

  void Load() {
    path_ = ArtifactBuilder::Toy().Write("lost.stele");
    auto artifact = Artifact::Open(path_);
    ASSERT_TRUE(artifact.ok()) << artifact.status().message();
    auto device = ToyDevice(2);
    ASSERT_TRUE(device.ok()) << device.status().message();
    auto model = Model::Load(
        *artifact,
        std::make_unique<CuttingDevice>(*std::move(device), path_, &armed_));
    ASSERT_TRUE(model.ok()) << model.status().message();
    auto engine = Engine::Create(*model, {});
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    engine_ = *std::move(engine);
    auto session = engine_->NewSession();
    ASSERT_TRUE(session.ok()) << session.status().message();
    session_ = *std::move(session);
    ASSERT_TRUE(session_->Feed(std::vector<int32_t>{1, 2, 3}).ok());
  }

  std::vector<float> Logits() {
    auto report = engine_->Step();
    EXPECT_TRUE(report.ok()) << report.status().message();
    const auto logits = session_->logits();
    return {logits.begin(), logits.end()};
  }

  // Every step fails from now on, and nothing is handed out.
  void ExpectLost() {
    for (int step = 0; step < 2; ++step) {
      const Status status = engine_->Step().status();
      EXPECT_EQ(status.code(), StatusCode::kDataLoss);
      EXPECT_THAT(status.message(), HasSubstr(path_ + "': has 64 B now"));
      EXPECT_EQ(session_->pending(), 3u);
      EXPECT_TRUE(session_->logits().empty());
    }
  }

  bool armed_ = false;
  std::string path_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Session> session_;
};

TEST_F(LostFile, BeforeAStep) {
  ASSERT_EQ(truncate(path_.c_str(), 64), 0);
  ExpectLost();
}

TEST_F(LostFile, InTheMiddleOfAStep) {
  armed_ = true;
  ExpectLost();
}

TEST_F(LostFile, OpenedAgainItRunsAsBefore) {
  const std::vector<float> expected = Logits();
  session_.reset();
  Load();
  armed_ = true;
  ExpectLost();
  armed_ = false;
  session_.reset();
  Load();
  EXPECT_EQ(Logits(), expected);
}

} // namespace
} // namespace stele::test
