// Folders quantised by AWQ, GPTQ and compressed-tensors: the tiny ones of
// models/tiny/packed against values that numpy computed, words whose codes can
// be read off, and robustness cases 33 and 34 with their exact errors.
#include "TestFiles.h"
#include "stele/compiler/Import/Checkpoint.h"
#include "gmock/gmock.h"
#include <cmath>
#include <map>

using namespace stele::checkpoint;
using stele::schema::QuantFormat;
using Real = QuantFormat::Real;

// The rows of readQuantised by the formula of quant_format.h, written out, in
// the weight's own order of columns.
static std::vector<float> valuesOf(const Checkpoint &checkpoint,
                                   const TensorInfo &tensor, int64_t begin,
                                   int64_t end) {
  QuantFormat format = *checkpoint.quantFormat(tensor);
  llvm::ArrayRef<int32_t> order = checkpoint.columnOrder(tensor);
  int64_t columns = tensor.rowWidth();
  int64_t groups = (columns + format.group - 1) / format.group;
  QuantRows rows;
  EXPECT_EQ(errorOf(checkpoint.readQuantised(tensor, begin, end, rows)),
            "none");
  EXPECT_EQ(rows.codes.size(), size_t((end - begin) * columns));
  EXPECT_EQ(rows.scales.size(), size_t((end - begin) * groups));
  EXPECT_EQ(rows.offsets.empty(), format.offset == Real::kNone);
  std::vector<float> values(rows.codes.size());
  for (int64_t row = 0; row < end - begin; ++row)
    for (int64_t j = 0; j < columns; ++j) {
      int64_t group = row * groups + j / format.group;
      float scale = rows.scales[group];
      int code = rows.codes[row * columns + j];
      EXPECT_LT(code, 1 << format.bits);
      if (format.scale == Real::kF16)
        EXPECT_EQ(float(_Float16(scale)), scale);
      int64_t column = order.empty() ? j : order[j];
      values[row * columns + column] =
          rows.offsets.empty() ? scale * float(code - (1 << (format.bits - 1)))
                               : scale * float(code) + rows.offsets[group];
    }
  return values;
}

//===----------------------------------------------------------------------===//
// The tiny folders
//===----------------------------------------------------------------------===//

namespace {
struct TinyCase {
  const char *folder;
  const char *module; // in layer 0
  std::optional<QuantFormat> format;
  bool ordered = false;
};
class TinyPacked : public testing::TestWithParam<TinyCase> {};
} // namespace

TEST_P(TinyPacked, GivesTheValuesOfTheGoldens) {
  TinyCase test = GetParam();
  std::string folder =
      std::string(STELE_SOURCE_DIR "/models/tiny/packed/") + test.folder;
  std::unique_ptr<Checkpoint> checkpoint = open(folder);
  ASSERT_TRUE(checkpoint);
  std::string name = std::string("model.layers.0.") + test.module + ".weight";
  const TensorInfo *tensor = checkpoint->find(name);
  ASSERT_TRUE(tensor) << name;
  std::vector<float> expected = readNpy(folder + "/" + name + ".npy");
  int64_t rows = expected.size() / tensor->rowWidth();
  std::vector<float> actual(expected.size());
  ASSERT_EQ(errorOf(checkpoint->readRows(*tensor, 0, rows, actual.data())),
            "none");
  EXPECT_EQ(actual, expected);
  EXPECT_EQ(checkpoint->quantFormat(*tensor), test.format);
  EXPECT_EQ(!checkpoint->columnOrder(*tensor).empty(), test.ordered);
  if (!test.format)
    return;
  EXPECT_EQ(valuesOf(*checkpoint, *tensor, 0, rows), expected);
  // Any rows, after others.
  EXPECT_EQ(valuesOf(*checkpoint, *tensor, 3, 4),
            std::vector<float>(expected.begin() + 3 * tensor->rowWidth(),
                               expected.begin() + 4 * tensor->rowWidth()));
}

static const QuantFormat awqFormat = {4, 64, Real::kF16, Real::kF32};
static const QuantFormat orderedFormat = {4, 32, Real::kF16, Real::kF32};
static const QuantFormat rowFormat = {8, 128, Real::kF16, Real::kF32};
static const QuantFormat symmetricFormat = {4, 128, Real::kF16, Real::kNone};
static const QuantFormat narrowFormat = {4, 64, Real::kF16, Real::kNone};
static const QuantFormat bf16Format = {4, 32, Real::kF16, Real::kF32};
static const QuantFormat channelFormat = {8, 128, Real::kF16, Real::kNone};
static const QuantFormat whole8Format = {8, 128, Real::kF32, Real::kNone};
static const QuantFormat whole4Format = {4, 128, Real::kF16, Real::kF32};
static const QuantFormat mixed8Format = {8, 32, Real::kF32, Real::kNone};
static const QuantFormat mixed4Format = {4, 64, Real::kF32, Real::kNone};

