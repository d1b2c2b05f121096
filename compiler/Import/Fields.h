// How config.json and the objects in it are read: field by field, each with its
// range, and in the end no field left over that nobody asked for.
#ifndef STELE_COMPILER_IMPORT_FIELDS_H
#define STELE_COMPILER_IMPORT_FIELDS_H

#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/Json.h"
#include "llvm/ADT/StringSet.h"
#include <optional>

namespace stele::checkpoint {

// Reads the members of one JSON object. The first error is kept in `message`
// and later reads return their defaults, so that a reader is a list of fields
// and one check at its end.
class Fields {
public:
  // `path` is the object's own name inside the file, empty for the root.
  Fields(const Json &object, llvm::StringRef file, std::string &message,
         std::string path = "")
      : object(object), file(file), message(message), path(std::move(path)) {}

  // The member, or null when it is absent or null: both mean "not set".
  const Json *get(llvm::StringRef key) {
    known.insert(key);
    const Json *value = findMember(object, key);
    return value && !value->is_null() ? value : nullptr;
  }

  bool has(llvm::StringRef key) const { return findMember(object, key); }
  bool isNull(llvm::StringRef key) const {
    const Json *value = findMember(object, key);
    return value && value->is_null();
  }

  int64_t integer(llvm::StringRef key, int64_t min, int64_t max,
                  std::optional<int64_t> byDefault = {}) {
    const Json *value = get(key);
    if (!value)
      return missing(key, byDefault, min);
    bool whole = value->is_number_integer() &&
                 (!value->is_number_unsigned() ||
                  value->get<uint64_t>() <= uint64_t(INT64_MAX));
    if (!whole || value->get<int64_t>() < min || value->get<int64_t>() > max) {
      fail("{0} is {1}, a whole number from {2} to {3} is needed", name(key),
           shown(*value), min, max);
      return byDefault.value_or(min);
    }
    return value->get<int64_t>();
  }

  // A finite number in [min, max].
  double number(llvm::StringRef key, double min, double max,
                std::optional<double> byDefault = {}) {
    const Json *value = get(key);
    if (!value)
      return missing(key, byDefault, min);
    if (!value->is_number() || !(value->get<double>() >= min) ||
        !(value->get<double>() <= max)) {
      fail("{0} is {1}, a number from {2} to {3} is needed", name(key),
           shown(*value), shown(min), shown(max));
      return byDefault.value_or(min);
    }
    return value->get<double>();
  }

  bool boolean(llvm::StringRef key, bool byDefault) {
    const Json *value = get(key);
    if (!value)
      return byDefault;
    if (!value->is_boolean()) {
      fail("{0} is {1}, true or false is needed", name(key), shown(*value));
      return byDefault;
    }
    return value->get<bool>();
  }

  std::string string(llvm::StringRef key,
                     std::optional<std::string> byDefault = {}) {
    const Json *value = get(key);
    if (!value)
      return missing(key, byDefault, std::string());
    if (!value->is_string()) {
      fail("{0} is {1}, a string is needed", name(key), shown(*value));
      return byDefault.value_or("");
    }
    return value->get<std::string>();
  }

  // A field whose other values mean a model that is not built here.
  void mustBe(llvm::StringRef key, const Json &expected) {
    const Json *value = get(key);
    if (value && *value != expected)
      fail("{0} is {1}; only {2} is supported", name(key), shown(*value),
           shown(expected));
  }

  // Fails for members that nobody asked for.
  void refuseUnknown(llvm::StringRef architecture,
                     const llvm::StringSet<> &harmless) {
    if (!object.is_object())
      return;
    for (const auto &item : object.items())
      if (!item.value().is_null() && !known.contains(item.key()) &&
          !harmless.contains(item.key()))
        fail("unknown field {0} could change what a {1} model computes; if it "
             "does not, remove it from the file",
             name(item.key()), architecture);
  }

  template <typename... Args> void fail(const char *format, Args &&...args) {
    if (message.empty())
      message = (file + ": " +
                 llvm::formatv(format, std::forward<Args>(args)...).str())
                    .str();
  }

  Fields child(llvm::StringRef key) {
    return Fields(object.at(key.str()), file, message, name(key));
  }

  std::string name(llvm::StringRef key) const {
    return (path.empty() ? key : llvm::StringRef(path + "." + key.str())).str();
  }

private:
  template <typename T>
  T missing(llvm::StringRef key, const std::optional<T> &byDefault,
            T fallback) {
    if (!byDefault)
      fail("{0} is missing", name(key));
    return byDefault.value_or(fallback);
  }

  const Json &object;
  llvm::StringRef file;
  std::string &message;
  std::string path;
  llvm::StringSet<> known;
};

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_FIELDS_H
