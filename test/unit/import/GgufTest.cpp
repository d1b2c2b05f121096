// GGUF headers: robustness cases 16-27, each with its exact error, and what a
// well-formed file gives.
#include "stele/compiler/Import/Gguf.h"
#include "TestFiles.h"
#include "stele/compiler/Import/Dequantise.h"
#include "stele/compiler/Import/GgufBlocks.h"
#include "gmock/gmock.h"

using namespace stele::checkpoint;

namespace {

std::string text(const std::string &value) {
  return raw<uint64_t>(value.size()) + value;
}

std::string header(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
  return "GGUF" + raw(version) + raw(tensors) + raw(pairs);
}

std::string u32Pair(const std::string &key, uint32_t value) {
  return text(key) + raw<uint32_t>(4) + raw(value);
}

// dims innermost first, as in the file.
std::string tensor(const std::string &name, std::vector<uint64_t> dims,
                   uint32_t type, uint64_t offset) {
  std::string bytes = text(name) + raw<uint32_t>(dims.size());
  for (uint64_t dim : dims)
    bytes += raw(dim);
  return bytes + raw(type) + raw(offset);
}

std::string padded(std::string bytes, size_t data, size_t alignment = 32) {
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
  return bytes + std::string(data, '\0');
}

class Gguf : public testing::Test {
protected:
  std::string read(const std::string &bytes) {
    folder.write("m.gguf", bytes);
    return readAgain();
  }

  std::string readAgain() {
    auto opened = InputFile::open(folder.path("m.gguf"));
    EXPECT_TRUE(bool(opened));
    file = std::move(*opened);
    auto read = GgufFile::read(*file);
    if (read) {
      gguf = std::move(*read);
      return "none";
    }
    std::string error = llvm::toString(read.takeError());
    EXPECT_EQ(error.find(folder.path()), 0u) << error;
    return error.substr(folder.path().size() + 1);
  }

  TempFolder folder;
  std::unique_ptr<InputFile> file;
  std::unique_ptr<GgufFile> gguf;
};

} // namespace

TEST_F(Gguf, ReadsEveryMetadataType) {
  std::string bytes = header(0, 14, 2);
  bytes += text("u8") + raw<uint32_t>(0) + raw<uint8_t>(200);
  bytes += text("i8") + raw<uint32_t>(1) + raw<int8_t>(-100);
  bytes += text("u16") + raw<uint32_t>(2) + raw<uint16_t>(60000);
  bytes += text("i16") + raw<uint32_t>(3) + raw<int16_t>(-30000);
  bytes += text("u32") + raw<uint32_t>(4) + raw<uint32_t>(4000000000);
  bytes += text("i32") + raw<uint32_t>(5) + raw<int32_t>(-2000000000);
  bytes += text("f32") + raw<uint32_t>(6) + raw<float>(0.5f);
  bytes += text("bool") + raw<uint32_t>(7) + raw<uint8_t>(1);
  bytes += text("string") + raw<uint32_t>(8) + text("hé");
  bytes += text("array") + raw<uint32_t>(9) + raw<uint32_t>(8) +
           raw<uint64_t>(2) + text("x") + text("");
  bytes += text("u64") + raw<uint32_t>(10) + raw<uint64_t>(UINT64_MAX);
  bytes += text("i64") + raw<uint32_t>(11) + raw<int64_t>(INT64_MIN);
  bytes += text("f64") + raw<uint32_t>(12) + raw<double>(1e300);
  bytes +=
      text("empty") + raw<uint32_t>(9) + raw<uint32_t>(5) + raw<uint64_t>(0);
  ASSERT_EQ(read(bytes), "none");
  auto integer = [&](const char *key) {
    return llvm::cantFail(gguf->integer(key)).value();
  };
  EXPECT_EQ(integer("u8"), 200);
  EXPECT_EQ(integer("i8"), -100);
  EXPECT_EQ(integer("u16"), 60000);
  EXPECT_EQ(integer("i16"), -30000);
  EXPECT_EQ(integer("u32"), 4000000000);
  EXPECT_EQ(integer("i32"), -2000000000);
  EXPECT_EQ(integer("i64"), INT64_MIN);
  EXPECT_EQ(std::get<uint64_t>(*gguf->find("u64")), UINT64_MAX);
  EXPECT_EQ(llvm::cantFail(gguf->number("f32")), 0.5);
  EXPECT_EQ(llvm::cantFail(gguf->number("f64")), 1e300);
  EXPECT_EQ(llvm::cantFail(gguf->boolean("bool")), true);
  EXPECT_EQ(llvm::cantFail(gguf->string("string")), "hé");
  const GgufArray *array = llvm::cantFail(gguf->array("array"));
  ASSERT_EQ(array->size(), 2u);
  EXPECT_EQ(std::get<std::string>((*array)[0]), "x");
  EXPECT_TRUE(llvm::cantFail(gguf->array("empty"))->empty());
  EXPECT_EQ(llvm::cantFail(gguf->integer("absent")), std::nullopt);
  EXPECT_EQ(errorOf(gguf->integer("u64")),
            folder.path("m.gguf") +
                ": metadata 'u64' is not an integer below 2^63");
  EXPECT_EQ(errorOf(gguf->string("u8")),
            folder.path("m.gguf") + ": metadata 'u8' is not a string");
}

