// Integer products for quantised weights: unsigned codes times signed
// activations, exact in 32 bits.
#ifndef STELE_KERNELS_HOST_DOT_H_
#define STELE_KERNELS_HOST_DOT_H_

#include "vec.h"

namespace stele {

// Lane by lane, the sum of the products of two signed 16-bit numbers.
STELE_INLINE I16 MaddPairs(U16 a, U16 b) {
#ifdef __AVX512BW__
  return reinterpret_cast<I16>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a),
                                                 reinterpret_cast<__m512i>(b)));
#else
  __m256i va[2], vb[2];
  __builtin_memcpy(va, &a, sizeof(a));
  __builtin_memcpy(vb, &b, sizeof(b));
  va[0] = _mm256_madd_epi16(va[0], vb[0]);
  va[1] = _mm256_madd_epi16(va[1], vb[1]);
  I16 sums;
  __builtin_memcpy(&sums, va, sizeof(sums));
  return sums;
#endif
}

// Lane by lane, acc plus the sum of the products of four unsigned codes with
// four signed bytes.
STELE_INLINE I16 DotCodes(I16 acc, U16 codes, U16 x) {
#ifdef __AVX512VNNI__
  return reinterpret_cast<I16>(_mm512_dpbusd_epi32(
      reinterpret_cast<__m512i>(acc), reinterpret_cast<__m512i>(codes),
      reinterpret_cast<__m512i>(x)));
#else
  // Bytes 0 and 2, then 1 and 3, as 16-bit numbers: vpmaddubsw would saturate.
  typedef int16_t Words __attribute__((vector_size(64)));
  const U16 even = U16{} + 0x00ff00ffu;
  const Words signed_x = reinterpret_cast<Words>(x);
  const U16 x_even = reinterpret_cast<U16>((signed_x << 8) >> 8);
  const U16 x_odd = reinterpret_cast<U16>(signed_x >> 8);
  return acc + MaddPairs(codes & even, x_even) +
         MaddPairs((codes >> 8) & even, x_odd);
#endif
}

}  // namespace stele

#endif  // STELE_KERNELS_HOST_DOT_H_
