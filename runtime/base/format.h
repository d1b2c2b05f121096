// Sizes, counts and times as users read them.
#ifndef STELE_RUNTIME_BASE_FORMAT_H_
#define STELE_RUNTIME_BASE_FORMAT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace stele {

// "512 B", "1.5 MiB", "12.0 GiB".
std::string FormatBytes(uint64_t bytes);
// "850 us", "12.3 ms", "4.56 s", "3 min 20 s".
std::string FormatSeconds(double seconds);
// printf into a string.
std::string Format(const char* format, ...)
    __attribute__((format(printf, 1, 2)));

// Text from a file as a message may show it: control characters and bytes
// beyond ASCII as \xNN, cut to 100 characters.
std::string Printable(std::string_view text);

}  // namespace stele

#endif  // STELE_RUNTIME_BASE_FORMAT_H_
