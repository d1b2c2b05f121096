// The imported modules compute what transformers computes: every tiny
// checkpoint, as imported and after the lm pipeline, run on the plain reference
// of the operations. No kernel is involved; what fails here is import, a family
// or a pass.
#include "Interpreter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "stele/compiler/Import/Json.h"
#include "stele/compiler/Transforms/Passes.h"
#include "stele/models/Families.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"
#include <filesystem>

using namespace stele;
using checkpoint::Checkpoint;
using checkpoint::Json;
using lm::reference::Matrix;

static const std::string tiny = STELE_SOURCE_DIR "/models/tiny/";

namespace {

// The numbers of a float32 .npy file of format 1.0.
std::vector<float> readNpy(const std::string &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, false, false);
  EXPECT_TRUE(bool(buffer)) << path;
  llvm::StringRef bytes = (*buffer)->getBuffer();
  EXPECT_TRUE(bytes.starts_with("\x93NUMPY\x01")) << path;
  size_t start = 10 + (uint8_t(bytes[8]) | uint8_t(bytes[9]) << 8);
  std::vector<float> values((bytes.size() - start) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + start,
              values.size() * sizeof(float));
  return values;
}

// Tokens [begin, end) of one sequence, all rows wanted.
lm::reference::Batch chunkBatch(int64_t begin, int64_t end) {
  lm::reference::Batch batch;
  for (int64_t position = begin; position < end; ++position) {
    batch.sequence.push_back(0);
    batch.position.push_back(position);
    batch.logitRows.push_back(position - begin);
  }
  return batch;
}

// The largest difference of any row, as a share of that row's range.
double worstDifference(const Matrix &actual,
                       const std::vector<float> &expected) {
  EXPECT_EQ(actual.values.size(), expected.size());
  double worst = 0;
  for (int64_t row = 0; row < actual.rows; ++row) {
    auto begin = expected.begin() + row * actual.columns;
    auto [low, high] = std::minmax_element(begin, begin + actual.columns);
    for (int64_t i = 0; i < actual.columns; ++i)
      worst = std::max(worst, std::abs(actual(row, i) - begin[i]) /
                                  (double(*high) - *low));
  }
  return worst;
}

class Reference : public testing::TestWithParam<const char *> {
protected:
  Reference() { context.loadDialect<lm::LmDialect, mlir::func::FuncDialect>(); }

  static void SetUpTestSuite() { compiler::registerLmPasses(); }

  void SetUp() override {
    folder = tiny + GetParam();
    std::string path = llvm::StringRef(GetParam()).starts_with("gguf/")
                           ? folder + "/model.gguf"
                           : folder;
    checkpoint = llvm::cantFail(Checkpoint::open(path));
    module = llvm::cantFail(models::buildModule(context, *checkpoint));
  }

  void runPasses(llvm::StringRef passes) {
    mlir::PassManager manager(&context);
    ASSERT_TRUE(succeeded(mlir::parsePassPipeline(passes, manager)));
    ASSERT_TRUE(succeeded(manager.run(*module)));
  }

  // Feeds every golden prompt, whole or `chunk` tokens at a time.
  void comparePrompts(int64_t chunk = 1 << 20) {
    Json goldens =
        llvm::cantFail(checkpoint::readJsonFile(folder + "/goldens.json"));
    for (const Json &prompt : goldens["prompts"]) {
      auto tokens = prompt["tokens"].get<std::vector<int32_t>>();
      auto expected =
          readNpy(folder + "/" + prompt["logits"].get<std::string>());
      int64_t length = tokens.size();
      oracle::Interpreter interpreter(*module, *checkpoint);
      Matrix logits(0, checkpoint->config().vocab);
      for (int64_t begin = 0; begin < length; begin += chunk) {
        int64_t end = std::min(begin + chunk, length);
        Matrix rows =
            interpreter.step({tokens.begin() + begin, tokens.begin() + end},
                             chunkBatch(begin, end));
        logits.rows += rows.rows;
        logits.values.insert(logits.values.end(), rows.values.begin(),
                             rows.values.end());
      }
      EXPECT_LE(worstDifference(logits, expected), kTolerance)
          << length << " tokens";
    }
  }

  template <typename... Ops> int64_t count() {
    int64_t found = 0;
    module->walk([&](mlir::Operation *op) { found += llvm::isa<Ops...>(op); });
    return found;
  }

  // transformers computes in f32, the reference in double: between them is f32
  // rounding only, far below the 1e-4 that kernels are allowed.
  static constexpr double kTolerance = 2e-5;

  std::string folder;
  std::unique_ptr<Checkpoint> checkpoint;
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

} // namespace

TEST_P(Reference, ImportedModule) {
  runPasses("stele-verify-input");
  comparePrompts();
}

TEST_P(Reference, UnfusedInChunks) {
  runPasses("stele-lm-pipeline{fuse=false}");
  comparePrompts(/*chunk=*/5);
}

TEST_P(Reference, Fused) {
  runPasses("stele-lm-pipeline");
  // q/k/v, o, gate/up and down of every layer; everything else is inside them.
  EXPECT_EQ(count<lm::LinearOp>(), 4 * checkpoint->config().layers);
  EXPECT_EQ((count<lm::RopeOp, lm::GluOp, lm::AddOp, lm::RmsNormOp>()), 0);
  comparePrompts();
}

TEST_P(Reference, SparseWithEverythingSelected) {
  int64_t windows = 0; // those stay dense
  module->walk([&](lm::AttentionOp op) { windows += bool(op.getWindow()); });
  runPasses("stele-choose-attention{kind=sparse block=16 top-k=1000},"
            "stele-fuse-rope-append,stele-fuse-linears");
  EXPECT_EQ(count<lm::BlockSparseAttentionOp>() + windows,
            checkpoint->config().layers);
  comparePrompts();
}

static std::string testName(const testing::TestParamInfo<const char *> &info) {
  std::string name = info.param;
  for (char &c : name)
    if (!std::isalnum(c))
      c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Tiny, Reference,
    testing::Values("llama-bias", "llama-chunks-yarn", "llama-gelu",
                    "llama-gelu-tanh", "llama-linear", "llama-long",
                    "llama-tied", "llama-yarn", "llama-yarn-factor",
                    "llama2-mha", "llama3-rope", "mistral", "mistral-window",
                    "qwen2", "qwen2-chunks", "qwen2-window", "qwen2-yarn",
                    "qwen3", "qwen3-chunks", "qwen3-untied", "gguf/llama-f32",
                    "gguf/llama-q4_k", "gguf/llama-q8_0", "gguf/qwen2-q8_0",
                    "gguf/qwen3-q5_0"),
    testName);
