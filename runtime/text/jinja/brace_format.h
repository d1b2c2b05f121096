// Python's str.format: "{} {0} {name.key[0]:>8}".
#ifndef STELE_RUNTIME_TEXT_JINJA_BRACE_FORMAT_H_
#define STELE_RUNTIME_TEXT_JINJA_BRACE_FORMAT_H_

#include <vector>

#include "stele/runtime/text/jinja/interpreter.h"

namespace stele::text::jinja {

Text BraceFormat(Interpreter& in, const Text& format,
                 const std::vector<Value>& positional, const Dict& named);

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_BRACE_FORMAT_H_