INSTANTIATE_TEST_SUITE_P(
    All, TinyPacked,
    testing::Values(
        TinyCase{"awq", "self_attn.q_proj", awqFormat},
        TinyCase{"awq", "mlp.down_proj", awqFormat},
        TinyCase{"gptq-order", "self_attn.q_proj", orderedFormat, true},
        TinyCase{"gptq-order", "mlp.down_proj", orderedFormat, true},
        TinyCase{"gptq-v2-8bit", "self_attn.q_proj", rowFormat},
        TinyCase{"gptq-v2-8bit", "mlp.down_proj", rowFormat},
        TinyCase{"gptq-symmetric", "self_attn.q_proj", symmetricFormat},
        TinyCase{"gptq-symmetric", "mlp.down_proj", narrowFormat},
        TinyCase{"compressed-w4", "self_attn.q_proj", std::nullopt},
        TinyCase{"compressed-w4", "mlp.down_proj", bf16Format},
        TinyCase{"compressed-w8", "self_attn.q_proj", channelFormat},
        TinyCase{"compressed-w8", "mlp.down_proj", channelFormat},
        TinyCase{"compressed-mixed", "self_attn.q_proj", mixed8Format},
        TinyCase{"compressed-mixed", "mlp.down_proj", mixed4Format, true},
        TinyCase{"compressed-whole", "self_attn.q_proj", whole8Format},
        TinyCase{"compressed-whole", "mlp.down_proj", whole4Format}),
    [](const auto &info) {
      std::string name =
          std::string(info.param.folder) + "_" +
          (info.param.module + std::string(info.param.module).find('.') + 1);
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

//===----------------------------------------------------------------------===//
// Folders made here
//===----------------------------------------------------------------------===//

namespace {

struct Part {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

template <typename T>
Part part(const char *dtype, std::vector<int64_t> shape,
          std::vector<T> values) {
  std::string bytes;
  for (T value : values)
    bytes += raw(value);
  return {dtype, std::move(shape), bytes};
}

Part words(std::vector<int64_t> shape, std::vector<uint32_t> values) {
  return part("I32", std::move(shape), std::move(values));
}

Part halves(std::vector<int64_t> shape, std::vector<uint16_t> values) {
  return part("F16", std::move(shape), std::move(values));
}

constexpr uint16_t one = 0x3c00; // as a half
constexpr uint32_t counting = 0x76543210;

class Packed : public testing::Test {
protected:
  // Opens a folder of `parts` that says `quantisation` about them.
  std::string open() {
    folder.write("config.json",
                 R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 4,
                     "hidden_size": 4, "intermediate_size": 4,
                     "num_hidden_layers": 1, "num_attention_heads": 1,
                     "max_position_embeddings": 16,
                     "quantization_config": )" +
                     quantisation + "}");
    std::string header, data;
    for (const auto &[name, part] : parts) {
      header += (header.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"" +
                part.dtype + "\",\"shape\":" + shapeText(part.shape) +
                ",\"data_offsets\":[" + std::to_string(data.size()) + "," +
                std::to_string(data.size() + part.bytes.size()) + "]}";
      data += part.bytes;
    }
    folder.write("model.safetensors", safeTensors(header + "}", data));
    auto opened = Checkpoint::open(folder.path());
    if (opened) {
      checkpoint = std::move(*opened);
      return "none";
    }
    std::string error = llvm::toString(opened.takeError());
    EXPECT_EQ(error.find(folder.path() + "/"), 0u) << error;
    return error.substr(folder.path().size() + 1);
  }

  // The values of a.weight, which its codes must give too where it has any.
  std::vector<float> values() {
    const TensorInfo *tensor = checkpoint->find("a.weight");
    EXPECT_TRUE(tensor);
    std::vector<float> result(tensor->rows() * tensor->rowWidth());
    EXPECT_EQ(errorOf(checkpoint->readRows(*tensor, 0, tensor->rows(),
                                           result.data())),
              "none");
    if (checkpoint->quantFormat(*tensor))
      EXPECT_EQ(valuesOf(*checkpoint, *tensor, 0, tensor->rows()), result);
    return result;
  }

  std::optional<QuantFormat> format() {
    return checkpoint->quantFormat(*checkpoint->find("a.weight"));
  }

  static std::string shapeText(const std::vector<int64_t> &shape) {
    return describeShape(shape);
  }

  // One matrix of 8 outputs and 8 columns, all in one group.
  void awq() {
    quantisation = R"({"quant_method": "awq", "bits": 4, "group_size": -1,
                       "version": "gemm", "zero_point": true})";
    parts = {{"a.qweight", words({8, 1}, std::vector<uint32_t>(8, counting))},
             {"a.qzeros", words({1, 1}, {0})},
             {"a.scales", halves({1, 8}, std::vector<uint16_t>(8, one))}};
  }

  void gptq() {
    quantisation = R"({"quant_method": "gptq", "bits": 4, "group_size": 4,
                       "checkpoint_format": "gptq_v2"})";
    parts = {{"a.qweight", words({1, 8}, std::vector<uint32_t>(8, counting))},
             {"a.qzeros", words({2, 1}, {0, 0})},
             {"a.scales", halves({2, 8}, std::vector<uint16_t>(16, one))},
             {"a.g_idx", words({8}, {0, 0, 0, 0, 1, 1, 1, 1})}};
  }

  void compressed(const std::string &weights =
                      R"("symmetric": true, "strategy": "channel")") {
    quantisation =
        R"({"quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {"group_0": {"targets": ["Linear"],
            "weights": {"num_bits": 4, "type": "int", )" +
        weights + "}}}}";
    parts = {{"a.weight_packed", words({2, 1}, {counting, 0xffffffff})},
             {"a.weight_scale", halves({2, 1}, {one, one})},
             {"a.weight_shape", part<int64_t>("I64", {2}, {2, 8})}};
  }

  TempFolder folder;
  std::string quantisation;
  std::map<std::string, Part> parts;
  std::unique_ptr<Checkpoint> checkpoint;
};

} // namespace

// Place i of a word holds output 0 2 4 6 1 3 5 7 [i].
TEST_F(Packed, AwqWords) {
  awq();
  parts["a.qweight"] = words({2, 1}, {counting, 0xffffffff});
  parts["a.qzeros"] = words({1, 1}, {0x00000010}); // output 2 has zero point 1
  parts["a.scales"].bytes.replace(0, 2, raw<uint16_t>(0x4000)); // 2
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(values(), (std::vector<float>{0, 30, 4, 15, 0, 14, 5, 15, 2, 15, 6,
                                          15, 3, 15, 7, 15}));
  EXPECT_EQ(format(), (QuantFormat{4, 16, Real::kF16, Real::kF32}));
}

// Without zero points the codes lie around 8.
TEST_F(Packed, AwqWithoutZeroPoints) {
  awq();
  quantisation = R"({"quant_method": "awq", "bits": 4, "group_size": 128,
                     "version": "GEMM", "zero_point": false})";
  parts.erase("a.qzeros");
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(values()[0], -8);
  EXPECT_EQ(format(), (QuantFormat{4, 16, Real::kF16, Real::kNone}));
}

