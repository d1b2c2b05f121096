// str.format. Field lookups go through the interpreter, as the sandbox asks.
// See brace_format.h.
#include "stele/runtime/text/jinja/brace_format.h"

#include <algorithm>
#include <cstdio>

#include "stele/runtime/text/jinja/strings.h"
#include "stele/runtime/text/jinja/unicode.h"

namespace stele::text::jinja {
namespace {

// [[fill]align][sign][0][width][,][.precision][type]
struct Spec {
  Text fill{" "};
  char align = 0;
  char sign = '-';
  int64_t width = 0;
  bool comma = false;
  std::optional<int64_t> precision;
  char type = 0;
};

bool IsAlign(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

int64_t TakeNumber(std::string_view spec, size_t& at) {
  int64_t number = 0;
  for (; at < spec.size() && spec[at] >= '0' && spec[at] <= '9'; ++at) {
    number = number * 10 + (spec[at] - '0');
    if (number > kMaxRange) Fail("the width in a format is too large");
  }
  return number;
}

Spec ParseSpec(std::string_view text) {
  Spec spec;
  size_t at = 0, after_fill = 0;
  if (!text.empty()) NextCodePoint(text, after_fill);
  if (after_fill < text.size() && IsAlign(text[after_fill])) {
    spec.fill = Text(std::string(text.substr(0, after_fill)));
    spec.align = text[after_fill];
    at = after_fill + 1;
  } else if (!text.empty() && IsAlign(text[0])) {
    spec.align = text[at++];
  }
  auto peek = [&] { return at < text.size() ? text[at] : '\0'; };
  if (peek() == '+' || peek() == '-' || peek() == ' ') spec.sign = text[at++];
  if (peek() == '0') {
    ++at;
    if (!spec.align) {
      spec.fill = Text("0");
      spec.align = '=';
    }
  }
  spec.width = TakeNumber(text, at);
  if (peek() == ',') {
    spec.comma = true;
    ++at;
  }
  if (peek() == '.') {
    ++at;
    spec.precision = TakeNumber(text, at);
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) {
    Fail("invalid format specifier '" + std::string(text) + "'");
  }
  return spec;
}

// The digits of a number without its sign.
std::string FormatMagnitude(const Spec& spec, const Value& value) {
  char buffer[512];
  double number = std::abs(*value.Number());
  auto integer = value.Integer();
  int precision =
      static_cast<int>(std::min<int64_t>(spec.precision.value_or(6), 100));
  if (integer && (!spec.type || std::string_view("dxXo").find(spec.type) !=
                                    std::string_view::npos)) {
    std::string format = std::string("%ll") + (spec.type ? spec.type : 'd');
    if (format.back() == 'd') format.back() = 'u';
    uint64_t magnitude = *integer < 0 ? 0 - static_cast<uint64_t>(*integer)
                                      : static_cast<uint64_t>(*integer);
    std::snprintf(buffer, sizeof buffer, format.c_str(),
                  static_cast<unsigned long long>(magnitude));
    return buffer;
  }
  if (!spec.type && !spec.precision) return FloatRepr(number);
  if (spec.type == '%') {
    std::snprintf(buffer, sizeof buffer, "%.*f%%", precision, number * 100);
    return buffer;
  }
  char type = spec.type ? spec.type : 'g';
  if (std::string_view("eEfFgG").find(type) == std::string_view::npos) {
    Fail(std::string("unknown format code '") + type + "' for '" +
         value.TypeName() + "'");
  }
  char format[] = {'%', '.', '*', type, '\0'};
  std::snprintf(buffer, sizeof buffer, format, precision, number);
  return buffer;
}

std::string WithCommas(const std::string& digits) {
  size_t whole =
      std::min(digits.find_first_not_of("0123456789"), digits.size());
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i && i < whole && (whole - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

Text FormatNumber(const Spec& spec, const Value& value, Meter& meter) {
  std::string digits = FormatMagnitude(spec, value);
  if (spec.comma) digits = WithCommas(digits);
  bool negative = *value.Number() < 0;
  Text sign(negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign));
  Text text(digits);
  if (spec.align == '=') {
    text = Pad(text, spec.width - static_cast<int64_t>(sign.size()), spec.fill,
               Side::kRight, meter);
  }
  sign.Append(text);
  return sign;
}

Text FormatValue(Interpreter& in, const Value& value, std::string_view text) {
  Meter& meter = in.meter();
  if (text.empty()) return in.Str(value);
  Spec spec = ParseSpec(text);
  Text out;
  char align = spec.align;
  if (value.Number() && !value.AsBool() && spec.type != 's') {
    out = FormatNumber(spec, value, meter);
    if (!align) align = '>';
  } else {
    if (!value.AsText() && !value.AsBool()) {
      Fail("unsupported format string passed to '" + value.TypeName() + "'");
    }
    out = in.Str(value);
    if (spec.precision) {
      out = SliceText(out, std::nullopt, *spec.precision, 1, meter);
    }
  }
  // The side names where the text goes; Pad counts odd spaces differently from
  // format's '^', which puts them on the right.
  if (align == '^') {
    auto length = static_cast<int64_t>(CountCodePoints(out.bytes));
    int64_t missing = std::max<int64_t>(spec.width - length, 0);
    out = Pad(out, length + missing / 2, spec.fill, Side::kRight, meter);
    return Pad(out, spec.width, spec.fill, Side::kLeft, meter);
  }
  return Pad(out, spec.width, spec.fill,
             align == '>' ? Side::kRight : Side::kLeft, meter);
}

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& in, const Text& format,
                 const std::vector<Value>& positional, const Dict& named)
      : in_(in), format_(format), positional_(positional), named_(named) {}

  Text Run() {
    const std::string& bytes = format_.bytes;
    for (size_t at = 0; at < bytes.size();) {
      size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
      out_.Append(format_, at, brace);
      at = brace;
      if (at == bytes.size()) break;
      if (at + 1 < bytes.size() && bytes[at + 1] == bytes[at]) {
        out_.Append(format_, at, at + 1);
        at += 2;
        continue;
      }
      if (bytes[at] == '}') Fail("single '}' encountered in format string");
      size_t close = bytes.find('}', at);
      if (close == std::string::npos) {
        Fail("single '{' encountered in format string");
      }
      Replace(bytes.substr(at + 1, close - at - 1));
      at = close + 1;
    }
    in_.meter().Memory(out_.size());
    return std::move(out_);
  }

 private:
  // One field: name[.attribute|[item]]*[!conversion][:spec]
  void Replace(const std::string& field) {
    if (field.find('{') != std::string::npos) {
      Fail("nested fields in a format string are not supported");
    }
    std::string name = field.substr(0, field.find_first_of("!:"));
    std::string rest = field.substr(name.size());
    Value value = Resolve(name);
    if (rest.starts_with('!')) {
      if (rest.starts_with("!r")) {
        value = ToRepr(value, in_.meter());
      } else if (rest.starts_with("!s")) {
        value = in_.Str(value);
      } else {
        Fail("unknown conversion in the format field '" + field + "'");
      }
      rest.erase(0, 2);
    }
    if (!rest.empty() && rest[0] != ':') {
      Fail("malformed format field '" + field + "'");
    }
    out_.Append(FormatValue(in_, value, rest.empty() ? rest : rest.substr(1)));
  }

  Value Resolve(const std::string& path) {
    size_t at = std::min(path.find_first_of(".["), path.size());
    Value value = Argument(path.substr(0, at));
    while (at < path.size()) {
      if (path[at] == '.') {
        size_t end = std::min(path.find_first_of(".[", at + 1), path.size());
        value = in_.Attribute(value, path.substr(at + 1, end - at - 1));
        at = end;
      } else {
        size_t close = path.find(']', at);
        if (path[at] != '[' || close == std::string::npos) {
          Fail("malformed format field '" + path + "'");
        }
        Text key(path.substr(at + 1, close - at - 1));
        auto index = ParseInt(key, 10);
        value = in_.Item(value, index ? Value(*index) : Value(key));
        at = close + 1;
      }
    }
    if (value.IsUndefined()) Fail(value.Why());
    return value;
  }

  Value Argument(const std::string& name) {
    auto index = name.empty() ? std::optional<int64_t>(next_++)
                              : ParseInt(Text(name), 10);
    if (!index) {
      if (const Value* value = named_.Find(name)) return *value;
      Fail("the format has no value for '" + name + "'");
    }
    if (*index < 0 || *index >= static_cast<int64_t>(positional_.size())) {
      Fail("the format has no argument " + std::to_string(*index));
    }
    return positional_[*index];
  }

  Interpreter& in_;
  const Text& format_;
  const std::vector<Value>& positional_;
  const Dict& named_;
  int64_t next_ = 0;
  Text out_;
};

}  // namespace

Text BraceFormat(Interpreter& in, const Text& format,
                 const std::vector<Value>& positional, const Dict& named) {
  return BraceFormatter(in, format, positional, named).Run();
}

}  // namespace stele::text::jinja
