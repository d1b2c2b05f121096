// Decoding; see detokenizer.h.
#include "stele/runtime/text/detokenizer.h"

#include "stele/runtime/text/unicode.h"

namespace stele::text {
namespace {

using schema::DecoderKind;

void AppendReplaced(std::string_view text, std::string_view pattern,
                    std::string_view by, std::string& out) {
  while (!pattern.empty()) {
    const size_t at = text.find(pattern);
    if (at == std::string_view::npos) break;
    out += text.substr(0, at);
    out += by;
    text.remove_prefix(at + pattern.size());
  }
  out += text;
}

void AppendReplacementCharacters(size_t count, std::string& out) {
  for (size_t i = 0; i < count; ++i) out += kReplacementCharacter;
}

}  // namespace

void Detokenizer::Push(std::string_view bytes, std::string& out) {
  const size_t begin = out.size();
  const bool first = first_;
  first_ = false;
  switch (options_.kind) {
    case DecoderKind::ByteLevel:
      pending_ += bytes;
      DrainPending(/*one_per_byte=*/false, out);
      break;
    case DecoderKind::Spm:
      FlushByteRun(out);
      AppendReplaced(bytes, options_.replacement, " ", out);
      Strip(begin, out);
      break;
    case DecoderKind::Metaspace:
      AppendReplaced(bytes, options_.replacement,
                     first && options_.strip_start > 0 ? "" : " ", out);
      break;
    case DecoderKind::Words:
      if (!first) out += ' ';
      out += bytes;
      break;
  }
}

void Detokenizer::PushByte(char byte, std::string& out) {
  const size_t begin = out.size();
  pending_ += byte;
  if (runs_ == ByteRuns::kPartial) DrainPending(/*one_per_byte=*/true, out);
  Strip(begin, out);
}

void Detokenizer::Finish(std::string& out) {
  const size_t begin = out.size();
  if (options_.kind == DecoderKind::ByteLevel) {
    // What is pending is the beginning of one character.
    if (!pending_.empty()) out += kReplacementCharacter;
    pending_.clear();
  } else {
    FlushByteRun(out);
    Strip(begin, out);
  }
}

// Moves whole characters out of pending_; what may begin one stays.
void Detokenizer::DrainPending(bool one_per_byte, std::string& out) {
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Step step = NextUtf8(rest);
    if (step.unit == Utf8Unit::kIncomplete) break;
    if (step.unit == Utf8Unit::kCharacter) {
      out += rest.substr(0, step.size);
    } else {
      AppendReplacementCharacters(one_per_byte ? step.size : 1, out);
    }
    rest.remove_prefix(step.size);
  }
  pending_.erase(0, pending_.size() - rest.size());
}

void Detokenizer::FlushByteRun(std::string& out) {
  if (IsValidUtf8(pending_)) {
    out += pending_;
  } else {
    AppendReplacementCharacters(pending_.size(), out);
  }
  pending_.clear();
}

void Detokenizer::Strip(size_t begin, std::string& out) {
  while (strip_ > 0 && begin < out.size()) {
    if (out[begin] != ' ') {
      strip_ = 0;
    } else {
      out.erase(begin, 1);
      --strip_;
    }
  }
}

}  // namespace stele::text
