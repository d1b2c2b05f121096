// Fuzz target: any bytes as tokenizer.json, imported, loaded by the runtime and
// used on text of every kind.
#include "memory_file.h"
#include "stele/compiler/Import/Tokenizer.h"
#include "stele/runtime/text/tokenizer.h"
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

static void use(const Tokenizer &tokenizer) {
  for (std::string_view text :
       {"Hello  world\n\n 123 it's", "日本語 é\u0301 😀 <s></s><|im_end|>",
        "\xff\xc3\x28 \xed\xa0\x80", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ""}) {
    auto ids = tokenizer.Encode(text);
    if (!ids.ok())
      continue;
    for (int32_t id : *ids)
      Require(id >= 0 && id < static_cast<int64_t>(tokenizer.vocab_size()));
    tokenizer.Decode(*ids);
    stele::text::StreamDecoder stream(tokenizer);
    for (int32_t id : *ids)
      stream.Push(id);
    stream.Finish();
  }
}

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
    use(**tokenizer);
  else
    Require(!tokenizer.status().message().empty());
  return 0;
}
