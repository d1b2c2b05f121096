// Calibration of sparse attention without a model: budgets, targets, how they
// get into a module, and what is said of heads.
#include "../import/TestFiles.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "stele/compiler/Calibrate/Attention.h"
#include "stele/compiler/Calibrate/AttentionGate.h"
#include <gmock/gmock.h>

namespace stele::compiler {
namespace {

using checkpoint::errorOf;
using checkpoint::TempFolder;
using testing::AllOf;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Target, IsRaisedByWhatIsMissing) {
  // Twice what may be missing is: half of it may, by the estimate.
  EXPECT_NEAR(raiseTarget(0.9, 0.8, 0.9), 0.95, 1e-12);
  EXPECT_EQ(raiseTarget(0.9, 0.9, 0.9), 0.9);
  EXPECT_EQ(raiseTarget(0.97, 1, 0.9), 0.97);
  // By no less than a tenth of what is missing, nor more than nine.
  EXPECT_NEAR(raiseTarget(0.9, 0.8999, 0.9), 0.91, 1e-12);
  EXPECT_NEAR(raiseTarget(0.5, 0.1, 0.99), 0.95, 1e-12);
  // What is nearly whole becomes whole.
  EXPECT_EQ(raiseTarget(0.999, 0.8, 0.95), 1);
  EXPECT_EQ(raiseTarget(1, 0.8, 0.95), 1);
  EXPECT_NEAR(raiseTarget(0.9), 0.95, 1e-12);
  EXPECT_EQ(raiseTarget(1), 1);
}

std::vector<std::string> raises(Budget budget, int64_t blocks) {
  std::vector<std::string> names;
  for (std::optional<Budget> next = budget; next; next = next->raised(blocks))
    names.push_back(next->describe());
  return names;
}

TEST(Budget, IsRaisedWhileThereIsAChoice) {
  EXPECT_THAT(raises({lm::BlockSelect::TopP, 0, 0.95}, 64),
              ElementsAre("mass 0.95", "mass 0.975", "mass 0.9875",
                          "mass 0.9938", "mass 0.9969", "mass 0.9984"));
  EXPECT_THAT(raises({lm::BlockSelect::TopShare, 0, 0.2}, 64),
              ElementsAre("density 0.2", "density 0.3", "density 0.45",
                          "density 0.675"));
  EXPECT_THAT(raises({lm::BlockSelect::TopK, 1, 0}, 8),
              ElementsAre("1 blocks", "2 blocks", "3 blocks", "4 blocks"));
}

constexpr const char *kModule = R"mlir(
!cache = !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 64, f32, key_index = true>
!selection = !lm.selection<heads = 2, block = 64>
module {
  func.func @forward(%q: tensor<?x128xf32>, %b: !lm.batch, %c: !cache) -> tensor<?x64xf32> {
    %c1 = lm.kv_append %q, %q, %c, %b layer 0 key_offset 64 value_offset 96 : tensor<?x128xf32>, tensor<?x128xf32>, !cache
    %s = lm.select_blocks %q, %c1, %b layer 0 heads 4 scale 0.25 <block = 64, local = 2, adjacent = 1, sink = 0, select = top_p(9.0e-01), estimate = mean_key> : tensor<?x128xf32>, !cache -> !selection
    %o, %lse = lm.block_sparse_attention %q, %c1, %b layer 0 heads 4 scale 0.25 <block = 64, local = 2, adjacent = 1, sink = 0, select = top_p(9.0e-01), estimate = mean_key> selection(%s : !selection) : tensor<?x128xf32>, !cache -> tensor<?x64xf32>, tensor<?x4xf32>
    return %o : tensor<?x64xf32>
  }
})mlir";

class Module : public testing::Test {
protected:
  Module() {
    context.loadDialect<mlir::func::FuncDialect, lm::LmDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(kModule, &context);
  }

