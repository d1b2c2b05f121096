// Operators on values. See operators.h.
#include "stele/runtime/text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "stele/runtime/text/jinja/strings.h"

namespace stele::text::jinja {
namespace {

[[noreturn]] void FailOverflow(std::string_view op) {
  Fail("the result of " + std::string(op) + " does not fit in 64 bits");
}

[[noreturn]] void FailTypes(std::string_view op, const Value& a,
                            const Value& b) {
  if (a.IsUndefined()) Fail(a.Why());
  if (b.IsUndefined()) Fail(b.Why());
  if (op == "+" && a.AsText()) {
    Fail("can only concatenate str (not \"" + b.TypeName() + "\") to str");
  }
  Fail("unsupported operand types for " + std::string(op) + ": '" +
       a.TypeName() + "' and '" + b.TypeName() + "'");
}

int64_t FloorDivide(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

int64_t FloorRemainder(int64_t a, int64_t b) {
  if (b == -1) return 0;  // INT64_MIN % -1 overflows
  int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double FloorModulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  return rest;
}

int64_t IntegerPower(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent & 1 && __builtin_mul_overflow(result, base, &result)) {
      FailOverflow("**");
    }
    exponent >>= 1;
    if (exponent && __builtin_mul_overflow(base, base, &base)) {
      FailOverflow("**");
    }
  }
  return result;
}

Value IntegerArithmetic(std::string_view op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    if (b < 0) {
      if (a == 0) Fail("0 cannot be raised to a negative power");
      return std::pow(static_cast<double>(a), static_cast<double>(b));
    }
    result = IntegerPower(a, b);
  } else {
    if (b == 0) Fail("division by zero");
    if (op == "/") return static_cast<double>(a) / static_cast<double>(b);
    if (op == "%") return FloorRemainder(a, b);
    overflow = a == INT64_MIN && b == -1;
    if (!overflow) result = FloorDivide(a, b);
  }
  if (overflow) FailOverflow(op);
  return result;
}

Value FloatArithmetic(std::string_view op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") {
    double result = std::pow(a, b);
    if (std::isnan(result) && !std::isnan(a) && !std::isnan(b)) {
      Fail("a negative number has no real power of " + std::to_string(b));
    }
    return result;
  }
  if (b == 0) Fail("division by zero");
  if (op == "/") return a / b;
  if (op == "%") return FloorModulo(a, b);
  return std::floor(a / b);
}

Value RepeatSequence(const Sequence& sequence, int64_t times, Meter& meter) {
  std::vector<Value> items;
  for (int64_t i = 0; i < times && !sequence.items.empty(); ++i) {
    meter.Step(sequence.items.size());
    meter.Memory(sequence.items.size() * sizeof(Value));
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  }
  return MakeSequence(sequence.kind, std::move(items), meter);
}

bool IsRow(const Sequence* sequence) {
  return sequence && sequence->kind <= Sequence::Kind::kTuple;
}

// text * n, list * n and the other way round; null if it is neither.
const Value* RowOperand(const Value& a, const Value& b) {
  auto is_row = [](const Value& v) {
    return v.AsText() || IsRow(v.AsSequence());
  };
  if (is_row(a) && b.Integer()) return &a;
  if (is_row(b) && a.Integer()) return &b;
  return nullptr;
}

// One conversion of a % format: flags, width, precision, type.
struct Conversion {
  std::string key;
  bool has_key = false;
  std::string flags;
  std::optional<int64_t> width;
  std::optional<int64_t> precision;
  char type = 0;
};

class PercentFormatter {
 public:
  PercentFormatter(const Text& format, const Value& values, Meter& meter)
      : format_(format), values_(values), meter_(meter) {}

  Text Run() {
    while (at_ < format_.size()) {
      size_t percent = format_.bytes.find('%', at_);
      if (percent == std::string::npos) percent = format_.size();
      out_.Append(format_, at_, percent);
      at_ = percent;
      if (at_ < format_.size()) Convert(Parse());
    }
    auto* tuple = values_.AsSequence();
    bool left = tuple && tuple->kind == Sequence::Kind::kTuple
                    ? next_ < tuple->items.size()
                    : !next_ && !values_.AsDict();
    if (left) Fail("not all arguments converted during string formatting");
    meter_.Memory(out_.size());
    return std::move(out_);
  }

