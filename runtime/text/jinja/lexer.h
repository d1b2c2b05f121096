// Lexer: a template's source becomes tokens. All whitespace control happens
// here: trim_blocks and lstrip_blocks are on, as transformers sets them, and
// `-` and `+` beside a tag override them.
#ifndef STELE_RUNTIME_TEXT_JINJA_LEXER_H_
#define STELE_RUNTIME_TEXT_JINJA_LEXER_H_

#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/text/jinja/meter.h"

namespace stele::text::jinja {

enum class TokenKind {
  kData,  // text between tags
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,   // text: the unescaped bytes
  kInteger,  // text: digits without underscores
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;

  bool Is(TokenKind k, std::string_view t) const {
    return kind == k && text == t;
  }
  bool IsOperator(std::string_view t) const {
    return Is(TokenKind::kOperator, t);
  }
  bool IsName(std::string_view t) const { return Is(TokenKind::kName, t); }
};

// An Error with the line where it was found.
struct SyntaxError {
  std::string message;
  int line;
};

// Ends with a kEnd token. Throws SyntaxError.
std::vector<Token> Tokenize(std::string_view source);

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_LEXER_H_