// Zero points are stored minus one in the first version and as they are in the
// second; 15 stands for 0 in the first.
TEST_F(Packed, GptqZeroPoints) {
  gptq();
  parts["a.qzeros"] = words({2, 1}, {0x00000003, 0xffffffff});
  ASSERT_EQ(open(), "none");
  std::vector<float> row(values());
  row.resize(8);
  EXPECT_EQ(row, (std::vector<float>{-3, -2, -1, 0, -11, -10, -9, -8}));
  quantisation = R"({"quant_method": "gptq", "bits": 4, "group_size": 4})";
  ASSERT_EQ(open(), "none");
  row = values();
  row.resize(8);
  EXPECT_EQ(row, (std::vector<float>{-4, -3, -2, -1, 4, 5, 6, 7}));
}

TEST_F(Packed, CompressedTensorsWords) {
  compressed();
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(values(), (std::vector<float>{-8, -7, -6, -5, -4, -3, -2, -1, 7, 7,
                                          7, 7, 7, 7, 7, 7}));
  // Zero points, packed along the rows: 8 and 8 + 1.
  compressed(R"("symmetric": false, "strategy": "channel")");
  parts["a.weight_zero_point"] = words({1, 1}, {0x98});
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(values()[0], -8);
  EXPECT_EQ(values()[8], 6);
  // And as older versions write them.
  parts["a.weight_zero_point"] = part<int8_t>("I8", {2, 1}, {0, 1});
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(values()[0], -8);
  EXPECT_EQ(values()[8], 6);
  // -1 everywhere means no order.
  parts["a.weight_g_idx"] =
      part<int32_t>("I32", {8}, std::vector<int32_t>(8, -1));
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(values()[8], 6);
}

// One scale, and one zero point, for the matrix.
TEST_F(Packed, CompressedTensorsPerTensor) {
  compressed(R"("symmetric": true, "strategy": "tensor")");
  parts["a.weight_scale"] = halves({1}, {0x4000}); // 2
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(values(), (std::vector<float>{-16, -14, -12, -10, -8, -6, -4, -2,
                                          14, 14, 14, 14, 14, 14, 14, 14}));
  EXPECT_EQ(format(), (QuantFormat{4, 16, Real::kF16, Real::kNone}));
  compressed(R"("symmetric": false, "strategy": "tensor")");
  parts["a.weight_scale"] = part<float>("F32", {1}, {0x1p-25f});
  parts["a.weight_zero_point"] = part<int8_t>("I8", {1}, {-3});
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(values()[0], -5 * 0x1p-25f);
  EXPECT_EQ(values()[15], 10 * 0x1p-25f);
  EXPECT_EQ(format(), (QuantFormat{4, 16, Real::kF32, Real::kF32}));

  parts["a.weight_zero_point"] = words({1}, {0});
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.weight_zero_point' is I32, "
                    "I8 is needed");
  parts["a.weight_zero_point"] = part<int8_t>("I8", {2, 1}, {0, 0});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.weight_zero_point' has shape [2, 1], "
            "[1] is needed: 4 bits, weight [2, 8], 1 groups a row");
  parts["a.weight_scale"] = halves({2, 1}, {one, one});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.weight_scale' has shape [2, 1], [1] "
            "is needed: 4 bits, weight [2, 8], 1 groups a row");
  parts["a.weight_scale"] = part<float>("F32", {1}, {NAN});
  parts["a.weight_zero_point"] = part<int8_t>("I8", {1}, {0});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.weight_scale' has the scale nan for "
            "row 0, group 0 of the weight; the checkpoint is damaged");
}

