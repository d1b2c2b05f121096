// lld as a library (Link.h). lld reads and writes files only, so that objects
// and result pass through a temporary folder that is gone on return.
#include "stele/compiler/Codegen/Host/Link.h"
#include "lld/Common/Driver.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <mutex>
#include <string>

LLD_HAS_DRIVER(elf)

using namespace llvm;

namespace stele::compiler {
namespace {

// A folder of its own under the system's temporary folder.
class TemporaryFolder {
public:
  ~TemporaryFolder() {
    if (!path.empty())
      sys::fs::remove_directories(path);
  }
  Error create() {
    return errorCodeToError(sys::fs::createUniqueDirectory("stele-link", path));
  }
  std::string file(const Twine &name) const {
    SmallString<128> result = path;
    sys::path::append(result, name);
    return result.str().str();
  }

private:
  SmallString<128> path;
};

Error writeFile(StringRef path, StringRef bytes) {
  std::error_code code;
  raw_fd_ostream stream(path, code);
  if (code)
    return createFileError(path, code);
  stream << bytes;
  stream.close();
  if (std::error_code failed = stream.error()) {
    stream.clear_error();
    return createFileError(path, failed);
  }
  return Error::success();
}

Error runLld(ArrayRef<const char *> arguments) {
  // lld's state is global.
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::string text;
  raw_string_ostream messages(text);
  lld::Result result = lld::lldMain(arguments, messages, messages,
                                    {{lld::Gnu, &lld::elf::link}});
  if (result.retCode == 0)
    return Error::success();
  return createStringError(inconvertibleErrorCode(),
                           "linking the host kernels failed: " + text);
}

} // namespace

Expected<std::vector<char>> linkSharedObject(ArrayRef<StringRef> objects) {
  TemporaryFolder folder;
  if (Error error = folder.create())
    return error;
  std::vector<std::string> inputs;
  for (StringRef object : objects) {
    inputs.push_back(folder.file(Twine(inputs.size()) + ".o"));
    if (Error error = writeFile(inputs.back(), object))
      return error;
  }
  std::string output = folder.file("kernels.so");
  // The System V hash table gives a loader the number of symbols; a reader
  // needs no other section.
  std::vector<const char *> arguments = {"ld.lld",
                                         "-shared",
                                         "--no-undefined",
                                         "-Bsymbolic",
                                         "-z",
                                         "text",
                                         "-z",
                                         "max-page-size=4096",
                                         "-z",
                                         "norelro",
                                         "-z",
                                         "noexecstack",
                                         "--strip-all",
                                         "--hash-style=sysv",
                                         "--build-id=none",
                                         "--threads=1",
                                         "-o",
                                         output.c_str()};
  for (const std::string &input : inputs)
    arguments.push_back(input.c_str());
  if (Error error = runLld(arguments))
    return error;
  ErrorOr<std::unique_ptr<MemoryBuffer>> image =
      MemoryBuffer::getFile(output, /*IsText=*/false,
                            /*RequiresNullTerminator=*/false);
  if (!image)
    return createFileError(output, image.getError());
  return std::vector<char>((*image)->getBufferStart(),
                           (*image)->getBufferEnd());
}

} // namespace stele::compiler
