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
  EXPECT_GE(built, 31);
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
  EXPECT_EQ(error, tiny + "llama-tied: context 100000 is longer than the 512 "
                          "tokens that the model's positions are made for; ask "
                          "for 512 or less");
  auto yarn = build(tiny + "qwen2-yarn", {.context = 100000});
  ASSERT_TRUE(yarn) << error;
  auto model =
      (*yarn)->getAttrOfType<lm::ModelAttr>(lm::LmDialect::modelAttrName);
  EXPECT_EQ(model.getContextLength(), 100000);
  EXPECT_EQ(model.getTrainedContext(), 512);
}
