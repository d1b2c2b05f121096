// What the matrix products with float (linear.cpp) and with quantised weights
// (linear_q.cpp) share: constants, operands, the epilogue, and how workers
// divide rows and panels.
#ifndef STELE_KERNELS_HOST_LINEAR_H_
#define STELE_KERNELS_HOST_LINEAR_H_

#include "math.h"

STELE_INT(k)
STELE_INT(n)
STELE_INT(norm)
STELE_INT(bias)
STELE_FLOAT(eps)
#if STELE_LOGITS
constexpr int32_t stele_residual = 0;
constexpr int32_t stele_glu = stele::kNone;
#else
STELE_INT(residual)
STELE_INT(glu)  // Activation; the panels of gate and up alternate
#endif
#if STELE_QUANTISED
STELE_INT(permuted)  // columns of the weight are columns order[j] of x
#else
constexpr int32_t stele_permuted = 0;
#endif

namespace stele {

STELE_INLINE int64_t OutColumns() { return stele_glu ? stele_n / 2 : stele_n; }

struct Operands {
  const float* x;         // [T, k]
  const void* weight;     // panels
  const float* norm;      // [k]
  const float* bias;      // [n]
  const float* residual;  // [T, n]
  const int32_t* order;   // [k]
  float* out;             // [rows, OutColumns()]
  const int32_t* rows;    // logits: token of each row; otherwise null
  uint32_t* packed;       // rows of x as the products read them
};

STELE_INLINE Operands OperandsOf(const SteleHostArgs* args) {
  Bindings bindings(args);
  Operands op;
  op.x = bindings.Next<const float>();
  op.weight = bindings.Next<const void>();
  op.norm = bindings.NextIf<const float>(stele_norm);
  op.bias = bindings.NextIf<const float>(stele_bias);
  op.residual = bindings.NextIf<const float>(stele_residual);
  op.order = bindings.NextIf<const int32_t>(stele_permuted);
  op.out = bindings.Next<float>();
  op.rows = STELE_LOGITS ? args->batch->logit_rows : nullptr;
  op.packed = static_cast<uint32_t*>(args->scratch);
  return op;
}

// One row of x, normalised and in the weight's order of columns.
class InputRow {
 public:
  STELE_MEMBER InputRow(const Operands& op, int64_t row)
      : x_(op.x + (op.rows ? op.rows[row] : row) * int64_t{stele_k}),
        norm_(op.norm),
        order_(op.order),
        inverse_(stele_norm ? Splat(InverseRms(x_, stele_k, stele_eps))
                            : V16{}) {}

  // Columns [i, i + 16); 0 from k on.
  STELE_MEMBER V16 At(int64_t i) const {
    const int64_t n = Min(kLanes, stele_k - i);
    const V16 v = Columns(x_, i, n);
    return stele_norm ? v * inverse_ * Columns(norm_, i, n) : v;
  }

 private:
  STELE_MEMBER V16 Columns(const float* from, int64_t i, int64_t n) const {
    if (!stele_permuted) return LoadUpTo(from + i, n);
    V16 v{};
    for (int64_t j = 0; j < n; ++j) v[j] = from[order_[i + j]];
    return v;
  }

  const float* x_;
  const float* norm_;
  const int32_t* order_;
  V16 inverse_;
};

// Writes columns [column, column + 16) of one row, from one sum (two with glu).
STELE_INLINE void Finish(const Operands& op, int64_t row, int64_t column,
                         V16 sum, V16 up) {
  const int64_t n = Min(kLanes, OutColumns() - column);
  if (stele_bias) sum = sum + LoadUpTo(op.bias + column, n);
  if (stele_glu) {
    if (stele_bias) up = up + LoadUpTo(op.bias + OutColumns() + column, n);
    sum = Activate(stele_glu, sum) * up;
  }
  const int64_t at = row * OutColumns() + column;
  if (stele_residual) sum = sum + LoadUpTo(op.residual + at, n);
  StoreFirst(op.out + at, sum, n);
}

// Calls block(rows, panels) for this worker's part: a share of the panels when
// all rows are one block, which is packed by every worker; else a share of the
// rows, in blocks of about one size, since each of them reads the whole weight.
template <typename Block>
STELE_INLINE void ForBlocks(const SteleHostArgs* args, int64_t block_rows,
                            int64_t row_unit, int64_t panel_count,
                            int64_t panel_unit, Block block) {
  const int64_t count =
      STELE_LOGITS ? args->batch->logit_count : args->batch->tokens;
  const bool few = count <= block_rows;
  const Range panels =
      few ? Share(args, panel_count, panel_unit) : Range{0, panel_count};
  const Range rows = few ? Range{0, count} : Share(args, count, row_unit);
  if (panels.begin == panels.end) return;
  const int64_t blocks = (rows.end - rows.begin + block_rows - 1) / block_rows;
  for (int64_t i = 0; i < blocks; ++i) {
    const Range part = Part(rows.end - rows.begin, row_unit, i, blocks);
    block(Range{rows.begin + part.begin, rows.begin + part.end}, panels);
  }
}

}  // namespace stele

#endif  // STELE_KERNELS_HOST_LINEAR_H_
