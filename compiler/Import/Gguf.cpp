// See Gguf.h. Every count and length comes from the file and is checked against
// a limit and against the bytes that are left before anything is reserved.
#include "stele/compiler/Import/Gguf.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"

using namespace stele::checkpoint;

static constexpr uint64_t maxMetadataPairs = 1 << 16;
static constexpr uint64_t maxTensors = 1 << 20;
static constexpr uint64_t maxKeyBytes = 65535; // the format's own limit
static constexpr uint64_t maxStringBytes = 1 << 26;
static constexpr uint64_t maxArrayElements = 1 << 24;
static constexpr unsigned maxDims = 4;
static constexpr uint64_t maxAlignment = 1 << 20;

namespace {

// The format's metadata types.
enum class ValueType : uint32_t {
  U8,
  I8,
  U16,
  I16,
  U32,
  I32,
  F32,
  Bool,
  String,
  Array,
  U64,
  I64,
  F64
};

// Sequential reads through a buffer, with the position for error messages.
class Stream {
public:
  explicit Stream(const InputFile &file) : file(file) {}

  uint64_t position() const { return offset; }
  uint64_t left() const { return file.size() - offset; }

  llvm::Error bytes(void *out, uint64_t length) {
    if (length > left())
      return makeError("{0}: ends at byte {1} in the middle of its header; the "
                       "file is truncated, fetch it again",
                       file.path(), file.size());
    char *to = static_cast<char *>(out);
    while (length) {
      if (offset < bufferStart || offset >= bufferStart + buffer.size())
        if (llvm::Error error = fill())
          return error;
      uint64_t at = offset - bufferStart;
      uint64_t take = std::min<uint64_t>(length, buffer.size() - at);
      std::copy_n(buffer.data() + at, take, to);
      to += take;
      offset += take;
      length -= take;
    }
    return llvm::Error::success();
  }

  template <typename T> llvm::Error number(T &out) {
    char raw[sizeof(T)];
    if (llvm::Error error = bytes(raw, sizeof raw))
      return error;
    out = llvm::support::endian::read<T, llvm::endianness::little>(raw);
    return llvm::Error::success();
  }

private:
  llvm::Error fill() {
    bufferStart = offset;
    buffer.resize(std::min<uint64_t>(left(), 1 << 16));
    return file.read(offset, buffer.size(), buffer.data());
  }

  const InputFile &file;
  uint64_t offset = 0;
  uint64_t bufferStart = 0;
  std::vector<char> buffer;
};

} // namespace

namespace stele::checkpoint {

class GgufReader {
public:
  explicit GgufReader(const InputFile &file)
      : file(file), stream(file), result(new GgufFile) {
    result->filePath = file.path().str();
  }

  llvm::Expected<std::unique_ptr<GgufFile>> read() {
    uint64_t tensors = 0, pairs = 0;
    if (llvm::Error error = readHeader(tensors, pairs))
      return std::move(error);
    for (uint64_t i = 0; i < pairs; ++i)
      if (llvm::Error error = readPair())
        return std::move(error);
    for (uint64_t i = 0; i < tensors; ++i)
      if (llvm::Error error = readTensor())
        return std::move(error);
    if (llvm::Error error = placeTensors())
      return std::move(error);
    return std::move(result);
  }

private:
  template <typename... Args>
  llvm::Error fail(const char *format, Args &&...args) {
    return makeError("{0}: {1}", file.path(),
                     llvm::formatv(format, std::forward<Args>(args)...).str());
  }

  llvm::Error readHeader(uint64_t &tensors, uint64_t &pairs) {
    char magic[4];
    uint32_t version;
    if (llvm::Error error = stream.bytes(magic, sizeof magic))
      return error;
    if (llvm::StringRef(magic, 4) != "GGUF")
      return fail("does not begin with 'GGUF'; this is not a GGUF file");
    if (llvm::Error error = stream.number(version))
      return error;
    if (version != 2 && version != 3) {
      if ((version & 0xffff) == 0 && version != 0)
        return fail("is a big-endian GGUF file; convert it to little endian "
                    "(gguf-convert-endian)");
      return fail("GGUF version {0} is not supported; 2 and 3 are", version);
    }
    if (llvm::Error error = stream.number(tensors))
      return error;
    if (llvm::Error error = stream.number(pairs))
      return error;
    if (tensors > maxTensors)
      return fail("tensor count {0} is over the limit of {1}", tensors,
                  maxTensors);
    if (pairs > maxMetadataPairs)
      return fail("metadata count {0} is over the limit of {1}", pairs,
                  maxMetadataPairs);
    return llvm::Error::success();
  }

