// Reading texts (Text.h).

#include "stele/compiler/Calibrate/Text.h"
#include "BundledTexts.h"
#include "stele/compiler/Import/Errors.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SHA256.h"

using namespace llvm;
using namespace stele;
using namespace stele::compiler;
using checkpoint::makeError;

std::string Text::sha256() const {
  return toHex(SHA256::hash(arrayRefFromStringRef(bytes)), /*LowerCase=*/true);
}

json::Object compiler::describe(const Text &text, size_t tokens) {
  return json::Object{{"name", json::fixUTF8(text.name)},
                      {"sha256", text.sha256()},
                      {"tokens", int64_t(tokens)}};
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

/// Where a line ends near `at`, or else a character.
static size_t findCut(StringRef bytes, size_t at) {
  const size_t line = bytes.find('\n', at);
  if (line != StringRef::npos && line < at + bytes.size() / 8)
    return line + 1;
  auto isWithin = [](char c) { return (c & 0xc0) == 0x80; };
  while (at < bytes.size() && isWithin(bytes[at]))
    ++at;
  return at;
}

std::pair<Text, Text> compiler::splitText(const Text &text) {
  const size_t cut = findCut(text.bytes, text.bytes.size() / 3 * 2);
  auto part = [&](size_t begin, size_t end) {
    return Text{formatv("{0} (bytes {1} to {2})", text.name, begin, end).str(),
                text.bytes.substr(begin, end - begin)};
  };
  return {part(0, cut), part(cut, text.bytes.size())};
}

Text compiler::bundledCalibrationText() {
  return {"bundled calibration text", kCalibrationText};
}

Text compiler::bundledGateText() { return {"bundled gate text", kGateText}; }
