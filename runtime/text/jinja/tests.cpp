// Tests: {{ operand is name(arguments) }}. See builtins.h.
#include <unordered_map>

#include "stele/runtime/text/jinja/builtins.h"
#include "stele/runtime/text/jinja/interpreter.h"
#include "stele/runtime/text/jinja/operators.h"
#include "stele/runtime/text/jinja/strings.h"

namespace stele::text::jinja {
namespace {

bool Defined(Interpreter&, const Value& v, Arguments&) {
  return !v.IsUndefined();
}
bool IsUndefinedTest(Interpreter&, const Value& v, Arguments&) {
  return v.IsUndefined();
}
bool IsNoneTest(Interpreter&, const Value& v, Arguments&) { return v.IsNone(); }
bool Boolean(Interpreter&, const Value& v, Arguments&) { return v.AsBool(); }
bool True(Interpreter&, const Value& v, Arguments&) {
  return v.AsBool() && *v.AsBool();
}
bool False(Interpreter&, const Value& v, Arguments&) {
  return v.AsBool() && !*v.AsBool();
}
bool Integer(Interpreter&, const Value& v, Arguments&) {
  return v.AsInt() || v.AsBig();
}
bool Float(Interpreter&, const Value& v, Arguments&) { return v.AsFloat(); }
bool NumberTest(Interpreter&, const Value& v, Arguments&) {
  return v.Number() || v.AsBig();
}
bool String(Interpreter&, const Value& v, Arguments&) { return v.AsText(); }
bool Mapping(Interpreter&, const Value& v, Arguments&) { return v.AsDict(); }
bool CallableTest(Interpreter&, const Value& v, Arguments&) {
  // Jinja's Undefined defines __call__, so it counts as callable.
  return v.AsCallable() || v.AsLoop() || v.IsUndefined();
}

bool SequenceTest(Interpreter&, const Value& v, Arguments&) {
  auto* sequence = v.AsSequence();
  return v.AsText() || v.AsDict() || v.IsUndefined() ||
         (sequence && sequence->Subscriptable());
}

bool Iterable(Interpreter&, const Value& v, Arguments&) {
  return v.AsText() || v.AsDict() || v.AsSequence() || v.AsLoop() ||
         v.IsUndefined();
}

Value Modulo(Interpreter& in, const Value& v, const Value& by) {
  return Arithmetic("%", v, by, in.meter());
}
bool Odd(Interpreter& in, const Value& v, Arguments&) {
  return Equal(Modulo(in, v, 2), 1, in.meter());
}
bool Even(Interpreter& in, const Value& v, Arguments&) {
  return Equal(Modulo(in, v, 2), 0, in.meter());
}
bool DivisibleBy(Interpreter& in, const Value& v, Arguments& args) {
  return Equal(Modulo(in, v, args.Required("num")), 0, in.meter());
}

bool SameAs(Interpreter&, const Value& v, Arguments& args) {
  return v.Is(args.Required("other"));
}
bool In(Interpreter& in, const Value& v, Arguments& args) {
  return Contains(args.Required("seq"), v, in.meter());
}

template <bool kUpper>
bool HasCase(Interpreter& in, const Value& v, Arguments&) {
  return IsInCase(in.Str(v), kUpper);
}

bool FilterTest(Interpreter& in, const Value& v, Arguments&) {
  return FindFilter(in.Str(v).bytes);
}
bool TestTest(Interpreter& in, const Value& v, Arguments&) {
  return FindTest(in.Str(v).bytes);
}
bool Escaped(Interpreter&, const Value&, Arguments&) { return false; }

bool CompareTo(std::string_view op, Interpreter& in, const Value& v,
               Arguments& args) {
  return Compare(op, v, args.Required("other"), in.meter());
}
bool Equals(Interpreter& in, const Value& v, Arguments& args) {
  return CompareTo("==", in, v, args);
}
bool Differs(Interpreter& in, const Value& v, Arguments& args) {
  return CompareTo("!=", in, v, args);
}
bool Greater(Interpreter& in, const Value& v, Arguments& args) {
  return CompareTo(">", in, v, args);
}
bool GreaterEqual(Interpreter& in, const Value& v, Arguments& args) {
  return CompareTo(">=", in, v, args);
}
bool LessThan(Interpreter& in, const Value& v, Arguments& args) {
  return CompareTo("<", in, v, args);
}
bool LessEqual(Interpreter& in, const Value& v, Arguments& args) {
  return CompareTo("<=", in, v, args);
}

const std::unordered_map<std::string_view, TestFunction>& Tests() {
  static const std::unordered_map<std::string_view, TestFunction> kTests = {
      {"boolean", Boolean},     {"callable", CallableTest},
      {"defined", Defined},     {"divisibleby", DivisibleBy},
      {"eq", Equals},           {"equalto", Equals},
      {"==", Equals},           {"escaped", Escaped},
      {"even", Even},           {"false", False},
      {"filter", FilterTest},   {"float", Float},
      {"ge", GreaterEqual},     {">=", GreaterEqual},
      {"greaterthan", Greater}, {"gt", Greater},
      {">", Greater},           {"in", In},
      {"integer", Integer},     {"iterable", Iterable},
      {"le", LessEqual},        {"<=", LessEqual},
      {"lessthan", LessThan},   {"lower", HasCase<false>},
      {"lt", LessThan},         {"<", LessThan},
      {"mapping", Mapping},     {"ne", Differs},
      {"!=", Differs},          {"none", IsNoneTest},
      {"number", NumberTest},   {"odd", Odd},
      {"sameas", SameAs},       {"sequence", SequenceTest},
      {"string", String},       {"test", TestTest},
      {"true", True},           {"undefined", IsUndefinedTest},
      {"upper", HasCase<true>},
  };
  return kTests;
}

}  // namespace

TestFunction FindTest(std::string_view name) {
  auto it = Tests().find(name);
  return it == Tests().end() ? nullptr : it->second;
}

}  // namespace stele::text::jinja
