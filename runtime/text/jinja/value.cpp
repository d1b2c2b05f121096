// Values: identity, equality, order and truth, as Python has them. Printing is
// in print.cpp. See value.h.
#include "stele/runtime/text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "stele/runtime/text/jinja/callable.h"
#include "stele/runtime/text/jinja/loop.h"

namespace stele::text::jinja {
namespace {

// int and float compare exactly in Python; so do they here.
int CompareIntFloat(int64_t i, double d) {
  if (std::isnan(d)) return 2;
  if (d >= 9223372036854775808.0) return -1;
  if (d < -9223372036854775808.0) return 1;
  double whole = std::floor(d);
  auto truncated = static_cast<int64_t>(whole);
  if (i != truncated) return i < truncated ? -1 : 1;
  return whole < d ? -1 : 0;
}

// -1, 0, 1; 2 when unordered (NaN).
int CompareNumbers(const Value& a, const Value& b) {
  auto ia = a.Integer(), ib = b.Integer();
  if (ia && ib) return *ia < *ib ? -1 : *ia > *ib;
  if (ia) return CompareIntFloat(*ia, *b.AsFloat());
  if (ib) {
    int reversed = CompareIntFloat(*ib, *a.AsFloat());
    return reversed == 2 ? 2 : -reversed;
  }
  double da = *a.AsFloat(), db = *b.AsFloat();
  if (std::isnan(da) || std::isnan(db)) return 2;
  return da < db ? -1 : da > db;
}

bool SameSequenceType(const Sequence& a, const Sequence& b) {
  return a.kind == b.kind && a.kind != Sequence::Kind::kIterator &&
         a.kind != Sequence::Kind::kValues;
}

bool EqualItems(const Sequence& a, const Sequence& b, Meter& meter) {
  return std::equal(
      a.items.begin(), a.items.end(), b.items.begin(), b.items.end(),
      [&](const Value& x, const Value& y) { return Equal(x, y, meter); });
}

bool EqualDicts(const Dict& a, const Dict& b, Meter& meter) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a.entries()) {
    const Value* other = b.Find(key, meter);
    if (!other || !Equal(value, *other, meter)) return false;
  }
  return true;
}

bool LessItems(const Sequence& a, const Sequence& b, Meter& meter) {
  size_t common = std::min(a.items.size(), b.items.size());
  for (size_t i = 0; i < common; ++i) {
    if (!Equal(a.items[i], b.items[i], meter)) {
      return Less(a.items[i], b.items[i], meter);
    }
  }
  return a.items.size() < b.items.size();
}

Value FromInteger(const nlohmann::ordered_json& json) {
  if (json.is_number_unsigned() &&
      json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return BigInteger{json.get<uint64_t>()};
  }
  return json.get<int64_t>();
}

// Builds values from JSON; see FromJson.
class JsonReader {
 public:
  JsonReader(TrustRule trusted, Meter& meter)
      : trusted_(trusted), meter_(meter) {}

  Value Read(const nlohmann::ordered_json& json, std::string_view key = {}) {
    switch (json.type()) {
      case nlohmann::ordered_json::value_t::boolean:
        return json.get<bool>();
      case nlohmann::ordered_json::value_t::number_integer:
      case nlohmann::ordered_json::value_t::number_unsigned:
        return FromInteger(json);
      case nlohmann::ordered_json::value_t::number_float:
        return json.get<double>();
      case nlohmann::ordered_json::value_t::string:
        return ReadText(json.get_ref<const std::string&>(), key);
      case nlohmann::ordered_json::value_t::array:
        return ReadArray(json);
      case nlohmann::ordered_json::value_t::object:
        return ReadObject(json);
      default:
        return None{};
    }
  }

 private:
  Value ReadText(const std::string& bytes, std::string_view key) {
    meter_.Memory(bytes.size());
    bool is_trusted = trusted_ && trusted_(key, bytes);
    return is_trusted ? Text(bytes) : Text::FromUser(bytes);
  }

  Value ReadArray(const nlohmann::ordered_json& json) {
    Descend();
    std::vector<Value> items;
    items.reserve(json.size());
    for (const auto& item : json) items.push_back(Read(item));
    --level_;
    return MakeList(std::move(items), meter_);
  }

  Value ReadObject(const nlohmann::ordered_json& json) {
    Descend();
    auto dict = std::make_shared<Dict>();
    for (const auto& [key, item] : json.items()) {
      dict->Set(Text::FromUser(key), Read(item, key), meter_);
    }
    --level_;
    return dict;
  }

  void Descend() {
    if (++level_ > kMaxValueDepth) {
      Fail("a value nests deeper than " + std::to_string(kMaxValueDepth));
    }
  }

  TrustRule trusted_;
  Meter& meter_;
  int level_ = 0;
};

}  // namespace

Value Value::Missing(std::string why) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return value;
}

std::optional<int64_t> Value::Integer() const {
  if (auto* i = AsInt()) return *i;
  if (auto* b = AsBool()) return *b;
  return std::nullopt;
}

std::optional<double> Value::Number() const {
  if (auto i = Integer()) return static_cast<double>(*i);
  if (auto* d = AsFloat()) return *d;
  return std::nullopt;
}

bool Value::HasReason() const {
  auto* undefined = std::get_if<Undefined>(&data_);
  return undefined && undefined->why;
}

const std::string& Value::Why() const {
  static const std::string kPlain = "value is undefined";
  auto* undefined = std::get_if<Undefined>(&data_);
  return undefined && undefined->why ? *undefined->why : kPlain;
}

