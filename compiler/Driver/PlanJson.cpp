// A plan's FlatBuffer as text for people and scripts (FlatBuffer.h).

#include "stele/compiler/Driver/FlatBuffer.h"
#include "llvm/Support/ErrorHandling.h"
#include <flatbuffers/idl.h>

using namespace stele;

static constexpr char schema[] =
#include "stele/compiler/Driver/PlanSchema.inc"
    ;

std::string compiler::planToJson(llvm::StringRef flatBuffer) {
  flatbuffers::IDLOptions options;
  options.strict_json = true;
  options.output_default_scalars_in_json = true;
  options.indent_step = 2;
  flatbuffers::Parser parser(options);
  std::string text;
  if (!parser.Parse(schema) ||
      !flatbuffers::GenerateText(parser, flatBuffer.data(), &text))
    llvm::report_fatal_error("the plan's schema cannot print its own plan");
  return text;
}
