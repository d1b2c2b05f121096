// A folder of a fuzz target for parsers that are given a folder: made once, its
// files replaced for every input.
#ifndef STELE_TEST_FUZZ_TEMP_FOLDER_H_
#define STELE_TEST_FUZZ_TEMP_FOLDER_H_

#include <filesystem>

#include "memory_file.h"

namespace stele::fuzz {

struct TempFolder {
  std::string path =
      (std::filesystem::temp_directory_path() / "stele-fuzz-XXXXXX").string();

  TempFolder() { Require(::mkdtemp(path.data())); }
  ~TempFolder() { std::filesystem::remove_all(path); }
  TempFolder(const TempFolder &) = delete;
  TempFolder &operator=(const TempFolder &) = delete;

  // The input becomes the file of that name, until the next one does.
  void link(const char *name, const MemoryFile &input) const {
    std::string file = path + "/" + name;
    std::filesystem::remove(file);
    std::filesystem::create_symlink(input.path(), file);
  }
};

} // namespace stele::fuzz

#endif // STELE_TEST_FUZZ_TEMP_FOLDER_H_
