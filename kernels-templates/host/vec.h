// Vectors of 16 floats and of 16 "units" of 4 bytes.
//
// A unit is what one step of a product reads of one row: an f32, or a pair of
// bf16. Both arithmetics so share their memory layout, and differ in `Madd`
// alone. With AVX2 the compiler splits every vector in two.
#ifndef STELE_KERNELS_HOST_VEC_H_
#define STELE_KERNELS_HOST_VEC_H_

#include <immintrin.h>

#include "template.h"

namespace stele {

constexpr int64_t kLanes = 16;

typedef float V16 __attribute__((vector_size(64)));
typedef int32_t I16 __attribute__((vector_size(64)));
typedef uint32_t U16 __attribute__((vector_size(64)));
typedef float V16Unaligned __attribute__((vector_size(64), aligned(4)));
typedef uint32_t U16Unaligned __attribute__((vector_size(64), aligned(4)));

STELE_INLINE V16 Splat(float x) { return V16{} + x; }
STELE_INLINE V16 Load(const float* p) {
  return *reinterpret_cast<const V16Unaligned*>(p);
}
STELE_INLINE U16 LoadUnits(const uint32_t* p) {
  return *reinterpret_cast<const U16Unaligned*>(p);
}
STELE_INLINE void Store(float* p, V16 v) {
  *reinterpret_cast<V16Unaligned*>(p) = v;
}
STELE_INLINE void StoreUnits(uint32_t* p, U16 v) {
  *reinterpret_cast<U16Unaligned*>(p) = v;
}

STELE_INLINE V16 Fma(V16 a, V16 b, V16 c) {
  return __builtin_elementwise_fma(a, b, c);
}
// The second operand where one is NaN.
STELE_INLINE V16 Max(V16 a, V16 b) { return a > b ? a : b; }
STELE_INLINE I16 Max(I16 a, I16 b) { return a > b ? a : b; }
STELE_INLINE float Sqrt(float x) { return __builtin_elementwise_sqrt(x); }

constexpr I16 kIota = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// The first n (0..15) lanes at p, zero elsewhere; reads nothing beyond them.
STELE_INLINE V16 LoadFirst(const float* p, int64_t n) {
#ifdef __AVX512F__
  const __mmask16 mask = static_cast<__mmask16>((1u << n) - 1);
  return reinterpret_cast<V16>(_mm512_maskz_loadu_ps(mask, p));
#else
  V16 v{};
#pragma clang loop unroll(disable) vectorize(disable)
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}

STELE_INLINE V16 LoadUpTo(const float* p, int64_t n) {
  return n >= kLanes ? Load(p) : LoadFirst(p, n);
}

STELE_INLINE void StoreFirst(float* p, V16 v, int64_t n) {
  if (n >= kLanes) return Store(p, v);
#ifdef __AVX512F__
  const __mmask16 mask = static_cast<__mmask16>((1u << n) - 1);
  _mm512_mask_storeu_ps(p, mask, reinterpret_cast<__m512>(v));
#else
#pragma clang loop unroll(disable) vectorize(disable)
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
#endif
}

STELE_INLINE U16 LoadFirstUnits(const uint32_t* p, int64_t n) {
  return reinterpret_cast<U16>(LoadFirst(reinterpret_cast<const float*>(p), n));
}

// Sum and maximum of the lanes, in a fixed tree.
STELE_INLINE float Sum(V16 v) {
  float lanes[kLanes];
  Store(lanes, v);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

STELE_INLINE float MaxLane(V16 v) {
#ifdef __AVX512F__
  return _mm512_reduce_max_ps(reinterpret_cast<__m512>(v));
#else
  float lanes[kLanes];
  Store(lanes, v);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i)
      lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
  return lanes[0];
#endif
}

STELE_INLINE int32_t MaxLane(I16 v) {
#ifdef __AVX512F__
  return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(v));
#else
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i)
      v[i] = v[i] > v[i + width] ? v[i] : v[i + width];
  return v[0];
#endif
}

