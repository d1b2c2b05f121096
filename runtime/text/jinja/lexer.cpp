// Lexer: see lexer.h.
#include "stele/runtime/text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "stele/runtime/text/jinja/unicode.h"

namespace stele::text::jinja {
namespace {

// One kind of newline, and without the last one, as Jinja reads a source.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      out += '\n';
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; }

bool IsNameStart(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

class Lexer {
 public:
  explicit Lexer(std::string_view source)
      : source_(NormalizeNewlines(source)) {}

  std::vector<Token> Run() {
    while (at_ < source_.size()) LexData();
    Emit(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  // What the end of a tag does to the text after it.
  struct TagEnd {
    size_t length = 0;   // 0: there is no tag end here
    bool strip = false;  // whitespace
    bool trim = false;   // one newline
  };

  void Emit(TokenKind kind, std::string text) {
    tokens_.push_back({kind, std::move(text), line_});
  }
  [[noreturn]] void FailHere(std::string message) const {
    throw SyntaxError{std::move(message), line_};
  }

  char Peek(size_t offset = 0) const {
    return at_ + offset < source_.size() ? source_[at_ + offset] : '\0';
  }
  bool StartsWith(std::string_view text) const {
    return std::string_view(source_).substr(at_).starts_with(text);
  }
  void Advance(size_t count) {
    line_ += static_cast<int>(
        std::count(source_.begin() + at_, source_.begin() + at_ + count, '\n'));
    at_ += count;
  }

  void LexData();
  void EmitData(size_t end, char sign, bool is_variable);
  size_t FindTag() const;
  size_t SkipSpace(size_t offset) const;
  size_t RawTagLength() const;
  void LexRaw(size_t begin_length);
  void LexComment();
  void LexCode(bool is_variable);
  TagEnd MatchEnd(std::string_view closer, bool is_variable) const;
  void FinishTag(const TagEnd& end);
  void LexToken();
  void LexNumber();
  void LexString();
  void LexOperator();
  void AppendEscape(std::string& out, size_t& i);

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last tag ended a line
  std::string brackets_;       // the closers that are awaited
  std::vector<Token> tokens_;
};

size_t Lexer::FindTag() const {
  for (size_t i = at_; i + 1 < source_.size(); ++i) {
    char next = source_[i + 1];
    if (source_[i] == '{' && (next == '%' || next == '{' || next == '#')) {
      return i;
    }
  }
  return std::string::npos;
}

size_t Lexer::SkipSpace(size_t offset) const {
  while (offset < source_.size()) {
    size_t next = offset;
    if (!IsSpace(NextCodePoint(source_, next))) break;
    offset = next;
  }
  return offset;
}

// Emits the text up to `end`, where a tag with `sign` begins.
void Lexer::EmitData(size_t end, char sign, bool is_variable) {
  size_t keep = end;
  if (sign == '-') {
    while (keep > at_) {
      size_t before = PreviousOffset(source_, keep), next = before;
      if (!IsSpace(NextCodePoint(source_, next))) break;
      keep = before;
    }
  } else if (sign != '+' && !is_variable) {
    size_t newline = source_.rfind('\n', end - 1);
    bool has_newline =
        end > at_ && newline != std::string::npos && newline >= at_;
    size_t line_begin = has_newline ? newline + 1 : at_;
    if ((has_newline || line_starting_) && SkipSpace(line_begin) >= end) {
      keep = line_begin;
    }
  }
  if (keep > at_) Emit(TokenKind::kData, source_.substr(at_, keep - at_));
  Advance(end - at_);
}

// The length of `{% raw %}` here, or 0.
size_t Lexer::RawTagLength() const {
  size_t i = at_ + 2;
  if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
  i = SkipSpace(i);
  if (source_.compare(i, 3, "raw") != 0) return 0;
  i = SkipSpace(i + 3);
  if (source_.compare(i, 3, "-%}") == 0) return SkipSpace(i + 3) - at_;
  return source_.compare(i, 2, "%}") == 0 ? i + 2 - at_ : 0;
}

void Lexer::LexData() {
  size_t tag = FindTag();
  if (tag == std::string::npos) {
    Emit(TokenKind::kData, source_.substr(at_));
    Advance(source_.size() - at_);
    return;
  }
  char kind = source_[tag + 1];
  char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
  EmitData(tag, sign, kind == '{');
  if (kind == '%') {
    if (size_t length = RawTagLength()) return LexRaw(length);
  }
  Advance(sign == '-' || sign == '+' ? 3 : 2);
  if (kind == '#') return LexComment();
  LexCode(kind == '{');
}

// Text up to {% endraw %} is taken as it stands.
void Lexer::LexRaw(size_t begin_length) {
  Advance(begin_length);
  line_starting_ = source_[at_ - 1] == '\n';
  for (size_t i = at_; (i = source_.find("{%", i)) != std::string::npos;
       i += 2) {
    size_t word = i + 2;
    char sign = word < source_.size() ? source_[word] : '\0';
    if (sign == '-' || sign == '+') ++word;
    word = SkipSpace(word);
    if (source_.compare(word, 6, "endraw") != 0) continue;
    size_t closer = SkipSpace(word + 6);
    size_t begin = at_;
    int line = line_;
    EmitData(i, sign, false);
    Advance(closer - at_);
    TagEnd end = MatchEnd("%}", false);
    if (end.length) return FinishTag(end);
    FailHere("malformed endraw tag after line " + std::to_string(line) +
             " (offset " + std::to_string(begin) + ")");
  }
  FailHere("missing end of raw directive");
}

void Lexer::LexComment() {
  for (; at_ < source_.size(); Advance(1)) {
    TagEnd end = MatchEnd("#}", false);
    if (end.length) return FinishTag(end);
  }
  FailHere("missing end of comment tag");
}

// The end of a tag here: `closer`, `-` closer or, not for variables, `+`
// closer.
Lexer::TagEnd Lexer::MatchEnd(std::string_view closer, bool is_variable) const {
  std::string_view rest = std::string_view(source_).substr(at_);
  if (rest.starts_with(closer)) return {closer.size(), false, !is_variable};
  if (rest.empty() || !rest.substr(1).starts_with(closer)) return {};
  if (rest[0] == '-') return {closer.size() + 1, true, false};
  if (rest[0] == '+' && !is_variable) return {closer.size() + 1, false, false};
  return {};
}

void Lexer::FinishTag(const TagEnd& end) {
  Advance(end.length);
  if (end.strip) Advance(SkipSpace(at_) - at_);
  if (end.trim && Peek() == '\n') Advance(1);
  line_starting_ = source_[at_ - 1] == '\n';
}

void Lexer::LexCode(bool is_variable) {
  Emit(is_variable ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "");
  std::string_view closer = is_variable ? "}}" : "%}";
  while (at_ < source_.size()) {
    TagEnd end = brackets_.empty() ? MatchEnd(closer, is_variable) : TagEnd{};
    if (end.length) {
      Emit(is_variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, "");
      return FinishTag(end);
    }
    size_t space = SkipSpace(at_) - at_;
    if (space) {
      Advance(space);
    } else {
      LexToken();
    }
  }
  FailHere("the template ends inside a tag");
}

void Lexer::LexToken() {
  char c = Peek();
  if (IsDigit(c)) return LexNumber();
  if (c == '"' || c == '\'') return LexString();
  if (!IsNameStart(c)) return LexOperator();
  size_t length = 1;
  while (IsNamePart(Peek(length))) ++length;
  Emit(TokenKind::kName, source_.substr(at_, length));
  Advance(length);
}

void Lexer::LexNumber() {
  auto digits = [&](size_t i) {
    while (IsDigit(Peek(i)) || (Peek(i) == '_' && IsDigit(Peek(i + 1)))) ++i;
    return i;
  };
  char marker = LowerAscii(Peek(1));
  size_t length = 0;
  bool is_float = false;
  if (Peek() == '0' && (marker == 'x' || marker == 'o' || marker == 'b')) {
    length = 2;
    while (std::isxdigit(static_cast<unsigned char>(Peek(length))) ||
           Peek(length) == '_') {
      ++length;
    }
  } else {
    length = digits(0);
    // `a.0.1` indexes twice; only a number that follows no dot has a fraction.
    bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    if (!after_dot && Peek(length) == '.' && IsDigit(Peek(length + 1))) {
      is_float = true;
      length = digits(length + 1);
    }
    size_t sign = Peek(length + 1) == '+' || Peek(length + 1) == '-';
    if (!after_dot && LowerAscii(Peek(length)) == 'e' &&
        IsDigit(Peek(length + 1 + sign))) {
      is_float = true;
      length = digits(length + 1 + sign);
    }
  }
  std::string text = source_.substr(at_, length);
  std::erase(text, '_');
  Emit(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(text));
  Advance(length);
}

// Appends what the escape at source_[i] == '\\' means; moves i past it.
void Lexer::AppendEscape(std::string& out, size_t& i) {
  static constexpr std::string_view kFrom = "\\'\"abfnrtv";
  static constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
  char c = source_[i + 1];
  if (size_t k = kFrom.find(c); k != std::string_view::npos) {
    out += kTo[k];
    i += 2;
    return;
  }
  if (c == '\n') {  // a continued line
    i += 2;
    return;
  }
  size_t wanted = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  bool octal = c >= '0' && c <= '7';
  if (!wanted && !octal) {  // unknown: stays as it is
    out += '\\';
    ++i;
    return;
  }
  size_t begin = octal ? i + 1 : i + 2, end = begin;
  size_t most = octal ? 3 : wanted;
  while (end < source_.size() && end - begin < most &&
         (octal ? source_[end] >= '0' && source_[end] <= '7'
                : std::isxdigit(static_cast<unsigned char>(source_[end])))) {
    ++end;
  }
  auto code = static_cast<uint32_t>(std::strtoul(
      source_.substr(begin, end - begin).c_str(), nullptr, octal ? 8 : 16));
  bool surrogate = code >= 0xD800 && code < 0xE000;
  if ((!octal && end - begin < wanted) || code > 0x10FFFF || surrogate) {
    FailHere("'" + source_.substr(i, end - i) +
             "' is not the escape of a character");
  }
  AppendCodePoint(out, code);
  i = end;
}

void Lexer::LexString() {
  char quote = Peek();
  std::string text;
  size_t i = at_ + 1;
  while (i < source_.size() && source_[i] != quote) {
    if (source_[i] == '\\' && i + 1 < source_.size()) {
      AppendEscape(text, i);
    } else {
      text += source_[i++];
    }
  }
  if (i >= source_.size()) FailHere("a string is not closed");
  Emit(TokenKind::kString, std::move(text));
  Advance(i + 1 - at_);
}

void Lexer::LexOperator() {
  static constexpr std::array<std::string_view, 26> kOperators = {
      "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
      "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
  auto found =
      std::find_if(kOperators.begin(), kOperators.end(),
                   [&](std::string_view op) { return StartsWith(op); });
  if (found == kOperators.end()) {
    FailHere("unexpected character '" + source_.substr(at_, 1) + "'");
  }
  char c = (*found)[0];
  if (c == '(' || c == '[' || c == '{') {
    brackets_ += c == '(' ? ')' : c == '[' ? ']' : '}';
  } else if (c == ')' || c == ']' || c == '}') {
    if (brackets_.empty()) FailHere(std::string("unexpected '") + c + "'");
    if (brackets_.back() != c) {
      FailHere(std::string("unexpected '") + c + "', expected '" +
               brackets_.back() + "'");
    }
    brackets_.pop_back();
  }
  Emit(TokenKind::kOperator, std::string(*found));
  Advance(found->size());
}

}  // namespace

std::vector<Token> Tokenize(std::string_view source) {
  return Lexer(source).Run();
}

}  // namespace stele::text::jinja
