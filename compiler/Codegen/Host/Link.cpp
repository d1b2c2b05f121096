// lld as a library (Link.h). lld reads and writes files only: the objects pass
// through a file in memory, the result through one in the temporary folder.
#include "stele/compiler/Codegen/Host/Link.h"
#include "lld/Common/Driver.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;

namespace stele::compiler {
namespace {

// Bytes that lld can open by a path, and that are gone with the process.
class MemoryFile {
public:
  ~MemoryFile() {
    if (descriptor >= 0)
      ::close(descriptor);
  }
  Error create(StringRef bytes) {
    descriptor = ::memfd_create("stele-link", MFD_CLOEXEC);
    if (descriptor < 0)
      return errorCodeToError(errnoAsErrorCode());
    raw_fd_ostream stream(descriptor, /*shouldClose=*/false);
    stream << bytes;
    stream.flush();
    std::error_code failed = stream.error();
    stream.clear_error();
    return errorCodeToError(failed);
  }
  std::string path() const {
    return "/proc/self/fd/" + std::to_string(descriptor);
  }

private:
  int descriptor = -1;
};

// A name for what lld writes; nothing is left there, on signals either.
class OutputName {
public:
  ~OutputName() {
    sys::fs::remove(path);
    sys::DontRemoveFileOnSignal(path);
  }
  Error create() {
    sys::fs::getPotentiallyUniqueTempFileName("stele-link", "so", path);
    std::string message;
    if (sys::RemoveFileOnSignal(path, &message))
      return createStringError(inconvertibleErrorCode(), message);
    return Error::success();
  }
  const char *c_str() { return path.c_str(); }

private:
  SmallString<128> path;
};

// One file however many objects there are.
Expected<std::unique_ptr<MemoryBuffer>>
makeArchive(ArrayRef<StringRef> objects) {
  std::vector<std::string> names;
  for (size_t i = 0; i < objects.size(); ++i)
    names.push_back(std::to_string(i) + ".o");
  std::vector<NewArchiveMember> members;
  for (auto [name, object] : zip_equal(names, objects))
    members.emplace_back(MemoryBufferRef(object, name));
  return writeArchiveToBuffer(members, SymtabWritingMode::NoSymtab,
                              object::Archive::K_GNU, /*Deterministic=*/true,
                              /*Thin=*/false);
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
  Expected<std::unique_ptr<MemoryBuffer>> archive = makeArchive(objects);
  if (!archive)
    return archive.takeError();
  MemoryFile input;
  if (Error error = input.create((*archive)->getBuffer()))
    return error;
  OutputName output;
  if (Error error = output.create())
    return error;
  const std::string inputPath = input.path();
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
                                         output.c_str(),
                                         "--whole-archive",
                                         inputPath.c_str()};
  if (Error error = runLld(arguments))
    return error;
  ErrorOr<std::unique_ptr<MemoryBuffer>> image =
      MemoryBuffer::getFile(output.c_str(), /*IsText=*/false,
                            /*RequiresNullTerminator=*/false);
  if (!image)
    return createFileError(output.c_str(), image.getError());
  return std::vector<char>((*image)->getBufferStart(),
                           (*image)->getBufferEnd());
}

} // namespace stele::compiler
