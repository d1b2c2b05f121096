// Packs a checkpoint's matrices into the order that host kernels read.
//
// Place on the road: compiler/Driver writes every weight of the artifact
// through packWeight or packQuantised; runtime/schema/weight_layout.h is the
// table of layouts that the runtime checks stored sizes against.
#ifndef STELE_COMPILER_CODEGEN_HOST_WEIGHTLAYOUT_H
#define STELE_COMPILER_CODEGEN_HOST_WEIGHTLAYOUT_H

#include "stele/compiler/Import/Quantised.h"
#include "stele/schema/quant_format.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdint>

namespace stele::compiler {

enum class PackedType { F32, BF16 };

// Rows [begin, end) of the weight as it is fused, `columns` floats each.
using RowReader =
    llvm::function_ref<llvm::Error(int64_t begin, int64_t end, float *out)>;

// Bytes that packWeight writes.
llvm::Expected<uint64_t> packedBytes(llvm::StringRef layout, PackedType type,
                                     int64_t rows, int64_t columns);

// Streams the packed weight to `out`; holds a few MiB (or two panels of rows,
// if those are more).
llvm::Error packWeight(llvm::StringRef layout, PackedType type, int64_t rows,
                       int64_t columns, RowReader read, llvm::raw_ostream &out);

// Rows [begin, end) of a quantised weight as it is fused: codes of all columns,
// in the order that the kernel reads its activations in.
using QuantReader = llvm::function_ref<llvm::Error(
    int64_t begin, int64_t end, checkpoint::QuantRows &rows)>;

// Bytes that packQuantised writes.
llvm::Expected<uint64_t> packedBytes(llvm::StringRef layout,
                                     const schema::QuantFormat &format,
                                     int64_t rows, int64_t columns);

// Streams the packed codes, scales and offsets to `out`. Nothing is rounded: a
// scale or offset that the format cannot hold is an error, as is a code of too
// many bits.
llvm::Error packQuantised(llvm::StringRef layout,
                          const schema::QuantFormat &format, int64_t rows,
                          int64_t columns, QuantReader read,
                          llvm::raw_ostream &out);

} // namespace stele::compiler

#endif // STELE_COMPILER_CODEGEN_HOST_WEIGHTLAYOUT_H