//===----------------------------------------------------------------------===//
// Formats
//===----------------------------------------------------------------------===//

// Groups of 4 are in no format: values only.
TEST_F(Packed, SmallOrIrregularGroupsHaveNoFormat) {
  gptq();
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(format(), std::nullopt);
  // 24 columns in groups of 16, once shuffled evenly and once with 10 and 14.
  quantisation = R"({"quant_method": "gptq", "bits": 4, "group_size": 16})";
  parts["a.qweight"] = words({3, 8}, std::vector<uint32_t>(24, counting));
  std::vector<uint32_t> groups(24);
  for (int i = 0; i < 24; ++i)
    groups[i] = i % 3 == 1;
  parts["a.g_idx"] = words({24}, groups);
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(format(), (QuantFormat{4, 16, Real::kF16, Real::kF32}));
  EXPECT_THAT(checkpoint->columnOrder(*checkpoint->find("a.weight")),
              testing::ElementsAre(0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18,
                                   20, 21, 23, 1, 4, 7, 10, 13, 16, 19, 22));
  values();
  groups[3] = 1;
  parts["a.g_idx"] = words({24}, groups);
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(format(), std::nullopt);
  values();
}

// A width of 96 is read as three groups of 32 with one scale.
TEST_F(Packed, GroupsThatAreNoPowerOfTwoAreSplit) {
  gptq();
  quantisation = R"({"quant_method": "gptq", "bits": 4, "group_size": 96})";
  parts.erase("a.g_idx");
  parts["a.qweight"] = words({24, 8}, std::vector<uint32_t>(192, counting));
  parts["a.scales"].bytes.replace(0, 2, raw<uint16_t>(0x4000));
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(format(), (QuantFormat{4, 32, Real::kF16, Real::kF32}));
  EXPECT_EQ(values()[95], 2 * 6);
  EXPECT_EQ(values()[96], -1);
}

TEST_F(Packed, ScalesThatNoHalfHolds) {
  compressed();
  parts["a.weight_scale"] = part<uint16_t>("BF16", {2, 1}, {0x3f80, 0x3380});
  ASSERT_EQ(open(), "none"); // 1 and 2^-24
  EXPECT_EQ(format()->scale, Real::kF16);
  parts["a.weight_scale"] = part<uint16_t>("BF16", {2, 1}, {0x3f80, 0x3300});
  ASSERT_EQ(open(), "none"); // 2^-25
  EXPECT_EQ(format()->scale, Real::kF32);
  EXPECT_EQ(values()[8], 7 * 0x1p-25f);
  // With zero points, scale * code must be exact too.
  compressed(R"("symmetric": false, "strategy": "channel")");
  parts["a.weight_zero_point"] = words({1, 1}, {0x98});
  parts["a.weight_scale"] = part<float>("F32", {2, 1}, {1, 0.1f});
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(format(), std::nullopt);
  EXPECT_EQ(values()[8], 0.1f * 6);
}

// With `dynamic`, every module of a GPTQ checkpoint has its own bits.
TEST_F(Packed, BitsThatVary) {
  gptq();
  quantisation = R"({"quant_method": "gptq", "bits": 4, "group_size": 128,
      "checkpoint_format": "gptq_v2", "dynamic": {"+:.*b$": {"bits": 8}}})";
  parts["b.qweight"] = words({2, 4}, std::vector<uint32_t>(8, 0x03020100));
  parts["b.qzeros"] = words({1, 1}, {0});
  parts["b.scales"] = halves({1, 4}, std::vector<uint16_t>(4, one));
  parts["b.g_idx"] = words({8}, std::vector<uint32_t>(8, 0));
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(values()[7], 7);
  const TensorInfo *b = checkpoint->find("b.weight");
  ASSERT_TRUE(b);
  EXPECT_EQ(checkpoint->quantFormat(*b),
            (QuantFormat{8, 16, Real::kF16, Real::kF32}));
  EXPECT_EQ(valuesOf(*checkpoint, *b, 3, 4),
            (std::vector<float>{0, 1, 2, 3, 0, 1, 2, 3}));
  parts.erase("b.g_idx");
  EXPECT_EQ(open(), "model.safetensors: tensor 'b.qweight' needs a vector "
                    "'b.g_idx', because quantization_config has `dynamic`");
  parts["b.g_idx"] = words({7}, std::vector<uint32_t>(7, 0));
  EXPECT_EQ(open(), "model.safetensors: tensor 'b.qweight' has shape [2, 4], "
                    "which holds 7 columns in neither 4 nor 8 bits");
}

