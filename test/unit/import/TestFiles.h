// What the importers' tests share: a folder that goes away with the test, files
// written byte by byte, and the error of an Expected as text.
#ifndef STELE_TEST_UNIT_IMPORT_TESTFILES_H
#define STELE_TEST_UNIT_IMPORT_TESTFILES_H

#include "stele/compiler/Import/Checkpoint.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <cstring>
#include <filesystem>
#include <fstream>

namespace stele::checkpoint {

class TempFolder {
public:
  TempFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "stele-import-XXXXXX")
            .string();
    if (!::mkdtemp(pattern.data()))
      ADD_FAILURE() << "cannot make " << pattern;
    folder = pattern;
  }
  ~TempFolder() { std::filesystem::remove_all(folder); }
  TempFolder(const TempFolder &) = delete;
  TempFolder &operator=(const TempFolder &) = delete;

  const std::string &path() const { return folder; }
  std::string path(const std::string &file) const {
    return folder + "/" + file;
  }

  // Writes a file and returns its path.
  std::string write(const std::string &file, const std::string &bytes) const {
    std::ofstream(path(file), std::ios::binary) << bytes;
    return path(file);
  }

private:
  std::string folder;
};

// Flips one bit of a file in place (much quicker than writing it again).
inline void flipBit(const std::string &path, size_t bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(bit / 8);
  char byte = file.get();
  file.seekp(bit / 8);
  file.put(byte ^ 1 << bit % 8);
}

template <typename T> std::string errorOf(llvm::Expected<T> value) {
  return value ? "none" : llvm::toString(value.takeError());
}

inline std::string errorOf(llvm::Error error) {
  return error ? llvm::toString(std::move(error)) : "none";
}

// The checkpoint, or null after a failure with its error.
inline std::unique_ptr<Checkpoint> open(const std::string &path) {
  auto checkpoint = Checkpoint::open(path);
  if (checkpoint)
    return std::move(*checkpoint);
  ADD_FAILURE() << llvm::toString(checkpoint.takeError());
  return nullptr;
}

// The bytes of a plain value, little endian as this machine.
template <typename T> std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// A safetensors file of this header and these bytes.
inline std::string safeTensors(const std::string &header,
                               const std::string &data) {
  return raw<uint64_t>(header.size()) + header + data;
}

inline std::string readAll(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The numbers of a float32 .npy file of format 1.0.
inline std::vector<float> readNpy(const std::string &path) {
  std::string bytes = readAll(path);
  EXPECT_THAT(bytes, testing::StartsWith("\x93NUMPY\x01")) << path;
  EXPECT_THAT(bytes, testing::HasSubstr("'<f4', 'fortran_order': False"));
  uint16_t header;
  std::memcpy(&header, bytes.data() + 8, sizeof header);
  std::vector<float> values((bytes.size() - 10 - header) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + 10 + header,
              values.size() * sizeof(float));
  return values;
}

} // namespace stele::checkpoint

#endif // STELE_TEST_UNIT_IMPORT_TESTFILES_H