  // A length-prefixed string; `what` names it in errors.
  llvm::Error readString(std::string &out, uint64_t limit,
                         const llvm::Twine &what) {
    uint64_t length;
    if (llvm::Error error = stream.number(length))
      return error;
    if (length > limit)
      return fail("{0} is {1} bytes long, over the limit of {2}", what.str(),
                  length, limit);
    if (length > stream.left())
      return fail("{0} is {1} bytes long, past the end of the file", what.str(),
                  length);
    out.resize(length);
    return stream.bytes(out.data(), length);
  }

  llvm::Error readPair() {
    std::string key;
    if (llvm::Error error = readString(key, maxKeyBytes, "a metadata key"))
      return error;
    // Keys go into messages as they are, so they must be readable.
    if (!llvm::json::isUTF8(key))
      return fail("a metadata key is not UTF-8");
    uint32_t type;
    if (llvm::Error error = stream.number(type))
      return error;
    GgufValue value;
    if (llvm::Error error = type == uint32_t(ValueType::Array)
                                ? readArray(key, value.emplace<GgufArray>())
                                : readScalarValue(key, type, value))
      return error;
    if (!result->index.try_emplace(key, result->entries.size()).second)
      return fail("duplicate metadata key '{0}'", key);
    result->entries.emplace_back(std::move(key), std::move(value));
    return llvm::Error::success();
  }

  llvm::Error readScalarValue(llvm::StringRef key, uint32_t type,
                              GgufValue &value) {
    GgufScalar scalar;
    if (llvm::Error error = readScalar(key, type, scalar))
      return error;
    std::visit([&](auto &held) { value = std::move(held); }, scalar);
    return llvm::Error::success();
  }

  template <typename Stored, typename Held>
  llvm::Error readNumber(GgufScalar &out) {
    Stored stored;
    if (llvm::Error error = stream.number(stored))
      return error;
    out = static_cast<Held>(stored);
    return llvm::Error::success();
  }

  llvm::Error readScalar(llvm::StringRef key, uint32_t type, GgufScalar &out) {
    switch (static_cast<ValueType>(type)) {
    case ValueType::U8:
      return readNumber<uint8_t, uint64_t>(out);
    case ValueType::I8:
      return readNumber<int8_t, int64_t>(out);
    case ValueType::U16:
      return readNumber<uint16_t, uint64_t>(out);
    case ValueType::I16:
      return readNumber<int16_t, int64_t>(out);
    case ValueType::U32:
      return readNumber<uint32_t, uint64_t>(out);
    case ValueType::I32:
      return readNumber<int32_t, int64_t>(out);
    case ValueType::U64:
      return readNumber<uint64_t, uint64_t>(out);
    case ValueType::I64:
      return readNumber<int64_t, int64_t>(out);
    case ValueType::F32:
      return readNumber<float, double>(out);
    case ValueType::F64:
      return readNumber<double, double>(out);
    case ValueType::Bool:
      return readNumber<uint8_t, bool>(out);
    case ValueType::String:
      return readString(out.emplace<std::string>(), maxStringBytes,
                        "'" + key + "'");
    case ValueType::Array:
      return fail("'{0}' is an array of arrays, which no key of a supported "
                  "model is",
                  key);
    }
    return fail("'{0}' has the unknown value type {1}", key, type);
  }

  static unsigned minimumBytes(uint32_t type) {
    switch (static_cast<ValueType>(type)) {
    case ValueType::U16:
    case ValueType::I16:
      return 2;
    case ValueType::U32:
    case ValueType::I32:
    case ValueType::F32:
      return 4;
    case ValueType::U64:
    case ValueType::I64:
    case ValueType::F64:
    case ValueType::String: // its length
      return 8;
    default:
      return 1;
    }
  }

