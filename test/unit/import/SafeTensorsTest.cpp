// Safetensors headers: robustness cases 1-15, 28 and 29, each with its exact
// error, and what a well-formed file gives.
#include "stele/compiler/Import/SafeTensors.h"
#include "TestFiles.h"
#include <sys/stat.h>
#include <unistd.h>

using namespace stele::checkpoint;

namespace {

class SafeTensors : public testing::Test {
protected:
  // Reads a file of these bytes; the error with the folder's name cut off.
  std::string read(const std::string &bytes) {
    folder.write("m.safetensors", bytes);
    return readAgain();
  }

  std::string readAgain() {
    auto file = InputFile::open(folder.path("m.safetensors"));
    EXPECT_TRUE(bool(file));
    tensors.clear();
    std::string error = errorOf(readSafeTensors(**file, 0, tensors));
    if (size_t at = error.find(folder.path()); at != std::string::npos)
      error.erase(at, folder.path().size() + 1);
    return error;
  }

  // The header of one F32 [2] tensor "a", with one field replaced.
  std::string readEntry(const std::string &entry, size_t dataBytes = 8) {
    return read(
        safeTensors("{\"a\":" + entry + "}", std::string(dataBytes, '\0')));
  }

  TempFolder folder;
  std::vector<TensorInfo> tensors;
};

} // namespace

TEST_F(SafeTensors, ReadsAFile) {
  std::string header =
      R"({"__metadata__":{"format":"pt"},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]},)"
      R"("a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("s":{"dtype":"F16","shape":[],"data_offsets":[14,16]},)"
      R"("e":{"dtype":"F16","shape":[0,5],"data_offsets":[16,16]}}   )";
  ASSERT_EQ(read(safeTensors(header, std::string(16, '\0'))), "none");
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors[0].name, "b");
  EXPECT_EQ(tensors[0].type, ElementType::BF16);
  EXPECT_EQ(tensors[0].offset, 8 + header.size() + 8);
  EXPECT_EQ(tensors[0].bytes, 6u);
  EXPECT_EQ(describeShape(tensors[1].shape), "[2, 1]");
  EXPECT_EQ(tensors[1].rows(), 2);
  EXPECT_EQ(tensors[2].rows(), 1);
  EXPECT_EQ(tensors[2].rowWidth(), 1);
}

TEST_F(SafeTensors, Case01_Empty) {
  EXPECT_EQ(read(""),
            "m.safetensors: 0 bytes are too few for a safetensors file");
}

TEST_F(SafeTensors, Case02_ShorterThanTheLength) {
  EXPECT_EQ(read("1234567"),
            "m.safetensors: 7 bytes are too few for a safetensors file");
}

