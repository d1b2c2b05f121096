// Calibration without a model: texts, what folds into what, and the search for
// scales on made-up statistics.
#include "../import/TestFiles.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "stele/compiler/Calibrate/Awq.h"
#include "stele/compiler/Calibrate/Bisect.h"
#include "stele/compiler/Calibrate/CompiledModel.h"
#include "stele/compiler/Calibrate/Decision.h"
#include "stele/compiler/Calibrate/Gate.h"
#include "stele/compiler/Calibrate/Sensitivity.h"
#include "stele/compiler/Calibrate/Text.h"
#include "llvm/ADT/StringSet.h"
#include <gmock/gmock.h>
#include <random>
#include <tuple>

namespace stele::compiler {
namespace {

using checkpoint::errorOf;
using checkpoint::TempFolder;
using testing::DoubleNear;
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

TEST(Text, SplitsBehindALineOrACharacter) {
  auto split = [](std::string bytes) {
    return splitText({"t.txt", std::move(bytes)});
  };
  auto [front, back] = split("one\ntwo\nthree\nfour\nfive\nsix\n"); // 28 bytes
  EXPECT_EQ(front.bytes, "one\ntwo\nthree\nfour\n");
  EXPECT_EQ(back.bytes, "five\nsix\n");
  EXPECT_EQ(front.name, "t.txt (bytes 0 to 19)");
  EXPECT_EQ(back.name, "t.txt (bytes 19 to 28)");
  // No line ends; byte 4 is within the second e with an acute accent.
  std::tie(front, back) = split("a\xc3\xa9\xc3\xa9z");
  EXPECT_EQ(front.bytes, "a\xc3\xa9\xc3\xa9");
  EXPECT_EQ(back.bytes, "z");
}

TEST(Text, BundledOnesShareNoLine) {
  llvm::StringSet<> lines;
  llvm::SmallVector<llvm::StringRef> split;
  const Text calibration = bundledCalibrationText(), gate = bundledGateText();
  llvm::StringRef(calibration.bytes).split(split, '\n', -1, false);
  for (llvm::StringRef line : split)
    lines.insert(line);
  // Enough for all windows of the gate, and still soon read.
  for (const Text *text : {&calibration, &gate}) {
    EXPECT_GE(text->bytes.size(), 30'000u);
    EXPECT_LE(text->bytes.size(), 60'000u);
  }
  split.clear();
  llvm::StringRef(gate.bytes).split(split, '\n', -1, false);
  EXPECT_GT(split.size(), 10u);
  for (llvm::StringRef line : split)
    if (line.trim().size() > 1) // a brace of code
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
    candidate.formats = formatsOf(unit, /*group=*/32);
    candidate.search.errors.assign(candidate.formats.size(), 0);
    if (unit.weight == "o") {
      candidate.search.scales = {2, 4, 2, 4, 0.5f, 1, 0.5f, 1};
      candidate.search.importance.assign(8, 4);
    }
    candidate.unit = std::move(unit);
    candidates.push_back(std::move(candidate));
  }
  applyDecision(*module, candidates, /*chooseInt8=*/true);
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
  const std::vector<schema::QuantFormat> formats = formatsOf(unit, 128);
  EXPECT_EQ(formats.size(), 4u); // int4 in 128, 64 and 32, int8
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
                              **checkpoint, &statistics, formats);
    EXPECT_TRUE(bool(found));
    EXPECT_TRUE(std::is_sorted(found->errors.rbegin(), found->errors.rend()));
    return *found;
  };
  // One column carries most of the output, and is 1 of 128 in its group.
  const Search steep = search(40);
  EXPECT_GT(steep.alpha, 0);
  EXPECT_LT(steep.errors.front(), 0.5 * steep.nearestError);
  EXPECT_GT(steep.scales[5], 1.2 * steep.scales[6]);
  // All columns alike: there is nothing to gain from scales.
  const Search flat = search(1);
  EXPECT_GT(flat.errors.front(), 0.6 * flat.nearestError);
}

TEST(Sensitivity, FitsCellsToSumsOfRowsAndColumns) {
  // Made of row factors 1, 10 and column factors 2, 3 on these cells.
  const std::vector<double> start = {1, 2, 3, 4};
  const std::vector<double> cells =
      fitCells(start, {{0, 0, 1, 1}, {0, 1, 0, 1}, {8, 180}, {62, 126}});
  EXPECT_THAT(cells, ElementsAre(DoubleNear(2, 1e-6), DoubleNear(6, 1e-6),
                                 DoubleNear(60, 1e-5), DoubleNear(120, 1e-5)));
  // Sums of columns count by their shares; noise below 0 costs next to nothing.
  EXPECT_THAT(fitCells(start, {{0, 0, 1, 1}, {0, 1, 0, 1}, {4, 8}, {3, -1}}),
              ElementsAre(DoubleNear(4, 1e-3), DoubleNear(0, 1e-3),
                          DoubleNear(8, 1e-3), DoubleNear(0, 1e-3)));
}

TEST(Sensitivity, RaisesWhatSavesMostForABitFirst) {
  auto make = [](int64_t rows, double sensitivity) {
    Candidate candidate;
    candidate.unit.rows = rows;
    candidate.unit.columns = 128;
    candidate.formats = formatsOf(candidate.unit, 64);
    // Groups of 32 save next to nothing here: the way leads past them.
    candidate.search.errors = {1, 0.999, 0.01};
    candidate.sensitivity = sensitivity;
    return candidate;
  };
  std::vector<std::pair<size_t, size_t>> raises;
  for (const Raise &raise : orderRaises({make(8, 1), make(8, 2), make(64, 4)}))
    raises.emplace_back(raise.candidate, raise.level);
  using testing::Pair;
  EXPECT_THAT(raises, ElementsAre(Pair(1, 2), Pair(0, 2), Pair(2, 2),
                                  Pair(1, 3), Pair(0, 3), Pair(2, 3)));
}

// Rows that fit into half a group have no use for a whole one, and a raise that
// adds no bits would have no rate.
TEST(Sensitivity, NarrowRowsHaveNoWideGroups) {
  auto groupsOf = [](int64_t columns, int64_t group) {
    Unit unit;
    unit.columns = columns;
    std::vector<uint32_t> groups;
    for (const schema::QuantFormat &format : formatsOf(unit, group))
      if (format.bits == 4)
        groups.push_back(format.group);
    return groups;
  };
  EXPECT_THAT(groupsOf(129, 128), ElementsAre(128, 64, 32));
  EXPECT_THAT(groupsOf(65, 128), ElementsAre(128, 64, 32));
  EXPECT_THAT(groupsOf(64, 128), ElementsAre(64, 32));
  EXPECT_THAT(groupsOf(24, 128), ElementsAre(32));
  EXPECT_THAT(groupsOf(24, 32), ElementsAre(32));
  Candidate narrow;
  narrow.unit.rows = 8;
  narrow.unit.columns = 24;
  narrow.formats = formatsOf(narrow.unit, 128);
  narrow.search.errors = {1, 0.1};
  narrow.sensitivity = 1;
  EXPECT_EQ(orderRaises(narrow).size(), narrow.formats.size());
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

/// A tiny checkpoint as far as the fused module, in f32.
class Folding : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    context.loadDialect<mlir::func::FuncDialect, lm::LmDialect>();
    CompileOptions options;
    options.input = STELE_SOURCE_DIR "/models/tiny/" + std::string(GetParam());
    options.output = folder.path("fused.mlir");
    options.activations = "f32";
    options.stopAfter = Phase::Fused;
    ASSERT_EQ(errorOf(compile(options, llvm::nulls())), "none");
    module = mlir::parseSourceFile<mlir::ModuleOp>(options.output, &context);
    ASSERT_TRUE(bool(module));
  }

