// The families: every tiny checkpoint becomes a module that verifies, and a
// checkpoint whose tensors are not exactly the family's is refused by name.
#include "stele/models/Families.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "stele/dialects/Lm/LmOps.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <filesystem>
#include <fstream>

using namespace stele;
using checkpoint::Checkpoint;
using models::PositionKind;

static const std::string tiny = STELE_SOURCE_DIR "/models/tiny/";

namespace {

class Families : public testing::Test {
protected:
  Families() {
    context.loadDialect<lm::LmDialect, mlir::func::FuncDialect>();
    std::string pattern =
        (std::filesystem::temp_directory_path() / "stele-models-XXXXXX")
            .string();
    folder = ::mkdtemp(pattern.data());
  }
  ~Families() override { std::filesystem::remove_all(folder); }

  mlir::OwningOpRef<mlir::ModuleOp>
  build(const std::string &path, const models::BuildOptions &options = {}) {
    error.clear();
    auto checkpoint = Checkpoint::open(path);
    if (!checkpoint) {
      error = llvm::toString(checkpoint.takeError());
      return {};
    }
    auto module = models::buildModule(context, **checkpoint, options);
    if (!module) {
      error = llvm::toString(module.takeError());
      return {};
    }
    return std::move(*module);
  }

  // A copy of the llama-tied checkpoint whose config.json had one text
  // replaced.
  std::string edited(const std::string &from, const std::string &to) {
    std::filesystem::copy_file(tiny + "llama-tied/model.safetensors",
                               folder / "model.safetensors");
    std::ifstream in(tiny + "llama-tied/config.json");
    std::string config{std::istreambuf_iterator<char>(in), {}};
    size_t at = config.find(from);
    EXPECT_NE(at, std::string::npos);
    std::ofstream(folder / "config.json")
        << config.replace(at, from.size(), to);
    return folder;
  }

  static lm::ModelAttr modelOf(mlir::ModuleOp module) {
    return module->getAttrOfType<lm::ModelAttr>(lm::LmDialect::modelAttrName);
  }

  // What queries are rotated by; null where there is no module.
  lm::RopeAttr rope(const std::string &path,
                    const models::BuildOptions &options) {
    auto module = build(path, options);
    lm::RopeAttr found;
    if (module)
      module->walk([&](lm::AttentionOp op) { found = op.getRopeAttr(); });
    return found;
  }
  // Rotations of llama-tied.
  lm::RopeAttr rotation(lm::DualChunkAttr dual = {}) {
    return lm::RopeAttr::get(&context, 1e4, 64, {}, dual);
  }
  lm::RopeAttr dualChunk(int64_t chunk, int64_t local, int64_t original) {
    return rotation(lm::DualChunkAttr::get(&context, chunk, local, original));
  }

  template <typename Op> static int64_t count(mlir::ModuleOp module) {
    int64_t found = 0;
    module.walk([&](Op) { ++found; });
    return found;
  }

  mlir::MLIRContext context;
  std::filesystem::path folder;
  std::string error;
};

} // namespace

TEST_F(Families, BuildEveryTinyCheckpoint) {
  int built = 0;
  for (const auto &entry :
       std::filesystem::recursive_directory_iterator(tiny)) {
    std::string path = entry.path();
    if (entry.path().filename() == "config.json")
      path = entry.path().parent_path();
    else if (entry.path().extension() != ".gguf")
      continue;
    auto module = build(path);
    ASSERT_TRUE(module) << error;
    auto model =
        (*module)->getAttrOfType<lm::ModelAttr>(lm::LmDialect::modelAttrName);
    EXPECT_EQ(count<lm::AttentionOp>(*module), model.getLayers()) << path;
    EXPECT_EQ(count<lm::GluOp>(*module), model.getLayers());
    EXPECT_EQ(count<lm::LogitsOp>(*module), 1);
    ++built;
  }
  EXPECT_GE(built, 34);
}

TEST_F(Families, SyntheticWeightsNeedNoTensors) {
  auto module = build(tiny + "qwen3/config.json");
  ASSERT_TRUE(module) << error;
  EXPECT_EQ(count<lm::WeightOp>(*module),
            count<lm::WeightOp>(*build(tiny + "qwen3")));
}

TEST_F(Families, TiedEmbeddingsShareOneWeight) {
  auto module = build(tiny + "llama-tied");
  ASSERT_TRUE(module) << error;
  module->walk([](lm::LogitsOp logits) {
    EXPECT_EQ(logits.getWeight(), "model.embed_tokens.weight");
  });
}

TEST_F(Families, MissingTensor) {
  EXPECT_FALSE(build(edited("\"tie_word_embeddings\": true",
                            "\"tie_word_embeddings\": false")));
  EXPECT_THAT(error,
              testing::MatchesRegex(
                  folder.string() +
                  ": tensor 'lm_head.weight' of shape \\[[0-9]+, [0-9]+\\] "
                  "is missing"));
}

TEST_F(Families, WrongShape) {
  EXPECT_FALSE(build(
      edited("\"num_key_value_heads\": 1", "\"num_key_value_heads\": 3")));
  EXPECT_THAT(
      error,
      testing::MatchesRegex(
          folder.string() +
          ": tensor 'model.layers.0.self_attn.k_proj.weight' has shape "
          "\\[64, [0-9]+\\], the configuration asks for \\[192, [0-9]+\\]"));
}

