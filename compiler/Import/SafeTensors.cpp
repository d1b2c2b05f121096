// See SafeTensors.h. The format: 8 bytes of header length, a JSON header
// {name: {dtype, shape, data_offsets}}, then the tensors' bytes without gaps.
#include "stele/compiler/Import/SafeTensors.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Path.h"

using namespace stele::checkpoint;

// The format's own limit.
static constexpr uint64_t maxHeaderBytes = 100'000'000;

// Bits of one element, 0 for a dtype that the format does not know.
static unsigned dtypeBits(llvm::StringRef dtype) {
  return llvm::StringSwitch<unsigned>(dtype)
      .Case("F4", 4)
      .Cases({"F6_E2M3", "F6_E3M2"}, 6)
      .Cases({"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"}, 8)
      .Cases({"U16", "I16", "F16", "BF16"}, 16)
      .Cases({"U32", "I32", "F32"}, 32)
      .Cases({"U64", "I64", "F64", "C64"}, 64)
      .Default(0);
}

static std::optional<ElementType> elementType(llvm::StringRef dtype) {
  return llvm::StringSwitch<std::optional<ElementType>>(dtype)
      .Case("F32", ElementType::F32)
      .Case("F16", ElementType::F16)
      .Case("BF16", ElementType::BF16)
      .Case("I8", ElementType::I8)
      .Case("I32", ElementType::I32)
      .Case("I64", ElementType::I64)
      .Default(std::nullopt);
}

// A whole number in [0, 2^63): not negative, not 3.0, not 1e30.
static std::optional<int64_t> wholeNumber(const Json &json) {
  if (!json.is_number_unsigned() || json.get<uint64_t>() > INT64_MAX)
    return std::nullopt;
  return json.get<int64_t>();
}

namespace {

// Reads the entry of one tensor; errors name file and tensor.
class EntryReader {
public:
  EntryReader(llvm::StringRef file, const std::string &tensor,
              const Json &entry)
      : file(file), tensor(tensor), entry(entry) {}

  // `dataStart` and `dataBytes` place the bytes that offsets are relative to.
  llvm::Expected<TensorInfo> read(uint64_t dataStart, uint64_t dataBytes) {
    TensorInfo info;
    info.name = tensor;
    std::string dtype;
    if (llvm::Error error = checkFields())
      return std::move(error);
    if (llvm::Error error = readType(info, dtype))
      return std::move(error);
    if (llvm::Error error = readShape(info))
      return std::move(error);
    if (llvm::Error error = readOffsets(info, dataStart, dataBytes))
      return std::move(error);
    if (llvm::Error error = checkBytes(info, dtype))
      return std::move(error);
    return info;
  }

private:
  template <typename... Args>
  llvm::Error fail(const char *format, Args &&...args) {
    return makeError("{0}: tensor '{1}': {2}", file, tensor,
                     llvm::formatv(format, std::forward<Args>(args)...).str());
  }

  llvm::Error checkFields() {
    if (!entry.is_object())
      return fail("its header entry is not an object");
    for (const auto &item : entry.items())
      if (item.key() != "dtype" && item.key() != "shape" &&
          item.key() != "data_offsets")
        return fail("unknown header field '{0}'", item.key());
    for (const char *field : {"dtype", "shape", "data_offsets"})
      if (!entry.contains(field))
        return fail("header field '{0}' is missing", field);
    return llvm::Error::success();
  }

  llvm::Error readType(TensorInfo &info, std::string &dtype) {
    const Json &value = entry["dtype"];
    if (!value.is_string() || !dtypeBits(value.get_ref<const std::string &>()))
      return fail("unknown dtype {0}", shown(value));
    dtype = value.get<std::string>();
    info.type = elementType(dtype).value_or(ElementType::F32);
    return llvm::Error::success();
  }

  llvm::Error readShape(TensorInfo &info) {
    const Json &shape = entry["shape"];
    if (!shape.is_array())
      return fail("shape {0} is not an array", shown(shape));
    for (const Json &dim : shape) {
      std::optional<int64_t> value = wholeNumber(dim);
      if (!value)
        return fail("shape {0} has a dimension that is not a whole number from "
                    "0 to 2^63 - 1",
                    shown(shape));
      info.shape.push_back(*value);
    }
    return llvm::Error::success();
  }

