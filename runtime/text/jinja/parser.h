// Parser: tokens become a syntax tree.
#ifndef STELE_RUNTIME_TEXT_JINJA_PARSER_H_
#define STELE_RUNTIME_TEXT_JINJA_PARSER_H_

#include <string_view>

#include "stele/runtime/text/jinja/ast.h"

namespace stele::text::jinja {

// Throws SyntaxError.
Block ParseTemplate(std::string_view source);

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_PARSER_H_
