// Parser: tokens become a syntax tree.
#ifndef STELE_RUNTIME_TEXT_JINJA_PARSER_H_
#define STELE_RUNTIME_TEXT_JINJA_PARSER_H_

#include <string>
#include <string_view>

#include "stele/runtime/text/jinja/ast.h"

namespace stele::text::jinja {

struct ParsedTemplate {
  Block block;
  // The first filter or test that does not exist: "there is no filter 'x'", and
  // its line. Only rendering what applies it fails. Empty: all exist.
  std::string unknown;
  int unknown_line = 0;
};

// Throws SyntaxError.
ParsedTemplate ParseTemplate(std::string_view source);

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_PARSER_H_
