// Filters: {{ operand | name(arguments) }}. Signatures are Jinja's; tojson is
// the one that transformers puts in its place. See builtins.h.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <unordered_map>

#include "stele/runtime/text/jinja/builtins.h"
#include "stele/runtime/text/jinja/interpreter.h"
#include "stele/runtime/text/jinja/operators.h"
#include "stele/runtime/text/jinja/stable_sort.h"
#include "stele/runtime/text/jinja/strings.h"
#include "stele/runtime/text/jinja/unicode.h"

namespace stele::text::jinja {
namespace {

using Kind = Sequence::Kind;

std::optional<Text> TextArgument(Interpreter& in, Arguments& args,
                                 std::string_view name) {
  const Value* value = args.Optional(name);
  if (!value || value->IsNone()) return std::nullopt;
  return in.Str(*value);
}

// A path such as "function.name" or an index, as map() and sort() take it.
class AttributePath {
 public:
  AttributePath(Interpreter& in, const Value& path) : in_(in) {
    if (path.IsNone() || path.IsUndefined()) return;
    auto* text = path.AsText();
    if (!text) {
      parts_.push_back(path);
      return;
    }
    Text dot(".");
    for (Text& part : Split(*text, &dot, -1, false, in.meter())) {
      auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
      bool index = !part.empty() &&
                   std::all_of(part.bytes.begin(), part.bytes.end(), is_digit);
      parts_.push_back(index ? Value(ParseInt(part, 10).value())
                             : Value(std::move(part)));
    }
  }

  Value Get(Value item, const Value* otherwise = nullptr) const {
    for (const Value& part : parts_) {
      item = in_.Item(item, part);
      if (otherwise && !otherwise->IsNone() && item.IsUndefined()) {
        item = *otherwise;
      }
    }
    return item;
  }

