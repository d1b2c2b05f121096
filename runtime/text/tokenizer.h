// Tokenizer: text to token ids and back, identical to Hugging Face's
// tokenizers on the vocabularies that it takes.
//
// Place on the road: first and last stop of a request. It is loaded from the
// tokenizer segment of an artifact (runtime/schema/tokenizer.fbs), which is
// untrusted: Load checks everything that later code relies on. Immutable after
// Load; every const method is safe from several threads.
#ifndef STELE_RUNTIME_TEXT_TOKENIZER_H_
#define STELE_RUNTIME_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/text/span.h"

namespace stele::text {

class Detokenizer;

struct EncodeOptions {
  // Puts the vocabulary's own ids (BOS, EOS) around the text. Off for rendered
  // chat templates, which spell them.
  bool add_special_tokens = true;
  // Reads control tokens such as <|im_end|> where the text spells them.
  bool parse_special_tokens = true;
  // Bytes of the text in which none is read: what users wrote into a chat.
  // Ascending and disjoint.
  std::span<const Span> literal = {};
};

// A special token by the role that chat templates know it by ("bos_token").
struct NamedToken {
  std::string_view name;
  std::string_view content;
};
struct NamedTemplate {
  std::string_view name;
  std::string_view text;
};

class Tokenizer {
 public:
  // `flatbuffer` is copied as far as it is needed.
  static Result<std::unique_ptr<Tokenizer>> Load(
      std::span<const uint8_t> flatbuffer);
  ~Tokenizer();

  // Ids of `text`. Bytes that are not UTF-8 count as U+FFFD, one for each
  // maximal subpart. Fails only where a pattern of the vocabulary exceeds its
  // match limits.
  Result<std::vector<int32_t>> Encode(std::string_view text,
                                      const EncodeOptions& options = {}) const;

  // Text of `ids`; ids outside the vocabulary have none.
  std::string Decode(std::span<const int32_t> ids,
                     bool skip_special_tokens = true) const;

  // Ids are below this.
  uint32_t vocab_size() const;
  bool IsSpecial(int32_t id) const;
  // The token as the vocabulary spells it; empty for ids outside it.
  std::string_view TokenText(int32_t id) const;
  // The added token with this content.
  std::optional<int32_t> FindAddedToken(std::string_view content) const;

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> pad_id() const;
  std::span<const NamedToken> named_tokens() const;
  // The first is the default.
  std::span<const NamedTemplate> chat_templates() const;

 private:
  friend class StreamDecoder;
  class Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Decodes a sequence as its tokens arrive. The pieces, joined, are what Decode
// gives, except that a run of byte-fallback tokens with an invalid sequence
// keeps its valid characters (Decode, like the reference, replaces every byte
// of such a run). A piece never ends
// inside a character. `tokenizer` must outlive this. Not thread safe.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer,
                         bool skip_special_tokens = true);
  ~StreamDecoder();
  // Text that `id` completes; often empty.
  std::string Push(int32_t id);
  // What is left at the end: U+FFFD for an unfinished character.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
  std::unique_ptr<Detokenizer> detokenizer_;
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_TOKENIZER_H_
