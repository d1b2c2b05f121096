// Arguments: parameters by place or by name. See callable.h.
#include "stele/runtime/text/jinja/callable.h"

namespace stele::text::jinja {

const Value* Arguments::Optional(std::string_view name) {
  if (next_ < positional.size()) return &positional[next_++];
  return OptionalNamed(name);
}

const Value* Arguments::OptionalNamed(std::string_view name) {
  taken_.resize(named.size());
  for (size_t i = 0; i < named.size(); ++i) {
    if (named[i].first == name) {
      taken_[i] = true;
      return &named[i].second;
    }
  }
  return nullptr;
}

const Value& Arguments::Required(std::string_view name) {
  if (const Value* value = Optional(name)) return *value;
  Fail(callee_ + " needs the argument '" + std::string(name) + "'");
}

bool Arguments::Flag(std::string_view name, bool otherwise) {
  const Value* value = Optional(name);
  return value ? value->Truthy() : otherwise;
}

int64_t Arguments::Int(std::string_view name, int64_t otherwise) {
  const Value* value = Optional(name);
  if (!value) return otherwise;
  if (auto number = value->Integer()) return *number;
  FailType(name, *value, "an integer");
}

std::vector<Value> Arguments::TakePositional() {
  std::vector<Value> rest(positional.begin() + next_, positional.end());
  next_ = positional.size();
  return rest;
}

std::vector<std::pair<std::string, Value>> Arguments::TakeNamed() {
  std::vector<std::pair<std::string, Value>> rest;
  taken_.resize(named.size());
  for (size_t i = 0; i < named.size(); ++i) {
    if (!taken_[i]) rest.push_back(named[i]);
    taken_[i] = true;
  }
  return rest;
}

void Arguments::Done() const {
  if (next_ < positional.size()) {
    Fail(callee_ + " takes " + std::to_string(next_) + " arguments but got " +
         std::to_string(positional.size()));
  }
  for (size_t i = 0; i < named.size(); ++i) {
    if (i >= taken_.size() || !taken_[i]) {
      Fail(callee_ + " has no argument '" + named[i].first + "'");
    }
  }
}

void Arguments::FailType(std::string_view name, const Value& value,
                         std::string_view wanted) const {
  Fail(callee_ + " argument '" + std::string(name) + "' must be " +
       std::string(wanted) + ", not '" + value.TypeName() + "'");
}

}  // namespace stele::text::jinja