  llvm::Error readArray(llvm::StringRef key, GgufArray &out) {
    uint32_t type;
    uint64_t count;
    if (llvm::Error error = stream.number(type))
      return error;
    if (llvm::Error error = stream.number(count))
      return error;
    if (count > maxArrayElements)
      return fail("array '{0}' has {1} elements, over the limit of {2}", key,
                  count, maxArrayElements);
    if (count * minimumBytes(type) > stream.left())
      return fail("array '{0}' of {1} elements is past the end of the file",
                  key, count);
    out.resize(count);
    for (GgufScalar &element : out)
      if (llvm::Error error = readScalar(key, type, element))
        return error;
    return llvm::Error::success();
  }

  llvm::Expected<ElementType> elementType(llvm::StringRef tensor, uint32_t id) {
    switch (id) {
    case 0:
      return ElementType::F32;
    case 1:
      return ElementType::F16;
    case 2:
      return ElementType::Q4_0;
    case 3:
      return ElementType::Q4_1;
    case 6:
      return ElementType::Q5_0;
    case 7:
      return ElementType::Q5_1;
    case 8:
      return ElementType::Q8_0;
    case 12:
      return ElementType::Q4_K;
    case 13:
      return ElementType::Q5_K;
    case 14:
      return ElementType::Q6_K;
    case 30:
      return ElementType::BF16;
    default:
      return fail(
          "tensor '{0}' has ggml type {1}, which is not supported; F32, "
          "F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K "
          "are",
          tensor, id);
    }
  }

  llvm::Error readTensor() {
    TensorInfo tensor;
    if (llvm::Error error =
            readString(tensor.name, maxKeyBytes, "a tensor name"))
      return error;
    if (!llvm::json::isUTF8(tensor.name))
      return fail("a tensor name is not UTF-8");
    if (!names.insert(tensor.name).second)
      return fail("duplicate tensor '{0}'", tensor.name);
    if (llvm::Error error = readDims(tensor))
      return error;
    uint32_t typeId;
    if (llvm::Error error = stream.number(typeId))
      return error;
    auto type = elementType(tensor.name, typeId);
    if (!type)
      return type.takeError();
    tensor.type = *type;
    if (llvm::Error error = stream.number(tensor.offset))
      return error;
    if (llvm::Error error = computeBytes(tensor))
      return error;
    result->tensorList.push_back(std::move(tensor));
    return llvm::Error::success();
  }

  llvm::Error readDims(TensorInfo &tensor) {
    uint32_t dims;
    if (llvm::Error error = stream.number(dims))
      return error;
    if (dims > maxDims)
      return fail("tensor '{0}' has {1} dimensions, {2} at most are allowed",
                  tensor.name, dims, maxDims);
    for (uint32_t i = 0; i < dims; ++i) {
      uint64_t dim;
      if (llvm::Error error = stream.number(dim))
        return error;
      if (dim > INT64_MAX)
        return fail("tensor '{0}': dimension {1} is over 2^63 - 1", tensor.name,
                    dim);
      tensor.shape.push_back(dim);
    }
    // The file has the innermost dimension first.
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    return llvm::Error::success();
  }

  llvm::Error computeBytes(TensorInfo &tensor) {
    std::optional<int64_t> elements = elementCount(tensor.shape);
    int64_t block = blockElements(tensor.type);
    int64_t bytes;
    if (!elements ||
        llvm::MulOverflow(*elements, blockBytes(tensor.type), bytes))
      return fail("tensor '{0}': the product of shape {1} overflows",
                  tensor.name, describeShape(tensor.shape));
    int64_t inner = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (inner % block)
      return fail(
          "tensor '{0}': rows of {1} elements are not whole {2} blocks of "
          "{3}",
          tensor.name, inner, name(tensor.type), block);
    // Its rows would be single elements, which no block holds.
    if (block > 1 && tensor.shape.size() < 2)
      return fail("tensor '{0}': a vector of type {1} is not supported",
                  tensor.name, name(tensor.type));
    tensor.bytes = bytes / block;
    return llvm::Error::success();
  }

