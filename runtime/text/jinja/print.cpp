// How values print: Python's str and repr, and json.dumps. See value.h.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "stele/runtime/text/jinja/callable.h"
#include "stele/runtime/text/jinja/stable_sort.h"
#include "stele/runtime/text/jinja/unicode.h"
#include "stele/runtime/text/jinja/value.h"

namespace stele::text::jinja {
namespace {

std::string Hex(const char* format, unsigned code) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, format, code);
  return buffer;
}

// What repr() writes for one code point inside `quote`s.
std::string ReprEscape(char32_t code, char quote) {
  switch (code) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\\':
      return "\\\\";
    default:
      break;
  }
  if (code == static_cast<char32_t>(quote)) return std::string("\\") + quote;
  if (IsPrintable(code)) {
    std::string out;
    AppendCodePoint(out, code);
    return out;
  }
  if (code < 0x100) return Hex("\\x%02x", code);
  if (code < 0x10000) return Hex("\\u%04x", code);
  return Hex("\\U%08x", code);
}

std::string JsonEscape(char32_t code, bool ensure_ascii) {
  switch (code) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\f':
      return "\\f";
    case '\b':
      return "\\b";
    default:
      break;
  }
  if (code < 0x20) return Hex("\\u%04x", code);
  if (ensure_ascii && code > 0xFFFF) {
    return Hex("\\u%04x", 0xD800 + ((code - 0x10000) >> 10)) +
           Hex("\\u%04x", 0xDC00 + ((code - 0x10000) & 0x3FF));
  }
  if (ensure_ascii && code > 0x7E) return Hex("\\u%04x", code);
  std::string out;
  AppendCodePoint(out, code);
  return out;
}

class Printer {
 public:
  explicit Printer(Meter& meter) : meter_(meter) {}

  Text Take() { return std::move(out_); }
  void Repr(const Value& value);
  void Json(const Value& value, const JsonStyle& style, int level);

 private:
  void Write(std::string_view text, bool is_user = false) {
    meter_.Memory(text.size());
    out_.Append(text, is_user);
  }
  void ReprText(const Text& text);
  void ReprItems(const std::vector<Value>& items, const char* open,
                 const char* close);
  void ReprSequence(const Sequence& sequence);
  void ReprRange(const std::vector<Value>& items);
  void ReprDict(const Dict& dict);
  void JsonText(const Text& text, const JsonStyle& style);
  void JsonKey(const Value& key, const JsonStyle& style);
  void JsonArray(const Sequence& sequence, const JsonStyle& style, int level);
  void JsonObject(const Dict& dict, const JsonStyle& style, int level);
  void NewLine(const JsonStyle& style, int level);

  Meter& meter_;
  Text out_;
};

void Printer::ReprText(const Text& text) {
  bool single = text.bytes.find('\'') == std::string::npos ||
                text.bytes.find('"') != std::string::npos;
  char quote = single ? '\'' : '"';
  Write({&quote, 1});
  for (size_t at = 0; at < text.size();) {
    size_t begin = at;
    char32_t code = NextCodePoint(text.bytes, at);
    Write(ReprEscape(code, quote), text.IsUser(begin, at));
  }
  Write({&quote, 1});
}

void Printer::ReprItems(const std::vector<Value>& items, const char* open,
                        const char* close) {
  Write(open);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i) Write(", ");
    Repr(items[i]);
  }
  Write(close);
}

void Printer::ReprSequence(const Sequence& sequence) {
  switch (sequence.kind) {
    case Sequence::Kind::kList:
      return ReprItems(sequence.items, "[", "]");
    case Sequence::Kind::kTuple:
      return ReprItems(sequence.items, "(",
                       sequence.items.size() == 1 ? ",)" : ")");
    case Sequence::Kind::kKeys:
      return ReprItems(sequence.items, "dict_keys([", "])");
    case Sequence::Kind::kValues:
      return ReprItems(sequence.items, "dict_values([", "])");
    case Sequence::Kind::kItems:
      return ReprItems(sequence.items, "dict_items([", "])");
    case Sequence::Kind::kRange:
      return ReprRange(sequence.items);
    case Sequence::Kind::kIterator:
      return Write("<generator object>");
  }
}

// The bounds of a range as its items show them: a step other than 1 may have
// stopped short of the bound it was given.
void Printer::ReprRange(const std::vector<Value>& items) {
  int64_t begin = items.empty() ? 0 : *items.front().AsInt();
  int64_t step = items.size() < 2 ? 1 : *items[1].AsInt() - begin;
  int64_t end = items.empty() ? 0 : *items.back().AsInt() + step;
  Write("range(" + std::to_string(begin) + ", " + std::to_string(end) +
        (step == 1 ? ")" : ", " + std::to_string(step) + ")"));
}

void Printer::ReprDict(const Dict& dict) {
  Write("{");
  bool first = true;
  for (const auto& [key, value] : dict.entries()) {
    if (!first) Write(", ");
    first = false;
    Repr(key);
    Write(": ");
    Repr(value);
  }
  Write("}");
}