  /// [tokens, vocabulary]
  std::vector<float> logits() {
    std::error_code code;
    llvm::raw_fd_ostream(folder.path("scaled.mlir"), code) << *module;
    CompileOptions options;
    options.input = folder.path("scaled.mlir");
    options.output = folder.path("scaled.stele");
    EXPECT_EQ(errorOf(compile(options, llvm::nulls())), "none");
    auto model = CompiledModel::open(options.output);
    EXPECT_TRUE(bool(model));
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 24; ++i)
      tokens.push_back((i * 37 + 5) % 90);
    std::vector<float> rows;
    EXPECT_EQ(errorOf((*model)->eachLogits(
                  tokens, tokens.size(),
                  [&](size_t, llvm::ArrayRef<float> row) {
                    rows.insert(rows.end(), row.begin(), row.end());
                  })),
              "none");
    return rows;
  }

  TempFolder folder;
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

// Without rounding, scales change nothing but the last bits.
TEST_P(Folding, LeavesTheLogits) {
  const std::vector<float> plain = logits();
  std::mt19937 random(7);
  std::uniform_real_distribution<float> exponent(-1.5, 1.5);
  std::vector<Candidate> candidates;
  llvm::StringSet<> scaledRoles;
  for (Unit &unit : findUnits(*module)) {
    if (!unit.fold)
      continue;
    scaledRoles.insert(unit.role());
    std::vector<float> ofRow(unit.fold.rows);
    for (float &scale : ofRow)
      scale = std::exp2(exponent(random));
    Candidate candidate;
    for (int64_t c = 0; c < unit.columns; ++c)
      candidate.search.scales.push_back(ofRow[unit.fold.rowOf(c)]);
    candidate.formats = formatsOf(unit, 32);
    candidate.unit = std::move(unit);
    candidates.push_back(std::move(candidate));
  }
  EXPECT_EQ(scaledRoles.size(), 4u); // qkv, o, gate and up, down
  applyScales(*module, candidates);
  const std::vector<float> scaled = logits();
  ASSERT_EQ(scaled.size(), plain.size());
  const auto [least, most] = std::minmax_element(plain.begin(), plain.end());
  double off = 0;
  for (size_t i = 0; i < plain.size(); ++i)
    off = std::max(off, double(std::fabs(scaled[i] - plain[i])));
  EXPECT_LT(off, 1e-5 * (*most - *least));

  // The test sees a fold that is not right.
  auto weight = module->lookupSymbol<lm::WeightOp>(candidates[1].unit.weight);
  weight.removeColumnScaleAttr();
  const std::vector<float> wrong = logits();
  off = 0;
  for (size_t i = 0; i < plain.size(); ++i)
    off = std::max(off, double(std::fabs(wrong[i] - plain[i])));
  EXPECT_GT(off, 1e-4 * (*most - *least));
}

// Biases everywhere or of q, k and v; 1 to 4 query heads for one of values;
// norms of heads; embedding and logits of one matrix or of two.
INSTANTIATE_TEST_SUITE_P(Tiny, Folding,
                         testing::Values("llama-bias", "llama-tied",
                                         "llama2-mha", "llama3-rope", "mistral",
                                         "qwen2", "qwen2-yarn", "qwen3",
                                         "qwen3-untied"),
                         [](auto &info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

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
  EXPECT_THAT(lines, HasSubstr("only layers 0 to 0: divergence "));
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
