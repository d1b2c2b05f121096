// Span: a stretch of bytes in a prompt, on the way from the chat template to
// the tokenizer.
//
// The template marks which bytes came from the conversation; the tokenizer
// never reads a special token that overlaps such a stretch.
#ifndef STELE_RUNTIME_TEXT_SPAN_H_
#define STELE_RUNTIME_TEXT_SPAN_H_

#include <cstddef>

namespace stele::text {

// Half-open range of byte offsets.
struct Span {
  size_t begin = 0;
  size_t end = 0;

  friend bool operator==(const Span&, const Span&) = default;
};

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_SPAN_H_
