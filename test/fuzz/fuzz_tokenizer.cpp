// Fuzz target: any bytes as tokenizer.json, imported, loaded by the runtime and
// used on text of every kind.
#include "stele/compiler/Import/Tokenizer.h"
#include "temp_folder.h"
#include "use_tokenizer.h"

using stele::fuzz::Require;
using stele::fuzz::TempFolder;
using stele::text::Tokenizer;

static constexpr int64_t kVocabulary = 4096;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const TempFolder folder;
  stele::fuzz::MemoryFile memory(data, size);
  folder.link("tokenizer.json", memory);
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
