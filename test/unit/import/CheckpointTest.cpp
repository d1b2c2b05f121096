// Whole checkpoints: the tiny ones of models/tiny against values that numpy and
// the gguf package computed, and robustness cases 32, 36 and 37.
#include "stele/compiler/Import/Checkpoint.h"
#include "TestFiles.h"
#include "stele/compiler/Import/Gguf.h"
#include "gmock/gmock.h"
#include <cmath>
#include <limits>

using namespace stele::checkpoint;
using ::testing::HasSubstr;

static const std::string tiny = STELE_SOURCE_DIR "/models/tiny/";

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

// Each file's goldens are the first rows of some tensors, dequantised by the
// gguf package, under the names and in the row order of Hugging Face.
class TinyGguf : public testing::TestWithParam<const char *> {};

TEST_P(TinyGguf, DequantisesBitForBit) {
  std::string folder = tiny + "gguf/" + GetParam();
  std::unique_ptr<Checkpoint> checkpoint = open(folder + "/model.gguf");
  ASSERT_TRUE(checkpoint);
  int compared = 0;
  for (const auto &entry : std::filesystem::directory_iterator(folder)) {
    std::string name = entry.path().stem();
    if (entry.path().extension() != ".npy" ||
        !llvm::StringRef(name).starts_with("model."))
      continue;
    const TensorInfo *tensor = checkpoint->find(name);
    ASSERT_TRUE(tensor) << name;
    std::vector<float> expected = readNpy(entry.path());
    int64_t rows = expected.size() / tensor->rowWidth();
    std::vector<float> actual(expected.size());
    ASSERT_EQ(errorOf(checkpoint->readRows(*tensor, 0, rows, actual.data())),
              "none");
    EXPECT_EQ(std::memcmp(actual.data(), expected.data(),
                          actual.size() * sizeof(float)),
              0)
        << name;
    ++compared;
  }
  EXPECT_GE(compared, 2);
}