TEST_F(Gguf, PlacesTensors) {
  std::string bytes = header(2, 1) + u32Pair("general.alignment", 64);
  bytes += tensor("a", {3, 2}, 0, 0) + tensor("b", {32}, 1, 64);
  ASSERT_EQ(read(padded(bytes, 128, 64)), "none");
  EXPECT_EQ(describeShape(gguf->tensors()[0].shape), "[2, 3]");
  EXPECT_EQ(gguf->tensors()[0].bytes, 24u);
  EXPECT_EQ(gguf->tensors()[0].offset % 64, 0u);
  EXPECT_EQ(gguf->tensors()[1].offset, gguf->tensors()[0].offset + 64);
  EXPECT_EQ(gguf->tensors()[1].type, ElementType::F16);
}

TEST_F(Gguf, Case16_MagicVersionEndianness) {
  EXPECT_EQ(read("GGML" + std::string(60, '\0')),
            "m.gguf: does not begin with 'GGUF'; this is not a GGUF file");
  EXPECT_EQ(read(header(0, 0, 1)),
            "m.gguf: GGUF version 1 is not supported; 2 and 3 are");
  EXPECT_EQ(read(header(0, 0, 4)),
            "m.gguf: GGUF version 4 is not supported; 2 and 3 are");
  EXPECT_EQ(read(header(0, 0, 3u << 24)),
            "m.gguf: is a big-endian GGUF file; convert it to little endian "
            "(gguf-convert-endian)");
  EXPECT_EQ(read("GGU"), "m.gguf: ends at byte 3 in the middle of its header; "
                         "the file is truncated, fetch it again");
}

TEST_F(Gguf, Case17_HugeCounts) {
  EXPECT_EQ(read(header(1ull << 63, 0)),
            "m.gguf: tensor count 9223372036854775808 is over the limit of "
            "1048576");
  EXPECT_EQ(read(header(0, 1ull << 63)),
            "m.gguf: metadata count 9223372036854775808 is over the limit of "
            "65536");
}

TEST_F(Gguf, Case18_HugeString) {
  EXPECT_EQ(
      read(header(0, 1) + raw<uint64_t>(UINT64_MAX)),
      "m.gguf: a metadata key is 18446744073709551615 bytes long, over the "
      "limit of 65535");
  EXPECT_EQ(read(header(0, 1) + text("k") + raw<uint32_t>(8) +
                 raw<uint64_t>(1ull << 40)),
            "m.gguf: 'k' is 1099511627776 bytes long, over the limit of "
            "67108864");
  EXPECT_EQ(read(header(0, 1) + text("k") + raw<uint32_t>(8) +
                 raw<uint64_t>(1000) + "short"),
            "m.gguf: 'k' is 1000 bytes long, past the end of the file");
}

