// Attributes and enumerations of the lm dialect.

#ifndef STELE_DIALECTS_LM_LMATTRS_H
#define STELE_DIALECTS_LM_LMATTRS_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/OpImplementation.h"
#include "stele/schema/quant_format.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/ADT/bit.h"

namespace stele::lm {

/// A double as an attribute parameter: compares and hashes by its bits, as
/// uniquing needs, and converts from and to double.
class Real {
public:
  Real(double value = 0) : value(value) {}
  operator double() const { return value; }
  friend bool operator==(Real a, Real b) {
    return llvm::bit_cast<uint64_t>(a.value) ==
           llvm::bit_cast<uint64_t>(b.value);
  }
  friend llvm::hash_code hash_value(Real real) {
    return llvm::hash_value(llvm::bit_cast<uint64_t>(real.value));
  }

private:
  double value;
};

mlir::FailureOr<Real> parseReal(mlir::AsmParser &parser);
void printReal(mlir::AsmPrinter &printer, Real value);

} // namespace stele::lm

#include "stele/dialects/Lm/LmEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "stele/dialects/Lm/LmAttrs.h.inc"

#endif // STELE_DIALECTS_LM_LMATTRS_H
