// Fuzz target: any bytes as tokenizer.json, imported, loaded by the runtime and
// used on text of every kind.
#include "stele/compiler/Import/Tokenizer.h"
#include "use_tokenizer.h"
#include <filesystem>

using stele::fuzz::Require;
using stele::text::Tokenizer;

static constexpr int64_t kVocabulary = 4096;

// A folder whose tokenizer.json is rewritten for every input.
namespace {
struct Folder {
  std::string path =
      (std::filesystem::temp_directory_path() / "stele-fuzz-XXXXXX").string();
  Folder() { Require(::mkdtemp(path.data())); }
  ~Folder() { std::filesystem::remove_all(path); }
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Folder folder;
  stele::fuzz::MemoryFile memory(data, size);
  std::string link = folder.path + "/tokenizer.json";
  std::filesystem::remove(link);
  std::filesystem::create_symlink(memory.path(), link);
  auto imported =
      stele::checkpoint::importHfTokenizer(folder.path, kVocabulary);
  if (!imported) {
    Require(!llvm::toString(imported.takeError()).empty());
    return 0;
  }
  auto tokenizer = Tokenizer::Load(*imported);
  // What the importer writes the runtime accepts, or it says why not.
  if (tokenizer.ok())
    stele::fuzz::UseTokenizer(**tokenizer);
  else
    Require(!tokenizer.status().message().empty());
  return 0;
}