// A bit for each lane: its sign.
STELE_INLINE uint32_t Signs(I16 v) {
#ifdef __AVX512DQ__
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(v));
#else
  __m256 halves[2];
  __builtin_memcpy(halves, &v, sizeof(v));
  return static_cast<uint32_t>(_mm256_movemask_ps(halves[0]) |
                               _mm256_movemask_ps(halves[1]) << 8);
#endif
}

STELE_INLINE int32_t SumLanes(I16 v) {
#ifdef __AVX512F__
  return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(v));
#else
  int32_t sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
#endif
}

// Sum of squares of n floats: lane j adds elements j, j + 16, ... in order.
STELE_INLINE float SumOfSquares(const float* x, int64_t n) {
  V16 sum{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const V16 v = Load(x + i);
    sum = Fma(v, v, sum);
  }
  if (i < n) {
    const V16 v = LoadFirst(x + i, n - i);
    sum = Fma(v, v, sum);
  }
  return Sum(sum);
}

// 1 / sqrt(mean of squares + eps).
STELE_INLINE float InverseRms(const float* x, int64_t n, float eps) {
  return 1.0f / Sqrt(SumOfSquares(x, n) / static_cast<float>(n) + eps);
}

// To integers, nearest even; INT32_MIN for NaN and what has none.
STELE_INLINE I16 RoundToInt(V16 v) {
#ifdef __AVX512F__
  return reinterpret_cast<I16>(_mm512_cvtps_epi32(reinterpret_cast<__m512>(v)));
#else
  __m256 halves[2];
  __m256i rounded[2];
  __builtin_memcpy(halves, &v, sizeof(v));
  rounded[0] = _mm256_cvtps_epi32(halves[0]);
  rounded[1] = _mm256_cvtps_epi32(halves[1]);
  I16 result;
  __builtin_memcpy(&result, rounded, sizeof(result));
  return result;
#endif
}

// The low bytes of 16 integers.
STELE_INLINE void StoreBytes(void* p, I16 v) {
  typedef int8_t Bytes __attribute__((vector_size(16)));
  const Bytes bytes = __builtin_convertvector(v, Bytes);
  __builtin_memcpy(p, &bytes, sizeof(bytes));
}

// 16 f16 at p, which need not be aligned.
STELE_INLINE V16 LoadHalves(const void* p) {
#ifdef __AVX512F__
  return reinterpret_cast<V16>(
      _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p))));
#else
  const auto* halves = static_cast<const __m128i*>(p);
  const __m256 parts[2] = {_mm256_cvtph_ps(_mm_loadu_si128(halves)),
                           _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
  V16 v;
  __builtin_memcpy(&v, parts, sizeof(v));
  return v;
#endif
}

// Stores 16 numbers as f16, nearest even; infinite beyond its range.
STELE_INLINE void StoreHalves(void* p, V16 v) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
#ifdef __AVX512F__
  _mm256_storeu_si256(static_cast<__m256i*>(p),
                      _mm512_cvtps_ph(reinterpret_cast<__m512>(v), kNearest));
#else
  __m256 halves[2];
  __builtin_memcpy(halves, &v, sizeof(v));
  auto* to = static_cast<__m128i*>(p);
  _mm_storeu_si128(to, _mm256_cvtps_ph(halves[0], kNearest));
  _mm_storeu_si128(to + 1, _mm256_cvtps_ph(halves[1], kNearest));
#endif
}

// To bf16, nearest even; a NaN stays one.
STELE_INLINE uint16_t ToBf16(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  if (x != x) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

STELE_INLINE float FromBf16(uint16_t x) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(x) << 16);
}

STELE_INLINE float FromF16(uint16_t x) {
  return static_cast<float>(__builtin_bit_cast(_Float16, x));
}

// To f16, nearest even; infinite beyond its range.
STELE_INLINE uint16_t ToF16(float x) {
  return __builtin_bit_cast(uint16_t, static_cast<_Float16>(x));
}

STELE_INLINE U16 ToBf16Bits(V16 x) {
  const U16 bits = reinterpret_cast<U16>(x);
  const U16 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return x != x ? ((bits >> 16) | 0x40u) : rounded;
}

}  // namespace stele

#endif  // STELE_KERNELS_HOST_VEC_H_
