// The two arithmetics behind one interface.
//
// f32: units are floats, products and sums f32. bf16: units are pairs of bf16,
// products exact, sums f32; with AVX512_BF16 one instruction, elsewhere two
// fused multiply-adds on the widened halves.
#ifndef STELE_KERNELS_HOST_ARITHMETIC_H_
#define STELE_KERNELS_HOST_ARITHMETIC_H_

#include "vec.h"

namespace stele {

#if STELE_BF16

constexpr int64_t kDepth = 2;  // elements of a unit

// acc + a * b, unit by unit.
STELE_INLINE V16 Madd(V16 acc, U16 a, U16 b) {
#ifdef __AVX512BF16__
  return reinterpret_cast<V16>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(acc),
                                                reinterpret_cast<__m512bh>(a),
                                                reinterpret_cast<__m512bh>(b)));
#else
  const U16 high = U16{} + 0xffff0000u;
  acc = Fma(reinterpret_cast<V16>(a & high), reinterpret_cast<V16>(b & high),
            acc);
  return Fma(reinterpret_cast<V16>(a << 16), reinterpret_cast<V16>(b << 16),
             acc);
#endif
}

// The unit of x and 0.
STELE_INLINE uint32_t UnitOf(float x) { return ToBf16(x); }

typedef uint32_t U8 __attribute__((vector_size(32)));
typedef uint32_t U8Unaligned __attribute__((vector_size(32), aligned(4)));

// Lanes 2i and 2i+1 become unit i.
STELE_INLINE U8 PackUnits(V16 v) {
#ifdef __AVX512BF16__
  return reinterpret_cast<U8>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v)));
#else
  const U16 bits = ToBf16Bits(v);
  const U8 even =
      __builtin_shufflevector(bits, bits, 0, 2, 4, 6, 8, 10, 12, 14);
  const U8 odd = __builtin_shufflevector(bits, bits, 1, 3, 5, 7, 9, 11, 13, 15);
  return even | (odd << 16);
#endif
}

STELE_INLINE void StoreAsUnits(uint32_t* units, V16 v) {
  *reinterpret_cast<U8Unaligned*>(units) = PackUnits(v);
}

// 16 units of 32 elements, of which `load` gives the vectors 0 and 1.
template <typename Loader>
STELE_INLINE U16 ToUnits(Loader load) {
  return __builtin_shufflevector(PackUnits(load(0)), PackUnits(load(1)), 0, 1,
                                 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
                                 15);
}

#else

constexpr int64_t kDepth = 1;

STELE_INLINE V16 Madd(V16 acc, U16 a, U16 b) {
  return Fma(reinterpret_cast<V16>(a), reinterpret_cast<V16>(b), acc);
}

STELE_INLINE uint32_t UnitOf(float x) {
  return __builtin_bit_cast(uint32_t, x);
}

STELE_INLINE void StoreAsUnits(uint32_t* units, V16 v) {
  StoreUnits(units, reinterpret_cast<U16>(v));
}

// 16 units of 16 elements, which `load` gives as vector 0.
template <typename Loader>
STELE_INLINE U16 ToUnits(Loader load) {
  return reinterpret_cast<U16>(load(0));
}

#endif

STELE_INLINE U16 SplatUnit(uint32_t unit) { return U16{} + unit; }

// Units of n elements.
STELE_INLINE int64_t Units(int64_t n) { return (n + kDepth - 1) / kDepth; }

}  // namespace stele

#endif  // STELE_KERNELS_HOST_ARITHMETIC_H_
