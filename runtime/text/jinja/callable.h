// Things a template can call, and the arguments it calls them with.
#ifndef STELE_RUNTIME_TEXT_JINJA_CALLABLE_H_
#define STELE_RUNTIME_TEXT_JINJA_CALLABLE_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "stele/runtime/text/jinja/value.h"

namespace stele::text::jinja {

class Interpreter;

// The arguments of one call. A builtin takes what it knows in the order of its
// Python signature and calls Done(), which refuses the rest.
class Arguments {
 public:
  explicit Arguments(std::string callee) : callee_(std::move(callee)) {}

  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The next parameter, `name`, or null if it was not given.
  const Value* Optional(std::string_view name);
  const Value& Required(std::string_view name);
  // As Optional, but never one of the positional arguments.
  const Value* OptionalNamed(std::string_view name);
  // Takes everything that is left.
  std::vector<Value> TakePositional();
  std::vector<std::pair<std::string, Value>> TakeNamed();
  bool Flag(std::string_view name, bool otherwise);
  int64_t Int(std::string_view name, int64_t otherwise);
  void Done() const;

  const std::string& callee() const { return callee_; }
  [[noreturn]] void FailType(std::string_view name, const Value& value,
                             std::string_view wanted) const;

 private:
  std::string callee_;
  size_t next_ = 0;          // of `positional`
  std::vector<bool> taken_;  // of `named`
};

struct Callable {
  std::string name;
  std::function<Value(Interpreter&, Arguments&)> call;
  int depth = 0;  // of the value it is bound to
};

inline Value MakeCallable(std::string name,
                          std::function<Value(Interpreter&, Arguments&)> call,
                          int depth = 0) {
  return std::make_shared<Callable>(
      Callable{std::move(name), std::move(call), depth});
}

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_CALLABLE_H_
