// PCRE2 behind regex.h.
#include "stele/runtime/text/regex.h"

#include <utility>

#include "stele/runtime/text/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace stele::text {
namespace {

constexpr size_t kMaxPattern = 64 << 10;
constexpr uint32_t kMatchLimit = 10'000'000;  // steps of one match
constexpr uint32_t kHeapLimitKiB = 64 << 10;
constexpr size_t kJitStackStart = 32 << 10;
constexpr size_t kJitStackLimit = 1 << 20;

// The property White_Space. PCRE2's own \s holds U+180E as well, which left
// the property in Unicode 6.3.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

Status NotPortable(std::string_view pattern, const char* what) {
  return Unsupported("pattern `" + std::string(pattern) + "`: " + what +
                     " mean something else in PCRE2; rewrite the pattern");
}

// Rewrites what the two engines read differently.
Result<std::string> TranslatePattern(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const std::string_view rest = pattern.substr(i);
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's') {
        out +=
            in_class ? std::string(kSpaces) : "[" + std::string(kSpaces) + "]";
      } else if (escaped == 'S' && !in_class) {
        out += "[^" + std::string(kSpaces) + "]";
      } else {
        out += {'\\', escaped};
      }
      continue;
    }
    if (in_class && rest.starts_with("&&")) {
      return NotPortable(pattern, "intersections (&&) of classes");
    }
    if (in_class && c == '[' && !rest.starts_with("[:")) {
      return NotPortable(pattern, "nested classes ([...[...]])");
    }
    if (in_class && rest.starts_with("[:")) {
      const size_t end = rest.find(":]");
      if (end == std::string_view::npos) {
        return NotPortable(pattern, "unterminated POSIX classes");
      }
      out += rest.substr(0, end + 2);
      i += end + 1;
      continue;
    }
    out += c;
    if (!in_class && c == '[') {
      in_class = true;
      // A ] right after the opening is a member.
      if (pattern.substr(i + 1).starts_with("^")) out += pattern[++i];
      if (pattern.substr(i + 1).starts_with("]")) out += pattern[++i];
    } else if (in_class && c == ']') {
      in_class = false;
    }
  }
  return out;
}

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

// What one call of FindAll needs beside the code.
struct MatchState {
  explicit MatchState(const pcre2_code* code)
      : data(pcre2_match_data_create_from_pattern(code, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr)) {
    if (!ok()) return;
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKiB);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchState() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  MatchState(const MatchState&) = delete;
  MatchState& operator=(const MatchState&) = delete;
  bool ok() const { return data && context && stack; }

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

}  // namespace

void Regex::CodeDeleter::operator()(void* code) const {
  pcre2_code_free(static_cast<pcre2_code*>(code));
}

Result<Regex> Regex::Compile(std::string_view pattern) {
  if (pattern.size() > kMaxPattern) {
    return InvalidArgument("a pattern of " + std::to_string(pattern.size()) +
                           " bytes; at most " + std::to_string(kMaxPattern) +
                           " are accepted");
  }
  STELE_ASSIGN_OR_RETURN(std::string translated, TranslatePattern(pattern));
  int error;
  PCRE2_SIZE offset;
  Regex regex;
  regex.pattern_ = pattern;
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
      nullptr);
  if (!code) {
    return InvalidArgument("pattern `" + std::string(pattern) +
                           "` does not compile: " + ErrorText(error) +
                           "; correct it in the checkpoint's tokenizer");
  }
  regex.code_.reset(code);
  // Where there is no JIT the interpreter gives the same matches.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return regex;
}

Status Regex::FindAll(std::string_view text,
                      const std::function<void(size_t, size_t)>& match) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  MatchState state(code);
  if (!state.ok()) return ResourceExhausted("out of memory in a pattern match");
  size_t start = 0;
  size_t last_end = SIZE_MAX;
  while (start <= text.size()) {
    const int found = pcre2_match(
        code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), start,
        PCRE2_NO_UTF_CHECK, state.data, state.context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return ResourceExhausted(
          "pattern `" + pattern_ + "` gave up at byte " +
          std::to_string(start) + " of " + std::to_string(text.size()) + ": " +
          ErrorText(found) + "; shorten the text or use another tokenizer");
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(state.data);
    const size_t begin = ends[0], end = ends[1];
    if (begin == end && end == last_end) {
      if (start == text.size()) break;
      start += FirstCodePoint(text.substr(start)).size;
      continue;
    }
    match(begin, end);
    start = last_end = end;
  }
  return OkStatus();
}

}  // namespace stele::text
