// Parsing JSON with a bound on its depth; see json.h.
#include "stele/runtime/text/json.h"

#include <algorithm>

#include "stele/runtime/base/format.h"

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

// Where the byte `at` is: " at line 2, column 5", only the column in text of
// one line.
std::string Place(std::string_view text, size_t at) {
  const std::string_view before = text.substr(0, std::min(at, text.size()));
  const size_t newline = before.rfind('\n');
  const size_t column = newline == std::string_view::npos
                            ? before.size()
                            : before.size() - newline - 1;
  const std::string in_line =
      "column " + std::to_string(std::max<size_t>(column, 1));
  if (text.find('\n') == std::string_view::npos) return " at " + in_line;
  const auto lines = std::count(before.begin(), before.end(), '\n') + 1;
  return " at line " + std::to_string(lines) + ", " + in_line;
}

// What follows `mark` in "[json.exception.KIND] parse error at PLACE: the
// reason".
std::string Reason(std::string_view what, std::string_view mark) {
  const size_t at = what.find(mark);
  return Printable(
      at == std::string_view::npos ? what : what.substr(at + mark.size()));
}

}  // namespace

Result<nlohmann::ordered_json> ParseJson(std::string_view text,
                                         const std::string& source) {
  if (Depth(text) > kMaxDepth)
    return InvalidArgument(source + ": JSON nests deeper than 64 levels");
  try {
    return nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::ordered_json::parse_error& error) {
    return InvalidArgument(source + " is not valid JSON" +
                           Place(text, error.byte) + ": " +
                           Reason(error.what(), ": "));
  } catch (const nlohmann::ordered_json::exception& error) {
    return InvalidArgument(
        source + " is not valid JSON: " + Reason(error.what(), "] "));  // 1e999
  }
}

}  // namespace stele::text