 private:
  char Peek() const { return at_ < format_.size() ? format_.bytes[at_] : '\0'; }

  std::optional<int64_t> ParseNumber() {
    std::optional<int64_t> number;
    while (Peek() >= '0' && Peek() <= '9') {
      number = number.value_or(0) * 10 + (format_.bytes[at_++] - '0');
      if (*number > kMaxRange) Fail("the width in a format is too large");
    }
    return number;
  }

  Conversion Parse() {
    Conversion c;
    ++at_;
    if (Peek() == '(') {
      size_t close = format_.bytes.find(')', at_);
      if (close == std::string::npos) Fail("incomplete format key");
      c.has_key = true;
      c.key = format_.bytes.substr(at_ + 1, close - at_ - 1);
      at_ = close + 1;
    }
    while (Peek() &&
           std::string_view("-+ 0#").find(Peek()) != std::string_view::npos) {
      c.flags += format_.bytes[at_++];
    }
    c.width = ParseNumber();
    if (Peek() == '.') {
      ++at_;
      c.precision = ParseNumber().value_or(0);
    }
    c.type = Peek();
    if (!c.type) Fail("incomplete format");
    ++at_;
    return c;
  }

  const Value& Argument(const Conversion& c) {
    if (c.has_key) {
      auto* dict = values_.AsDict();
      if (!dict) Fail("format requires a mapping");
      const Value* value = dict->Find(c.key);
      if (!value) Fail("the format has no value for '" + c.key + "'");
      return *value;
    }
    auto* tuple = values_.AsSequence();
    if (!tuple || tuple->kind != Sequence::Kind::kTuple) {
      if (next_++) Fail("not enough arguments for format string");
      return values_;
    }
    if (next_ >= tuple->items.size()) {
      Fail("not enough arguments for format string");
    }
    return tuple->items[next_++];
  }

  void Convert(const Conversion& c) {
    if (c.type == '%') return out_.Append("%");
    const Value& value = Argument(c);
    Text text;
    if (c.type == 's') {
      text = ToStr(value, meter_);
    } else if (c.type == 'r') {
      text = ToRepr(value, meter_);
    } else {
      text = Number(c, value);
    }
    if (c.precision && (c.type == 's' || c.type == 'r')) {
      text = SliceText(text, std::nullopt, *c.precision, 1, meter_);
    }
    bool left = c.flags.find('-') != std::string::npos;
    out_.Append(Pad(text, c.width.value_or(0), Text(" "),
                    left ? Side::kLeft : Side::kRight, meter_));
  }

  // Numbers go through printf, whose formats are Python's.
  Text Number(const Conversion& c, const Value& value) {
    std::string flags = "%" + c.flags;
    if (c.width) flags += std::to_string(*c.width);
    if (c.precision) flags += "." + std::to_string(*c.precision);
    char buffer[512];
    auto number = value.Number();
    if (!number) {
      Fail(std::string("%") + c.type + " format: a number is required, not " +
           value.TypeName());
    }
    if (c.width.value_or(0) > 400 || c.precision.value_or(0) > 100) {
      Fail("the width of a number in a format is too large");
    }
    if (std::string_view("diuxXo").find(c.type) != std::string_view::npos) {
      char type = c.type == 'i' || c.type == 'u' ? 'd' : c.type;
      auto integer = value.Integer();
      if (!integer && !(std::fabs(*number) < 9.2e18)) FailOverflow("%d");
      std::snprintf(buffer, sizeof buffer, (flags + "ll" + type).c_str(),
                    integer ? static_cast<long long>(*integer)
                            : static_cast<long long>(*number));
    } else if (std::string_view("eEfFgG").find(c.type) !=
               std::string_view::npos) {
      std::snprintf(buffer, sizeof buffer, (flags + c.type).c_str(), *number);
    } else {
      Fail(std::string("unsupported format character '") + c.type + "'");
    }
    return Text(buffer);
  }