// Module names go before patterns, patterns before the class.
TEST_F(Packed, SchemesByTarget) {
  compressed();
  auto scheme = [](const std::string &targets, int bits) {
    return R"({"targets": [)" + targets + R"(], "weights": {"num_bits": )" +
           std::to_string(bits) + R"(, "strategy": "channel"}})";
  };
  auto config = [&](const std::string &eight, const std::string &four) {
    quantisation = R"({"quant_method": "compressed-tensors",
        "config_groups": {"x": )" +
                   scheme(eight, 8) + R"(, "y": )" + scheme(four, 4) + "}}";
  };
  config(R"("Linear")", R"("re:[ab]$")");
  EXPECT_EQ(open(), "none");
  config(R"("re:.*")", R"("a")");
  EXPECT_EQ(open(), "none");
  config(R"("b", "re:b.*")", R"("Linear")");
  EXPECT_EQ(open(), "none");
  config(R"("b")", R"("re:c")");
  EXPECT_EQ(open(), "model.safetensors: no target of quantization_config."
                    "config_groups matches 'a', which is stored quantised");
  config(R"("b")", R"("re:\\w+")");
  EXPECT_EQ(open(),
            "model.safetensors: the target 're:\\w+' of quantization_config is "
            "no expression that is supported; name the modules");
  config(R"("b")", R"("re:a{1,9}")");
  EXPECT_EQ(open(),
            "model.safetensors: the target 're:a{1,9}' of quantization_config "
            "is no expression that is supported; name the modules");
  // Robustness case 41: deep ones are not even tried, others take as long as
  // they and the name are.
  const std::string deep = std::string(200'000, '(') + "a";
  config(R"("b")", "\"re:" + deep + std::string(200'000, ')') + "\"");
  EXPECT_EQ(open(),
            "model.safetensors: the target 're:" + std::string(1024, '(') +
                "' of quantization_config is no expression that is "
                "supported; name the modules");
  config(R"("b")", R"("re:((((((a+)+)+)+)+)+)+$b", "re:(a*)*(a*)*(a*)*c")");
  EXPECT_EQ(open(), "model.safetensors: no target of quantization_config."
                    "config_groups matches 'a', which is stored quantised");
  // The wrong scheme does not fit the words.
  config(R"("a")", R"("Linear")");
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.weight_shape' says [2, 8], "
            "'a.weight_packed' of shape [2, 1] holds no such weight in 8 bits");
}

// What is said not to be quantised must not be stored so.
TEST_F(Packed, IgnoredModules) {
  auto contradicts = [](const std::string &entry) {
    return "model.safetensors: 'a' is stored quantised, but "
           "quantization_config says with \"" +
           entry +
           "\" that it is not; one of the two is from another "
           "checkpoint";
  };
  auto with = [&](const std::string &field) {
    quantisation.back() = ',';
    quantisation += field + "}";
    return open();
  };
  compressed();
  EXPECT_EQ(with(R"("ignore": ["lm_head", "re:b.*", "aa", "re:\\w+"])"),
            "none");
  compressed();
  EXPECT_EQ(with(R"("ignore": ["lm_head", "a"])"), contradicts("a"));
  compressed();
  EXPECT_EQ(with(R"("ignore": ["re:.*"])"), contradicts("re:.*"));
  compressed();
  EXPECT_EQ(with(R"("ignore": "a")"),
            "config.json: quantization_config.ignore is \"a\", a list of names "
            "is needed");
  awq();
  EXPECT_EQ(with(R"("modules_to_not_convert": ["b", "aa"])"), "none");
  awq();
  EXPECT_EQ(with(R"("modules_to_not_convert": ["a"])"), contradicts("a"));
  awq();
  EXPECT_EQ(with(R"("modules_to_not_convert": null)"), "none");
}

// GPTQ says it in three places: a switch for the head, patterns of which the
// first that matches counts, and ends of names within the layers.
TEST_F(Packed, ModulesThatGptqLeavesOut) {
  auto open = [&](const std::string &module, const std::string &field) {
    gptq();
    quantisation.back() = ',';
    quantisation += field + "}";
    std::map<std::string, Part> renamed;
    for (auto &[name, part] : parts)
      renamed[module + name.substr(1)] = part;
    parts = renamed;
    return Packed::open();
  };
  auto contradicts = [](const std::string &module, const std::string &what) {
    return "model.safetensors: '" + module +
           "' is stored quantised, but quantization_config says " + what +
           "; one of the two is from another checkpoint";
  };
  auto isNot = [](const std::string &entry) {
    return "with \"" + entry + "\" that it is not";
  };
  EXPECT_EQ(open("lm_head", R"("lm_head": true)"), "none");
  EXPECT_EQ(open("lm_head", R"("lm_head": false)"),
            contradicts("lm_head", isNot("lm_head")));
  EXPECT_EQ(open("a", R"("lm_head": false)"), "none");

  EXPECT_EQ(open("a", R"("dynamic": {"-:b": {}, "+:a": {"bits": 4}})"), "none");
  EXPECT_EQ(open("a", R"("dynamic": {"a": {"bits": 4}, "-:a": {}})"), "none");
  EXPECT_EQ(open("a", R"("dynamic": {"-:a": {}, "+:a": {"bits": 4}})"),
            contradicts("a", isNot("-:a")));
  EXPECT_EQ(open("x.1.up", R"("dynamic": {"-:.*\\.1\\.up": {}})"),
            contradicts("x.1.up", isNot("-:.*\\.1\\.up")));
  // What is beyond us says nothing, nor does what comes after it.
  EXPECT_EQ(open("a", R"("dynamic": {"+:\\w": {"bits": 4}, "-:a": {}})"),
            "none");

  const std::string lists = R"("modules_in_block_to_quantize": [
      ["attn.k", "attn.q"], ["mlp.up"]])";
  EXPECT_EQ(open("m.layers.0.attn.q", lists), "none");
  EXPECT_EQ(open("m.layers.0.mlp.up", lists), "none");
  EXPECT_EQ(open("lm_head", lists), "none");
  EXPECT_EQ(open("m.layers.0.mlp.down", lists),
            contradicts("m.layers.0.mlp.down",
                        "in modules_in_block_to_quantize only what else is"));
  EXPECT_EQ(
      open("m.layers.0.mlp.down", R"("modules_in_block_to_quantize": null)"),
      "none");
}

