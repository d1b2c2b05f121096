// See Json.h. nlohmann's lexer does the grammar, UTF-8 and number work; the SAX
// handler below builds the value and adds what its DOM parser does not refuse:
// depth and duplicate keys.
#include "stele/compiler/Import/Json.h"
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/InputFile.h"
#include "llvm/ADT/StringSet.h"
#include <iterator>

using namespace stele::checkpoint;

namespace {

// An input iterator whose copies share one position, so that the handler can
// tell where in the text the parser is.
class Cursor {
public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char *;
  using reference = const char &;

  explicit Cursor(const char **position) : position(position) {}
  reference operator*() const { return **position; }
  Cursor &operator++() {
    ++*position;
    return *this;
  }
  Cursor operator++(int) { return ++*this; }
  bool operator==(const Cursor &other) const {
    return *position == *other.position;
  }
  bool operator!=(const Cursor &other) const { return !(*this == other); }

private:
  const char **position;
};

class Handler {
public:
  explicit Handler(unsigned depthLimit) : depthLimit(depthLimit) {}

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string &) { return add(value); }
  bool string(std::string &value) { return add(std::move(value)); }
  bool binary(Json::binary_t &) { return false; }

  bool start_object(std::size_t) { return open(Json::object()); }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_array() { return close(); }

  bool key(std::string &name) {
    Frame &frame = frames.back();
    if (!frame.keys.insert(name).second) {
      message = llvm::formatv("duplicate key '{0}'", name).str();
      return false;
    }
    frame.key = std::move(name);
    return true;
  }

  bool parse_error(std::size_t, const std::string &,
                   const nlohmann::detail::exception &error) {
    // "[json.exception.KIND] parse error at line 1, column 2: the reason"
    llvm::StringRef text = llvm::StringRef(error.what()).split("] ").second;
    size_t colon = text.find(": ");
    message = text.drop_front(colon == text.npos ? 0 : colon + 2).str();
    return false;
  }

  Json root;
  std::string message;

private:
  struct Frame {
    Json value;
    std::string key; // of the member being read, when `value` is an object
    llvm::StringSet<> keys;
  };

  bool open(Json value) {
    if (frames.size() == depthLimit) {
      message = llvm::formatv("nested deeper than {0} levels", depthLimit);
      return false;
    }
    frames.emplace_back();
    frames.back().value = std::move(value);
    return true;
  }

  bool close() {
    Json value = std::move(frames.back().value);
    frames.pop_back();
    return add(std::move(value));
  }

  bool add(Json value) {
    if (frames.empty()) {
      root = std::move(value);
      return true;
    }
    Frame &frame = frames.back();
    if (frame.value.is_array())
      frame.value.get_ref<Json::array_t &>().push_back(std::move(value));
    else
      // The vector below ordered_map: its own emplace searches every time,
      // which is quadratic on a vocabulary.
      frame.value.get_ref<Json::object_t &>().emplace_back(std::move(frame.key),
                                                           std::move(value));
    return true;
  }

  unsigned depthLimit;
  std::vector<Frame> frames;
};

// "FILE:LINE:COLUMN" of a position in `text`.
std::string locate(llvm::StringRef file, llvm::StringRef text, size_t offset) {
  llvm::StringRef before = text.take_front(offset);
  size_t lineStart = before.rfind('\n');
  size_t column = lineStart == llvm::StringRef::npos
                      ? before.size()
                      : before.size() - lineStart - 1;
  return llvm::formatv("{0}:{1}:{2}", file, before.count('\n') + 1,
                       std::max<size_t>(column, 1));
}

} // namespace

llvm::Expected<Json> stele::checkpoint::parseJson(llvm::StringRef text,
                                                  llvm::StringRef file,
                                                  JsonLimits limits) {
  if (text.size() > limits.bytes)
    return makeError("{0}: {1} bytes of JSON, more than the {2} accepted here",
                     file, text.size(), limits.bytes);
  Handler handler(limits.depth);
  const char *position = text.begin();
  const char *end = text.end();
  if (!Json::sax_parse(Cursor(&position), Cursor(&end), &handler))
    return makeError("{0}: {1}", locate(file, text, position - text.begin()),
                     handler.message);
  return std::move(handler.root);
}

llvm::Expected<Json> stele::checkpoint::readJsonFile(llvm::StringRef path,
                                                     JsonLimits limits) {
  llvm::Expected<std::string> text = readTextFile(path, limits.bytes);
  if (!text)
    return text.takeError();
  return parseJson(*text, path, limits);
}

const Json *stele::checkpoint::findMember(const Json &object,
                                          llvm::StringRef key) {
  if (!object.is_object())
    return nullptr;
  auto it = object.find(key.str());
  return it == object.end() ? nullptr : &*it;
}

std::string stele::checkpoint::shown(const Json &value) {
  constexpr size_t longest = 80;
  std::string text = value.dump();
  if (text.size() <= longest)
    return text;
  return text.substr(0, longest) + "...";
}
