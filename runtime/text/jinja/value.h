// Value: what a template computes with. Python's types, as far as templates can
// tell, and Python's way of printing, comparing and ordering them.
//
// Values are cheap to copy: everything big is shared and, except for
// namespaces, loops and one-shot iterators, never changes once it is built.
#ifndef STELE_RUNTIME_TEXT_JINJA_VALUE_H_
#define STELE_RUNTIME_TEXT_JINJA_VALUE_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "stele/runtime/text/jinja/meter.h"
#include "stele/runtime/text/jinja/text.h"

namespace stele::text::jinja {

struct Sequence;
class Dict;
struct Namespace;
struct Callable;
struct Loop;

// A value that is not there. It prints as nothing; using it fails with `why`.
struct Undefined {
  std::shared_ptr<const std::string> why;
};
struct None {};
// An integer of a JSON document from 2^63 to 2^64 - 1: it prints and compares,
// but nothing calculates with it.
struct BigInteger {
  uint64_t value;
  friend bool operator==(BigInteger, BigInteger) = default;
};

class Value {
 public:
  Value() = default;
  Value(None none) : data_(none) {}
  Value(bool b) : data_(b) {}
  Value(int64_t i) : data_(i) {}
  Value(int i) : data_(static_cast<int64_t>(i)) {}
  Value(BigInteger i) : data_(i) {}
  Value(double d) : data_(d) {}
  Value(Text text) : data_(std::make_shared<const Text>(std::move(text))) {}
  Value(std::shared_ptr<Sequence> s) : data_(std::move(s)) {}
  Value(std::shared_ptr<Dict> d) : data_(std::move(d)) {}
  Value(std::shared_ptr<Namespace> n) : data_(std::move(n)) {}
  Value(std::shared_ptr<Callable> c) : data_(std::move(c)) {}
  Value(std::shared_ptr<Loop> l) : data_(std::move(l)) {}
  template <typename T>
  Value(const T*) = delete;  // a pointer would become a bool

  static Value String(std::string bytes) { return Text(std::move(bytes)); }
  static Value Missing(std::string why);

  bool IsUndefined() const { return Holds<Undefined>(); }
  bool IsNone() const { return Holds<None>(); }
  const bool* AsBool() const { return std::get_if<bool>(&data_); }
  // An int that is not a bool.
  const int64_t* AsInt() const { return std::get_if<int64_t>(&data_); }
  const BigInteger* AsBig() const { return std::get_if<BigInteger>(&data_); }
  const double* AsFloat() const { return std::get_if<double>(&data_); }
  const Text* AsText() const { return Pointee<const Text>(); }
  Sequence* AsSequence() const { return Pointee<Sequence>(); }
  Dict* AsDict() const { return Pointee<Dict>(); }
  Namespace* AsNamespace() const { return Pointee<Namespace>(); }
  Callable* AsCallable() const { return Pointee<Callable>(); }
  Loop* AsLoop() const { return Pointee<Loop>(); }

  // An int or a bool, as Python counts.
  std::optional<int64_t> Integer() const;
  // Any number but a BigInteger.
  std::optional<double> Number() const;
  // Whether an Undefined says why it is; what it says.
  bool HasReason() const;
  const std::string& Why() const;

  // Python's identity.
  bool Is(const Value& other) const;
  bool Truthy() const;
  // "str", "list", ... as Python's error messages name it.
  std::string TypeName() const;
  // Levels of lists and dicts below this one.
  int depth() const;

 private:
  template <typename T>
  bool Holds() const {
    return std::holds_alternative<T>(data_);
  }
  template <typename T>
  T* Pointee() const {
    auto* pointer = std::get_if<std::shared_ptr<T>>(&data_);
    return pointer ? pointer->get() : nullptr;
  }

  std::variant<Undefined, None, bool, int64_t, BigInteger, double,
               std::shared_ptr<const Text>, std::shared_ptr<Sequence>,
               std::shared_ptr<Dict>, std::shared_ptr<Namespace>,
               std::shared_ptr<Callable>, std::shared_ptr<Loop>>
      data_;
};

// Everything that is a row of values.
struct Sequence {
  enum class Kind { kList, kTuple, kRange, kKeys, kValues, kItems, kIterator };

  Kind kind = Kind::kList;
  std::vector<Value> items;
  bool drained = false;  // an iterator gives its items once
  int depth = 1;

  // list, tuple and range can be indexed; iterators and dict views cannot.
  bool Subscriptable() const { return kind <= Kind::kRange; }
  bool Sized() const { return kind != Kind::kIterator; }
};

// Checks the nesting and charges the meter.
Value MakeSequence(Sequence::Kind kind, std::vector<Value> items, Meter& meter);
inline Value MakeList(std::vector<Value> items, Meter& meter) {
  return MakeSequence(Sequence::Kind::kList, std::move(items), meter);
}
inline Value MakeTuple(std::vector<Value> items, Meter& meter) {
  return MakeSequence(Sequence::Kind::kTuple, std::move(items), meter);
}

// A dict in insertion order.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  int depth() const { return depth_; }

  const Value* Find(std::string_view key) const;
  const Value* Find(const Value& key, Meter& meter) const;
  // Adds or replaces; fails for keys that Python cannot hash.
  void Set(Value key, Value value, Meter& meter);

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> index_;  // of the string keys
  int depth_ = 1;
};

struct Namespace {
  Dict attributes;
};

// How a value prints: str(), repr(), and json.dumps as transformers sets it.
Text ToStr(const Value& value, Meter& meter);
Text ToRepr(const Value& value, Meter& meter);

struct JsonStyle {
  std::optional<std::string> indent;  // one level of it
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool ensure_ascii = false;
  bool sort_keys = false;
};
Text ToJson(const Value& value, const JsonStyle& style, Meter& meter);
std::string FloatRepr(double value);

bool Equal(const Value& a, const Value& b, Meter& meter);
// a < b; fails for types that have no order.
bool Less(const Value& a, const Value& b, Meter& meter);
bool Hashable(const Value& value);

// Everything a JSON document holds. Strings and keys are the user's, except
// the values of members for which `trusted(key, value)` holds (it may be null).
// Throws Error for nesting that is too deep.
using TrustRule = bool (*)(std::string_view key, std::string_view value);
Value FromJson(const nlohmann::ordered_json& json, TrustRule trusted,
               Meter& meter);

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_VALUE_H_