  lm::SelectBlocksOp selection() { return findSelections(*module).front(); }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

TEST_F(Module, GetsBudgetAndTargets) {
  applyBudget(*module, {lm::BlockSelect::TopP, 0, 0.95}, {{0, {0.96, 1}}});
  ASSERT_TRUE(mlir::succeeded(mlir::verify(*module)));
  EXPECT_EQ(double(selection().getSparsity().getTopP()), 0.95);
  // The rest stays, and attention is of the same sparsity.
  EXPECT_EQ(selection().getSparsity().getLocal(), 2);
  for (mlir::Operation *user : selection()->getUsers())
    EXPECT_EQ(mlir::cast<lm::BlockSparseAttentionOp>(user).getSparsity(),
              selection().getSparsity());
  auto weight = module->lookupSymbol<lm::WeightOp>(*selection().getTargets());
  ASSERT_TRUE(weight && weight.getValueAttr());
  const auto values = mlir::cast<mlir::DenseElementsAttr>(weight.getValueAttr())
                          .getValues<float>();
  EXPECT_THAT(std::vector<float>(values.begin(), values.end()),
              ElementsAre(0.96f, 1.0f));
}

TEST_F(Module, GetsABudgetOfBlocksWithoutTargets) {
  applyBudget(*module, {lm::BlockSelect::TopK, 3, 0}, {});
  ASSERT_TRUE(mlir::succeeded(mlir::verify(*module)));
  EXPECT_EQ(selection().getSparsity().getTopK(), 3);
  EXPECT_FALSE(selection().getTargets());
}

// Two windows of 8 tokens, in steps of 4; head 0 reads 2 keys a token, head 1
// all of them.
TEST(HeadSeries, TellsHowReadingGrows) {
  HeadSeries series(8);
  double tokens = 0, causal = 0;
  for (int window = 0; window < 2; ++window)
    for (int processed = 4; processed <= 8; processed += 4) {
      tokens += 4;
      causal += processed == 4 ? 1 + 2 + 3 + 4 : 5 + 6 + 7 + 8;
      series.add({{tokens, causal, 2 * tokens, 0.5 * tokens},
                  {tokens, causal, causal, tokens}},
                 processed);
    }
  EXPECT_NEAR(*series.growth(0), 0, 1e-12);
  EXPECT_NEAR(*series.growth(1), std::log2(36.0 / 10) - 1, 1e-12);
  EXPECT_NEAR(meanKept(series.whole()), 0.75, 1e-12);
  EXPECT_NEAR(shareRead(series.whole()), (32 + 72.0) / 144, 1e-12);
  HeadSeries short_(8);
  short_.add({{8, 36, 36, 8}}, 8);
  EXPECT_FALSE(short_.growth(0));
}

TEST_F(Module, HasARowForEveryHead) {
  HeadSeries series(8);
  series.add({{4, 10, 4, 1}, {4, 10, 5, 2}, {4, 10, 6, 3}, {4, 10, 10, 4}}, 4);
  series.add({{8, 36, 8, 2}, {8, 36, 9, 4}, {8, 36, 9, 6}, {8, 36, 36, 8}}, 8);
  const auto rows =
      makeHeadRows(findSelections(*module), {{0, {0.96, 1}}}, series);
  ASSERT_EQ(rows.size(), 4u);
  const llvm::json::Object &second = *rows[1].getAsObject();
  EXPECT_EQ(second.getInteger("layer"), 0);
  EXPECT_EQ(second.getInteger("head"), 1);
  EXPECT_EQ(second.getInteger("kv_head"), 0);
  EXPECT_EQ(second.getNumber("target"), 0.96);
  EXPECT_EQ(second.getNumber("kept_mass"), 0.5);
  EXPECT_EQ(second.getNumber("read"), 0.25);
  EXPECT_THAT(*second.getNumber("growth"),
              DoubleNear(std::log2(9.0 / 5) - 1, 1e-12));
  EXPECT_EQ(rows[3].getAsObject()->getNumber("target"), 1);
  const auto plain = makeHeadRows(findSelections(*module), {}, series);
  EXPECT_TRUE(plain[0].getAsObject()->getNull("target"));
}

// Perplexity that must fall to a tenth: no choice of blocks does that.
TEST(AttentionGate, WritesNothingThatLosesTooMuchUnlessForced) {
  TempFolder folder;
  CompileOptions options;
  options.input = STELE_SOURCE_DIR "/models/tiny/qwen2";
  options.output = folder.path("out.stele");
  options.attention = "sparse";
  options.sparsity.block = 64;
  options.sparsity.adjacent = 0;
  options.sparsity.topK = 1;
  GateOptions gate;
  gate.calibrate = STELE_SOURCE_DIR "/docs/quantisation.md";
  gate.maxLoss = -0.9;
  std::string lines;
  llvm::raw_string_ostream progress(lines);
  auto compileIt = [&] {
    return errorOf(compileWithCalibratedAttention(options, gate, progress));
  };
  EXPECT_THAT(compileIt(),
              AllOf(HasSubstr("models/tiny/qwen2: sparse attention cannot keep "
                              "95% of the attention within --max-loss -90%: 4 "
                              "blocks loses "),
                    HasSubstr("write it anyway with --force")));
  EXPECT_THAT(lines, HasSubstr("raised to 4 blocks"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));

  gate.force = true;
  EXPECT_EQ(compileIt(), "none");
  gate.force = false;
  options.attention = "auto";
  lines.clear();
  EXPECT_EQ(compileIt(), "none");
  EXPECT_THAT(lines, HasSubstr("note: attention stays dense: 4 blocks loses "));
  std::vector<std::string> left;
  for (const auto &entry : std::filesystem::directory_iterator(folder.path()))
    left.push_back(entry.path().filename());
  EXPECT_THAT(left, ElementsAre("out.stele"));
}

} // namespace
} // namespace stele::compiler
