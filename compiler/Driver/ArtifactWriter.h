// The end of the compiler's road: segments and FlatBuffer become one file.
//
// Header (64 bytes), FlatBuffer, then segments at multiples of 4096. Segment
// bytes are streamed, so that memory use does not grow with the model, and
// nothing is left at or beside the output path when anything fails or the
// process is interrupted. One rename puts the new artifact in place of the old
// one: weights of their own file have a name that follows from their content,
// so that old and new weights never take each other's place.
#ifndef STELE_COMPILER_DRIVER_ARTIFACTWRITER_H
#define STELE_COMPILER_DRIVER_ARTIFACTWRITER_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <array>
#include <cstdint>
#include <functional>
#include <string>

namespace stele::compiler {

/// Bytes that follow the FlatBuffer, or are a file of their own.
struct SegmentBytes {
  uint64_t length; // what `write` will write
  std::function<llvm::Error(llvm::raw_ostream &)> write;
  // Where the file of its own starts its name; empty: it is in the artifact.
  std::string file = {};
};

/// Where a segment is, known before (offset) and after (xxh3) it is written.
struct PlacedSegment {
  uint64_t offset = 0; // from the start of its file
  uint64_t xxh3 = 0;   // XXH3-64 of its bytes
  // Of the file of its own: name (SegmentBytes::file, a dot, 16 digits of the
  // SHA-256; no folder) and SHA-256.
  std::string file = {};
  std::array<uint8_t, 32> sha256 = {};
};

/// Makes the FlatBuffer for these placements, one per segment. Its size must
/// not depend on their values.
using PlanSerialiser =
    llvm::function_ref<std::string(llvm::ArrayRef<PlacedSegment>)>;

/// Refuses a path that cannot become a file: a folder, a device, a pipe, or in
/// a folder that is not there. Cheap, to be asked before the work is done.
llvm::Error checkOutput(llvm::StringRef path);

/// Writes the artifact to a temporary file beside `path`, flushes it to disk
/// and renames it over `path`. Files of segments get their names right before
/// that, and those of the artifact that was there are removed after it. Returns
/// the artifact's size.
llvm::Expected<uint64_t> writeArtifact(llvm::StringRef path,
                                       llvm::ArrayRef<SegmentBytes> segments,
                                       PlanSerialiser serialise);

} // namespace stele::compiler

#endif // STELE_COMPILER_DRIVER_ARTIFACTWRITER_H