  llvm::Error readOffsets(TensorInfo &info, uint64_t dataStart,
                          uint64_t dataBytes) {
    const Json &offsets = entry["data_offsets"];
    std::optional<int64_t> begin, end;
    if (offsets.is_array() && offsets.size() == 2) {
      begin = wholeNumber(offsets[0]);
      end = wholeNumber(offsets[1]);
    }
    if (!begin || !end || *begin > *end)
      return fail("data_offsets {0} are not [begin, end]", shown(offsets));
    if (uint64_t(*end) > dataBytes)
      return fail("data_offsets {0} end past the file's {1} bytes of data; the "
                  "file is truncated or damaged, fetch it again",
                  shown(offsets), dataBytes);
    info.offset = dataStart + *begin;
    info.bytes = *end - *begin;
    return llvm::Error::success();
  }

  llvm::Error checkBytes(const TensorInfo &info, llvm::StringRef dtype) {
    std::optional<int64_t> elements = elementCount(info.shape);
    int64_t bits;
    if (!elements ||
        llvm::MulOverflow<int64_t>(*elements, dtypeBits(dtype), bits))
      return fail("the product of shape {0} overflows",
                  describeShape(info.shape));
    if (bits % 8)
      return fail("{0} elements of {1} ({2} bits) do not fill whole bytes",
                  *elements, dtype, dtypeBits(dtype));
    if (uint64_t(bits / 8) != info.bytes)
      return fail("has {0} bytes, {1} of shape {2} takes {3}", info.bytes,
                  dtype, describeShape(info.shape), bits / 8);
    if (!elementType(dtype))
      return fail("dtype {0} is not supported; F32, F16 and BF16 are", dtype);
    return llvm::Error::success();
  }

  llvm::StringRef file;
  const std::string &tensor;
  const Json &entry;
};

} // namespace

// The tensors must cover the data exactly: in order of offset, each begins
// where the one before it ended, and the last ends with the file.
static llvm::Error checkCover(const InputFile &file, uint64_t dataStart,
                              llvm::ArrayRef<TensorInfo> tensors) {
  std::vector<const TensorInfo *> sorted;
  for (const TensorInfo &tensor : tensors)
    sorted.push_back(&tensor);
  llvm::sort(sorted, [](const TensorInfo *a, const TensorInfo *b) {
    return std::pair(a->offset, a->bytes) < std::pair(b->offset, b->bytes);
  });
  uint64_t end = dataStart;
  llvm::StringRef before = "the header";
  for (const TensorInfo *tensor : sorted) {
    if (tensor->offset < end)
      return makeError("{0}: tensors '{1}' and '{2}' overlap", file.path(),
                       before, tensor->name);
    if (tensor->offset > end)
      return makeError("{0}: {1} unused bytes between {2} and tensor '{3}'",
                       file.path(), tensor->offset - end, before, tensor->name);
    end += tensor->bytes;
    before = tensor->name;
  }
  if (end != file.size())
    return makeError("{0}: {1} bytes after the last tensor", file.path(),
                     file.size() - end);
  return llvm::Error::success();
}

// Reads the length and the JSON header; `dataStart` is where the data begins.
static llvm::Expected<Json> readHeader(const InputFile &file,
                                       uint64_t &dataStart) {
  if (file.size() < 8)
    return makeError("{0}: {1} bytes are too few for a safetensors file",
                     file.path(), file.size());
  char lengthBytes[8];
  if (llvm::Error error = file.read(0, 8, lengthBytes))
    return std::move(error);
  uint64_t length = llvm::support::endian::read64le(lengthBytes);
  if (llvm::StringRef(lengthBytes, 8) == "version ")
    return makeError("{0}: is a Git LFS pointer, not the weights; fetch them "
                     "with `git lfs pull`",
                     file.path());
  if (length > maxHeaderBytes)
    return makeError(
        "{0}: header length {1} is over the format's limit of {2}; "
        "this is not a safetensors file or it is damaged",
        file.path(), length, maxHeaderBytes);
  if (!rangeFits(8, length, file.size()))
    return makeError("{0}: header length {1} is past the end of the file ({2} "
                     "bytes); the file is truncated or damaged, fetch it again",
                     file.path(), length, file.size());
  std::string text(length, '\0');
  if (llvm::Error error = file.read(8, length, text.data()))
    return std::move(error);
  dataStart = 8 + length;
  auto header = parseJson(text, (file.path() + " header").str(),
                          {.bytes = maxHeaderBytes});
  if (header && !header->is_object())
    return makeError("{0}: the header is not a JSON object", file.path());
  return header;
}

