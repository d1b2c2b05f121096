// What the tokenizer fuzz targets do with a tokenizer that loads: text of every
// kind in, ids out, and text again.
#ifndef STELE_TEST_FUZZ_USE_TOKENIZER_H_
#define STELE_TEST_FUZZ_USE_TOKENIZER_H_

#include "memory_file.h"
#include "stele/runtime/text/tokenizer.h"

namespace stele::fuzz {

inline void UseTokenizer(const text::Tokenizer &tokenizer) {
  const text::Span content[] = {{3, 9}};
  for (std::string_view prompt :
       {"Hello  world\n\n 123 it's", "日本語 é\u0301 😀 <s></s><|im_end|>",
        "\xff\xc3\x28 \xed\xa0\x80", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ""}) {
    text::EncodeOptions options;
    if (prompt.size() > 9)
      options.literal = content;
    auto ids = tokenizer.Encode(prompt, options);
    if (!ids.ok())
      continue;
    for (int32_t id : *ids)
      Require(id >= 0 && id < static_cast<int64_t>(tokenizer.vocab_size()));
    tokenizer.Decode(*ids);
    text::StreamDecoder stream(tokenizer);
    for (int32_t id : *ids)
      stream.Push(id);
    stream.Finish();
  }
}

} // namespace stele::fuzz

#endif // STELE_TEST_FUZZ_USE_TOKENIZER_H_