bool Value::Is(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  return std::visit(
      [&](const auto& mine) {
        using T = std::decay_t<decltype(mine)>;
        if constexpr (std::is_same_v<T, Undefined> || std::is_same_v<T, None>) {
          return true;
        } else {
          return mine == std::get<T>(other.data_);
        }
      },
      data_);
}

bool Value::Truthy() const {
  if (IsUndefined() || IsNone()) return false;
  if (auto* b = AsBool()) return *b;
  if (auto* i = AsInt()) return *i != 0;
  if (auto* d = AsFloat()) return *d != 0;
  if (auto* text = AsText()) return !text->empty();
  if (auto* sequence = AsSequence()) {
    return !sequence->Sized() || !sequence->items.empty();
  }
  if (auto* dict = AsDict()) return dict->size() != 0;
  return true;
}

std::string Value::TypeName() const {
  static constexpr const char* kNames[] = {
      "Undefined", "NoneType", "bool", "int",       "int",      "float",
      "str",       "",         "dict", "Namespace", "function", "LoopContext"};
  static constexpr const char* kSequences[] = {
      "list",        "tuple",      "range",    "dict_keys",
      "dict_values", "dict_items", "generator"};
  if (auto* sequence = AsSequence()) {
    return kSequences[static_cast<int>(sequence->kind)];
  }
  return kNames[data_.index()];
}

int Value::depth() const {
  if (auto* sequence = AsSequence()) return sequence->depth;
  if (auto* dict = AsDict()) return dict->depth();
  if (auto* callable = AsCallable()) return callable->depth;
  return 0;
}

Value MakeSequence(Sequence::Kind kind, std::vector<Value> items,
                   Meter& meter) {
  meter.Memory(items.size() * sizeof(Value) + sizeof(Sequence));
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  for (const Value& item : items) {
    sequence->depth = std::max(sequence->depth, item.depth() + 1);
  }
  if (sequence->depth > kMaxValueDepth) {
    Fail("a value nests deeper than " + std::to_string(kMaxValueDepth));
  }
  sequence->items = std::move(items);
  return sequence;
}

const Value* Dict::Find(std::string_view key) const {
  auto it = index_.find(std::string(key));
  return it == index_.end() ? nullptr : &entries_[it->second].second;
}

const Value* Dict::Find(const Value& key, Meter& meter) const {
  if (auto* text = key.AsText()) return Find(text->bytes);
  if (!Hashable(key)) Fail("unhashable type: '" + key.TypeName() + "'");
  for (const auto& [mine, value] : entries_) {
    if (Equal(mine, key, meter)) return &value;
  }
  return nullptr;
}

void Dict::Set(Value key, Value value, Meter& meter) {
  depth_ = std::max({depth_, key.depth() + 1, value.depth() + 1});
  if (depth_ > kMaxValueDepth) {
    Fail("a value nests deeper than " + std::to_string(kMaxValueDepth));
  }
  if (const Value* old = Find(key, meter)) {
    *const_cast<Value*>(old) = std::move(value);
    return;
  }
  size_t key_bytes = 0;
  if (auto* text = key.AsText()) {
    key_bytes = text->size();
    index_.emplace(text->bytes, entries_.size());
  }
  meter.Memory(sizeof(Entry) + 64 + key_bytes);
  entries_.emplace_back(std::move(key), std::move(value));
}

bool Equal(const Value& a, const Value& b, Meter& meter) {
  meter.Step();
  if (a.Number() && b.Number()) return CompareNumbers(a, b) == 0;
  if (auto* text = a.AsText()) {
    auto* other = b.AsText();
    return other && text->bytes == other->bytes;
  }
  if (auto* sequence = a.AsSequence()) {
    auto* other = b.AsSequence();
    if (sequence == other) return true;
    return other && SameSequenceType(*sequence, *other) &&
           EqualItems(*sequence, *other, meter);
  }
  if (auto* dict = a.AsDict()) {
    auto* other = b.AsDict();
    return dict == other || (other && EqualDicts(*dict, *other, meter));
  }
  return a.Is(b);
}

bool Less(const Value& a, const Value& b, Meter& meter) {
  meter.Step();
  if (a.Number() && b.Number()) return CompareNumbers(a, b) == -1;
  auto *text = a.AsText(), *other_text = b.AsText();
  if (auto *big = a.AsBig(), *other_big = b.AsBig(); big || other_big) {
    if (big && other_big) return big->value < other_big->value;
    if (a.Integer() || b.Integer()) return other_big;
  }
  // UTF-8 orders bytes as it orders code points.
  if (text && other_text) return text->bytes < other_text->bytes;
  auto *sequence = a.AsSequence(), *other = b.AsSequence();
  if (sequence && other && sequence->kind == other->kind &&
      sequence->kind <= Sequence::Kind::kTuple) {
    return LessItems(*sequence, *other, meter);
  }
  if (a.IsUndefined()) Fail(a.Why());
  if (b.IsUndefined()) Fail(b.Why());
  Fail("'<' not supported between instances of '" + a.TypeName() + "' and '" +
       b.TypeName() + "'");
}

bool Hashable(const Value& value) {
  if (value.AsDict()) return false;
  auto* sequence = value.AsSequence();
  if (!sequence) return true;
  if (sequence->kind == Sequence::Kind::kTuple) {
    return std::all_of(sequence->items.begin(), sequence->items.end(),
                       Hashable);
  }
  return sequence->kind == Sequence::Kind::kRange ||
         sequence->kind == Sequence::Kind::kIterator;
}

Value FromJson(const nlohmann::ordered_json& json, TrustRule trusted,
               Meter& meter) {
  return JsonReader(trusted, meter).Read(json);
}

}  // namespace stele::text::jinja
