// Token bytes back to text, one token at a time.
//
// The state machine under Tokenizer::Decode and StreamDecoder. Not thread
// safe.
#ifndef STELE_RUNTIME_TEXT_DETOKENIZER_H_
#define STELE_RUNTIME_TEXT_DETOKENIZER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "stele/schema/tokenizer_generated.h"

namespace stele::text {

struct DetokenizerOptions {
  schema::DecoderKind kind = schema::DecoderKind::ByteLevel;
  std::string replacement;
  bool byte_fallback = false;  // Byte tokens are given to PushByte
  uint32_t strip_start = 0;
};

class Detokenizer {
 public:
  // What becomes of a run of Byte tokens that holds invalid UTF-8.
  enum class ByteRuns {
    kWhole,    // every byte of the run is U+FFFD, so its end must be awaited
    kPartial,  // characters are given as they are complete
  };

  // `options` must outlive this.
  Detokenizer(const DetokenizerOptions& options, ByteRuns runs)
      : options_(options), runs_(runs), strip_(options.strip_start) {}

  // Appends to `out` the text that the token with these bytes completes.
  void Push(std::string_view bytes, std::string& out);
  // The same for a token that falls back to one byte (Spm).
  void PushByte(char byte, std::string& out);
  // Appends what an unfinished character leaves.
  void Finish(std::string& out);

 private:
  void DrainPending(bool one_per_byte, std::string& out);
  void FlushByteRun(std::string& out);
  void Strip(size_t begin, std::string& out);

  const DetokenizerOptions& options_;
  const ByteRuns runs_;
  std::string pending_;  // bytes that await the rest of a character or run
  uint32_t strip_;       // leading spaces that are still removed
  bool first_ = true;
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_DETOKENIZER_H_