TEST_F(Families, UnusedTensor) {
  EXPECT_FALSE(
      build(edited("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1")));
  EXPECT_THAT(error,
              testing::MatchesRegex(folder.string() +
                                    ": tensor 'model.layers.1.*' has no place "
                                    "in a llama model of this configuration"));
}

TEST_F(Families, ContextBeyondPlainPositions) {
  EXPECT_FALSE(build(tiny + "llama-tied", {.context = 100000}));
  EXPECT_EQ(error,
            tiny + "llama-tied: context 100000 is longer than the 512 "
                   "tokens that the model's positions are made for; ask for "
                   "512 or less, or for positions that reach further: "
                   "--positions dca or yarn");
  auto yarn = build(tiny + "qwen2-yarn", {.context = 100000});
  ASSERT_TRUE(yarn) << error;
  EXPECT_EQ(modelOf(*yarn).getContextLength(), 100000);
  EXPECT_EQ(modelOf(*yarn).getTrainedContext(), 512);
}

TEST_F(Families, PositionsOfTheCheckpoint) {
  std::string path =
      edited("\"rms_norm_eps\"",
             R"("dual_chunk_attention_config": {"chunk_size": 384,
               "local_size": 128, "original_max_position_embeddings": 384},
               "rms_norm_eps")");
  EXPECT_EQ(rope(path, {}), dualChunk(384, 128, 384));
  EXPECT_EQ(rope(path, {.context = 100000}), dualChunk(384, 128, 384));
  EXPECT_EQ(
      rope(path, {.positions = PositionKind::DualChunk, .dualChunk = 256}),
      dualChunk(256, 128, 384));
  // Plain positions end where dual chunk attention was added.
  auto plain = build(path, {.positions = PositionKind::Rope});
  ASSERT_TRUE(plain) << error;
  EXPECT_EQ(modelOf(*plain).getContextLength(), 384);
  EXPECT_EQ(rope(path, {.positions = PositionKind::Rope}), rotation());
  EXPECT_FALSE(build(path, {.context = 385, .positions = PositionKind::Rope}));
  EXPECT_THAT(error, testing::HasSubstr("context 385 is longer than the 384 "));
}

TEST_F(Families, PositionsAskedFor) {
  const std::string tied = tiny + "llama-tied", yarn = tiny + "qwen2-yarn";
  const PositionKind dca = PositionKind::DualChunk;
  EXPECT_EQ(rope(tied, {.context = 100000, .positions = dca}),
            dualChunk(512, 128, 0));
  EXPECT_EQ(rope(tied, {.positions = dca, .dualChunk = 384}),
            dualChunk(384, 128, 0));
  EXPECT_EQ(rope(tied, {.positions = dca, .dualChunkLocal = 256}),
            dualChunk(512, 256, 0));
  // Frequencies stay the checkpoint's.
  lm::RopeAttr both = rope(yarn, {.positions = dca});
  ASSERT_TRUE(both);
  EXPECT_EQ(both.getDualChunk(), dualChunk(512, 128, 0).getDualChunk());
  EXPECT_EQ(both.getScaling(), rope(yarn, {}).getScaling());

  auto stretched = mlir::cast<lm::YarnScalingAttr>(
      rope(tied, {.context = 2048, .positions = PositionKind::Yarn})
          .getScaling());
  EXPECT_EQ(double(stretched.getFactor()), 4);
  EXPECT_EQ(stretched.getOriginal(), 512);
  EXPECT_NEAR(double(stretched.getAttentionFactor()), 1.1386294361, 1e-9);
}

TEST_F(Families, PositionsRefused) {
  const std::string tied = tiny + "llama-tied", yarn = tiny + "qwen2-yarn";
  const PositionKind dca = PositionKind::DualChunk;
  EXPECT_FALSE(build(tied, {.positions = dca, .dualChunk = 640}));
  EXPECT_EQ(error, tied + ": a chunk of 640 is longer than the 512 tokens that "
                          "the model's positions are made for");
  EXPECT_FALSE(build(tied, {.positions = dca, .dualChunkLocal = 100}));
  EXPECT_EQ(error,
            tied + ": dual chunk attention: chunk - local is 512 - 100 = 412, "
                   "which is not a positive multiple of the 128 tokens of a "
                   "page; choose sizes with --positions dca, --dca-chunk and "
                   "--dca-local");
  EXPECT_FALSE(build(tied, {.positions = dca, .dualChunkLocal = 512}));
  EXPECT_THAT(error, testing::HasSubstr("512 - 512 = 0"));
  EXPECT_FALSE(build(tied, {.context = 512, .positions = PositionKind::Yarn}));
  EXPECT_EQ(error, tied + ": positions yarn: stretches beyond the 512 tokens "
                          "that the model was trained with; give a context "
                          "longer than that, not 512");
  EXPECT_FALSE(build(yarn, {.context = 2048, .positions = PositionKind::Yarn}));
  EXPECT_EQ(error, yarn + ": positions yarn: the checkpoint scales its "
                          "frequencies already; ask for dca instead");
}
