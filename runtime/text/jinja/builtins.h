// The names a template finds ready: filters, tests, methods and globals. Each
// is an entry of one table beside its implementation.
#ifndef STELE_RUNTIME_TEXT_JINJA_BUILTINS_H_
#define STELE_RUNTIME_TEXT_JINJA_BUILTINS_H_

#include <string_view>

#include "stele/runtime/text/jinja/callable.h"
#include "stele/runtime/text/jinja/value.h"

namespace stele::text::jinja {

using FilterFunction = Value (*)(Interpreter&, const Value& operand,
                                 Arguments& arguments);
using TestFunction = bool (*)(Interpreter&, const Value& operand,
                              Arguments& arguments);

// Null if there is none of that name.
FilterFunction FindFilter(std::string_view name);
TestFunction FindTest(std::string_view name);

// A method of a string, list, tuple or dict; an Undefined that says why not for
// methods that would change their object; a plain Undefined for other names.
Value FindMethod(const Value& object, std::string_view name);
Value FindGlobal(std::string_view name);
Value LoopAttribute(const Value& loop, std::string_view name);

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_BUILTINS_H_
