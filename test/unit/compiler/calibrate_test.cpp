// Calibration without a model: texts, what folds into what, and the search for
// scales on made-up statistics.
#include "../import/TestFiles.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "stele/compiler/Calibrate/Awq.h"
#include "stele/compiler/Calibrate/Bisect.h"
#include "stele/compiler/Calibrate/Decision.h"
#include "stele/compiler/Calibrate/Gate.h"
#include "stele/compiler/Calibrate/Text.h"
#include "llvm/ADT/StringSet.h"
#include <gmock/gmock.h>
#include <random>

namespace stele::compiler {
namespace {

using checkpoint::errorOf;
using checkpoint::TempFolder;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Text, SaysWhatIsWrongWithAFile) {
  TempFolder folder;
  EXPECT_THAT(errorOf(readText(folder.path("none.txt"))),
              HasSubstr("none.txt: cannot read the text of --calibrate: No "
                        "such file"));
  EXPECT_THAT(errorOf(readText(folder.write("empty.txt", ""))),
              HasSubstr("empty.txt: is empty; --calibrate needs a text"));
  EXPECT_THAT(errorOf(readText(folder.write("blank.txt", " \n\t\n"))),
              HasSubstr("blank.txt: is empty"));
  EXPECT_THAT(errorOf(readText(folder.write("latin1.txt", "abc\xe9t\xe9"))),
              HasSubstr("latin1.txt: byte 3 is not UTF-8"));
  EXPECT_THAT(errorOf(readText(folder.write("cut.txt", "caf\xc3"))),
              HasSubstr("cut.txt: byte 3 is not UTF-8"));
  auto text = readText(folder.write("abc.txt", "abc"));
  ASSERT_TRUE(bool(text));
  EXPECT_EQ(text->bytes, "abc");
  EXPECT_EQ(text->sha256(), // FIPS 180-2, appendix B.1
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Text, BundledOnesShareNoLine) {
  llvm::StringSet<> lines;
  llvm::SmallVector<llvm::StringRef> split;
  const Text calibration = bundledCalibrationText(), gate = bundledGateText();
  llvm::StringRef(calibration.bytes).split(split, '\n', -1, false);
  for (llvm::StringRef line : split)
    lines.insert(line);
  split.clear();
  llvm::StringRef(gate.bytes).split(split, '\n', -1, false);
  EXPECT_GT(split.size(), 10u);
  for (llvm::StringRef line : split)
    EXPECT_FALSE(lines.contains(line)) << line.str();
}

// Two layers' worth of shapes: 4 heads of 2 over 2 KV heads, GLU of 6.
constexpr const char *kModule = R"mlir(
!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 2, block = 16, f32>
module {
  lm.weight @embed : tensor<9x8xf32>
  lm.weight @norm0 : tensor<8xf32>
  lm.weight @norm1 : tensor<8xf32>
  lm.weight @qkv : tensor<16x8xf32>
  lm.weight @bias : tensor<16xf32>
  lm.weight @o : tensor<8x8xf32>
  lm.weight @gate_up segments [
    #lm.segment<name = "gate", source = "g", rows = 6>,
    #lm.segment<name = "up", source = "u", rows = 6>] : tensor<12x8xf32>
  lm.weight @down : tensor<8x6xf32>
  lm.weight @kept quant <int4, group = 32, scale = f16> : tensor<8x8xf32>
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @embed : tensor<?xi32> -> tensor<?x8xf32>
    %qkv = lm.linear %h, @qkv norm(@norm0, 1.0e-05) bias(@bias) : tensor<?x8xf32> -> tensor<?x16xf32>
    %c1 = lm.kv_append %qkv, %qkv, %c, %b layer 0 key_offset 8 value_offset 12 : tensor<?x16xf32>, tensor<?x16xf32>, !cache
    %a = lm.attention %qkv, %c1, %b layer 0 heads 4 scale 0.5 : tensor<?x16xf32>, !cache -> tensor<?x8xf32>
    %h1 = lm.linear %a, @o residual(%h : tensor<?x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32>
    %g = lm.linear %h1, @gate_up norm(@norm1, 1.0e-05) glu <silu> : tensor<?x8xf32> -> tensor<?x6xf32>
    %h2 = lm.linear %g, @down residual(%h1 : tensor<?x8xf32>) : tensor<?x6xf32> -> tensor<?x8xf32>
    %h3 = lm.linear %h2, @kept : tensor<?x8xf32> -> tensor<?x8xf32>
    %l = lm.logits %h3, %b, @embed : tensor<?x8xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
})mlir";

class Units : public testing::Test {
protected:
  Units() {
    context.loadDialect<mlir::func::FuncDialect, lm::LmDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(kModule, &context);
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

TEST_F(Units, FoldIntoWhatMakesTheirInputs) {
  ASSERT_TRUE(bool(module));
  std::vector<Unit> units = findUnits(*module);
  ASSERT_EQ(units.size(), 5u); // what the checkpoint quantised is none
  EXPECT_EQ(units[0].weight, "embed");
  EXPECT_TRUE(units[0].isEnd);
  EXPECT_FALSE(units[0].fold);

  EXPECT_EQ(units[1].weight, "qkv");
  EXPECT_THAT(units[1].fold.weights, ElementsAre("norm0"));
  EXPECT_EQ(units[1].fold.rows, 8);

  // Query heads 0 and 1 read the values of KV head 0, rows 12 and 13.
  EXPECT_EQ(units[2].weight, "o");
  const Fold &values = units[2].fold;
  EXPECT_THAT(values.weights, ElementsAre("qkv", "bias"));
  std::vector<int64_t> rows;
  for (int64_t c = 0; c < 8; ++c)
    rows.push_back(values.firstRow + values.rowOf(c));
  EXPECT_THAT(rows, ElementsAre(12, 13, 12, 13, 14, 15, 14, 15));

  EXPECT_EQ(units[3].weight, "gate_up");
  EXPECT_THAT(units[3].fold.weights, ElementsAre("norm1"));

  EXPECT_EQ(units[4].weight, "down");
  EXPECT_THAT(units[4].fold.weights, ElementsAre("gate_up"));
  EXPECT_EQ(units[4].fold.firstRow, 6);
  EXPECT_EQ(units[4].fold.rowOf(5), 5);
}

TEST_F(Units, RolesForgetLayers) {
  Unit unit;
  unit.weight = "model.layers.12.mlp.down_proj.weight";
  EXPECT_EQ(unit.role(), "model.layers.#.mlp.down_proj.weight");
}

TEST_F(Units, ScalesOfColumnsAndRowsCancel) {
  std::vector<Candidate> candidates;
  for (Unit &unit : findUnits(*module)) {
    Candidate candidate;
    candidate.level = unit.isEnd ? Level::Int8 : Level::Int4;
    if (unit.weight == "o") {
      candidate.search.scales = {2, 4, 2, 4, 0.5f, 1, 0.5f, 1};
      candidate.search.importance.assign(8, 4);
    }
    candidate.unit = std::move(unit);
    candidates.push_back(std::move(candidate));
  }
  applyDecision(*module, candidates, /*group=*/32, /*chooseInt8=*/true);
  ASSERT_TRUE(mlir::succeeded(module->verify()));
  auto values = [](mlir::ElementsAttr attr) {
    return llvm::to_vector(attr.getValues<float>());
  };
  auto weight = [&](llvm::StringRef name) {
    return module->lookupSymbol<lm::WeightOp>(name);
  };
  EXPECT_THAT(values(*weight("o").getColumnScale()),
              ElementsAre(2, 4, 2, 4, 0.5f, 1, 0.5f, 1));
  EXPECT_THAT(values(*weight("o").getImportance()),
              ElementsAre(1, 0.25f, 1, 0.25f, 16, 4, 16, 4));
  for (llvm::StringRef name : {"qkv", "bias"})
    EXPECT_THAT(
        values(*weight(name).getRowScale()),
        ElementsAre(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.5f, 0.25f, 2, 1))
        << name.str();
  EXPECT_FALSE(weight("kept").getRoundingAttr());
  EXPECT_EQ(weight("embed").getQuantAttr().getFormat().bits, 8u);
  // 4 bits and two f16 in one group: 8 columns of 4 + 32 / 8 bits.
  EXPECT_EQ(makeRows(*module, candidates).size(), 6u);
  EXPECT_EQ(
      *(*makeRows(*module, candidates)[2].getAsObject()).getNumber("bits"),
      8.0);
}

TEST(Awq, ProtectsColumnsThatMeetLargeActivations) {
  constexpr int64_t rows = 64, columns = 128;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::string data;
  for (int64_t i = 0; i < rows * columns; ++i)
    data += checkpoint::raw(normal(random));
  TempFolder folder;
  folder.write("config.json",
               R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 9, "hidden_size": 128, "intermediate_size": 64,
    "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": true})");
  folder.write(
      "model.safetensors",
      checkpoint::safeTensors(R"({"w": {"dtype": "F32", "shape": [64, 128], )"
                              R"("data_offsets": [0, 32768]}})",
                              data));
  auto checkpoint = checkpoint::Checkpoint::open(folder.path());
  ASSERT_TRUE(bool(checkpoint)) << llvm::toString(checkpoint.takeError());

  mlir::MLIRContext context;
  context.loadDialect<lm::LmDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(
      "lm.weight @w : tensor<64x128xf32>", &context);
  Unit unit;
  unit.weight = "w";
  unit.rows = rows;
  unit.columns = columns;
  unit.fold = {{"norm"}, 0, columns};
  const schema::QuantFormat format = formatOf(Level::Int4, 128);
  auto search = [&](float outlier) {
    Statistics statistics;
    std::vector<float> row(columns);
    for (int i = 0; i < 50; ++i) {
      for (float &x : row)
        x = normal(random);
      row[5] *= outlier;
      statistics.add(row.data(), columns);
    }
    auto found = searchScales(unit, module->lookupSymbol<lm::WeightOp>("w"),
                              **checkpoint, &statistics, format);
    EXPECT_TRUE(bool(found));
    return *found;
  };
  // One column carries most of the output, and is 1 of 128 in its group.
  const Search steep = search(40);
  EXPECT_GT(steep.alpha, 0);
  EXPECT_LT(steep.error, 0.5 * steep.nearestError);
  EXPECT_GT(steep.scales[5], 1.2 * steep.scales[6]);
  // All columns alike: there is nothing to gain from scales.
  const Search flat = search(1);
  EXPECT_GT(flat.error, 0.6 * flat.nearestError);
}

TEST(Bisect, FindsTheFewestRaisesInFewSteps) {
  for (size_t most : {1, 2, 9, 63, 300})
    for (size_t least = 1; least <= most; ++least) {
      int steps = 0;
      auto found = fewestRaises(most, most / 2,
                                [&](size_t count) -> llvm::Expected<bool> {
                                  ++steps;
                                  return count >= least;
                                });
      ASSERT_TRUE(bool(found));
      ASSERT_TRUE(found->has_value());
      EXPECT_GE(**found, least);
      EXPECT_LT(**found, least + std::max<size_t>(1, most / 64));
      EXPECT_LE(steps, 9);
    }
}

TEST(Bisect, SaysWhenNothingHolds) {
  std::vector<size_t> tried;
  auto found = fewestRaises(9, 4, [&](size_t count) -> llvm::Expected<bool> {
    tried.push_back(count);
    return false;
  });
  ASSERT_TRUE(bool(found));
  EXPECT_FALSE(found->has_value());
  EXPECT_THAT(tried, ElementsAre(4, 9));
  auto failed = fewestRaises(9, 4, [](size_t) -> llvm::Expected<bool> {
    return llvm::createStringError("no disk");
  });
  EXPECT_EQ(errorOf(std::move(failed)), "no disk");
}

// Perplexity that must fall to a tenth: no rounding does that.
TEST(Gate, WritesNothingThatLosesTooMuchUnlessForced) {
  TempFolder folder;
  CompileOptions options;
  options.input = STELE_SOURCE_DIR "/models/tiny/qwen2";
  options.output = folder.path("out.stele");
  options.quant = "auto";
  GateOptions gate;
  gate.maxLoss = -0.9;
  std::string lines;
  llvm::raw_string_ostream progress(lines);
  EXPECT_THAT(
      errorOf(compileCalibrated(options, gate, progress)),
      testing::AllOf(HasSubstr("models/tiny/qwen2: --max-loss -90.00% cannot "
                               "be met: the best that was reached is "),
                     HasSubstr("write it anyway with --force")));
  // Every role was measured alone, and even one matrix in int8.
  EXPECT_THAT(lines, HasSubstr("only model.layers.#.mlp.down_proj.weight: "));
  EXPECT_THAT(lines, HasSubstr("0 int4, 1 int8, 9 float: "));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));

  gate.force = true;
  EXPECT_EQ(errorOf(compileCalibrated(options, gate, progress)), "none");
  std::vector<std::string> left;
  for (const auto &entry : std::filesystem::directory_iterator(folder.path()))
    left.push_back(entry.path().filename());
  EXPECT_THAT(left, ElementsAre("out.stele"));
}

} // namespace
} // namespace stele::compiler