 private:
  Interpreter& in_;
  std::vector<Value> parts_;
};

Value FoldCase(Interpreter& in, const Value& value) {
  auto* text = value.AsText();
  return text ? Value(Lower(*text, in.meter())) : value;
}

// A value with the key it is sorted by.
struct Keyed {
  std::vector<Value> key;
  Value value;
};

void SortKeyed(std::vector<Keyed>& rows, bool reverse, Meter& meter) {
  auto less = [&](const Keyed& a, const Keyed& b) {
    for (size_t i = 0; i < a.key.size(); ++i) {
      if (!Equal(a.key[i], b.key[i], meter)) {
        return Less(a.key[i], b.key[i], meter);
      }
    }
    return false;
  };
  // Python's reverse keeps equal items in their order.
  StableSort(rows, [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(b, a) : less(a, b);
  });
}

Value TakeValues(std::vector<Keyed> rows, Meter& meter) {
  std::vector<Value> values;
  for (Keyed& row : rows) values.push_back(std::move(row.value));
  return MakeList(std::move(values), meter);
}

// ---- text

Value Trim(Interpreter& in, const Value& v, Arguments& args) {
  auto chars = TextArgument(in, args, "chars");
  args.Done();
  return Strip(in.Str(v), chars ? &*chars : nullptr, Side::kBoth, in.meter());
}

template <Text (*kMap)(const Text&, Meter&)>
Value MapText(Interpreter& in, const Value& v, Arguments& args) {
  args.Done();
  return kMap(in.Str(v), in.meter());
}

Value ToString(Interpreter& in, const Value& v, Arguments& args) {
  args.Done();
  return v.AsText() ? v : Value(in.Str(v));
}

Value ReplaceText(Interpreter& in, const Value& v, Arguments& args) {
  Text from = in.Str(args.Required("old"));
  Text to = in.Str(args.Required("new"));
  const Value* count = args.Optional("count");
  args.Done();
  int64_t most = count ? count->Integer().value_or(-1) : -1;
  return Replace(in.Str(v), from, to, most, in.meter());
}

Value IndentText(Interpreter& in, const Value& v, Arguments& args) {
  const Value* width = args.Optional("width");
  bool first = args.Flag("first", false), blank = args.Flag("blank", false);
  args.Done();
  Meter& meter = in.meter();
  Text indent =
      width && width->AsText()
          ? *width->AsText()
          : Repeat(Text(" "), width ? width->Integer().value_or(4) : 4, meter);
  Text text = in.Str(v);
  text.Append("\n");
  std::vector<Text> lines = SplitLines(text, false, meter);
  Text out;
  for (size_t i = 0; i < lines.size(); ++i) {
    bool indented = i == 0 ? first : blank || !lines[i].empty();
    meter.Memory(lines[i].size() + indent.size() + 1);
    if (i) out.Append("\n");
    if (indented) out.Append(indent);
    out.Append(lines[i]);
  }
  return out;
}

Value FormatText(Interpreter& in, const Value& v, Arguments& args) {
  auto named = args.TakeNamed();
  auto positional = args.TakePositional();
  if (!named.empty() && !positional.empty()) {
    Fail("filter 'format' takes positional or named arguments, not both");
  }
  Value values;
  if (named.empty()) {
    values = MakeTuple(std::move(positional), in.meter());
  } else {
    auto dict = std::make_shared<Dict>();
    for (auto& [name, value] : named) {
      dict->Set(Value::String(name), value, in.meter());
    }
    values = dict;
  }
  return PercentFormat(in.Str(v), values, in.meter());
}

Value CenterText(Interpreter& in, const Value& v, Arguments& args) {
  int64_t width = args.Int("width", 80);
  args.Done();
  return Pad(in.Str(v), width, Text(" "), Side::kBoth, in.meter());
}

Value WordCount(Interpreter& in, const Value& v, Arguments& args) {
  args.Done();
  Text text = in.Str(v);
  int64_t words = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    char32_t code = NextCodePoint(text.bytes, at);
    bool letter = IsAlpha(code) || IsNumeric(code) || code == '_';
    words += letter && !in_word;
    in_word = letter;
  }
  return words;
}

Value ToJsonFilter(Interpreter& in, const Value& v, Arguments& args) {
  JsonStyle style;
  style.ensure_ascii = args.Flag("ensure_ascii", false);
  const Value* indent = args.Optional("indent");
  const Value* separators = args.Optional("separators");
  style.sort_keys = args.Flag("sort_keys", false);
  args.Done();
  if (indent && !indent->IsNone()) {
    if (auto* text = indent->AsText()) {
      style.indent = text->bytes;
    } else if (auto width = indent->Integer()) {
      style.indent = Repeat(Text(" "), *width, in.meter()).bytes;
    } else {
      args.FailType("indent", *indent, "an integer or a string");
    }
    style.item_separator = ",";
  }
  if (separators && !separators->IsNone()) {
    auto pair = in.Iterate(*separators);
    if (pair.size() != 2) Fail("tojson separators must be two strings");
    style.item_separator = in.Str(pair[0]).bytes;
    style.key_separator = in.Str(pair[1]).bytes;
  }
  return ToJson(v, style, in.meter());
}

// ---- numbers

Value Abs(Interpreter&, const Value& v, Arguments& args) {
  args.Done();
  if (auto i = v.Integer()) return *i < 0 ? Negate(v) : Value(*i);
  if (auto* d = v.AsFloat()) return std::fabs(*d);
  Fail("bad operand type for abs(): '" + v.TypeName() + "'");
}

Value FromFloat(double number, const Value& otherwise) {
  if (std::isnan(number) || std::isinf(number)) return otherwise;
  if (std::fabs(number) >= 9.2e18) Fail("the integer does not fit in 64 bits");
  return static_cast<int64_t>(number);
}

Value ToInt(Interpreter&, const Value& v, Arguments& args) {
  const Value* given = args.Optional("default");
  int64_t base = args.Int("base", 10);
  args.Done();
  Value otherwise = given ? *given : Value(0);
  if (v.IsUndefined()) Fail(v.Why());
  if (auto i = v.Integer()) return *i;
  if (auto* d = v.AsFloat()) return FromFloat(*d, otherwise);
  auto* text = v.AsText();
  if (!text) return otherwise;
  if (auto number = ParseInt(*text, base)) return *number;
  if (auto number = ParseFloat(*text)) return FromFloat(*number, otherwise);
  return otherwise;
}

Value ToFloat(Interpreter&, const Value& v, Arguments& args) {
  const Value* given = args.Optional("default");
  args.Done();
  if (v.IsUndefined()) Fail(v.Why());
  if (auto number = v.Number()) return *number;
  if (auto* text = v.AsText()) {
    if (auto number = ParseFloat(*text)) return *number;
  }
  return given ? *given : Value(0.0);
}

// Python rounds the exact decimal value half to even, as printf does.
double RoundTo(double number, int64_t digits) {
  if (digits < 0) {
    double scale = std::pow(10.0, -static_cast<double>(digits));
    return std::nearbyint(number / scale) * scale;
  }
  char buffer[512];
  std::snprintf(buffer, sizeof buffer, "%.*f",
                static_cast<int>(std::min<int64_t>(digits, 100)), number);
  return std::strtod(buffer, nullptr);
}

Value Round(Interpreter& in, const Value& v, Arguments& args) {
  int64_t digits = args.Int("precision", 0);
  const Value* given = args.Optional("method");
  args.Done();
  std::string method = given ? in.Str(*given).bytes : "common";
  if (v.IsUndefined()) Fail(v.Why());
  auto number = v.Number();
  if (!number) Fail("type '" + v.TypeName() + "' cannot be rounded");
  if (method == "common") {
    if (auto i = v.Integer(); i && digits >= 0) return *i;
    double rounded = RoundTo(*number, digits);
    return v.Integer() ? FromFloat(rounded, v) : Value(rounded);
  }
  double scale = std::pow(10.0, static_cast<double>(digits));
  if (method == "ceil") return std::ceil(*number * scale) / scale;
  if (method == "floor") return std::floor(*number * scale) / scale;
  Fail("round method must be common, ceil or floor, not '" + method + "'");
}

Value Sum(Interpreter& in, const Value& v, Arguments& args) {
  const Value* attribute = args.Optional("attribute");
  const Value* start = args.Optional("start");
  args.Done();
  AttributePath path(in, attribute ? *attribute : Value());
  Value total = start ? *start : Value(0);
  for (const Value& item : in.Iterate(v)) {
    total = Arithmetic("+", total, path.Get(item), in.meter());
  }
  return total;
}

// ---- rows

Value Length(Interpreter&, const Value& v, Arguments& args) {
  args.Done();
  size_t length = 0;
  if (auto* text = v.AsText()) {
    length = CountCodePoints(text->bytes);
  } else if (auto* dict = v.AsDict()) {
    length = dict->size();
  } else if (auto* sequence = v.AsSequence(); sequence && sequence->Sized()) {
    length = sequence->items.size();
  } else if (!v.IsUndefined()) {
    Fail("object of type '" + v.TypeName() + "' has no len()");
  }
  return static_cast<int64_t>(length);
}

Value Default(Interpreter&, const Value& v, Arguments& args) {
  const Value* otherwise = args.Optional("default_value");
  bool boolean = args.Flag("boolean", false);
  args.Done();
  if (!v.IsUndefined() && (!boolean || v.Truthy())) return v;
  return otherwise ? *otherwise : Value::String("");
}

Value First(Interpreter& in, const Value& v, Arguments& args) {
  args.Done();
  auto items = in.Iterate(v);
  return items.empty() ? Value::Missing("no first item, the sequence was empty")
                       : items.front();
}

Value Last(Interpreter& in, const Value& v, Arguments& args) {
  args.Done();
  auto* sequence = v.AsSequence();
  if (sequence && !sequence->Sized()) Fail("a generator is not reversible");
  auto items = in.Iterate(v);
  return items.empty() ? Value::Missing("no last item, the sequence was empty")
                       : items.back();
}

Value ListOf(Interpreter& in, const Value& v, Arguments& args) {
  args.Done();
  return MakeList(in.Iterate(v), in.meter());
}

Value JoinItems(Interpreter& in, const Value& v, Arguments& args) {
  auto separator = TextArgument(in, args, "d");
  const Value* attribute = args.Optional("attribute");
  args.Done();
  AttributePath path(in, attribute ? *attribute : Value());
  std::vector<Text> parts;
  for (const Value& item : in.Iterate(v)) {
    parts.push_back(in.Str(path.Get(item)));
  }
  return Join(separator.value_or(Text()), parts, in.meter());
}

Value Reverse(Interpreter& in, const Value& v, Arguments& args) {
  args.Done();
  if (auto* text = v.AsText()) {
    return SliceText(*text, std::nullopt, std::nullopt, -1, in.meter());
  }
  auto items = in.Iterate(v);
  std::reverse(items.begin(), items.end());
  return MakeSequence(Kind::kIterator, std::move(items), in.meter());
}

Value Items(Interpreter& in, const Value& v, Arguments& args) {
  args.Done();
  std::vector<Value> pairs;
  if (auto* dict = v.AsDict()) {
    for (const auto& [key, value] : dict->entries()) {
      pairs.push_back(MakeTuple({key, value}, in.meter()));
    }
  } else if (!v.IsUndefined()) {
    Fail("filter 'items' needs a mapping, not '" + v.TypeName() + "'");
  }
  return MakeSequence(Kind::kIterator, std::move(pairs), in.meter());
}

Value DictSort(Interpreter& in, const Value& v, Arguments& args) {
  bool case_sensitive = args.Flag("case_sensitive", false);
  const Value* by = args.Optional("by");
  bool reverse = args.Flag("reverse", false);
  args.Done();
  std::string field = by ? in.Str(*by).bytes : "key";
  if (field != "key" && field != "value") {
    Fail("dictsort sorts by 'key' or 'value', not '" + field + "'");
  }
  if (!v.AsDict()) Fail("dictsort needs a mapping, not '" + v.TypeName() + "'");
  std::vector<Keyed> rows;
  for (const auto& [key, value] : v.AsDict()->entries()) {
    Value sort_key = field == "key" ? key : value;
    if (!case_sensitive) sort_key = FoldCase(in, sort_key);
    rows.push_back({{sort_key}, MakeTuple({key, value}, in.meter())});
  }
  SortKeyed(rows, reverse, in.meter());
  return TakeValues(std::move(rows), in.meter());
}

Value Sort(Interpreter& in, const Value& v, Arguments& args) {
  bool reverse = args.Flag("reverse", false);
  bool case_sensitive = args.Flag("case_sensitive", false);
  const Value* attribute = args.Optional("attribute");
  args.Done();
  std::vector<AttributePath> paths;
  if (attribute && attribute->AsText()) {
    Text comma(",");
    for (Text& part :
         Split(*attribute->AsText(), &comma, -1, false, in.meter())) {
      paths.emplace_back(in, Value(std::move(part)));
    }
  } else {
    paths.emplace_back(in, attribute ? *attribute : Value());
  }
  std::vector<Keyed> rows;
  for (Value& item : in.Iterate(v)) {
    Keyed row;
    for (const AttributePath& path : paths) {
      Value key = path.Get(item);
      row.key.push_back(case_sensitive ? key : FoldCase(in, key));
    }
    row.value = std::move(item);
    rows.push_back(std::move(row));
  }
  SortKeyed(rows, reverse, in.meter());
  return TakeValues(std::move(rows), in.meter());
}

Value Unique(Interpreter& in, const Value& v, Arguments& args) {
  bool case_sensitive = args.Flag("case_sensitive", false);
  const Value* attribute = args.Optional("attribute");
  args.Done();
  AttributePath path(in, attribute ? *attribute : Value());
  Dict seen;
  std::vector<Value> items;
  for (Value& item : in.Iterate(v)) {
    Value key = path.Get(item);
    if (!case_sensitive) key = FoldCase(in, key);
    if (seen.Find(key, in.meter())) continue;
    seen.Set(key, true, in.meter());
    items.push_back(std::move(item));
  }
  return MakeSequence(Kind::kIterator, std::move(items), in.meter());
}

template <bool kLargest>
Value Extreme(Interpreter& in, const Value& v, Arguments& args) {
  bool case_sensitive = args.Flag("case_sensitive", false);
  const Value* attribute = args.Optional("attribute");
  args.Done();
  AttributePath path(in, attribute ? *attribute : Value());
  Value best = Value::Missing("no aggregated item, the sequence was empty");
  Value best_key;
  bool first = true;
  for (Value& item : in.Iterate(v)) {
    Value key = path.Get(item);
    if (!case_sensitive) key = FoldCase(in, key);
    bool better = first || (kLargest ? Less(best_key, key, in.meter())
                                     : Less(key, best_key, in.meter()));
    first = false;
    if (!better) continue;
    best = std::move(item);
    best_key = std::move(key);
  }
  return best;
}

Value Map(Interpreter& in, const Value& v, Arguments& args) {
  std::vector<Value> results;
  if (args.positional.empty() && args.OptionalNamed("attribute")) {
    AttributePath path(in, *args.OptionalNamed("attribute"));
    const Value* otherwise = args.OptionalNamed("default");
    args.Done();
    for (const Value& item : in.Iterate(v)) {
      results.push_back(path.Get(item, otherwise));
    }
  } else {
    std::string name = in.Str(args.Required("filter")).bytes;
    Arguments rest("filter '" + name + "'");
    rest.positional = args.TakePositional();
    rest.named = args.TakeNamed();
    for (const Value& item : in.Iterate(v)) {
      Arguments call = rest;
      results.push_back(in.Filter(name, item, call));
    }
  }
  return MakeSequence(Kind::kIterator, std::move(results), in.meter());
}

template <bool kByAttribute, bool kWanted>
Value Select(Interpreter& in, const Value& v, Arguments& args) {
  AttributePath path(in, kByAttribute ? args.Required("attribute") : Value());
  const Value* test = args.Optional("test");
  std::string name = test ? in.Str(*test).bytes : "";
  Arguments rest("test '" + name + "'");
  rest.positional = args.TakePositional();
  rest.named = args.TakeNamed();
  std::vector<Value> kept;
  for (Value& item : in.Iterate(v)) {
    Value subject = path.Get(item);
    Arguments call = rest;
    bool passes = test ? in.Test(name, subject, call) : subject.Truthy();
    if (passes == kWanted) kept.push_back(std::move(item));
  }
  return MakeSequence(Kind::kIterator, std::move(kept), in.meter());
}

Value Batch(Interpreter& in, const Value& v, Arguments& args) {
  int64_t size = args.Int("linecount", 0);
  const Value* fill = args.Optional("fill_with");
  args.Done();
  if (size < 1) Fail("filter 'batch' needs a positive linecount");
  std::vector<Value> rows, row;
  auto flush = [&] {
    rows.push_back(MakeList(std::exchange(row, {}), in.meter()));
  };
  for (Value& item : in.Iterate(v)) {
    if (static_cast<int64_t>(row.size()) == size) flush();
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    while (fill && !fill->IsNone() && static_cast<int64_t>(row.size()) < size) {
      in.meter().Step();
      row.push_back(*fill);
    }
    flush();
  }
  return MakeSequence(Kind::kIterator, std::move(rows), in.meter());
}

Value SliceColumns(Interpreter& in, const Value& v, Arguments& args) {
  int64_t count = args.Int("slices", 0);
  const Value* fill = args.Optional("fill_with");
  args.Done();
  if (count < 1 || count > kMaxRange) {
    Fail("filter 'slice' needs a number of slices from 1 to " +
         std::to_string(kMaxRange));
  }
  auto items = in.Iterate(v);
  auto length = static_cast<int64_t>(items.size());
  std::vector<Value> slices;
  int64_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    in.meter().Step();
    int64_t take = length / count + (i < length % count);
    std::vector<Value> slice(items.begin() + at, items.begin() + at + take);
    if (fill && !fill->IsNone() && i >= length % count) slice.push_back(*fill);
    slices.push_back(MakeList(std::move(slice), in.meter()));
    at += take;
  }
  return MakeSequence(Kind::kIterator, std::move(slices), in.meter());
}

