// Added-token search; see added_tokens.h.
#include "stele/runtime/text/added_tokens.h"

#include <algorithm>

#include "stele/runtime/text/unicode.h"

namespace stele::text {
namespace {

bool TouchesWord(std::string_view text, Span match) {
  const std::string_view before = text.substr(0, match.begin);
  const std::string_view after = text.substr(match.end);
  return (!before.empty() && IsWordCharacter(LastCodePoint(before).value)) ||
         (!after.empty() && IsWordCharacter(FirstCodePoint(after).value));
}

size_t SkipSpacesBack(std::string_view text, size_t at, size_t limit) {
  while (at > limit) {
    const CodePoint c = LastCodePoint(text.substr(0, at));
    if (!IsSpace(c.value)) break;
    at -= c.size;
  }
  return std::max(at, limit);
}

size_t SkipSpaces(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint c = FirstCodePoint(text.substr(at));
    if (!IsSpace(c.value)) break;
    at += c.size;
  }
  return at;
}

bool Overlaps(std::span<const Span> spans, Span match) {
  const auto after = std::partition_point(
      spans.begin(), spans.end(),
      [&](const Span& span) { return span.end <= match.begin; });
  return after != spans.end() && after->begin < match.end;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) {
              return a.content < b.content;
            });
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    Range& range =
        by_first_byte_[static_cast<unsigned char>(tokens_[i].content[0])];
    if (range.begin == range.end) range.begin = i;
    range.end = i + 1;
  }
}

bool AddedTokenMatcher::Filter::Allows(const AddedToken& token,
                                       size_t at) const {
  if (!token.special) return true;
  return special && !Overlaps(literal, {at, at + token.content.size()});
}

const AddedToken* AddedTokenMatcher::LongestAt(std::string_view whole,
                                               size_t position,
                                               const Filter& filter) const {
  const std::string_view text = whole.substr(position);
  const Range start = by_first_byte_[static_cast<unsigned char>(text[0])];
  auto first = tokens_.begin() + start.begin;
  auto last = tokens_.begin() + start.end;
  const AddedToken* longest = nullptr;
  // [first, last) are the tokens that agree with `text` on `depth` bytes;
  // sorted, so the one that ends here is the first of them.
  for (size_t depth = 1; first != last; ++depth) {
    if (first->content.size() == depth) {
      if (filter.Allows(*first, position)) longest = &*first;
      if (++first == last) break;
    }
    if (depth == text.size()) break;
    const auto byte = static_cast<unsigned char>(text[depth]);
    const auto at = [depth](const AddedToken& token) {
      return static_cast<unsigned char>(token.content[depth]);
    };
    first = std::partition_point(
        first, last, [&](const AddedToken& t) { return at(t) < byte; });
    last = std::partition_point(
        first, last, [&](const AddedToken& t) { return at(t) == byte; });
  }
  return longest;
}

void AddedTokenMatcher::Split(std::string_view text, const Filter& filter,
                              const Sink& sink) const {
  size_t emitted = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* token = LongestAt(text, at, filter);
    if (!token) {
      ++at;
      continue;
    }
    Span match{at, at + token->content.size()};
    at = match.end;
    if (token->single_word && TouchesWord(text, match)) continue;
    if (token->lstrip) match.begin = SkipSpacesBack(text, match.begin, emitted);
    if (token->rstrip) match.end = SkipSpaces(text, match.end);
    if (emitted < match.begin) sink({emitted, match.begin}, nullptr);
    // White space that this token took may still spell the next one, so the
    // search goes on right behind its content, as the reference's does. A
    // token whose own text was taken is gone.
    if (match.begin < match.end) sink(match, token);
    emitted = match.end;
  }
  if (emitted < text.size()) sink({emitted, text.size()}, nullptr);
}

}  // namespace stele::text