//===----------------------------------------------------------------------===//
// Bad tensors
//===----------------------------------------------------------------------===//

TEST_F(Packed, Case33_Scales) {
  gptq();
  parts["a.scales"].bytes.replace(2 * 11, 2, raw<uint16_t>(0x7e00));
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.scales' has the scale nan for row 3, "
            "group 1 of the weight; the checkpoint is damaged");
  parts["a.scales"].bytes.replace(2 * 11, 2, raw<uint16_t>(0xfc00));
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.scales' has the scale -inf for row "
            "3, group 1 of the weight; the checkpoint is damaged");
  parts["a.scales"].bytes.replace(2 * 11, 2, raw<uint16_t>(0));
  ASSERT_EQ(open(), "none"); // zero only makes zeros
  EXPECT_EQ(values()[3 * 8 + 3], 3);
  EXPECT_EQ(values()[3 * 8 + 4], 0);
  // A scale is finite, but not what it scales.
  compressed();
  parts["a.weight_scale"] = part<float>("F32", {2, 1}, {1, 3e38f});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.weight_scale' has the scale 3e+38 "
            "for row 1, group 0 of the weight; the checkpoint is damaged");
  parts["a.weight_scale"] = part<int32_t>("I32", {2, 1}, {1, 1});
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.weight_scale' is I32, F16 or "
                    "BF16 or F32 is needed");
  parts["a.weight_scale"] = halves({1, 2}, {one, one});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.weight_scale' has shape [1, 2], [2, "
            "1] is needed: 4 bits, weight [2, 8], 1 groups a row");
  parts.erase("a.weight_scale");
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.weight_scale' is missing, "
                    "'a.weight_packed' needs it");
}

TEST_F(Packed, Case34_ZeroPoints) {
  gptq();
  parts["a.qzeros"] = words({1, 2}, {0, 0});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.qzeros' has shape [1, 2], [2, 1] is "
            "needed: 4 bits, weight [8, 8], 2 groups a row");
  parts["a.qzeros"] = halves({2, 1}, {one, one});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.qzeros' is F16, I32 is needed");
  parts.erase("a.qzeros");
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.qzeros' is missing, the "
                    "scheme has zero points");
  awq();
  parts["a.qzeros"] = words({1, 2}, {0, 0});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.qzeros' has shape [1, 2], [1, 1] is "
            "needed: 4 bits, weight [8, 8], 1 groups a row");
  parts.erase("a.qzeros");
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.qzeros' is missing, the "
                    "scheme has zero points");
  compressed();
  parts["a.weight_zero_point"] = words({1, 1}, {0x98});
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.weight_zero_point' has no "
                    "place in a symmetric scheme");
  compressed(R"("symmetric": false, "strategy": "channel")");
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.weight_zero_point' is "
                    "missing, the scheme has zero points");
  parts["a.weight_zero_point"] = part<int8_t>("I8", {1, 2}, {0, 0});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.weight_zero_point' has shape [1, 2], "
            "[2, 1] is needed: 4 bits, weight [2, 8], 1 groups a row");
  parts["a.weight_zero_point"] = halves({2, 1}, {0, 0});
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.weight_zero_point' is F16, "
                    "I32 or I8 is needed");
}

