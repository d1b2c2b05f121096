// Methods of strings, lists, tuples and dicts: those of Python's types that do
// not change their object. See builtins.h.
#include <algorithm>
#include <cstdio>
#include <unordered_map>
#include <unordered_set>

#include "stele/runtime/text/jinja/brace_format.h"
#include "stele/runtime/text/jinja/builtins.h"
#include "stele/runtime/text/jinja/interpreter.h"
#include "stele/runtime/text/jinja/strings.h"
#include "stele/runtime/text/jinja/unicode.h"

namespace stele::text::jinja {
namespace {

using Kind = Sequence::Kind;
using TextMethod = Value (*)(Interpreter&, const Text&, Arguments&);
using RowMethod = Value (*)(Interpreter&, const Sequence&, Arguments&);
using DictMethod = Value (*)(Interpreter&, const Dict&, Arguments&);

const Text& TextArg(Arguments& args, std::string_view name) {
  const Value& value = args.Required(name);
  if (auto* text = value.AsText()) return *text;
  args.FailType(name, value, "a string");
}

// A string that may be left out or None.
const Text* OptionalText(Arguments& args, std::string_view name) {
  const Value* value = args.Optional(name);
  if (!value || value->IsNone()) return nullptr;
  if (auto* text = value->AsText()) return text;
  args.FailType(name, *value, "a string");
}

std::optional<int64_t> OptionalInt(Arguments& args, std::string_view name) {
  const Value* value = args.Optional(name);
  if (!value || value->IsNone()) return std::nullopt;
  if (auto integer = value->Integer()) return integer;
  args.FailType(name, *value, "an integer");
}

Value ListOfTexts(std::vector<Text> texts, Interpreter& in) {
  in.meter().Memory(texts.size() * sizeof(Text));
  std::vector<Value> values(std::make_move_iterator(texts.begin()),
                            std::make_move_iterator(texts.end()));
  return MakeList(std::move(values), in.meter());
}

template <Text (*kMap)(const Text&, Meter&)>
Value MapText(Interpreter& in, const Text& text, Arguments& args) {
  args.Done();
  return kMap(text, in.meter());
}

template <Side kSide>
Value StripMethod(Interpreter& in, const Text& text, Arguments& args) {
  const Text* chars = OptionalText(args, "chars");
  args.Done();
  return Strip(text, chars, kSide, in.meter());
}

template <bool kFromRight>
Value SplitMethod(Interpreter& in, const Text& text, Arguments& args) {
  const Text* separator = OptionalText(args, "sep");
  int64_t most = args.Int("maxsplit", -1);
  args.Done();
  return ListOfTexts(Split(text, separator, most, kFromRight, in.meter()), in);
}

Value SplitLinesMethod(Interpreter& in, const Text& text, Arguments& args) {
  bool keep_ends = args.Flag("keepends", false);
  args.Done();
  return ListOfTexts(SplitLines(text, keep_ends, in.meter()), in);
}

template <bool kFromRight>
Value Partition(Interpreter& in, const Text& text, Arguments& args) {
  const Text& separator = TextArg(args, "sep");
  args.Done();
  if (separator.empty()) Fail("empty separator");
  in.meter().Memory(text.size());
  size_t at = kFromRight ? text.bytes.rfind(separator.bytes)
                         : text.bytes.find(separator.bytes);
  if (at == std::string::npos) {
    Value empty = Value::String(""), whole = text;
    return MakeTuple(kFromRight ? std::vector<Value>{empty, empty, whole}
                                : std::vector<Value>{whole, empty, empty},
                     in.meter());
  }
  size_t end = at + separator.size();
  return MakeTuple(
      {text.Slice(0, at), text.Slice(at, end), text.Slice(end, text.size())},
      in.meter());
}

// startswith and endswith take a string or a tuple of them, and a range.
template <bool kAtEnd>
Value HasAffix(Interpreter& in, const Text& text, Arguments& args) {
  const Value& affix = args.Required("prefix");
  auto begin = OptionalInt(args, "start"), end = OptionalInt(args, "end");
  args.Done();
  std::vector<Value> affixes = {affix};
  if (auto* tuple = affix.AsSequence(); tuple && tuple->kind == Kind::kTuple) {
    affixes = tuple->items;
  }
  Text part =
      begin || end ? SliceText(text, begin, end, 1, in.meter()) : Text();
  const std::string& bytes = begin || end ? part.bytes : text.bytes;
  for (const Value& item : affixes) {
    auto* wanted = item.AsText();
    if (!wanted) args.FailType("prefix", item, "a string or a tuple of them");
    if (kAtEnd ? bytes.ends_with(wanted->bytes)
               : bytes.starts_with(wanted->bytes)) {
      return true;
    }
  }
  return false;
}

template <bool kAtEnd>
Value RemoveAffix(Interpreter& in, const Text& text, Arguments& args) {
  const Text& affix = TextArg(args, "affix");
  args.Done();
  in.meter().Memory(text.size());
  if (kAtEnd && text.bytes.ends_with(affix.bytes)) {
    return text.Slice(0, text.size() - affix.size());
  }
  if (!kAtEnd && text.bytes.starts_with(affix.bytes)) {
    return text.Slice(affix.size(), text.size());
  }
  return text;
}

template <bool kFromRight, bool kMustFind>
Value FindMethodOf(Interpreter& in, const Text& text, Arguments& args) {
  const Text& needle = TextArg(args, "sub");
  auto begin = OptionalInt(args, "start"), end = OptionalInt(args, "end");
  args.Done();
  in.meter().Step(text.size() / 64 + 1);
  int64_t index = Find(text, needle, begin, end, kFromRight);
  if (kMustFind && index < 0) Fail("substring not found");
  return index;
}

Value CountMethod(Interpreter& in, const Text& text, Arguments& args) {
  const Text& needle = TextArg(args, "sub");
  args.Done();
  in.meter().Step(text.size() / 64 + 1);
  if (needle.empty()) {
    return static_cast<int64_t>(CountCodePoints(text.bytes)) + 1;
  }
  int64_t count = 0;
  for (size_t at = 0;
       (at = text.bytes.find(needle.bytes, at)) != std::string::npos;
       at += needle.size()) {
    ++count;
  }
  return count;
}

Value ReplaceMethod(Interpreter& in, const Text& text, Arguments& args) {
  const Text& from = TextArg(args, "old");
  const Text& to = TextArg(args, "new");
  int64_t most = args.Int("count", -1);
  args.Done();
  return Replace(text, from, to, most, in.meter());
}

Value JoinMethod(Interpreter& in, const Text& text, Arguments& args) {
  const Value& iterable = args.Required("iterable");
  args.Done();
  std::vector<Text> parts;
  for (const Value& item : in.Iterate(iterable)) {
    if (!item.AsText()) {
      Fail("join() needs strings, not '" + item.TypeName() + "'");
    }
    parts.push_back(*item.AsText());
  }
  return Join(text, parts, in.meter());
}

Value FormatMethod(Interpreter& in, const Text& text, Arguments& args) {
  auto positional = args.TakePositional();
  Dict named;
  for (auto& [name, value] : args.TakeNamed()) {
    named.Set(Value::String(name), value, in.meter());
  }
  return BraceFormat(in, text, positional, named);
}

template <Side kSide>
Value PadMethod(Interpreter& in, const Text& text, Arguments& args) {
  int64_t width = args.Int("width", 0);
  const Text* fill = OptionalText(args, "fillchar");
  args.Done();
  if (fill && CountCodePoints(fill->bytes) != 1) {
    Fail("the fill character must be exactly one character long");
  }
  return Pad(text, width, fill ? *fill : Text(" "), kSide, in.meter());
}

Value ZFill(Interpreter& in, const Text& text, Arguments& args) {
  int64_t width = args.Int("width", 0);
  args.Done();
  if (width <= 0) return text;
  size_t sign = text.bytes.starts_with('-') || text.bytes.starts_with('+');
  Text out = text.Slice(0, sign);
  out.Append(Pad(text.Slice(sign, text.size()),
                 width - static_cast<int64_t>(sign), Text("0"), Side::kRight,
                 in.meter()));
  return out;
}

// isdigit() and its like: not empty, and all code points of a kind.
template <bool (*kIs)(char32_t)>
Value AllAre(Interpreter& in, const Text& text, Arguments& args) {
  args.Done();
  in.meter().Step(text.size() / 16 + 1);
  for (size_t at = 0; at < text.size();) {
    if (!kIs(NextCodePoint(text.bytes, at))) return false;
  }
  return !text.empty();
}

bool IsAlphaNumeric(char32_t code) { return IsAlpha(code) || IsNumeric(code); }

template <bool kUpper>
Value HasCase(Interpreter& in, const Text& text, Arguments& args) {
  args.Done();
  in.meter().Step(text.size() / 16 + 1);
  return IsInCase(text, kUpper);
}

const std::unordered_map<std::string_view, TextMethod>& TextMethods() {
  static const std::unordered_map<std::string_view, TextMethod> kMethods = {
      {"capitalize", MapText<Capitalize>},
      {"casefold", MapText<Lower>},
      {"center", PadMethod<Side::kBoth>},
      {"count", CountMethod},
      {"endswith", HasAffix<true>},
      {"find", FindMethodOf<false, false>},
      {"format", FormatMethod},
      {"index", FindMethodOf<false, true>},
      {"isalnum", AllAre<IsAlphaNumeric>},
      {"isalpha", AllAre<IsAlpha>},
      {"isdecimal", AllAre<IsDecimal>},
      {"isdigit", AllAre<IsDecimal>},
      {"islower", HasCase<false>},
      {"isnumeric", AllAre<IsNumeric>},
      {"isspace", AllAre<IsSpace>},
      {"isupper", HasCase<true>},
      {"join", JoinMethod},
      {"ljust", PadMethod<Side::kLeft>},
      {"lower", MapText<Lower>},
      {"lstrip", StripMethod<Side::kLeft>},
      {"partition", Partition<false>},
      {"removeprefix", RemoveAffix<false>},
      {"removesuffix", RemoveAffix<true>},
      {"replace", ReplaceMethod},
      {"rfind", FindMethodOf<true, false>},
      {"rindex", FindMethodOf<true, true>},
      {"rjust", PadMethod<Side::kRight>},
      {"rpartition", Partition<true>},
      {"rsplit", SplitMethod<true>},
      {"rstrip", StripMethod<Side::kRight>},
      {"split", SplitMethod<false>},
      {"splitlines", SplitLinesMethod},
      {"startswith", HasAffix<false>},
      {"strip", StripMethod<Side::kBoth>},
      {"swapcase", MapText<SwapCase>},
      {"title", MapText<Title>},
      {"upper", MapText<Upper>},
      {"zfill", ZFill},
  };
  return kMethods;
}

// ---- lists and tuples

Value CountItems(Interpreter& in, const Sequence& row, Arguments& args) {
  const Value& wanted = args.Required("value");
  args.Done();
  return static_cast<int64_t>(std::count_if(
      row.items.begin(), row.items.end(),
      [&](const Value& item) { return Equal(item, wanted, in.meter()); }));
}

Value IndexOf(Interpreter& in, const Sequence& row, Arguments& args) {
  const Value& wanted = args.Required("value");
  args.Done();
  auto it = std::find_if(
      row.items.begin(), row.items.end(),
      [&](const Value& item) { return Equal(item, wanted, in.meter()); });
  if (it == row.items.end()) Fail("the value is not in the list");
  return static_cast<int64_t>(it - row.items.begin());
}

Value CopyList(Interpreter& in, const Sequence& row, Arguments& args) {
  args.Done();
  return MakeList(row.items, in.meter());
}

RowMethod FindRowMethod(Kind kind, std::string_view name) {
  if (kind > Kind::kTuple) return nullptr;
  if (name == "count") return CountItems;
  if (name == "index") return IndexOf;
  return name == "copy" && kind == Kind::kList ? CopyList : nullptr;
}

// ---- dicts

Value DictView(Kind kind, const Dict& dict, Interpreter& in, Arguments& args) {
  args.Done();
  in.meter().Step(dict.size());
  std::vector<Value> items;
  for (const auto& [key, value] : dict.entries()) {
    items.push_back(kind == Kind::kKeys ? key
                    : kind == Kind::kValues
                        ? value
                        : MakeTuple({key, value}, in.meter()));
  }
  return MakeSequence(kind, std::move(items), in.meter());
}

Value GetKey(Interpreter& in, const Dict& dict, Arguments& args) {
  const Value& key = args.Required("key");
  const Value* otherwise = args.Optional("default");
  args.Done();
  if (const Value* value = dict.Find(key, in.meter())) return *value;
  return otherwise ? *otherwise : Value(None{});
}

Value CopyDict(Interpreter& in, const Dict& dict, Arguments& args) {
  args.Done();
  in.meter().Memory(dict.size() * sizeof(Dict::Entry));
  return std::make_shared<Dict>(dict);
}

DictMethod FindDictMethod(std::string_view name) {
  if (name == "get") return GetKey;
  if (name == "copy") return CopyDict;
  if (name == "items") {
    return [](Interpreter& in, const Dict& dict, Arguments& args) {
      return DictView(Kind::kItems, dict, in, args);
    };
  }
  if (name == "keys") {
    return [](Interpreter& in, const Dict& dict, Arguments& args) {
      return DictView(Kind::kKeys, dict, in, args);
    };
  }
  if (name == "values") {
    return [](Interpreter& in, const Dict& dict, Arguments& args) {
      return DictView(Kind::kValues, dict, in, args);
    };
  }
  return nullptr;
}

// Binds `method` to `object`, which the callable keeps alive.
template <typename Method, typename Get>
Value Bind(const Value& object, std::string_view name, Method method, Get get) {
  if (!method) return {};
  return MakeCallable(
      std::string(name),
      [object, method, get](Interpreter& in, Arguments& args) {
        return method(in, get(object), args);
      },
      object.depth() + 1);
}

// Python's methods that change a list or a dict; the sandbox refuses them.
bool Mutates(const Value& object, std::string_view name) {
  static const std::unordered_set<std::string_view> kList = {
      "append", "clear", "pop",    "reverse",
      "insert", "sort",  "extend", "remove"};
  static const std::unordered_set<std::string_view> kDict = {
      "clear", "pop", "popitem", "setdefault", "update"};
  if (object.AsDict()) return kDict.count(name);
  auto* sequence = object.AsSequence();
  return sequence && sequence->kind == Kind::kList && kList.count(name);
}

}  // namespace

Value FindMethod(const Value& object, std::string_view name) {
  if (Mutates(object, name)) {
    return Value::Missing("access to attribute '" + std::string(name) +
                          "' of '" + object.TypeName() + "' object is unsafe");
  }
  if (object.AsText()) {
    auto it = TextMethods().find(name);
    TextMethod method = it == TextMethods().end() ? nullptr : it->second;
    return Bind(object, name, method,
                [](const Value& v) -> const Text& { return *v.AsText(); });
  }
  if (auto* sequence = object.AsSequence()) {
    return Bind(
        object, name, FindRowMethod(sequence->kind, name),
        [](const Value& v) -> const Sequence& { return *v.AsSequence(); });
  }
  if (object.AsDict()) {
    return Bind(object, name, FindDictMethod(name),
                [](const Value& v) -> const Dict& { return *v.AsDict(); });
  }
  return {};
}

}  // namespace stele::text::jinja
