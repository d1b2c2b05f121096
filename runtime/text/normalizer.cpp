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

// The reference's tables are those of Unicode 9. To it, these characters with
// normalisation data that came later are letters like any other. (U+11930 has
// none of its own, but composes to U+11938.)
struct Range {
  utf8proc_int32_t first, last;
};
constexpr Range kLaterCharacters[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},
    {0x9FE, 0x9FE},     {0xC3C, 0xC3C},     {0xD3B, 0xD3C},
    {0xEBA, 0xEBA},     {0xECE, 0xECE},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0x32FF, 0x32FF},
    {0xA7F2, 0xA7F4},   {0xA82C, 0xA82C},   {0xAB69, 0xAB69},
    {0x10781, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC},
    {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11938, 0x11938},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0},
    {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99},
    {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
    {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E030, 0x1E06D},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1F16C, 0x1F16C},
    {0x1FBF0, 0x1FBF9},
};

bool IsLater(utf8proc_int32_t c) {
  if (c < kLaterCharacters[0].first) return false;
  const auto* after =
      std::upper_bound(std::begin(kLaterCharacters), std::end(kLaterCharacters),
                       c, [](utf8proc_int32_t value, const Range& range) {
                         return value < range.first;
                       });
  return c <= after[-1].last;
}

bool Composes(NormalForm form) {
  return form == NormalForm::kNfc || form == NormalForm::kNfkc;
}
bool IsCompatibility(NormalForm form) {
  return form == NormalForm::kNfkc || form == NormalForm::kNfkd;
}

void Decompose(char32_t c, utf8proc_option_t options,
               std::vector<utf8proc_int32_t>& out) {
  if (IsLater(static_cast<utf8proc_int32_t>(c))) {
    out.push_back(static_cast<utf8proc_int32_t>(c));
    return;
  }
  int boundary = 0;
  utf8proc_int32_t buffer[32];  // the longest decomposition has 18
  const utf8proc_ssize_t size = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(c), buffer, 32, options, &boundary);
  out.insert(out.end(), buffer, buffer + size);
}

int CombiningClass(utf8proc_int32_t c) {
  if (c < static_cast<utf8proc_int32_t>(kFirstMark) || IsLater(c)) return 0;
  return utf8proc_get_property(c)->combining_class;
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

// Composes sorted text in place; never across the beginning of a later
// character.
void Compose(std::vector<utf8proc_int32_t>& text, utf8proc_option_t options) {
  size_t written = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin + 1;
    while (end < text.size() && !IsLater(text[end])) ++end;
    const utf8proc_ssize_t size = utf8proc_normalize_utf32(
        text.data() + begin, static_cast<utf8proc_ssize_t>(end - begin),
        options);
    std::copy_n(text.begin() + static_cast<ptrdiff_t>(begin), size,
                text.begin() + static_cast<ptrdiff_t>(written));
    written += static_cast<size_t>(size);
    begin = end;
  }
  text.resize(written);
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
  if (Composes(form)) Compose(points, static_cast<utf8proc_option_t>(options));
  for (const utf8proc_int32_t c : points) {
    AppendUtf8(static_cast<char32_t>(c), out);
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