TEST_F(Gguf, Case19_NestedOrHugeArray) {
  std::string start = header(0, 1) + text("k") + raw<uint32_t>(9);
  EXPECT_EQ(read(start + raw<uint32_t>(9) + raw<uint64_t>(1) +
                 raw<uint32_t>(0) + raw<uint64_t>(0)),
            "m.gguf: 'k' is an array of arrays, which no key of a supported "
            "model is");
  EXPECT_EQ(
      read(start + raw<uint32_t>(0) + raw<uint64_t>(1ull << 62)),
      "m.gguf: array 'k' has 4611686018427387904 elements, over the limit "
      "of 16777216");
  EXPECT_EQ(
      read(start + raw<uint32_t>(10) + raw<uint64_t>(1 << 20)),
      "m.gguf: array 'k' of 1048576 elements is past the end of the file");
  EXPECT_EQ(read(start + raw<uint32_t>(99) + raw<uint64_t>(1) + "x"),
            "m.gguf: 'k' has the unknown value type 99");
}

TEST_F(Gguf, Case20_Alignment) {
  for (uint32_t alignment : {0u, 3u, 1u << 31})
    EXPECT_EQ(
        read(padded(header(0, 1) + u32Pair("general.alignment", alignment), 0)),
        "m.gguf: general.alignment " + std::to_string(alignment) +
            " is not a power of two from 1 to 1048576");
}

TEST_F(Gguf, Case21_Duplicates) {
  EXPECT_EQ(read(header(0, 2) + u32Pair("k", 1) + u32Pair("k", 1)),
            "m.gguf: duplicate metadata key 'k'");
  EXPECT_EQ(
      read(padded(
          header(2, 0) + tensor("t", {8}, 0, 0) + tensor("t", {8}, 0, 32), 64)),
      "m.gguf: duplicate tensor 't'");
}

TEST_F(Gguf, Case22_TooManyDimensions) {
  EXPECT_EQ(read(padded(header(1, 0) + tensor("t", {1, 1, 1, 1, 1}, 0, 0), 32)),
            "m.gguf: tensor 't' has 5 dimensions, 4 at most are allowed");
  EXPECT_EQ(
      read(padded(header(1, 0) + tensor("t", {1ull << 63}, 0, 0), 32)),
      "m.gguf: tensor 't': dimension 9223372036854775808 is over 2^63 - 1");
  EXPECT_EQ(
      read(padded(header(1, 0) + tensor("t", {1ull << 40, 1ull << 40}, 0, 0),
                  32)),
      "m.gguf: tensor 't': the product of shape [1099511627776, "
      "1099511627776] overflows");
}

TEST_F(Gguf, Case23_TensorType) {
  for (uint32_t type : {4u, 24u, 31u, 4000000000u})
    EXPECT_EQ(read(padded(header(1, 0) + tensor("t", {32}, type, 0), 32)),
              "m.gguf: tensor 't' has ggml type " + std::to_string(type) +
                  ", which is not supported; F32, F16, BF16, Q8_0, Q4_0, Q4_1, "
                  "Q5_0, Q5_1, Q4_K, Q5_K and Q6_K are");
}

TEST_F(Gguf, Case24_PartialBlocks) {
  EXPECT_EQ(read(padded(header(1, 0) + tensor("t", {48, 2}, 2, 0), 64)),
            "m.gguf: tensor 't': rows of 48 elements are not whole Q4_0 blocks "
            "of 32");
  EXPECT_EQ(read(padded(header(1, 0) + tensor("t", {32}, 2, 0), 64)),
            "m.gguf: tensor 't': a vector of type Q4_0 is not supported");
}

TEST_F(Gguf, Case25_OffsetsThatWrap) {
  EXPECT_EQ(
      read(padded(header(1, 0) + tensor("t", {8}, 0, UINT64_MAX - 31), 32)),
      "m.gguf: tensor 't': 32 bytes at offset 18446744073709551584 are past "
      "the "
      "end of the file's 32 bytes of data; the file is truncated or damaged, "
      "fetch it again");
  // No room for the padding itself.
  EXPECT_EQ(
      read(header(1, 0) + tensor("t", {0}, 0, 32)),
      "m.gguf: tensor 't': 0 bytes at offset 32 are past the end of the "
      "file's 0 bytes of data; the file is truncated or damaged, fetch it "
      "again");
}

