// From numbers to codes, scales and offsets: the quantiser of `--quant`.
//
// Place on the road: stele-quantise says which weights are rounded and how;
// compiler/Driver calls this while it streams them into the artifact, some rows
// at a time.
#ifndef STELE_COMPILER_QUANTISE_QUANTISE_H
#define STELE_COMPILER_QUANTISE_QUANTISE_H

#include "stele/compiler/Import/Quantised.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace stele::compiler {

/// How codes are made; the same numbers always give the same ones.
struct RoundingOptions {
  /// Look for the span of the least squared error; otherwise take the whole.
  bool clipped = false;
  /// One scale and offset for all groups of a row.
  bool perChannel = false;
  /// Weight of each column's squared error; empty: 1.
  llvm::ArrayRef<float> importance = {};
};

/// A group needs a scale or offset beyond f16, as its format stores them: f32
/// would hold them.
class ScaleOverflow : public llvm::ErrorInfo<ScaleOverflow> {
public:
  static char ID;

  explicit ScaleOverflow(std::string message,
                         std::vector<std::string> weights = {})
      : weights(std::move(weights)), text(std::move(message)) {}

  void log(llvm::raw_ostream &out) const override { out << text; }
  std::error_code convertToErrorCode() const override {
    return llvm::inconvertibleErrorCode();
  }

  /// All that have such a group, where the weights are known by name.
  const std::vector<std::string> weights;

private:
  std::string text;
};

/// Quantises values[rows, columns]. With the whole span, and numbers that stay
/// clear of the least that the format's types hold, no element is off by more
/// than half a step. An error when a group needs a scale or offset beyond the
/// format's types, a ScaleOverflow where wider ones would do.
llvm::Error quantise(const schema::QuantFormat &format,
                     const RoundingOptions &options, int64_t rows,
                     int64_t columns, const float *values,
                     checkpoint::QuantRows &out);

} // namespace stele::compiler

#endif // STELE_COMPILER_QUANTISE_QUANTISE_H
