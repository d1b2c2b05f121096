// Parsing JSON with a bound on its depth; see json.h.
#include "stele/runtime/text/json.h"

#include <algorithm>

namespace stele::text {
namespace {

constexpr int kMaxDepth = 64;

// How deep brackets nest outside of strings. For text that is no JSON the
// parser has the last word.
int Depth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

Result<nlohmann::ordered_json> ParseJson(std::string_view text,
                                         const std::string& source) {
  if (Depth(text) > kMaxDepth)
    return InvalidArgument(source + ": JSON nests deeper than 64 levels");
  auto value = nlohmann::ordered_json::parse(text, nullptr, false);
  if (value.is_discarded())
    return InvalidArgument(source + " is not valid JSON");
  return value;
}

}  // namespace stele::text