TEST_F(Gguf, Case26_OffsetPastTheEnd) {
  EXPECT_EQ(
      read(padded(header(1, 0) + tensor("t", {8}, 0, 32), 32)),
      "m.gguf: tensor 't': 32 bytes at offset 32 are past the end of the "
      "file's 32 bytes of data; the file is truncated or damaged, fetch it "
      "again");
  EXPECT_EQ(read(padded(header(1, 0) + tensor("t", {4}, 0, 16), 32)),
            "m.gguf: tensor 't': offset 16 is not a multiple of the alignment "
            "32");
  EXPECT_EQ(read(padded(header(2, 0) + tensor("t", {16}, 0, 0) +
                            tensor("u", {8}, 0, 32),
                        64)),
            "m.gguf: tensors 't' and 'u' overlap");
}

namespace {

// One part of a split file with one tensor.
std::string part(uint16_t number, uint16_t count, int32_t tensors,
                 const std::string &name) {
  std::string bytes = header(1, 3);
  bytes += text("split.no") + raw<uint32_t>(2) + raw(number);
  bytes += text("split.count") + raw<uint32_t>(2) + raw(count);
  bytes += text("split.tensors.count") + raw<uint32_t>(5) + raw(tensors);
  return padded(bytes + tensor(name, {8}, 0, 0), 32);
}

class GgufSplit : public testing::Test {
protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i)
      write(i, part(i, 3, 3, "t" + std::to_string(i)));
  }
  static std::string name(int number) {
    return "m-0000" + std::to_string(number + 1) + "-of-00003.gguf";
  }
  void write(int number, const std::string &bytes) {
    folder.write(name(number), bytes);
  }
  std::string open(const std::string &first = name(0)) {
    files.clear();
    auto opened = GgufFile::open(folder.path(first), files);
    if (opened) {
      gguf = std::move(*opened);
      return "none";
    }
    std::string error = llvm::toString(opened.takeError());
    EXPECT_EQ(error.find(folder.path()), 0u) << error;
    return error.substr(folder.path().size() + 1);
  }

  TempFolder folder;
  std::vector<std::unique_ptr<InputFile>> files;
  std::unique_ptr<GgufFile> gguf;
};

} // namespace

TEST_F(GgufSplit, ReadsTheTensorsOfAllParts) {
  ASSERT_EQ(open(), "none");
  ASSERT_EQ(gguf->tensors().size(), 3u);
  ASSERT_EQ(files.size(), 3u);
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(gguf->tensors()[i].name, "t" + std::to_string(i));
    EXPECT_EQ(gguf->tensors()[i].file, i);
    EXPECT_EQ(files[i]->path(), folder.path(name(i)));
  }
}

TEST_F(GgufSplit, Case27_MissingShard) {
  std::filesystem::remove(folder.path(name(1)));
  EXPECT_EQ(
      open(),
      "m-00002-of-00003.gguf: cannot open: No such file or directory; this is "
      "part 2 of 3 of a split GGUF");
}

TEST_F(GgufSplit, IsOpenedByItsFirstPart) {
  const std::string message = ": is one of 3 parts of a split GGUF, but not "
                              "named as the first; name the one that ends in "
                              "-00001-of-00003.gguf";
  EXPECT_EQ(open(name(1)), name(1) + message);
  folder.write("m.gguf", part(0, 3, 3, "t"));
  EXPECT_EQ(open("m.gguf"), "m.gguf" + message);
}

TEST_F(GgufSplit, PartsMustFitTogether) {
  const std::string rest = "; the parts are not of one model, fetch them again";
  write(1, part(2, 3, 3, "t1"));
  EXPECT_EQ(open(),
            name(1) + ": split.no is 2, as part 2 of 3 it must be 1" + rest);
  write(1, part(1, 4, 3, "t1"));
  EXPECT_EQ(open(),
            name(1) + ": split.count is 4, as part 2 of 3 it must be 3" + rest);
  write(1, part(1, 3, 4, "t1"));
  EXPECT_EQ(open(), name(1) +
                        ": split.tensors.count is 4, as part 2 of 3 it "
                        "must be 3" +
                        rest);
  write(1, padded(header(0, 0), 0));
  EXPECT_EQ(open(), name(1) +
                        ": split.no is missing, as part 2 of 3 it must "
                        "be 1" +
                        rest);
  write(1, part(1, 3, 3, "t0"));
  EXPECT_EQ(open(), name(0) + ": tensor 't0' is in two parts of the split "
                              "GGUF");
}

