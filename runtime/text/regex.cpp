// PCRE2 behind regex.h.
#include "stele/runtime/text/regex.h"

#include <utility>

#include "stele/runtime/text/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace stele::text {
namespace {

constexpr size_t kMaxPattern = 64 << 10;
// Steps from one place of a text, at first and at most. PCRE2 counts them anew
// at each place where a match may begin, so that a text of many places that are
// just cheap enough would take hours.
constexpr uint32_t kFewSteps = 1'000;
constexpr uint32_t kMatchLimit = kFewSteps << 14;
// Places of a call, once one needed more than a few steps.
constexpr size_t kPlaces = 64;
// What calls that gave up may have taken together.
constexpr uint64_t kPatience = 64'000'000, kPatiencePerByte = 64;
constexpr uint32_t kHeapLimitKiB = 64 << 10;
constexpr size_t kJitStackStart = 32 << 10;
constexpr size_t kJitStackLimit = 8 << 20;

// What the shorthands match in Hugging Face's engine, as members of a class;
// PCRE2's own differ in a few characters. \s is the property White_Space.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kWord =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

// Rewrites a pattern of Hugging Face's engine for PCRE2, and refuses what the
// two read differently.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> Run() {
    while (at_ < pattern_.size()) {
      if (pattern_[at_] == '\\') {
        STELE_RETURN_IF_ERROR(Escape());
      } else if (in_class_) {
        STELE_RETURN_IF_ERROR(ClassMember());
      } else if (pattern_[at_] == '[') {
        OpenClass();
      } else {
        out_ += pattern_[at_++];
      }
    }
    return out_;
  }

 private:
  bool Next(std::string_view text) const {
    return pattern_.substr(at_).starts_with(text);
  }
  Status NotPortable(std::string_view what) const {
    return Unsupported("pattern `" + std::string(pattern_) +
                       "`: " + std::string(what) +
                       " is not supported; rewrite the pattern without it");
  }
  void Members(std::string_view members, bool negated = false) {
    if (in_class_) {
      out_ += members;
    } else {
      out_ += negated ? "[^" : "[";
      out_ += members;
      out_ += ']';
    }
  }

  void OpenClass() {
    in_class_ = true;
    out_ += pattern_[at_++];
    if (Next("^")) out_ += pattern_[at_++];
    // A ] right after the opening is a member.
    if (Next("]")) {
      out_ += "\\]";
      ++at_;
    }
  }

  Status ClassMember() {
    if (Next("&&")) return NotPortable("an intersection of classes (&&)");
    if (Next("[")) return NotPortable("a [ inside a class");
    if (Next("]")) in_class_ = false;
    out_ += pattern_[at_++];
    return OkStatus();
  }

  Status Escape() {
    if (++at_ == pattern_.size()) return NotPortable("a \\ at the end");
    const char c = pattern_[at_++];
    switch (c) {
      case 's':
        Members(kSpaces);
        return OkStatus();
      case 'S':
        Members(kNotSpaces);
        return OkStatus();
      case 'w':
        Members(kWord);
        return OkStatus();
      case 'W':
        if (in_class_) return NotPortable("\\W inside a class");
        Members(kWord, /*negated=*/true);
        return OkStatus();
      default:
        break;
    }
    constexpr std::string_view kSame = "pPdDnrtfaeAz";
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool braced_hex = c == 'x' && Next("{");
    if (letter && !braced_hex && kSame.find(c) == std::string_view::npos) {
      return NotPortable(std::string("\\") + c);
    }
    out_ += '\\';
    out_ += c;
    return OkStatus();
  }

  std::string_view pattern_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

// What matching needs beside the code: one a thread, for every pattern, since
// pre-tokenisers match many short pieces.
struct MatchState {
  MatchState()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr)) {
    if (!ok()) return;
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

  pcre2_match_data* data;  // of the whole match; groups do not matter
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

// One text's search, within bounds that depend on the text alone: steps are
// allowed generously where few places need them, and run out where many do.
class Search {
 public:
  Search(const pcre2_code* code, std::string_view text, const MatchState& state)
      : code_(code),
        text_(text),
        state_(state),
        patience_(kPatience + kPatiencePerByte * text.size()) {}

  // As pcre2_match from `start` on. Of the whole text, where PCRE2 finds no
  // match in it; else the places up to `end()` have none.
  int From(size_t start) {
    for (;; steps_ *= 4) {
      end_ = is_hard_ ? PlaceAfter(start) : text_.size();
      pcre2_set_match_limit(state_.context, steps_);
      pcre2_set_offset_limit(state_.context, end_);
      const int found = pcre2_match(
          code_, reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(),
          start, PCRE2_NO_UTF_CHECK, state_.data, state_.context);
      if (found != PCRE2_ERROR_MATCHLIMIT) {
        steps_ = kFewSteps;
        return found;
      }
      const uint64_t taken = is_hard_ ? uint64_t{steps_} * kPlaces : steps_;
      is_hard_ = true;
      if (taken > patience_ || steps_ >= kMatchLimit) return found;
      patience_ -= taken;
    }
  }
  size_t end() const { return end_; }

 private:
  // The first character some places behind `start`.
  size_t PlaceAfter(size_t start) const {
    size_t at = start + kPlaces;
    while (at < text_.size() && (text_[at] & 0xc0) == 0x80) ++at;
    return at < text_.size() ? at : text_.size();
  }

  const pcre2_code* code_;
  std::string_view text_;
  const MatchState& state_;
  uint64_t patience_;
  uint32_t steps_ = kFewSteps;
  bool is_hard_ = false;  // some place needed more than a few steps
  size_t end_ = 0;
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
  STELE_ASSIGN_OR_RETURN(std::string translated, Translator(pattern).Run());
  int error;
  PCRE2_SIZE offset;
  Regex regex;
  regex.pattern_ = pattern;
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_USE_OFFSET_LIMIT, &error,
      &offset, nullptr);
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
  thread_local const MatchState state;
  if (!state.ok()) return ResourceExhausted("out of memory in a pattern match");
  Search search(code, text, state);
  size_t start = 0;
  size_t last_end = SIZE_MAX;
  while (start <= text.size()) {
    const int found = search.From(start);
    if (found == PCRE2_ERROR_NOMATCH) {
      start = search.end();
      if (start == text.size()) break;
      start += FirstCodePoint(text.substr(start)).size;
      continue;
    }
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
