// JSON from users: conversations, tools, requests.
//
// Place on the road: what a chat template will walk. Values nest at most 64
// deep, since code that walks them (templates, printing, copying) recurses.
#ifndef STELE_RUNTIME_TEXT_JSON_H_
#define STELE_RUNTIME_TEXT_JSON_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "stele/runtime/base/status.h"

namespace stele::text {

// `source` names the text in messages.
Result<nlohmann::ordered_json> ParseJson(std::string_view text,
                                         const std::string& source);

}  // namespace stele::text

#endif  // STELE_RUNTIME_TEXT_JSON_H_