TEST_F(GgufSplit, CountsTheTensors) {
  for (int i = 0; i < 3; ++i)
    write(i, part(i, 3, 4, "t" + std::to_string(i)));
  EXPECT_EQ(open(), name(0) + ": split.tensors.count is 4, but all parts "
                              "together have 3 tensors; fetch them again");
}

namespace {

std::string f32Pair(const std::string &key, float value) {
  return text(key) + raw<uint32_t>(6) + raw(value);
}

// A model of one layer, with `count` more pairs.
std::string llamaWith(uint64_t count, const std::string &pairs) {
  std::string bytes = header(1, 8 + count);
  bytes += text("general.architecture") + raw<uint32_t>(8) + text("llama");
  for (auto [key, value] :
       {std::pair("block_count", 1), std::pair("context_length", 64),
        std::pair("embedding_length", 32), std::pair("feed_forward_length", 32),
        std::pair("attention.head_count", 2),
        std::pair("rope.dimension_count", 16)})
    bytes += u32Pair("llama." + std::string(key), value);
  bytes += f32Pair("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  bytes += pairs + tensor("token_embd.weight", {32, 8}, 0, 0);
  return padded(bytes, 32 * 8 * 4);
}

} // namespace

TEST_F(Gguf, SamplingDefaults) {
  ASSERT_EQ(read(llamaWith(0, "")), "none");
  EXPECT_FALSE(llvm::cantFail(readGgufConfig(*gguf)).generation.doSample);

  ASSERT_EQ(
      read(llamaWith(6, f32Pair("general.sampling.temp", 0.5f) +
                            u32Pair("general.sampling.top_k", 20) +
                            f32Pair("general.sampling.top_p", 0.75f) +
                            f32Pair("general.sampling.min_p", 0.25f) +
                            f32Pair("general.sampling.penalty_repeat", 1.5f) +
                            u32Pair("general.sampling.mirostat", 2))),
      "none");
  ModelConfig config = llvm::cantFail(readGgufConfig(*gguf));
  EXPECT_TRUE(config.generation.doSample);
  EXPECT_EQ(config.generation.temperature, 0.5);
  EXPECT_EQ(config.generation.topK, 20);
  EXPECT_EQ(config.generation.topP, 0.75);
  EXPECT_EQ(config.generation.minP, 0.25);
  EXPECT_EQ(config.generation.repetitionPenalty, 1.5);
  ASSERT_EQ(config.notes.size(), 1u);
  EXPECT_EQ(config.notes[0], "metadata 'general.sampling.mirostat' is a way of "
                             "sampling that is not there, and is ignored");

  ASSERT_EQ(read(llamaWith(1, f32Pair("general.sampling.temp", 0))), "none");
  EXPECT_FALSE(llvm::cantFail(readGgufConfig(*gguf)).generation.doSample);
  ASSERT_EQ(read(llamaWith(1, f32Pair("general.sampling.top_p", 1.5f))),
            "none");
  EXPECT_EQ(errorOf(readGgufConfig(*gguf)),
            folder.path("m.gguf") + ": general.sampling.top_p is 1.5, a number "
                                    "from 0 to 1 is needed");
}

TEST_F(Gguf, AShortSlidingWindowIsRefused) {
  ASSERT_EQ(read(llamaWith(1, u32Pair("llama.attention.sliding_window", 64))),
            "none");
  EXPECT_TRUE(bool(readGgufConfig(*gguf)));
  ASSERT_EQ(read(llamaWith(1, u32Pair("llama.attention.sliding_window", 63))),
            "none");
  EXPECT_EQ(
      errorOf(readGgufConfig(*gguf)),
      folder.path("m.gguf") +
          ": llama.attention.sliding_window is 63; sliding windows in "
          "GGUF files are not supported, use the Hugging Face checkpoint");
}

namespace {

// A small file with everything in it.
std::string smallFile() {
  std::string bytes = header(2, 2) + u32Pair("general.alignment", 32) +
                      text("k") + raw<uint32_t>(9) + raw<uint32_t>(8) +
                      raw<uint64_t>(2) + text("x") + text("yz");
  bytes += tensor("a", {3, 2}, 0, 0) + tensor("b", {32}, 1, 32);
  return padded(bytes, 96);
}

} // namespace

// Whatever byte a file ends at, reading it is an error.
TEST_F(Gguf, EveryTruncation) {
  std::string bytes = smallFile();
  ASSERT_EQ(read(bytes), "none");
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_THAT(read(bytes.substr(0, length)), testing::HasSubstr("m.gguf: "));
}

// Whatever bit is wrong, reading ends in an error or in tensors that lie inside
// the file.
TEST_F(Gguf, EveryBitFlip) {
  std::string bytes = smallFile();
  ASSERT_EQ(read(bytes), "none");
  for (size_t bit = 0; bit < (bytes.size() - 96) * 8; ++bit) {
    flipBit(folder.path("m.gguf"), bit);
    if (readAgain() == "none")
      for (const TensorInfo &tensor : gguf->tensors())
        EXPECT_TRUE(rangeFits(tensor.offset, tensor.bytes, bytes.size()))
            << "bit " << bit;
    flipBit(folder.path("m.gguf"), bit);
  }
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

namespace {
class GgufBlocks : public testing::TestWithParam<ElementType> {};
} // namespace

// Blocks of random bytes, with halves that no quantiser writes.
TEST_P(GgufBlocks, GiveTheBitsOfTheGgufPackage) {
  ElementType type = GetParam();
  std::string path =
      STELE_SOURCE_DIR "/test/data/gguf_blocks/" + name(type).str();
  std::string bytes = readAll(path + ".bin");
  std::vector<float> expected = readNpy(path + ".npy");
  ASSERT_EQ(bytes.size() / blockBytes(type) * blockElements(type),
            expected.size());
  std::vector<float> actual(expected.size());
  dequantise(type, reinterpret_cast<const uint8_t *>(bytes.data()),
             actual.size(), actual.data());
  for (size_t i = 0; i < actual.size(); ++i)
    EXPECT_EQ(raw(actual[i]), raw(expected[i]))
        << i << ": " << actual[i] << ", " << expected[i];
}

// Halves are widened without loss, so a narrower type of the format fits.
TEST_P(GgufBlocks, FitTheirFormat) {
  using Real = stele::schema::QuantFormat::Real;
  ElementType type = GetParam();
  std::string bytes = readAll(STELE_SOURCE_DIR "/test/data/gguf_blocks/" +
                              name(type).str() + ".bin");
  int64_t columns = blockElements(type), rows = bytes.size() / blockBytes(type);
  stele::schema::QuantFormat format = *quantFormatOf(type);
  QuantRows split;
  split.resize(format, rows, columns);
  splitBlocks(type, reinterpret_cast<const uint8_t *>(bytes.data()), rows,
              columns, 0, split);
  for (uint8_t code : split.codes)
    EXPECT_LT(code, 1 << format.bits);
  if (format.scale == Real::kF16)
    for (float scale : split.scales)
      EXPECT_EQ(float(_Float16(scale)), scale);
  if (format.offset == Real::kF16)
    for (float offset : split.offsets)
      EXPECT_EQ(float(_Float16(offset)), offset);
}

INSTANTIATE_TEST_SUITE_P(All, GgufBlocks,
                         testing::Values(ElementType::Q4_0, ElementType::Q4_1,
                                         ElementType::Q5_0, ElementType::Q5_1,
                                         ElementType::Q8_0, ElementType::Q4_K,
                                         ElementType::Q5_K, ElementType::Q6_K),
                         [](const auto &info) {
                           return name(info.param).str();
                         });
