// A model in several GGUF files, as llama-gguf-split writes them: every part
// has split.no (from 0), split.count and split.tensors.count, the first has all
// other metadata, and each tensor is in one of them.
#include "stele/compiler/Import/Errors.h"
#include "stele/compiler/Import/Gguf.h"
#include "llvm/ADT/StringSet.h"

using namespace stele::checkpoint;

static constexpr int64_t maxParts = 99999; // five digits in a name

// The end of the name of part `number`, counted from 0.
static std::string partSuffix(int64_t number, int64_t count) {
  std::string text;
  llvm::raw_string_ostream(text)
      << llvm::format("-%05d-of-%05d.gguf", static_cast<int>(number + 1),
                      static_cast<int>(count));
  return text;
}

llvm::Expected<std::unique_ptr<GgufFile>>
GgufFile::open(llvm::StringRef path,
               std::vector<std::unique_ptr<InputFile>> &files) {
  auto file = InputFile::open(path);
  if (!file)
    return file.takeError();
  files.push_back(std::move(*file));
  auto gguf = read(*files.back());
  if (!gguf)
    return gguf.takeError();
  auto count = (*gguf)->integer("split.count");
  if (!count)
    return count.takeError();
  if (count->value_or(0) > 1)
    if (llvm::Error error = (*gguf)->openParts(**count, files))
      return std::move(error);
  return gguf;
}

// Whether a part says of itself what its name says.
static llvm::Error checkPart(const GgufFile &part, int64_t number,
                             int64_t count, int64_t tensors) {
  for (auto [key, expected] :
       {std::pair("split.no", number), std::pair("split.count", count),
        std::pair("split.tensors.count", tensors)}) {
    auto value = part.integer(key);
    if (!value)
      return value.takeError();
    if (value->value_or(-1) != expected)
      return makeError(
          "{0}: {1} is {2}, as part {3} of {4} it must be {5}; the "
          "parts are not of one model, fetch them again",
          part.path(), key, *value ? std::to_string(**value) : "missing",
          number + 1, count, expected);
  }
  return llvm::Error::success();
}

llvm::Error
GgufFile::openParts(int64_t count,
                    std::vector<std::unique_ptr<InputFile>> &files) {
  llvm::StringRef prefix = filePath;
  if (count > maxParts || !prefix.consume_back(partSuffix(0, count)))
    return makeError("{0}: is one of {1} parts of a split GGUF, but not named "
                     "as the first; name the one that ends in {2}",
                     filePath, count, partSuffix(0, count));
  auto tensors = integer("split.tensors.count");
  if (!tensors)
    return tensors.takeError();
  const int64_t total = tensors->value_or(-1);
  if (llvm::Error error = checkPart(*this, 0, count, total))
    return error;
  for (int64_t number = 1; number < count; ++number) {
    auto file = InputFile::open((prefix + partSuffix(number, count)).str());
    if (!file)
      return makeError("{0}; this is part {1} of {2} of a split GGUF",
                       llvm::toString(file.takeError()), number + 1, count);
    files.push_back(std::move(*file));
    auto part = read(*files.back());
    if (!part)
      return part.takeError();
    if (llvm::Error error = checkPart(**part, number, count, total))
      return error;
    for (TensorInfo &tensor : (*part)->tensorList) {
      tensor.file = files.size() - 1;
      tensorList.push_back(std::move(tensor));
    }
  }
  return checkTensors(total);
}

llvm::Error GgufFile::checkTensors(int64_t total) const {
  llvm::StringSet<> names;
  for (const TensorInfo &tensor : tensorList)
    if (!names.insert(tensor.name).second)
      return makeError("{0}: tensor '{1}' is in two parts of the split GGUF",
                       filePath, tensor.name);
  if (static_cast<int64_t>(tensorList.size()) != total)
    return makeError("{0}: split.tensors.count is {1}, but all parts together "
                     "have {2} tensors; fetch them again",
                     filePath, total, tensorList.size());
  return llvm::Error::success();
}
