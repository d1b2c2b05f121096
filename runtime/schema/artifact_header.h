// The first 64 bytes of an artifact.
//
// Place on the road: compiler/Driver writes it, runtime/plan reads it before
// anything else. After it: the FlatBuffer (plan.fbs), zeros up to a multiple
// of 4096, then the segments, each starting at a multiple of 4096 with zeros
// between. Integers are little endian.
#ifndef STELE_SCHEMA_ARTIFACT_HEADER_H_
#define STELE_SCHEMA_ARTIFACT_HEADER_H_

#include <cstdint>

namespace stele::schema {

inline constexpr char kMagic[8] = {'S', 'T', 'E', 'L', 'E', '\r', '\n', '\0'};
// A reader takes an equal major and a minor up to its own.
inline constexpr uint16_t kFormatMajor = 1;
inline constexpr uint16_t kFormatMinor = 2;
inline constexpr uint32_t kEndianMark = 0x01020304;
inline constexpr uint64_t kSegmentAlignment = 4096;

struct ArtifactHeader {
  char magic[8];
  uint16_t major;
  uint16_t minor;
  uint32_t endian;           // kEndianMark, as the writer's machine stores it
  uint64_t total_size;       // of the file
  uint64_t flatbuffer_size;  // it starts right behind this header
  uint8_t sha256[32];        // of the FlatBuffer: the artifact's identity
};
static_assert(sizeof(ArtifactHeader) == 64);

}  // namespace stele::schema

#endif  // STELE_SCHEMA_ARTIFACT_HEADER_H_