TEST_F(SafeTensors, NamesAGitLfsPointer) {
  EXPECT_EQ(read("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
            "m.safetensors: is a Git LFS pointer, not the weights; fetch them "
            "with `git lfs pull`");
}

TEST_F(SafeTensors, Case03_HeaderPastTheEnd) {
  EXPECT_EQ(read(raw<uint64_t>(3) + "{}"),
            "m.safetensors: header length 3 is past the end of the file (10 "
            "bytes); the file is truncated or damaged, fetch it again");
}

TEST_F(SafeTensors, Case04_HugeLength) {
  EXPECT_EQ(read(raw<uint64_t>(1ull << 63) + "{}"),
            "m.safetensors: header length 9223372036854775808 is over the "
            "format's limit of 100000000; this is not a safetensors file or it "
            "is damaged");
}

TEST_F(SafeTensors, Case05_HeaderOver100MB) {
  EXPECT_EQ(read(raw<uint64_t>(100000001) + "{}"),
            "m.safetensors: header length 100000001 is over the format's limit "
            "of 100000000; this is not a safetensors file or it is damaged");
}

TEST_F(SafeTensors, Case06_NotUtf8) {
  EXPECT_EQ(read(safeTensors("{\"\xff\":1}", "")),
            "m.safetensors header:1:3: syntax error while parsing object key - "
            "invalid string: ill-formed UTF-8 byte; last read: '\"\xff'; "
            "expected string literal");
}

TEST_F(SafeTensors, Case07_DeepJson) {
  EXPECT_EQ(read(safeTensors("{\"a\":" + std::string(100000, '['), "")),
            "m.safetensors header:1:69: nested deeper than 64 levels");
}

TEST_F(SafeTensors, Case08_DuplicateKeys) {
  EXPECT_EQ(read(safeTensors("{\"a\":1,\"a\":2}", "")),
            "m.safetensors header:1:10: duplicate key 'a'");
  EXPECT_EQ(readEntry(R"({"dtype":"F32","dtype":"F16"})"),
            "m.safetensors header:1:27: duplicate key 'dtype'");
}

TEST_F(SafeTensors, Case09_Overlap) {
  EXPECT_EQ(read(safeTensors(
                R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                std::string(12, '\0'))),
            "m.safetensors: tensors 'a' and 'b' overlap");
}

TEST_F(SafeTensors, Case10_Holes) {
  EXPECT_EQ(read(safeTensors(
                R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
                std::string(12, '\0'))),
            "m.safetensors: 4 unused bytes between a and tensor 'b'");
  EXPECT_EQ(readEntry(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"),
            "m.safetensors: 4 unused bytes between the header and tensor 'a'");
}

TEST_F(SafeTensors, Case11_TrailingBytes) {
  EXPECT_EQ(readEntry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 9),
            "m.safetensors: 1 bytes after the last tensor");
}

TEST_F(SafeTensors, Case12_ShapeOverflow) {
  EXPECT_EQ(readEntry(R"({"dtype":"F32","shape":[4294967296,4294967296],)"
                      R"("data_offsets":[0,8]})"),
            "m.safetensors: tensor 'a': the product of shape [4294967296, "
            "4294967296] overflows");
  // The elements fit in 63 bits, their bits do not.
  EXPECT_EQ(readEntry(R"({"dtype":"F32","shape":[4611686018427387904],)"
                      R"("data_offsets":[0,8]})"),
            "m.safetensors: tensor 'a': the product of shape "
            "[4611686018427387904] overflows");
}

TEST_F(SafeTensors, Case13_DimensionsThatAreNotCounts) {
  auto error = [](const std::string &shape) {
    return "m.safetensors: tensor 'a': shape " + shape +
           " has a dimension that is not a whole number from 0 to 2^63 - 1";
  };
  auto readShape = [&](const std::string &shape) {
    return readEntry("{\"dtype\":\"F32\",\"shape\":" + shape +
                     ",\"data_offsets\":[0,8]}");
  };
  EXPECT_EQ(readShape("[-2]"), error("[-2]"));
  EXPECT_EQ(readShape("[2.0]"), error("[2.0]"));
  EXPECT_EQ(readShape("[1e30]"), error("[1e+30]"));
  EXPECT_EQ(readShape("[9223372036854775808]"), error("[9223372036854775808]"));
  EXPECT_EQ(readShape("[\"2\"]"), error("[\"2\"]"));
  EXPECT_EQ(readShape("2"),
            "m.safetensors: tensor 'a': shape 2 is not an array");
}

TEST_F(SafeTensors, Case14_UnknownDtype) {
  EXPECT_EQ(readEntry(R"({"dtype":"F33","shape":[2],"data_offsets":[0,8]})"),
            "m.safetensors: tensor 'a': unknown dtype \"F33\"");
  EXPECT_EQ(readEntry(R"({"dtype":7,"shape":[2],"data_offsets":[0,8]})"),
            "m.safetensors: tensor 'a': unknown dtype 7");
  EXPECT_EQ(
      readEntry(R"({"dtype":"F64","shape":[1],"data_offsets":[0,8]})"),
      "m.safetensors: tensor 'a': dtype F64 is not supported; F32, F16 and "
      "BF16 are");
}

TEST_F(SafeTensors, Case15_SubByteDataThatEndsInsideAByte) {
  EXPECT_EQ(readEntry(R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})", 2),
            "m.safetensors: tensor 'a': 3 elements of F4 (4 bits) do not fill "
            "whole bytes");
}

TEST_F(SafeTensors, ChecksOffsetsAndFields) {
  EXPECT_EQ(
      readEntry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"),
      "m.safetensors: tensor 'a': data_offsets [8,0] are not [begin, end]");
  EXPECT_EQ(readEntry(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"),
            "m.safetensors: tensor 'a': data_offsets [0] are not [begin, end]");
  EXPECT_EQ(
      readEntry(R"({"dtype":"F32","shape":[2],"data_offsets":[1,9]})"),
      "m.safetensors: tensor 'a': data_offsets [1,9] end past the file's 8 "
      "bytes of data; the file is truncated or damaged, fetch it again");
  EXPECT_EQ(
      readEntry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
      "m.safetensors: tensor 'a': has 8 bytes, F32 of shape [3] takes 12");
  EXPECT_EQ(
      readEntry(R"({"dtype":"F32","shape":[2]})"),
      "m.safetensors: tensor 'a': header field 'data_offsets' is missing");
  EXPECT_EQ(readEntry("1"),
            "m.safetensors: tensor 'a': its header entry is not an object");
  EXPECT_EQ(read(safeTensors("[]", "")),
            "m.safetensors: the header is not a JSON object");
}

// Whatever byte a file ends at, and whatever bit of its header is wrong,
// reading ends in an error or in tensors that lie inside the file.
TEST_F(SafeTensors, EveryTruncationAndBitFlip) {
  std::string header =
      R"({"__metadata__":{"format":"pt"},)"
      R"("a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]}})";
  std::string bytes = safeTensors(header, std::string(14, '\0'));
  ASSERT_EQ(read(bytes), "none");
  for (size_t bit = 0; bit < (bytes.size() - 14) * 8; ++bit) {
    flipBit(folder.path("m.safetensors"), bit);
    if (readAgain() == "none")
      for (const TensorInfo &tensor : tensors)
        EXPECT_TRUE(rangeFits(tensor.offset, tensor.bytes, bytes.size()))
            << "bit " << bit;
    flipBit(folder.path("m.safetensors"), bit);
  }
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_NE(read(bytes.substr(0, length)), "none");
}

