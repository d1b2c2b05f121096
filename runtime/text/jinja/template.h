// Template: a chat template, parsed once and rendered any number of times.
//
// The language is the Jinja2 subset that chat templates are written in, set up
// as transformers does (trim_blocks, lstrip_blocks, loop controls, its tojson
// and globals). Templates are not trusted: they reach nothing but the values
// they are given, and Limits bounds what they spend.
//
// A Template never changes; any number of threads may render it at a time.
#ifndef STELE_RUNTIME_TEXT_JINJA_TEMPLATE_H_
#define STELE_RUNTIME_TEXT_JINJA_TEMPLATE_H_

#include <ctime>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/text/jinja/ast.h"
#include "stele/runtime/text/jinja/meter.h"
#include "stele/runtime/text/jinja/value.h"
#include "stele/runtime/text/span.h"

namespace stele::text::jinja {

struct RenderOptions {
  Limits limits;
  // The local time that strftime_now() tells; the system's if empty.
  std::function<std::tm()> now;
};

// A variable the template finds set. Texts in `value` are the user's unless
// `trusted` (see FromJson) says otherwise; with `is_trusted` none is.
struct Variable {
  std::string name;
  nlohmann::ordered_json value;
  bool is_trusted = false;
  TrustRule trusted = nullptr;
};

class Template {
 public:
  // Errors name the line: "chat template line 3: ...".
  static Result<Template> Parse(std::string_view source);

  // The first filter or test that does not exist, as an error names it;
  // rendering fails where it is applied. Empty: all exist.
  const std::string& unknown() const { return unknown_; }

  // The result's user spans are the bytes that came from the user's variables.
  Result<Text> Render(const std::vector<Variable>& variables,
                      const RenderOptions& options) const;

 private:
  Template(Block block, std::string unknown)
      : block_(std::make_shared<const Block>(std::move(block))),
        unknown_(std::move(unknown)) {}

  std::shared_ptr<const Block> block_;
  std::string unknown_;
};

}  // namespace stele::text::jinja

#endif  // STELE_RUNTIME_TEXT_JINJA_TEMPLATE_H_
