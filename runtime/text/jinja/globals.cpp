// Functions a template finds ready, and the attributes of `loop`. See
// builtins.h.
#include <algorithm>
#include <ctime>
#include <unordered_map>

#include "stele/runtime/text/jinja/builtins.h"
#include "stele/runtime/text/jinja/interpreter.h"
#include "stele/runtime/text/jinja/loop.h"
#include "stele/runtime/text/jinja/strings.h"

namespace stele::text::jinja {
namespace {

using Kind = Sequence::Kind;

int64_t RangeBound(const Value& value) {
  if (auto integer = value.Integer()) return *integer;
  if (value.IsUndefined()) Fail(value.Why());
  Fail("range() needs integers, not '" + value.TypeName() + "'");
}

Value Range(Interpreter& in, Arguments& args) {
  auto bounds = args.TakePositional();
  args.Done();
  if (bounds.empty() || bounds.size() > 3) {
    Fail("range() takes 1 to 3 arguments, not " +
         std::to_string(bounds.size()));
  }
  int64_t begin = bounds.size() > 1 ? RangeBound(bounds[0]) : 0;
  int64_t end = RangeBound(bounds[bounds.size() > 1]);
  int64_t step = bounds.size() > 2 ? RangeBound(bounds[2]) : 1;
  if (step == 0) Fail("the step of range() must not be zero");
  std::vector<Value> items;
  for (__int128 i = begin; step > 0 ? i < end : i > end; i += step) {
    if (static_cast<int64_t>(items.size()) == kMaxRange) {
      Fail("range() is longer than " + std::to_string(kMaxRange) +
           ", the sandbox's limit");
    }
    items.push_back(static_cast<int64_t>(i));
  }
  in.meter().Step(items.size());
  return MakeSequence(Kind::kRange, std::move(items), in.meter());
}

// dict(mapping or pairs, key=value, ...)
void FillDict(Interpreter& in, Arguments& args, Dict& dict) {
  auto positional = args.TakePositional();
  if (positional.size() > 1) {
    Fail("dict() takes at most 1 argument, not " +
         std::to_string(positional.size()));
  }
  if (positional.size() == 1) {
    if (auto* source = positional[0].AsDict()) {
      for (const auto& [key, value] : source->entries()) {
        dict.Set(key, value, in.meter());
      }
    } else {
      for (const Value& item : in.Iterate(positional[0])) {
        auto pair = in.Iterate(item);
        if (pair.size() != 2) Fail("dict() needs pairs");
        dict.Set(pair[0], pair[1], in.meter());
      }
    }
  }
  for (auto& [name, value] : args.TakeNamed()) {
    dict.Set(Value::String(name), value, in.meter());
  }
}

Value MakeDict(Interpreter& in, Arguments& args) {
  auto dict = std::make_shared<Dict>();
  FillDict(in, args, *dict);
  return dict;
}

Value MakeNamespace(Interpreter& in, Arguments& args) {
  Value ns = in.NewNamespace();
  FillDict(in, args, ns.AsNamespace()->attributes);
  for (const auto& [key, value] : ns.AsNamespace()->attributes.entries()) {
    if (key.AsText() && key.AsText()->bytes.starts_with("_")) {
      Fail("a namespace cannot store '" + key.AsText()->bytes +
           "'; rename the attribute");
    }
  }
  return ns;
}

Value RaiseException(Interpreter& in, Arguments& args) {
  Text message = in.Str(args.Required("message"));
  args.Done();
  Fail("the template refuses: " + message.bytes);
}

Value StrftimeNow(Interpreter& in, Arguments& args) {
  std::string format = in.Str(args.Required("format")).bytes;
  args.Done();
  if (format.empty()) return Value::String("");
  std::tm now = in.Now();
  char buffer[1024];
  size_t length = std::strftime(buffer, sizeof buffer, format.c_str(), &now);
  if (!length) Fail("strftime_now() cannot write the format '" + format + "'");
  return Value::String(std::string(buffer, length));
}

Value Cycle(const Value& loop, Arguments& args) {
  auto values = args.TakePositional();
  args.Done();
  if (values.empty()) Fail("loop.cycle() needs a value");
  return values[loop.AsLoop()->index0 % values.size()];
}

Value Changed(const Value& loop, Interpreter& in, Arguments& args) {
  auto values = args.TakePositional();
  args.Done();
  Loop& state = *loop.AsLoop();
  bool same =
      state.changed_called &&
      std::equal(values.begin(), values.end(), state.changed.begin(),
                 state.changed.end(), [&](const Value& a, const Value& b) {
                   return Equal(a, b, in.meter());
                 });
  state.changed_called = true;
  state.changed = std::move(values);
  return !same;
}

}  // namespace

Value FindGlobal(std::string_view name) {
  static const std::unordered_map<std::string_view, Value> kGlobals = {
      {"dict", MakeCallable("dict", MakeDict)},
      {"namespace", MakeCallable("namespace", MakeNamespace)},
      {"raise_exception", MakeCallable("raise_exception", RaiseException)},
      {"range", MakeCallable("range", Range)},
      {"strftime_now", MakeCallable("strftime_now", StrftimeNow)},
  };
  auto it = kGlobals.find(name);
  return it == kGlobals.end() ? Value() : it->second;
}

Value LoopAttribute(const Value& loop, std::string_view name) {
  const Loop& state = *loop.AsLoop();
  auto index0 = static_cast<int64_t>(state.index0);
  auto length = static_cast<int64_t>(state.items.size());
  if (name == "index") return index0 + 1;
  if (name == "index0") return index0;
  if (name == "revindex") return length - index0;
  if (name == "revindex0") return length - index0 - 1;
  if (name == "first") return index0 == 0;
  if (name == "last") return index0 + 1 >= length;
  if (name == "length") return length;
  if (name == "depth") return state.depth0 + 1;
  if (name == "depth0") return state.depth0;
  if (name == "previtem") {
    return index0 > 0 ? state.items[index0 - 1]
                      : Value::Missing("there is no previous item");
  }
  if (name == "nextitem") {
    return index0 + 1 < length ? state.items[index0 + 1]
                               : Value::Missing("there is no next item");
  }
  if (name == "cycle") {
    return MakeCallable("loop.cycle", [loop](Interpreter&, Arguments& args) {
      return Cycle(loop, args);
    });
  }
  if (name == "changed") {
    return MakeCallable("loop.changed",
                        [loop](Interpreter& in, Arguments& args) {
                          return Changed(loop, in, args);
                        });
  }
  return Value::Missing("'LoopContext object' has no attribute '" +
                        std::string(name) + "'");
}

}  // namespace stele::text::jinja
