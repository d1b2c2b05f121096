// Normalisation forms over utf8proc; see normalizer.h.
#include "stele/runtime/text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "stele/runtime/text/unicode.h"

namespace stele::text {
namespace {

// Below this every character is its own NFC form and never composes with the
// one before it; only a mark behind it can change it.
constexpr char32_t kFirstMark = 0x300;
constexpr std::string_view kFirstMarkUtf8 = "\xCC\x80";

bool Composes(NormalForm form) {
  return form == NormalForm::kNfc || form == NormalForm::kNfkc;
}
bool IsCompatibility(NormalForm form) {
  return form == NormalForm::kNfkc || form == NormalForm::kNfkd;
}

void Decompose(char32_t c, utf8proc_option_t options,
               std::vector<utf8proc_int32_t>& out) {
  int boundary = 0;
  utf8proc_int32_t buffer[32];  // the longest decomposition has 18
  const utf8proc_ssize_t size = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(c), buffer, 32, options, &boundary);
  out.insert(out.end(), buffer, buffer + size);
}

int CombiningClass(utf8proc_int32_t c) {
  return c < static_cast<utf8proc_int32_t>(kFirstMark)
             ? 0
             : utf8proc_get_property(c)->combining_class;
}

// Sorts marks by class, equal classes as they were.
void SortRun(std::span<utf8proc_int32_t> marks) {
  // class : 8, index : 35, code point : 21
  std::vector<uint64_t> keys(marks.size());
  for (size_t i = 0; i < marks.size(); ++i) {
    keys[i] = static_cast<uint64_t>(CombiningClass(marks[i])) << 56 | i << 21 |
              static_cast<uint64_t>(marks[i]);
  }
  std::sort(keys.begin(), keys.end());
  for (size_t i = 0; i < marks.size(); ++i) {
    marks[i] = static_cast<utf8proc_int32_t>(keys[i] & 0x1FFFFF);
  }
}

// The canonical ordering algorithm: every run of marks sorted by class.
void SortMarks(std::vector<utf8proc_int32_t>& text) {
  for (auto begin = text.begin(); begin != text.end();) {
    if (CombiningClass(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, text.end(), [](utf8proc_int32_t c) {
      return CombiningClass(c) == 0;
    });
    if (end - begin > 1) SortRun({&*begin, static_cast<size_t>(end - begin)});
    begin = end;
  }
}

void AppendNormalized(std::string_view text, NormalForm form,
                      std::string& out) {
  int options = Composes(form) ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (IsCompatibility(form)) options |= UTF8PROC_COMPAT;
  options |= UTF8PROC_STABLE;
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    Decompose(c.value, static_cast<utf8proc_option_t>(options), points);
    text.remove_prefix(c.size);
  }
  SortMarks(points);
  auto size = static_cast<utf8proc_ssize_t>(points.size());
  if (Composes(form)) {
    size = utf8proc_normalize_utf32(points.data(), size,
                                    static_cast<utf8proc_option_t>(options));
  }
  for (utf8proc_ssize_t i = 0; i < size; ++i) {
    AppendUtf8(static_cast<char32_t>(points[i]), out);
  }
}

// Bytes at the start of `text` that are below kFirstMark.
size_t PlainPrefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size() &&
         static_cast<unsigned char>(text[at]) <
             static_cast<unsigned char>(kFirstMarkUtf8[0])) {
    ++at;
  }
  return at;
}

// Bytes at the start of `text` that are at kFirstMark or above.
size_t MarkedPrefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const CodePoint c = FirstCodePoint(text.substr(at));
    if (c.value < kFirstMark) break;
    at += c.size;
  }
  return at;
}

// Only stretches that reach kFirstMark, with the character before them, need
// work; the rest is copied.
std::string ComposeCanonically(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t plain = PlainPrefix(text);
    const size_t marked = MarkedPrefix(text.substr(plain));
    if (marked == 0) return out.append(text);
    if (plain > 0) plain -= LastCodePoint(text.substr(0, plain)).size;
    const size_t begin = plain;
    const size_t end = PlainPrefix(text) + marked;
    out.append(text.substr(0, begin));
    AppendNormalized(text.substr(begin, end - begin), NormalForm::kNfc, out);
    text.remove_prefix(end);
  }
  return out;
}

}  // namespace

std::string NormalizeUnicode(std::string_view text, NormalForm form) {
  if (form == NormalForm::kNfc) return ComposeCanonically(text);
  std::string out;
  AppendNormalized(text, form, out);
  return out;
}

}  // namespace stele::text