llvm::Error
stele::checkpoint::readSafeTensors(const InputFile &file, unsigned fileIndex,
                                   std::vector<TensorInfo> &tensors) {
  uint64_t dataStart = 0;
  auto header = readHeader(file, dataStart);
  if (!header)
    return header.takeError();
  size_t first = tensors.size();
  for (const auto &item : header->items()) {
    if (item.key() == "__metadata__")
      continue;
    auto tensor = EntryReader(file.path(), item.key(), item.value())
                      .read(dataStart, file.size() - dataStart);
    if (!tensor)
      return tensor.takeError();
    tensor->file = fileIndex;
    tensors.push_back(std::move(*tensor));
  }
  return checkCover(file, dataStart, llvm::ArrayRef(tensors).drop_front(first));
}

// A shard is a file of the same folder. A path with a slash or .. could read
// anything the user may read.
static llvm::Error checkShardName(llvm::StringRef indexPath,
                                  const std::string &tensor,
                                  const Json &value) {
  if (!value.is_string())
    return makeError("{0}: weight_map['{1}'] is {2}, not a file name",
                     indexPath, tensor, shown(value));
  llvm::StringRef shard = value.get_ref<const std::string &>();
  if (shard.empty() || shard == "." || shard == ".." ||
      shard.find_first_of(llvm::StringRef("/\\\0", 3)) != llvm::StringRef::npos)
    return makeError("{0}: weight_map['{1}'] is '{2}'; a shard must be a plain "
                     "file name in the same folder",
                     indexPath, tensor, shard);
  return llvm::Error::success();
}

llvm::Error stele::checkpoint::readShardedSafeTensors(
    llvm::StringRef folder, llvm::StringRef indexPath,
    std::vector<std::unique_ptr<InputFile>> &files,
    std::vector<TensorInfo> &tensors) {
  auto index = readJsonFile(indexPath, {.bytes = maxHeaderBytes});
  if (!index)
    return index.takeError();
  const Json *map = findMember(*index, "weight_map");
  if (!map || !map->is_object())
    return makeError("{0}: weight_map is missing or not an object", indexPath);

  llvm::StringMap<unsigned> shards;   // file name -> index in `files`
  llvm::StringMap<unsigned> expected; // tensor -> its shard
  for (const auto &item : map->items()) {
    if (llvm::Error error = checkShardName(indexPath, item.key(), item.value()))
      return error;
    const std::string &shard = item.value().get_ref<const std::string &>();
    auto [it, isNew] = shards.try_emplace(shard, files.size());
    expected[item.key()] = it->second;
    if (!isNew)
      continue;
    llvm::SmallString<256> path(folder);
    llvm::sys::path::append(path, shard);
    auto file = InputFile::open(path);
    if (!file)
      return makeError("{0}: names the shard '{1}': {2}", indexPath, shard,
                       llvm::toString(file.takeError()));
    files.push_back(std::move(*file));
    if (llvm::Error error =
            readSafeTensors(*files.back(), files.size() - 1, tensors))
      return error;
  }

  for (const TensorInfo &tensor : tensors) {
    auto it = expected.find(tensor.name);
    if (it == expected.end())
      return makeError("{0}: tensor '{1}' of {2} is not in weight_map",
                       indexPath, tensor.name, files[tensor.file]->path());
    if (it->second != tensor.file)
      return makeError(
          "{0}: weight_map places tensor '{1}' in {2}, but {3} has "
          "it too",
          indexPath, tensor.name, files[it->second]->path(),
          files[tensor.file]->path());
  }
  llvm::StringSet<> found;
  for (const TensorInfo &tensor : tensors)
    found.insert(tensor.name);
  for (const auto &item : map->items())
    if (!found.contains(item.key()))
      return makeError("{0}: tensor '{1}' is not in its shard {2}", indexPath,
                       item.key(), files[expected[item.key()]]->path());
  return llvm::Error::success();
}