TEST_F(Packed, Case34_GroupIndex) {
  gptq();
  for (int32_t group : {2, -1, INT32_MAX}) {
    parts["a.g_idx"] = part<int32_t>("I32", {8}, {0, 0, 0, 0, 1, group, 1, 1});
    EXPECT_EQ(open(), "model.safetensors: tensor 'a.g_idx' has the group " +
                          std::to_string(group) +
                          " at column 5; groups 0 to 1 are there");
  }
  parts["a.g_idx"] = words({7}, std::vector<uint32_t>(7, 0));
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.g_idx' has shape [7], [8] is needed: "
            "4 bits, weight [8, 8], 2 groups a row");
  parts["a.g_idx"] = part<int64_t>("I64", {8}, std::vector<int64_t>(8, 0));
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.g_idx' is I64, I32 is needed");
}

TEST_F(Packed, Case34_PackedShapes) {
  gptq();
  parts["a.qweight"] = words({1, 7}, std::vector<uint32_t>(7, 0));
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.qweight' has shape [1, 7], [1, 8] is "
            "needed: 4 bits, weight [8, 8], 2 groups a row");
  parts["a.qweight"] = words({8}, std::vector<uint32_t>(8, 0));
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.qweight' has shape [8], a "
                    "matrix is needed");
  parts["a.qweight"] = words({1ll << 62, 0}, {});
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.qweight' has shape "
                    "[4611686018427387904, 0], a matrix is needed");
  parts["a.qweight"] = halves({1, 8}, std::vector<uint16_t>(8, 0));
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.qweight' is F16, I32 is needed");
  awq();
  parts["a.qweight"] = words({4, 2}, std::vector<uint32_t>(8, 0));
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'a.qweight' has shape [4, 2], [4, 1] is "
            "needed: 4 bits, weight [8, 4], 1 groups a row");
  compressed();
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{3, 8},
                               {2, 9},
                               {2, 0},
                               {2, -8},
                               {2, INT64_MAX}}) {
    parts["a.weight_shape"] = part<int64_t>("I64", {2}, {rows, columns});
    EXPECT_EQ(open(),
              "model.safetensors: tensor 'a.weight_shape' says " +
                  shapeText({rows, columns}) +
                  ", 'a.weight_packed' of shape [2, 1] holds no such weight in "
                  "4 bits");
  }
  parts["a.weight_shape"] = part<int64_t>("I64", {1}, {2});
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.weight_shape' has shape [1], "
                    "[2] is needed");
  parts.erase("a.weight_shape");
  EXPECT_EQ(open(), "model.safetensors: tensor 'a.weight_shape' is missing, "
                    "'a.weight_packed' needs it");
}

TEST_F(Packed, PartsWithoutAWeight) {
  gptq();
  parts["b.g_idx"] = words({1}, {0});
  EXPECT_EQ(open(),
            "model.safetensors: tensor 'b.g_idx': dtype I32 is not supported; "
            "F32, F16 and BF16 are, and integers as parts of weights that "
            "quantization_config describes");
  parts.erase("b.g_idx");
  parts["a.weight"] = halves({8, 8}, std::vector<uint16_t>(64, one));
  EXPECT_EQ(open(), "model.safetensors: has tensor 'a.weight' a second time");
}

// Older quantisers write a bias for every weight; zeros say nothing.
TEST_F(Packed, ZeroBiasOfAModelWithoutBiases) {
  gptq();
  parts["a.bias"] = halves({8}, std::vector<uint16_t>(8, 0));
  ASSERT_EQ(open(), "none");
  EXPECT_EQ(checkpoint->find("a.bias"), nullptr);
  EXPECT_EQ(values()[7], 7);
  parts["a.bias"].bytes.replace(0, 2, raw(one));
  ASSERT_EQ(open(), "none");
  EXPECT_TRUE(checkpoint->find("a.bias"));
}

// The file shrinks between opening and reading.
TEST_F(Packed, TruncatedAfterOpen) {
  gptq();
  ASSERT_EQ(open(), "none");
  std::string path = folder.path("model.safetensors");
  uintmax_t size = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, size - 32);
  float row[8];
  EXPECT_EQ(
      errorOf(checkpoint->readRows(*checkpoint->find("a.weight"), 0, 1, row)),
      path + ": ends at byte " + std::to_string(size - 32) + ", it had " +
          std::to_string(size) + " bytes when it was opened");
}

//===----------------------------------------------------------------------===//
// quantization_config
//===----------------------------------------------------------------------===//