  llvm::Expected<uint64_t> alignment() {
    auto value = result->integer("general.alignment");
    if (!value)
      return value.takeError();
    int64_t alignment = value->value_or(32);
    if (alignment < 1 || uint64_t(alignment) > maxAlignment ||
        !llvm::isPowerOf2_64(alignment))
      return fail("general.alignment {0} is not a power of two from 1 to {1}",
                  alignment, maxAlignment);
    return alignment;
  }

  // Turns offsets that are relative to the data into offsets in the file.
  llvm::Error placeTensors() {
    auto align = alignment();
    if (!align)
      return align.takeError();
    // Cannot wrap: the position is inside the file, the alignment is small.
    uint64_t dataStart = llvm::alignTo(stream.position(), *align);
    uint64_t dataBytes = file.size() - std::min(dataStart, file.size());
    for (TensorInfo &tensor : result->tensorList) {
      if (tensor.offset % *align)
        return fail(
            "tensor '{0}': offset {1} is not a multiple of the alignment "
            "{2}",
            tensor.name, tensor.offset, *align);
      if (!rangeFits(tensor.offset, tensor.bytes, dataBytes))
        return fail("tensor '{0}': {1} bytes at offset {2} are past the end of "
                    "the file's {3} bytes of data; the file is truncated or "
                    "damaged, fetch it again",
                    tensor.name, tensor.bytes, tensor.offset, dataBytes);
      tensor.offset += dataStart;
    }
    return checkDisjoint();
  }

  llvm::Error checkDisjoint() {
    std::vector<const TensorInfo *> sorted;
    for (const TensorInfo &tensor : result->tensorList)
      sorted.push_back(&tensor);
    llvm::sort(sorted, [](const TensorInfo *a, const TensorInfo *b) {
      return std::pair(a->offset, a->bytes) < std::pair(b->offset, b->bytes);
    });
    for (size_t i = 1; i < sorted.size(); ++i)
      if (sorted[i]->offset < sorted[i - 1]->offset + sorted[i - 1]->bytes)
        return fail("tensors '{0}' and '{1}' overlap", sorted[i - 1]->name,
                    sorted[i]->name);
    return llvm::Error::success();
  }

  const InputFile &file;
  Stream stream;
  std::unique_ptr<GgufFile> result;
  llvm::StringSet<> names;
};

} // namespace stele::checkpoint

llvm::Expected<std::unique_ptr<GgufFile>>
GgufFile::read(const InputFile &file) {
  return GgufReader(file).read();
}

const GgufValue *GgufFile::find(llvm::StringRef key) const {
  auto it = index.find(key);
  return it == index.end() ? nullptr : &entries[it->second].second;
}

static llvm::Error wrongType(llvm::StringRef path, llvm::StringRef key,
                             llvm::StringRef wanted) {
  return makeError("{0}: metadata '{1}' is not {2}", path, key, wanted);
}

llvm::Expected<std::optional<std::string>>
GgufFile::string(llvm::StringRef key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (const auto *text = std::get_if<std::string>(value))
    return *text;
  return wrongType(filePath, key, "a string");
}

llvm::Expected<std::optional<int64_t>>
GgufFile::integer(llvm::StringRef key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (const auto *number = std::get_if<int64_t>(value))
    return *number;
  if (const auto *number = std::get_if<uint64_t>(value);
      number && *number <= INT64_MAX)
    return int64_t(*number);
  return wrongType(filePath, key, "an integer below 2^63");
}

llvm::Expected<std::optional<double>>
GgufFile::number(llvm::StringRef key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (const auto *number = std::get_if<double>(value))
    return *number;
  if (const auto *number = std::get_if<int64_t>(value))
    return double(*number);
  if (const auto *number = std::get_if<uint64_t>(value))
    return double(*number);
  return wrongType(filePath, key, "a number");
}

llvm::Expected<std::optional<bool>>
GgufFile::boolean(llvm::StringRef key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (const auto *flag = std::get_if<bool>(value))
    return *flag;
  return wrongType(filePath, key, "a boolean");
}

llvm::Expected<const GgufArray *> GgufFile::array(llvm::StringRef key) const {
  const GgufValue *value = find(key);
  if (!value)
    return nullptr;
  if (const auto *array = std::get_if<GgufArray>(value))
    return array;
  return wrongType(filePath, key, "an array");
}
