// First error of a context (Diagnostics.h).

#include "stele/compiler/Driver/Diagnostics.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "stele/compiler/Import/Errors.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;

FirstError::FirstError(MLIRContext &context)
    : handler(&context, [this](Diagnostic &diagnostic) {
        see(diagnostic);
        return success();
      }) {}

/// "file:line:column: " where the diagnostic has a place in a file.
static std::string placeOf(Location location) {
  auto place = dyn_cast<FileLineColLoc>(location);
  if (!place)
    return "";
  return llvm::formatv("{0}:{1}:{2}: ", place.getFilename().getValue(),
                       place.getLine(), place.getColumn());
}

void FirstError::see(Diagnostic &diagnostic) {
  if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
    return;
  if (message.empty())
    message = placeOf(diagnostic.getLocation()) + diagnostic.str();
  for (Diagnostic &note : diagnostic.getNotes())
    if (std::string text = note.str();
        StringRef(text).contains("reproducer generated at"))
      reproducer = StringRef(text)
                       .split("reproducer generated at")
                       .second.trim(" `")
                       .str();
}

llvm::Error FirstError::take(llvm::StringRef otherwise) {
  std::string text = message.empty() ? otherwise.str() : message;
  // Assembly in a message may span lines; an error is one line.
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (!reproducer.empty())
    text += "; the module before the failing pass is in " + reproducer +
            " (stele-opt --run-reproducer)";
  return checkpoint::makeError("{0}", text);
}