TEST_F(Packed, ConfigsThatAreRefused) {
  auto refused = [&](const std::string &config) {
    quantisation = config;
    std::string error = open();
    std::string start = "config.json: quantization_config";
    EXPECT_EQ(error.find(start), 0u) << error;
    return error.substr(start.size());
  };
  EXPECT_EQ(refused("7"), " is 7, an object is needed");
  EXPECT_EQ(refused("{}"), ".quant_method is missing");
  EXPECT_EQ(refused(R"({"quant_method": "bitsandbytes"})"),
            ".quant_method is \"bitsandbytes\"; awq, gptq and "
            "compressed-tensors are supported, or use the unquantised "
            "checkpoint");

  std::string awq = R"({"quant_method": "awq", "bits": 4, "group_size": 128)";
  EXPECT_EQ(refused(R"({"quant_method": "awq", "bits": 3, "group_size": 1})"),
            ".bits is 3; 4 is supported");
  EXPECT_EQ(refused(awq + R"(, "version": "gemv"})"),
            ".version is \"gemv\"; only \"gemm\" is supported");
  EXPECT_EQ(refused(awq + R"(, "zero_point": 1})"),
            ".zero_point is 1, true or false is needed");
  EXPECT_EQ(refused(R"({"quant_method": "awq", "bits": 4, "group_size": 0})"),
            ".group_size is 0, a number of columns or -1 is needed");
  EXPECT_EQ(refused(R"({"quant_method": "awq", "bits": 4, "group_size": -2})"),
            ".group_size is -2, a whole number from -1 to 16777216 is needed");

  std::string gptq = R"({"quant_method": "gptq", "bits": 4, "group_size": 128)";
  for (int bits : {2, 3, 5, 16})
    EXPECT_EQ(refused(R"({"quant_method": "gptq", "group_size": 1, "bits": )" +
                      std::to_string(bits) + "}"),
              ".bits is " + std::to_string(bits) + "; 4 and 8 are supported");
  EXPECT_EQ(refused(gptq + R"(, "checkpoint_format": "marlin"})"),
            ".checkpoint_format is \"marlin\"; gptq and gptq_v2 are supported");
  EXPECT_EQ(refused(gptq + R"(, "is_marlin_format": true})"),
            ".is_marlin_format is true; only false is supported");
  quantisation = gptq + R"(, "rotation": "hadamard"})";
  EXPECT_EQ(open(), "config.json: unknown field quantization_config.rotation "
                    "could change what a quantised model computes; if it "
                    "does not, remove it from the file");

  auto compressed = [&](const std::string &weights, const std::string &group,
                        const std::string &config) {
    return refused(R"({"quant_method": "compressed-tensors", )" + config +
                   R"("config_groups": {"g": {"targets": ["Linear"], )" +
                   group + R"("weights": {"num_bits": 8, )" + weights +
                   R"("strategy": "channel"}}}})");
  };
  EXPECT_EQ(compressed("", R"("input_activations": {"num_bits": 8}, )", ""),
            ".config_groups.g.input_activations: quantised activations are not "
            "supported, only quantised weights are");
  EXPECT_EQ(compressed("", R"("output_activations": {"num_bits": 8}, )", ""),
            ".config_groups.g.output_activations: quantised activations are "
            "not supported, only quantised weights are");
  EXPECT_EQ(compressed("", "", R"("kv_cache_scheme": {"num_bits": 8}, )"),
            ".kv_cache_scheme is not supported");
  EXPECT_EQ(compressed("", "", R"("sparsity_config": {"format": "x"}, )"),
            ".sparsity_config is not supported");
  EXPECT_EQ(compressed("", "", R"("format": "int-quantized", )"),
            ".config_groups.g.format is \"int-quantized\"; only "
            "\"pack-quantized\" is supported");
  EXPECT_EQ(compressed(R"("type": "float", )", "", ""),
            ".config_groups.g.weights.type is \"float\"; only \"int\" is "
            "supported");
  EXPECT_EQ(compressed(R"("dynamic": true, )", "", ""),
            ".config_groups.g.weights.dynamic is true; only false is "
            "supported");
  EXPECT_EQ(
      refused(R"({"quant_method": "compressed-tensors", "config_groups":
                  {"g": {"targets": ["Linear"], "weights":
                   {"num_bits": 4, "strategy": "block"}}}})"),
      ".config_groups.g.weights.strategy is \"block\"; group, channel and "
      "tensor are supported");
  EXPECT_EQ(refused(gptq + R"(, "dynamic": ["-:a"]})"),
            ".dynamic is [\"-:a\"], an object of patterns is needed");
  EXPECT_EQ(refused(gptq + R"(, "modules_in_block_to_quantize": ["a"]})"),
            ".modules_in_block_to_quantize is [\"a\"], a list of lists of "
            "names is needed");
  EXPECT_EQ(refused(R"({"quant_method": "compressed-tensors"})"),
            ".config_groups is missing, an object of schemes is needed");
  EXPECT_EQ(refused(R"({"quant_method": "compressed-tensors",
                        "config_groups": {"W4A16": ["Linear"]}})"),
            ".config_groups.W4A16 is [\"Linear\"], a scheme is needed");
}
