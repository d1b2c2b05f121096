// A checkpoint file opened for reading: the bytes of the weights stay on disk
// and reach memory a few rows at a time.
//
// Reads go through pread, not a mapping: a file that shrinks or a disk that
// fails becomes an error instead of a signal, and a compile's resident memory
// does not grow with the checkpoint.
#ifndef STELE_COMPILER_IMPORT_INPUTFILE_H
#define STELE_COMPILER_IMPORT_INPUTFILE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <memory>
#include <string>

namespace stele::checkpoint {

class InputFile {
public:
  // Follows symbolic links (the hub's cache is made of them), but the file at
  // their end must be a regular one: a FIFO would block, a device never ends.
  static llvm::Expected<std::unique_ptr<InputFile>> open(llvm::StringRef path);
  ~InputFile();
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;

  llvm::StringRef path() const { return name; }
  uint64_t size() const { return bytes; }
  // Reads exactly `length` bytes at `offset`. Safe from several threads.
  llvm::Error read(uint64_t offset, uint64_t length, void *out) const;

private:
  InputFile(std::string path, int descriptor, uint64_t size)
      : name(std::move(path)), descriptor(descriptor), bytes(size) {}

  std::string name;
  int descriptor;
  uint64_t bytes;
};

// The whole of a regular file of at most `limit` bytes.
llvm::Expected<std::string> readTextFile(llvm::StringRef path, uint64_t limit);

// Does [offset, offset + length) lie in `size` bytes? (`offset + length` may
// wrap, so it is never computed.)
inline bool rangeFits(uint64_t offset, uint64_t length, uint64_t size) {
  return length <= size && offset <= size - length;
}

} // namespace stele::checkpoint

#endif // STELE_COMPILER_IMPORT_INPUTFILE_H
