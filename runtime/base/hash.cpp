// SHA-256 through OpenSSL, XXH3 through xxHash's header; see hash.h.
#include "stele/runtime/base/hash.h"

#include <openssl/evp.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdlib>

namespace stele {

Sha256Digest Sha256(std::span<const uint8_t> bytes) {
  Sha256Digest digest;
  // Fails only when the library lacks SHA-256 altogether; going on with an
  // unset digest would be worse than stopping.
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr,
                 EVP_sha256(), nullptr) != 1)
    std::abort();
  return digest;
}

uint64_t Xxh3(std::span<const uint8_t> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string ToHex(const Sha256Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (uint8_t byte : digest) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::optional<Sha256Digest> ParseSha256(std::string_view hex) {
  Sha256Digest digest = {};
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i] | 0x20;  // lower case; digits are unchanged
    int value;
    if (hex[i] >= '0' && hex[i] <= '9')
      value = hex[i] - '0';
    else if (c >= 'a' && c <= 'f')
      value = c - 'a' + 10;
    else
      return std::nullopt;
    digest[i / 2] = static_cast<uint8_t>(digest[i / 2] << 4 | value);
  }
  return digest;
}

}  // namespace stele