void Printer::Repr(const Value& value) {
  meter_.Step();
  meter_.Enter();
  if (value.IsUndefined()) {
    Write("Undefined");
  } else if (value.IsNone()) {
    Write("None");
  } else if (auto* b = value.AsBool()) {
    Write(*b ? "True" : "False");
  } else if (auto* i = value.AsInt()) {
    Write(std::to_string(*i));
  } else if (auto* big = value.AsBig()) {
    Write(std::to_string(big->value));
  } else if (auto* d = value.AsFloat()) {
    Write(FloatRepr(*d));
  } else if (auto* text = value.AsText()) {
    ReprText(*text);
  } else if (auto* sequence = value.AsSequence()) {
    ReprSequence(*sequence);
  } else if (auto* dict = value.AsDict()) {
    ReprDict(*dict);
  } else if (auto* ns = value.AsNamespace()) {
    Write("<Namespace ");
    ReprDict(ns->attributes);
    Write(">");
  } else if (auto* callable = value.AsCallable()) {
    Write("<function " + callable->name + ">");
  } else {
    Write("<LoopContext>");
  }
  meter_.Leave();
}

void Printer::NewLine(const JsonStyle& style, int level) {
  if (!style.indent) return;
  Write("\n");
  for (int i = 0; i < level; ++i) Write(*style.indent);
}

void Printer::JsonText(const Text& text, const JsonStyle& style) {
  Write("\"");
  for (size_t at = 0; at < text.size();) {
    size_t begin = at;
    char32_t code = NextCodePoint(text.bytes, at);
    Write(JsonEscape(code, style.ensure_ascii), text.IsUser(begin, at));
  }
  Write("\"");
}

void Printer::JsonKey(const Value& key, const JsonStyle& style) {
  if (auto* text = key.AsText()) return JsonText(*text, style);
  if (!key.Number() && !key.AsBig() && !key.IsNone()) {
    Fail("keys must be str, int, float, bool or None, not " + key.TypeName());
  }
  Write("\"");
  Json(key, style, 0);
  Write("\"");
}

void Printer::JsonArray(const Sequence& sequence, const JsonStyle& style,
                        int level) {
  if (sequence.kind > Sequence::Kind::kTuple) {
    Fail(
        "a generator, range or dict view is not JSON serializable; use the "
        "filter 'list' first");
  }
  if (sequence.items.empty()) return Write("[]");
  Write("[");
  for (size_t i = 0; i < sequence.items.size(); ++i) {
    if (i) Write(style.item_separator);
    NewLine(style, level + 1);
    Json(sequence.items[i], style, level + 1);
  }
  NewLine(style, level);
  Write("]");
}

void Printer::JsonObject(const Dict& dict, const JsonStyle& style, int level) {
  if (dict.size() == 0) return Write("{}");
  std::vector<const Dict::Entry*> order;
  for (const auto& entry : dict.entries()) order.push_back(&entry);
  if (style.sort_keys) {
    StableSort(order, [&](auto* a, auto* b) {
      return Less(a->first, b->first, meter_);
    });
  }
  Write("{");
  for (size_t i = 0; i < order.size(); ++i) {
    if (i) Write(style.item_separator);
    NewLine(style, level + 1);
    JsonKey(order[i]->first, style);
    Write(style.key_separator);
    Json(order[i]->second, style, level + 1);
  }
  NewLine(style, level);
  Write("}");
}

void Printer::Json(const Value& value, const JsonStyle& style, int level) {
  meter_.Step();
  if (value.IsNone()) return Write("null");
  if (auto* b = value.AsBool()) return Write(*b ? "true" : "false");
  if (auto* i = value.AsInt()) return Write(std::to_string(*i));
  if (auto* big = value.AsBig()) return Write(std::to_string(big->value));
  if (auto* d = value.AsFloat()) {
    if (std::isnan(*d)) return Write("NaN");
    if (std::isinf(*d)) return Write(*d > 0 ? "Infinity" : "-Infinity");
    return Write(FloatRepr(*d));
  }
  if (auto* text = value.AsText()) return JsonText(*text, style);
  if (auto* sequence = value.AsSequence()) {
    return JsonArray(*sequence, style, level);
  }
  if (auto* dict = value.AsDict()) return JsonObject(*dict, style, level);
  if (value.IsUndefined()) {
    Fail(value.Why() + "; tojson cannot write an undefined value");
  }
  Fail("object of type '" + value.TypeName() + "' is not JSON serializable");
}

}  // namespace

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                           std::chars_format::scientific);
  std::string scientific(buffer, end.ptr);
  int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  if (exponent < -4 || exponent >= 16) return scientific;
  // Fixed notation of the shortest digits; a whole number keeps its ".0".
  end = std::to_chars(buffer, buffer + sizeof buffer, value,
                      std::chars_format::fixed);
  std::string fixed(buffer, end.ptr);
  return fixed.find('.') == std::string::npos ? fixed + ".0" : fixed;
}

Text ToStr(const Value& value, Meter& meter) {
  if (value.IsUndefined()) return {};
  if (auto* text = value.AsText()) {
    meter.Memory(text->size());
    return *text;
  }
  return ToRepr(value, meter);
}

Text ToRepr(const Value& value, Meter& meter) {
  Printer printer(meter);
  printer.Repr(value);
  return printer.Take();
}

Text ToJson(const Value& value, const JsonStyle& style, Meter& meter) {
  Printer printer(meter);
  printer.Json(value, style, 0);
  return printer.Take();
}

}  // namespace stele::text::jinja
