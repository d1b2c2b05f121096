// The texts that a calibration runs a model on: the user's file, or ours.
//
// Place on the road: the first thing that Gate.cpp reads; the artifact's table
// names every text by its digest.
#ifndef STELE_COMPILER_CALIBRATE_TEXT_H
#define STELE_COMPILER_CALIBRATE_TEXT_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <string>
#include <utility>

namespace stele::compiler {

struct Text {
  std::string name; // the path, or which of ours
  std::string bytes;

  std::string sha256() const;
};

/// What a calibration's table says of a text, of which so many tokens were
/// read.
llvm::json::Object describe(const Text &text, size_t tokens);

/// The first two thirds, to take statistics on, and the rest, to measure
/// perplexity on; cut behind a line where there is one near, and never within a
/// character. The names say which bytes.
std::pair<Text, Text> splitText(const Text &text);

/// A file of text; an error when it is empty or not UTF-8.
llvm::Expected<Text> readText(llvm::StringRef path);

/// Our own (compiler/Calibrate/texts): what statistics are taken on without
/// --calibrate, and what perplexity is measured on. They share no paragraph.
Text bundledCalibrationText();
Text bundledGateText();

} // namespace stele::compiler

#endif // STELE_COMPILER_CALIBRATE_TEXT_H
