// Template: where the interpreter's exceptions become Statuses. See template.h.
#include "stele/runtime/text/jinja/template.h"

#include <new>
#include <utility>

#include "stele/runtime/text/jinja/interpreter.h"
#include "stele/runtime/text/jinja/lexer.h"
#include "stele/runtime/text/jinja/parser.h"

namespace stele::text::jinja {
namespace {

// Longest source accepted; real templates are a few KiB.
constexpr size_t kMaxSource = 1 << 20;

std::tm LocalTime() {
  std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

TrustRule RuleOf(const Variable& variable) {
  if (!variable.is_trusted) return variable.trusted;
  return [](std::string_view, std::string_view) { return true; };
}

std::string AtLine(int line, const std::string& message) {
  return "chat template line " + std::to_string(line) + ": " + message;
}

Status ReadVariables(const std::vector<Variable>& variables, Meter& meter,
                     Dict& context) try {
  for (const Variable& variable : variables) {
    context.Set(Value::String(variable.name),
                FromJson(variable.value, RuleOf(variable), meter), meter);
  }
  return OkStatus();
} catch (const Error& error) {
  return Status(error.code, "chat template input: " + error.message);
}

Result<Text> RunAt(Interpreter& interpreter, const Block& block) try {
  return interpreter.Run(block);
} catch (const Error& error) {
  return Status(error.code, AtLine(interpreter.line(), error.message));
}

}  // namespace

Result<Template> Template::Parse(std::string_view source) {
  if (source.size() > kMaxSource) {
    return InvalidArgument(
        "the chat template is " + std::to_string(source.size()) +
        " bytes long, more than " + std::to_string(kMaxSource));
  }
  try {
    ParsedTemplate parsed = ParseTemplate(source);
    if (!parsed.unknown.empty())
      parsed.unknown = AtLine(parsed.unknown_line, parsed.unknown);
    return Template(std::move(parsed.block), std::move(parsed.unknown));
  } catch (const SyntaxError& error) {
    return InvalidArgument(AtLine(error.line, error.message));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("out of memory while parsing the chat template");
  }
}

Result<Text> Template::Render(const std::vector<Variable>& variables,
                              const RenderOptions& options) const {
  try {
    Meter meter(options.limits);
    Dict context;
    STELE_RETURN_IF_ERROR(ReadVariables(variables, meter, context));
    std::function<std::tm()> now = options.now ? options.now : LocalTime;
    Interpreter interpreter(context, now, meter);
    return RunAt(interpreter, *block_);
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("out of memory while rendering the chat template");
  }
}

}  // namespace stele::text::jinja
