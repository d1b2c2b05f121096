// The two hashes of an artifact: SHA-256 is identity (the FlatBuffer, digest
// pins), XXH3 finds corruption of segments..
#ifndef STELE_RUNTIME_BASE_HASH_H_
#define STELE_RUNTIME_BASE_HASH_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace stele {

using Sha256Digest = std::array<uint8_t, 32>;

Sha256Digest Sha256(std::span<const uint8_t> bytes);
uint64_t Xxh3(std::span<const uint8_t> bytes);

// 64 lower-case hexadecimal digits, and back (either case).
std::string ToHex(const Sha256Digest& digest);
std::optional<Sha256Digest> ParseSha256(std::string_view hex);

}  // namespace stele

#endif  // STELE_RUNTIME_BASE_HASH_H_