INSTANTIATE_TEST_SUITE_P(
    All, TinyGguf,
    testing::Values("llama-bf16", "llama-f16", "llama-f32", "llama-q4_0",
                    "llama-q4_1", "llama-q4_k", "llama-q5_0", "llama-q5_1",
                    "llama-q5_k", "llama-q6_k", "llama-q8_0", "qwen2-q4_1",
                    "qwen2-q8_0", "qwen3-q5_0"),
    [](const auto &info) {
      std::string name = info.param;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

namespace {
using Real = stele::schema::QuantFormat::Real;
struct StoredQuantised {
  const char *file;
  stele::schema::QuantFormat format;
};
class TinyQuantised : public testing::TestWithParam<StoredQuantised> {};
} // namespace

// The formula of quant_format.h, written out, on codes and scales must give the
// gguf package's values; q_proj of a llama file has its rows interleaved.
TEST_P(TinyQuantised, CodesAndScalesGiveTheSameBits) {
  auto [file, format] = GetParam();
  std::string folder = tiny + "gguf/" + file;
  std::unique_ptr<Checkpoint> checkpoint = open(folder + "/model.gguf");
  ASSERT_TRUE(checkpoint);
  std::string name = "model.layers.0.self_attn.q_proj.weight";
  const TensorInfo *tensor = checkpoint->find(name);
  ASSERT_TRUE(tensor);
  ASSERT_EQ(checkpoint->quantFormat(*tensor), format);
  std::vector<float> expected = readNpy(folder + "/" + name + ".npy");
  int64_t columns = tensor->rowWidth(), rows = expected.size() / columns;
  int64_t groups = columns / format.group;
  // Two reads, the second into used memory.
  QuantRows quantised;
  for (auto [begin, end] : {std::pair<int64_t, int64_t>{0, 4}, {4, rows}}) {
    ASSERT_EQ(
        errorOf(checkpoint->readQuantised(*tensor, begin, end, quantised)),
        "none");
    ASSERT_EQ(int64_t(quantised.codes.size()), (end - begin) * columns);
    ASSERT_EQ(int64_t(quantised.scales.size()), (end - begin) * groups);
    ASSERT_EQ(quantised.offsets.empty(), format.offset == Real::kNone);
    for (int64_t i = 0; i < (end - begin) * columns; ++i) {
      int code = quantised.codes[i];
      float scale = quantised.scales[i / format.group];
      ASSERT_LT(code, 1 << format.bits);
      float value = format.offset == Real::kNone
                        ? scale * float(code - (1 << (format.bits - 1)))
                        : scale * code + quantised.offsets[i / format.group];
      ASSERT_EQ(value, expected[begin * columns + i]) << i;
      // What is stored in 16 bits must fit them.
      if (format.scale == Real::kF16)
        ASSERT_EQ(float(_Float16(scale)), scale);
      if (format.offset == Real::kF16)
        ASSERT_EQ(float(_Float16(quantised.offsets[i / format.group])),
                  quantised.offsets[i / format.group]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, TinyQuantised,
    testing::Values(
        StoredQuantised{"llama-q4_0", {4, 32, Real::kF16, Real::kNone}},
        StoredQuantised{"llama-q4_1", {4, 32, Real::kF16, Real::kF16}},
        StoredQuantised{"llama-q4_k", {4, 32, Real::kF32, Real::kF32}},
        StoredQuantised{"llama-q5_0", {8, 32, Real::kF16, Real::kNone}},
        StoredQuantised{"llama-q5_1", {8, 32, Real::kF16, Real::kF16}},
        StoredQuantised{"llama-q5_k", {8, 32, Real::kF32, Real::kF32}},
        StoredQuantised{"llama-q6_k", {8, 16, Real::kF32, Real::kNone}},
        StoredQuantised{"llama-q8_0", {8, 32, Real::kF16, Real::kNone}},
        StoredQuantised{"qwen2-q4_1", {4, 32, Real::kF16, Real::kF16}}),
    [](const auto &info) {
      std::string name = info.param.file;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(Checkpoint, PlainTensorsHaveNoQuantFormat) {
  std::unique_ptr<Checkpoint> checkpoint =
      open(tiny + "gguf/llama-q4_0/model.gguf");
  ASSERT_TRUE(checkpoint);
  EXPECT_FALSE(checkpoint->quantFormat(*checkpoint->find("model.norm.weight")));
}

class TinyFolder : public testing::TestWithParam<const char *> {};

TEST_P(TinyFolder, OpensAndReadsEveryTensor) {
  std::unique_ptr<Checkpoint> checkpoint = open(tiny + GetParam());
  ASSERT_TRUE(checkpoint);
  EXPECT_FALSE(checkpoint->tensors().empty());
  EXPECT_EQ(checkpoint->config().name, GetParam());
  for (const TensorInfo &tensor : checkpoint->tensors()) {
    std::vector<float> values(tensor.rows() * tensor.rowWidth());
    EXPECT_EQ(
        errorOf(checkpoint->readRows(tensor, 0, tensor.rows(), values.data())),
        "none");
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, TinyFolder,
    testing::Values("llama-bias", "llama-gelu", "llama-gelu-tanh",
                    "llama-linear", "llama-long", "llama-tied", "llama-yarn",
                    "llama-yarn-factor", "llama2-mha", "llama3-rope", "mistral",
                    "mistral-window", "qwen2", "qwen2-window", "qwen2-yarn",
                    "qwen3", "qwen3-untied"),
    [](const auto &info) {
      std::string name = info.param;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(Checkpoint, ReadsTheGenerationConfig) {
  std::unique_ptr<Checkpoint> checkpoint = open(tiny + "llama-tied");
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->config().eosIds, (llvm::SmallVector<uint32_t>{2, 5}));
  EXPECT_EQ(checkpoint->config().generation.temperature, 0.6);
}

TEST(Checkpoint, SaysWhatToNameInstead) {
  EXPECT_THAT(errorOf(Checkpoint::open(tiny + "qwen2/model.safetensors")),
              HasSubstr("name the folder that has them and config.json"));
  EXPECT_THAT(errorOf(Checkpoint::open("model.stele")),
              HasSubstr("is an artifact"));
}

TEST(Checkpoint, ConfigAloneHasNoTensors) {
  std::unique_ptr<Checkpoint> checkpoint = open(tiny + "qwen2/config.json");
  ASSERT_TRUE(checkpoint);
  EXPECT_TRUE(checkpoint->tensors().empty());
  EXPECT_EQ(checkpoint->config().architecture, "qwen2");
  EXPECT_EQ(checkpoint->folder(), tiny + "qwen2");
}

//===----------------------------------------------------------------------===//
// Small checkpoints made here
//===----------------------------------------------------------------------===//

namespace {

const char *config = R"({"architectures": ["LlamaForCausalLM"],
  "vocab_size": 4, "hidden_size": 4, "intermediate_size": 4,
  "num_hidden_layers": 1, "num_attention_heads": 1,
  "max_position_embeddings": 16, "tie_word_embeddings": true})";

std::string floats(std::vector<float> values) {
  return std::string(reinterpret_cast<const char *>(values.data()),
                     values.size() * sizeof(float));
}

// A safetensors file of F32 [2, 2] tensors.
std::string matrices(
    const std::vector<std::pair<std::string, std::vector<float>>> &tensors) {
  std::string header = "{", data;
  for (const auto &[name, values] : tensors) {
    header += (header.size() > 1 ? ",\"" : "\"") + name +
              R"(":{"dtype":"F32","shape":[2,2],"data_offsets":[)" +
              std::to_string(data.size()) + "," +
              std::to_string(data.size() + 16) + "]}";
    data += floats(values);
  }
  return safeTensors(header + "}", data);
}

class SmallFolder : public testing::Test {
protected:
  void SetUp() override { folder.write("config.json", config); }

  std::string openError() {
    std::string error = errorOf(Checkpoint::open(folder.path()));
    if (llvm::StringRef(error).starts_with(folder.path()))
      error.erase(0, folder.path().size());
    return error;
  }

  TempFolder folder;
};

} // namespace

TEST_F(SmallFolder, FindsTensorsByName) {
  folder.write("model.safetensors", matrices({{"a", {1, 2, 3, 4}}}));
  std::unique_ptr<Checkpoint> checkpoint = open(folder.path());
  ASSERT_TRUE(checkpoint);
  ASSERT_TRUE(checkpoint->find("a"));
  EXPECT_EQ(checkpoint->find("b"), nullptr);
  float row[2];
  EXPECT_EQ(errorOf(checkpoint->readRows(*checkpoint->find("a"), 1, 2, row)),
            "none");
  EXPECT_EQ(row[0], 3);
  EXPECT_EQ(row[1], 4);
  EXPECT_EQ(errorOf(checkpoint->readRows(*checkpoint->find("a"), 1, 3, row)),
            folder.path("model.safetensors") +
                ": tensor 'a' has 2 rows, rows 1 to 3 were asked for");
}

TEST_F(SmallFolder, Case32_NotFiniteWeights) {
  float infinity = std::numeric_limits<float>::infinity();
  std::string path = folder.write(
      "model.safetensors",
      matrices({{"a", {1, 2, NAN, 4}}, {"b", {1, -infinity, 3, 4}}}));
  std::unique_ptr<Checkpoint> checkpoint = open(folder.path());
  ASSERT_TRUE(checkpoint);
  float rows[4];
  EXPECT_EQ(errorOf(checkpoint->readRows(*checkpoint->find("a"), 0, 2, rows)),
            path +
                ": tensor 'a' has a NaN in row 1, column 0; the checkpoint is "
                "damaged");
  EXPECT_EQ(errorOf(checkpoint->readRows(*checkpoint->find("b"), 0, 1, rows)),
            path + ": tensor 'b' has an infinity in row 0, column 1; the "
                   "checkpoint is damaged");
}

TEST_F(SmallFolder, Case36_OnlyPickles) {
  folder.write("pytorch_model.bin", "\x80\x02");
  EXPECT_EQ(
      openError(),
      ": the weights are only there as a pickle (pytorch_model.bin), which "
      "could run code and is never opened; save the model again as "
      "safetensors (save_pretrained does)");
}

TEST_F(SmallFolder, NoWeights) {
  EXPECT_EQ(openError(),
            ": has no model.safetensors and no model.safetensors.index.json; "
            "without weights, name config.json itself and use synthetic ones");
  folder.write("m.gguf", "GGUF");
  EXPECT_EQ(openError(),
            ": has no safetensors weights; to compile m.gguf, name "
            "the file itself");
  std::filesystem::remove(folder.path("config.json"));
  EXPECT_EQ(openError(),
            ": has no config.json; a Hugging Face checkpoint folder "
            "or a .gguf file is needed");
  EXPECT_EQ(errorOf(Checkpoint::open(folder.path("absent"))),
            folder.path("absent") + ": cannot open: No such file or directory");
}

TEST_F(SmallFolder, Case37_TiedWeightConflict) {
  folder.write("model.safetensors",
               matrices({{"model.embed_tokens.weight", {1, 2, 3, 4}},
                         {"lm_head.weight", {1, 2, 3, 5}}}));
  EXPECT_EQ(openError(),
            "/model.safetensors: tie_word_embeddings is true, but "
            "lm_head.weight differs from model.embed_tokens.weight; set it to "
            "false, or remove lm_head.weight");
  // A head that says the same is one.
  folder.write("model.safetensors",
               matrices({{"lm_head.weight", {1, 2, 3, 4}},
                         {"model.embed_tokens.weight", {1, 2, 3, 4}}}));
  std::unique_ptr<Checkpoint> checkpoint = open(folder.path());
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->find("lm_head.weight"), nullptr);
  ASSERT_TRUE(checkpoint->find("model.embed_tokens.weight"));
  EXPECT_EQ(checkpoint->tensors().size(), 1u);
}

TEST_F(SmallFolder, FileThatShrinksAfterOpen) {
  std::string path =
      folder.write("model.safetensors", matrices({{"a", {1, 2, 3, 4}}}));
  std::unique_ptr<Checkpoint> checkpoint = open(folder.path());
  ASSERT_TRUE(checkpoint);
  uintmax_t size = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, size - 16);
  float rows[4];
  EXPECT_EQ(errorOf(checkpoint->readRows(*checkpoint->find("a"), 0, 2, rows)),
            path + ": ends at byte " + std::to_string(size - 16) + ", it had " +
                std::to_string(size) + " bytes when it was opened");
}

TEST_F(SmallFolder, ChatTemplate) {
  folder.write("model.safetensors", matrices({{"a", {1, 2, 3, 4}}}));
  std::unique_ptr<Checkpoint> checkpoint = open(folder.path());
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(llvm::cantFail(checkpoint->chatTemplate()), std::nullopt);
  folder.write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(llvm::cantFail(checkpoint->chatTemplate()), "one");
  folder.write("tokenizer_config.json", R"({"chat_template": [
      {"name": "tool_use", "template": "two"},
      {"name": "default", "template": "three"}]})");
  EXPECT_EQ(llvm::cantFail(checkpoint->chatTemplate()), "three");
  std::string path =
      folder.write("tokenizer_config.json", R"({"chat_template": 7})");
  EXPECT_EQ(errorOf(checkpoint->chatTemplate()),
            path +
                ": chat_template is neither a text nor a list with one named "
                "'default'");
  folder.write("chat_template.jinja", "four");
  EXPECT_EQ(llvm::cantFail(checkpoint->chatTemplate()), "four");
}

//===----------------------------------------------------------------------===//
// GGUF metadata
//===----------------------------------------------------------------------===//

namespace {

// Replaces one occurrence of `from` in a tiny GGUF file by as many bytes.
class PatchedGguf : public testing::Test {
protected:
  std::string openError(const std::string &from, const std::string &to,
                        const std::string &file = "llama-f32") {
    std::string bytes = readAll(tiny + "gguf/" + file + "/model.gguf");
    size_t at = bytes.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    EXPECT_EQ(from.size(), to.size());
    bytes.replace(at, to.size(), to);
    std::string path = folder.write("m.gguf", bytes);
    std::string error = errorOf(Checkpoint::open(path));
    return llvm::StringRef(error).starts_with(path) ? error.substr(path.size())
                                                    : error;
  }

  TempFolder folder;
};

} // namespace

TEST_F(PatchedGguf, UnknownKeysOfTheArchitecture) {
  EXPECT_EQ(openError("llama.block_count", "llama.block_cOunt"),
            ": metadata 'llama.block_count' is missing");
  EXPECT_EQ(openError("llama.vocab_size", "llama.vocab_sizE"),
            ": unknown metadata 'llama.vocab_sizE' could change what the model "
            "computes");
}

TEST_F(PatchedGguf, OtherArchitectures) {
  EXPECT_EQ(openError("general.architecture" + raw<uint32_t>(8) +
                          raw<uint64_t>(5) + "llama",
                      "general.architecture" + raw<uint32_t>(8) +
                          raw<uint64_t>(5) + "gemma"),
            ": architecture 'gemma' is not supported; llama, qwen2 and qwen3 "
            "are");
}

TEST_F(PatchedGguf, Case31_ThetaAndContext) {
  EXPECT_EQ(
      openError("llama.rope.freq_base" + raw<uint32_t>(6) + raw(10000.0f),
                "llama.rope.freq_base" + raw<uint32_t>(6) + raw(NAN)),
      ": llama.rope.freq_base is nan, a number from 1 to 1e+15 is needed");
  EXPECT_EQ(
      openError("llama.context_length" + raw<uint32_t>(4) + raw<uint32_t>(512),
                "llama.context_length" + raw<uint32_t>(4) +
                    raw<uint32_t>(UINT32_MAX)),
      ": llama.context_length is 4294967295, a whole number from 1 to "
      "1073741824 is needed");
}

TEST_F(PatchedGguf, Case33_ZeroAndNotFiniteScales) {
  std::string bytes = readAll(tiny + "gguf/llama-q8_0/model.gguf");
  const std::string name = "model.layers.0.mlp.down_proj.weight";
  TensorInfo tensor = *open(tiny + "gguf/llama-q8_0/model.gguf")->find(name);
  ASSERT_EQ(tensor.type, ElementType::Q8_0);
  std::vector<float> row(tensor.rowWidth());
  auto readWithScale = [&](uint16_t half) {
    std::string scale = raw(half);
    bytes.replace(tensor.offset, scale.size(), scale);
    std::unique_ptr<Checkpoint> checkpoint =
        open(folder.write("m.gguf", bytes));
    return errorOf(
        checkpoint->readRows(*checkpoint->find(name), 0, 1, row.data()));
  };
  EXPECT_EQ(readWithScale(0x0000), "none");
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(row[i], 0);
  EXPECT_EQ(readWithScale(0x7e00),
            folder.path("m.gguf") +
                ": tensor 'blk.0.ffn_down.weight"
                "' has a NaN in row 0, column 0; the checkpoint is damaged");
  std::unique_ptr<Checkpoint> checkpoint = open(folder.path("m.gguf"));
  QuantRows rows;
  EXPECT_EQ(
      errorOf(checkpoint->readQuantised(*checkpoint->find(name), 0, 1, rows)),
      folder.path("m.gguf") +
          ": tensor 'blk.0.ffn_down.weight"
          "' has the scale nan in row 0, group 0; the checkpoint is damaged");
}

// llama.cpp's converter interleaves the halves of every head's rows of q and k.
TEST(Checkpoint, UndoesTheRowOrderOfLlamaGguf) {
  std::unique_ptr<Checkpoint> checkpoint =
      open(tiny + "gguf/llama-f32/model.gguf");
  ASSERT_TRUE(checkpoint);
  const TensorInfo *query =
      checkpoint->find("model.layers.0.self_attn.q_proj.weight");
  ASSERT_TRUE(query);
  TensorInfo stored = *query;
  stored.interleavedHeadRows = 0;
  int64_t width = query->rowWidth(), headDim = checkpoint->config().headDim;
  ASSERT_GT(query->rows(), headDim);
  std::vector<float> inOrder(query->rows() * width), asStored = inOrder;
  ASSERT_EQ(
      errorOf(checkpoint->readRows(*query, 0, query->rows(), inOrder.data())),
      "none");
  ASSERT_EQ(
      errorOf(checkpoint->readRows(stored, 0, query->rows(), asStored.data())),
      "none");
  for (int64_t head = 0; head < query->rows() / headDim; ++head)
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t i = 0; i < headDim / 2; ++i) {
        int64_t to = head * headDim + half * headDim / 2 + i;
        int64_t from = head * headDim + 2 * i + half;
        EXPECT_EQ(std::memcmp(&inOrder[to * width], &asStored[from * width],
                              width * sizeof(float)),
                  0)
            << "row " << to;
      }
  EXPECT_EQ(checkpoint->find("model.layers.0.self_attn.v_proj.weight")
                ->interleavedHeadRows,
            0);
}

TEST(Checkpoint, Llama3FactorsOfAGguf) {
  int found = 0;
  for (const auto &entry : std::filesystem::directory_iterator(tiny + "gguf")) {
    std::unique_ptr<Checkpoint> checkpoint =
        open(entry.path().string() + "/model.gguf");
    ASSERT_TRUE(checkpoint);
    const RopeScaling &rope = checkpoint->config().rope;
    if (rope.kind != RopeScaling::Kind::Factors)
      continue;
    ++found;
    EXPECT_EQ(int64_t(rope.factors.size()), checkpoint->config().headDim / 2);
    EXPECT_EQ(rope.factors.front(), 1);
    EXPECT_GT(rope.factors.back(), 1);
    EXPECT_EQ(checkpoint->find("rope_freqs.weight"), nullptr);
  }
  EXPECT_GE(found, 1);
}
