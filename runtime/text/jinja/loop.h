// The `loop` variable of a for statement.
#ifndef STELE_RUNTIME_TEXT_JINJA_LOOP_H_
#define STELE_RUNTIME_TEXT_JINJA_LOOP_H_

#include <functional>
#include <vector>

#include "stele/runtime/text/jinja/value.h"

namespace stele::text::jinja {

struct Loop {
  std::vector<Value> items;
  size_t index0 = 0;
  int64_t depth0 = 0;  // of a recursive loop
  std::vector<Value> changed;
  bool changed_called = false;
  // Renders the body over other items; empty unless the loop is recursive.
  std::function<Value(const Value&)> recurse;
};

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_LOOP_H_
