// Fuzz target: any bytes as the tokenizer segment of an artifact. What the
// verifier lets through is used; nothing that the segment says may break that.
#include "use_tokenizer.h"

using stele::text::Tokenizer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto tokenizer = Tokenizer::Load({data, size});
  if (tokenizer.ok())
    stele::fuzz::UseTokenizer(**tokenizer);
  else
    stele::fuzz::Require(!tokenizer.status().message().empty());
  return 0;
}