Value Attr(Interpreter& in, const Value& v, Arguments& args) {
  Text name = in.Str(args.Required("name"));
  args.Done();
  // Unlike a dot, the filter does not look at the keys of a dict.
  if (!v.AsDict()) return in.Attribute(v, name.bytes);
  Value method = FindMethod(v, name.bytes);
  if (!method.IsUndefined()) return method;
  return Value::Missing("'dict object' has no attribute '" + name.bytes + "'");
}

Value Safe(Interpreter& in, const Value& v, Arguments& args) {
  return ToString(in, v, args);
}

const std::unordered_map<std::string_view, FilterFunction>& Filters() {
  static const std::unordered_map<std::string_view, FilterFunction> kFilters = {
      {"abs", Abs},
      {"attr", Attr},
      {"batch", Batch},
      {"capitalize", MapText<Capitalize>},
      {"center", CenterText},
      {"count", Length},
      {"d", Default},
      {"default", Default},
      {"dictsort", DictSort},
      {"e", MapText<EscapeHtml>},
      {"escape", MapText<EscapeHtml>},
      {"first", First},
      {"float", ToFloat},
      {"forceescape", MapText<EscapeHtml>},
      {"format", FormatText},
      {"indent", IndentText},
      {"int", ToInt},
      {"items", Items},
      {"join", JoinItems},
      {"last", Last},
      {"length", Length},
      {"list", ListOf},
      {"lower", MapText<Lower>},
      {"map", Map},
      {"max", Extreme<true>},
      {"min", Extreme<false>},
      {"reject", Select<false, false>},
      {"rejectattr", Select<true, false>},
      {"replace", ReplaceText},
      {"reverse", Reverse},
      {"round", Round},
      {"safe", Safe},
      {"select", Select<false, true>},
      {"selectattr", Select<true, true>},
      {"slice", SliceColumns},
      {"sort", Sort},
      {"string", ToString},
      {"sum", Sum},
      {"title", MapText<TitleWords>},
      {"tojson", ToJsonFilter},
      {"trim", Trim},
      {"unique", Unique},
      {"upper", MapText<Upper>},
      {"wordcount", WordCount},
  };
  return kFilters;
}

}  // namespace

FilterFunction FindFilter(std::string_view name) {
  auto it = Filters().find(name);
  return it == Filters().end() ? nullptr : it->second;
}

}  // namespace stele::text::jinja
