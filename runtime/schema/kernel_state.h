// How large a state of kernelized attention is, and what lies where: the one
// rule for the compiler that plans it, the runtime that checks and allocates
// it, and the kernel that keeps it.
//
// Place on the road: the page shape of the plan dialect, the verifier of
// runtime/plan and kernelized_attention.cpp of the host templates.
#ifndef STELE_SCHEMA_KERNEL_STATE_H_
#define STELE_SCHEMA_KERNEL_STATE_H_

#include <stdint.h>

namespace stele::schema {

// The state of one sequence, layer and KV head: how many tokens are in it
// (uint32; 0: it is empty, whatever the rest holds), and behind the header, in
// f32 with P and D being `features` and `head_dim` rounded up to 16,
//
//   largest exponents [P], in units of log2
//   sums of features [P], sums of features times values [features, D],
//   relative to them
constexpr uint64_t kKernelStateHeaderBytes = 64;

// Both are at most 2^16.
constexpr uint64_t KernelStateBytes(uint64_t features, uint64_t head_dim) {
  const uint64_t padded_features = (features + 15) / 16 * 16;
  const uint64_t padded_dim = (head_dim + 15) / 16 * 16;
  return kKernelStateHeaderBytes +
         (2 * padded_features + features * padded_dim) * sizeof(float);
}

}  // namespace stele::schema

#endif  // STELE_SCHEMA_KERNEL_STATE_H_