  const Text& format_;
  const Value& values_;
  Meter& meter_;
  size_t at_ = 0;
  size_t next_ = 0;
  Text out_;
};

}  // namespace

Text PercentFormat(const Text& format, const Value& values, Meter& meter) {
  return PercentFormatter(format, values, meter).Run();
}

Value Arithmetic(std::string_view op, const Value& a, const Value& b,
                 Meter& meter) {
  if (auto ia = a.Integer(), ib = b.Integer(); ia && ib) {
    return IntegerArithmetic(op, *ia, *ib);
  }
  if (auto da = a.Number(), db = b.Number(); da && db) {
    return FloatArithmetic(op, *da, *db);
  }
  auto *text = a.AsText(), *other = b.AsText();
  if (op == "%" && text) return PercentFormat(*text, b, meter);
  if (op == "+" && text && other) {
    meter.Memory(text->size() + other->size());
    Text sum = *text;
    sum.Append(*other);
    return sum;
  }
  auto *row = a.AsSequence(), *more = b.AsSequence();
  if (op == "+" && IsRow(row) && IsRow(more) && row->kind == more->kind) {
    meter.Step(row->items.size() + more->items.size());
    std::vector<Value> items = row->items;
    items.insert(items.end(), more->items.begin(), more->items.end());
    return MakeSequence(row->kind, std::move(items), meter);
  }
  if (op == "*") {
    if (const Value* operand = RowOperand(a, b)) {
      int64_t times = *(operand == &a ? b : a).Integer();
      if (auto* repeated = operand->AsText()) {
        return Repeat(*repeated, times, meter);
      }
      return RepeatSequence(*operand->AsSequence(), times, meter);
    }
  }
  FailTypes(op, a, b);
}

Value Negate(const Value& value) {
  if (auto i = value.Integer()) {
    if (*i == INT64_MIN) FailOverflow("-");
    return -*i;
  }
  if (auto* d = value.AsFloat()) return -*d;
  if (value.IsUndefined()) Fail(value.Why());
  Fail("bad operand type for unary -: '" + value.TypeName() + "'");
}

Value Plus(const Value& value) {
  if (auto i = value.Integer()) return *i;
  if (value.AsFloat()) return value;
  if (value.IsUndefined()) Fail(value.Why());
  Fail("bad operand type for unary +: '" + value.TypeName() + "'");
}

bool Contains(const Value& container, const Value& item, Meter& meter) {
  if (auto* text = container.AsText()) {
    auto* needle = item.AsText();
    if (!needle) {
      Fail("'in <string>' requires string as left operand, not " +
           item.TypeName());
    }
    meter.Step(text->size() / 256 + 1);
    return text->bytes.find(needle->bytes) != std::string::npos;
  }
  if (auto* dict = container.AsDict()) return dict->Find(item, meter);
  if (auto* sequence = container.AsSequence()) {
    if (sequence->drained) return false;
    if (!sequence->Sized()) sequence->drained = true;
    return std::any_of(
        sequence->items.begin(), sequence->items.end(),
        [&](const Value& mine) { return Equal(mine, item, meter); });
  }
  if (container.IsUndefined()) return false;
  Fail("argument of type '" + container.TypeName() + "' is not iterable");
}

bool Compare(std::string_view op, const Value& a, const Value& b,
             Meter& meter) {
  if (op == "==") return Equal(a, b, meter);
  if (op == "!=") return !Equal(a, b, meter);
  if (op == "<") return Less(a, b, meter);
  if (op == ">") return Less(b, a, meter);
  if (op == "in") return Contains(b, a, meter);
  if (op == "not in") return !Contains(b, a, meter);
  // <= and >=: equal or less, so that NaN is neither.
  bool less = op == "<=" ? Less(a, b, meter) : Less(b, a, meter);
  return less || Equal(a, b, meter);
}

}  // namespace stele::text::jinja