//===----------------------------------------------------------------------===//
// Shards
//===----------------------------------------------------------------------===//

namespace {

class Shards : public testing::Test {
protected:
  void SetUp() override {
    folder.write("one", tensor("a"));
    folder.write("two", tensor("b"));
  }

  static std::string tensor(const std::string &name) {
    return safeTensors("{\"" + name +
                           R"(":{"dtype":"F32","shape":[1],)"
                           R"("data_offsets":[0,4]}})",
                       std::string(4, '\0'));
  }

  std::string read(const std::string &map) {
    std::string index =
        folder.write("index.json", "{\"weight_map\":" + map + "}");
    files.clear();
    tensors.clear();
    std::string error =
        errorOf(readShardedSafeTensors(folder.path(), index, files, tensors));
    for (size_t at; (at = error.find(folder.path())) != std::string::npos;)
      error.erase(at, folder.path().size() + 1);
    return error;
  }

  TempFolder folder;
  std::vector<std::unique_ptr<InputFile>> files;
  std::vector<TensorInfo> tensors;
};

} // namespace

TEST_F(Shards, ReadsAll) {
  ASSERT_EQ(read(R"({"a":"one","b":"two"})"), "none");
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(files[tensors[1].file]->path(), folder.path("two"));
}

TEST_F(Shards, Case28_AbsentShard) {
  EXPECT_EQ(read(R"({"a":"one","b":"three"})"),
            "index.json: names the shard 'three': three: cannot open: No such "
            "file or directory");
}

TEST_F(Shards, Case29_PathOutOfTheFolder) {
  for (const char *name : {"../one", "/etc/passwd", "..", "", "x\\\\one"})
    EXPECT_EQ(read(std::string("{\"a\":\"") + name + "\"}"),
              std::string("index.json: weight_map['a'] is '") +
                  (std::string(name) == "x\\\\one" ? "x\\one" : name) +
                  "'; a shard must be a plain file name in the same folder");
}

TEST_F(Shards, Case29_SymbolicLink) {
  // The hub's cache is made of links to files: those are followed.
  ASSERT_EQ(::symlink("one", folder.path("link").c_str()), 0);
  EXPECT_EQ(read(R"({"a":"link"})"), "none");
  ASSERT_EQ(::symlink("loop", folder.path("loop").c_str()), 0);
  EXPECT_EQ(read(R"({"a":"loop"})"),
            "index.json: names the shard 'loop': loop: cannot open: Too many "
            "levels of symbolic links");
}

TEST_F(Shards, Case29_NotARegularFile) {
  ASSERT_EQ(::mkfifo(folder.path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(read(R"({"a":"fifo"})"),
            "index.json: names the shard 'fifo': fifo: is a FIFO, a regular "
            "file is needed");
  ASSERT_EQ(::mkdir(folder.path("dir").c_str(), 0700), 0);
  EXPECT_EQ(read(R"({"a":"dir"})"),
            "index.json: names the shard 'dir': dir: is a folder, a regular "
            "file is needed");
  ASSERT_EQ(::symlink("/dev/zero", folder.path("zero").c_str()), 0);
  EXPECT_EQ(
      read(R"({"a":"zero"})"),
      "index.json: names the shard 'zero': zero: is a device or socket, a "
      "regular file is needed");
}

TEST_F(Shards, IndexAndShardsMustAgree) {
  EXPECT_EQ(read(R"({"a":"one","c":"two"})"),
            "index.json: tensor 'b' of two is not in weight_map");
  EXPECT_EQ(read(R"({"a":"one","b":"two","c":"two"})"),
            "index.json: tensor 'c' is not in its shard two");
  folder.write("two", tensor("a"));
  EXPECT_EQ(read(R"({"a":"one","b":"two"})"),
            "index.json: weight_map places tensor 'a' in one, but two has it "
            "too");
  EXPECT_EQ(read(R"({"a":7})"),
            "index.json: weight_map['a'] is 7, not a file name");
  EXPECT_EQ(read("[]"), "index.json: weight_map is missing or not an object");
}
