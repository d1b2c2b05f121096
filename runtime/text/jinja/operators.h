// Operators on values, with Python's rules for each pair of types.
#ifndef STELE_RUNTIME_TEXT_JINJA_OPERATORS_H_
#define STELE_RUNTIME_TEXT_JINJA_OPERATORS_H_

#include <string_view>

#include "stele/runtime/text/jinja/value.h"

namespace stele::text::jinja {

// `op` is one of + - * / // % **.
Value Arithmetic(std::string_view op, const Value& a, const Value& b,
                 Meter& meter);
Value Negate(const Value& value);
Value Plus(const Value& value);
// `op` is one of == != < <= > >= in, not in.
bool Compare(std::string_view op, const Value& a, const Value& b, Meter& meter);
bool Contains(const Value& container, const Value& item, Meter& meter);
// "..." % values
Text PercentFormat(const Text& format, const Value& values, Meter& meter);

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_OPERATORS_H_
