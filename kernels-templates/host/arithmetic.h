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
typedef uint16_t Element;

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

STELE_INLINE Element ToElement(float x) { return ToBf16(x); }
STELE_INLINE float FromElement(Element x) { return FromBf16(x); }

// Writes lanes 2i and 2i+1 as unit i: 8 units.
STELE_INLINE void StoreAsUnits(uint32_t* units, V16 v) {
#ifdef __AVX512BF16__
  const __m256bh packed = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(units),
                      reinterpret_cast<__m256i>(packed));
#else
  typedef uint32_t U8 __attribute__((vector_size(32), aligned(4)));
  const U16 bits = ToBf16Bits(v);
  const U8 even =
      __builtin_shufflevector(bits, bits, 0, 2, 4, 6, 8, 10, 12, 14);
  const U8 odd = __builtin_shufflevector(bits, bits, 1, 3, 5, 7, 9, 11, 13, 15);
  *reinterpret_cast<U8*>(units) = even | (odd << 16);
#endif
}

#else

constexpr int64_t kDepth = 1;
typedef float Element;

STELE_INLINE V16 Madd(V16 acc, U16 a, U16 b) {
  return Fma(reinterpret_cast<V16>(a), reinterpret_cast<V16>(b), acc);
}

STELE_INLINE Element ToElement(float x) { return x; }
STELE_INLINE float FromElement(Element x) { return x; }

STELE_INLINE void StoreAsUnits(uint32_t* units, V16 v) {
  StoreUnits(units, reinterpret_cast<U16>(v));
}

#endif

STELE_INLINE U16 SplatUnit(uint32_t unit) { return U16{} + unit; }

// Units of n elements.
STELE_INLINE int64_t Units(int64_t n) { return (n + kDepth - 1) / kDepth; }

}  // namespace stele

#endif  // STELE_KERNELS_HOST_ARITHMETIC_H_
