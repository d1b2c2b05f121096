// Text: provenance of bytes through appends and slices. See text.h.
#include "stele/runtime/text/jinja/text.h"

#include <algorithm>

namespace stele::text::jinja {
namespace {

void AddSpan(std::vector<Span>& spans, size_t begin, size_t end) {
  if (begin == end) return;
  if (!spans.empty() && spans.back().end == begin) {
    spans.back().end = end;
  } else {
    spans.push_back({begin, end});
  }
}

// The first span that ends after `offset`.
std::vector<Span>::const_iterator FirstAfter(const std::vector<Span>& spans,
                                             size_t offset) {
  return std::partition_point(spans.begin(), spans.end(),
                              [&](const Span& s) { return s.end <= offset; });
}

}  // namespace

Text Text::FromUser(std::string bytes) {
  Text text(std::move(bytes));
  AddSpan(text.user, 0, text.size());
  return text;
}

void Text::Append(const Text& more, size_t begin, size_t end) {
  size_t base = size();
  for (auto it = FirstAfter(more.user, begin);
       it != more.user.end() && it->begin < end; ++it) {
    AddSpan(user, base + std::max(it->begin, begin) - begin,
            base + std::min(it->end, end) - begin);
  }
  bytes.append(more.bytes, begin, end - begin);
}

void Text::Append(std::string_view more, bool is_user) {
  if (is_user) AddSpan(user, size(), size() + more.size());
  bytes.append(more);
}

Text Text::Slice(size_t begin, size_t end) const {
  Text slice;
  slice.Append(*this, begin, end);
  return slice;
}

bool Text::IsUser(size_t begin, size_t end) const {
  auto it = FirstAfter(user, begin);
  return it != user.end() && it->begin < end;
}

}  // namespace stele::text::jinja
