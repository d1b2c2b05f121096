// Reading texts (Text.h).

#include "stele/compiler/Calibrate/Text.h"
#include "BundledTexts.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SHA256.h"

using namespace llvm;
using namespace stele;
using namespace stele::compiler;
using checkpoint::makeError;

std::string Text::sha256() const {
  return toHex(SHA256::hash(arrayRefFromStringRef(bytes)), /*LowerCase=*/true);
}

Expected<Text> compiler::readText(StringRef path) {
  ErrorOr<std::unique_ptr<MemoryBuffer>> file =
      MemoryBuffer::getFile(path, /*IsText=*/false,
                            /*RequiresNullTerminator=*/false);
  if (!file)
    return makeError("{0}: cannot read the text of --calibrate: {1}", path,
                     file.getError().message());
  StringRef bytes = (*file)->getBuffer();
  if (bytes.trim().empty())
    return makeError("{0}: is empty; --calibrate needs a text like those that "
                     "the model will read",
                     path);
  const auto *at = reinterpret_cast<const UTF8 *>(bytes.begin());
  if (!isLegalUTF8String(&at, reinterpret_cast<const UTF8 *>(bytes.end())))
    return makeError("{0}: byte {1} is not UTF-8; convert the text of "
                     "--calibrate",
                     path, reinterpret_cast<const char *>(at) - bytes.begin());
  return Text{path.str(), bytes.str()};
}

Text compiler::bundledCalibrationText() {
  return {"bundled calibration text", kCalibrationText};
}

Text compiler::bundledGateText() { return {"bundled gate text", kGateText}; }
