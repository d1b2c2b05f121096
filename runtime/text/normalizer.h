// Unicode normalisation forms, safe on hostile text.
//
// utf8proc has the tables, but sorts combining marks in quadratic time; here a
// million marks in a row cost what a million letters cost. Stateless.
#ifndef STELE_RUNTIME_TEXT_NORMALIZER_H_
#define STELE_RUNTIME_TEXT_NORMALIZER_H_

#include <string>
#include <string_view>

namespace stele::text {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// `text` is valid UTF-8.
std::string NormalizeUnicode(std::string_view text, NormalForm form);

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_NORMALIZER_H_
