// exp, sin, cos and erf for kernels, which have no C library.
//
// Polynomials are Chebyshev fits made for this file over the reduced range
// named at each; the errors stated are those of the whole function.
#ifndef STELE_KERNELS_HOST_MATH_H_
#define STELE_KERNELS_HOST_MATH_H_

#include "vec.h"

namespace stele {

// 2^f 2^n for f in [-1/2, 1/2] and whole n in [-126, 127]; about 1 ulp.
STELE_INLINE V16 ScaledExp2(V16 f, V16 n) {
  V16 p = Splat(1.546144469856913e-4f);
  p = Fma(p, f, Splat(1.3400428177615838e-3f));
  p = Fma(p, f, Splat(9.618056678524637e-3f));
  p = Fma(p, f, Splat(5.550327226670302e-2f));
  p = Fma(p, f, Splat(2.4022650922288757e-1f));
  p = Fma(p, f, Splat(6.931472067028326e-1f));
  p = Fma(p, f, Splat(1.0f));
  const I16 exponent = __builtin_convertvector(n, I16) << 23;
  return reinterpret_cast<V16>(reinterpret_cast<I16>(p) + exponent);
}

STELE_INLINE V16 RoundEven(V16 x) { return __builtin_elementwise_roundeven(x); }

// 2^x, 0 below 2^-126; x is at most 127. NaN stays NaN.
STELE_INLINE V16 Exp2(V16 x) {
  const V16 clamped = Max(Splat(-126.0f), x);
  const V16 n = RoundEven(clamped);
  const V16 y = ScaledExp2(clamped - n, n);
  return x < Splat(-126.0f) ? V16{} : y;
}

// e^x with x clamped to [-87, 88]; about 2 ulp. NaN stays NaN.
STELE_INLINE V16 Exp(V16 x) {
  const V16 low = Max(Splat(-87.0f), x);
  const V16 clamped = Splat(88.0f) < low ? Splat(88.0f) : low;
  const V16 n = RoundEven(clamped * Splat(1.44269502f));
  // x log2(e) - n: the first product exactly, then the rest of log2(e).
  V16 f = Fma(clamped, Splat(1.44269502f), -n);
  f = Fma(clamped, Splat(1.925963033e-8f), f);
  return ScaledExp2(f, n);
}

// ln(x) for positive finite x: exponent and, in double, a series of
// atanh((m - 1) / (m + 1)) for m in [sqrt(1/2), sqrt(2)]; under 1 ulp.
STELE_INLINE float Log(float x) {
  const double value = x;
  uint64_t bits = __builtin_bit_cast(uint64_t, value);
  // The exponent that leaves a mantissa of at least sqrt(1/2).
  bits += 0x3ff0000000000000 - 0x3fe6a09e667f3bcd;
  const int64_t exponent = static_cast<int64_t>(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffff) + 0x3fe6a09e667f3bcd;
  const double m = __builtin_bit_cast(double, bits);
  const double s = (m - 1) / (m + 1), t = s * s;
  double p = 2.0 / 13;
  p = p * t + 2.0 / 11;
  p = p * t + 2.0 / 9;
  p = p * t + 2.0 / 7;
  p = p * t + 2.0 / 5;
  p = p * t + 2.0 / 3;
  p = p * t + 2.0;
  return static_cast<float>(exponent * 0.6931471805599453 + s * p);
}

struct SinCos {
  float sin, cos;
};

// Sine and cosine of an angle up to 2^31 or so: reduced by multiples of pi/2
// in double, which keeps over 40 bits there; 1 ulp after rounding to float.
STELE_INLINE SinCos SinCosOf(float angle) {
  const double x = angle;
  const double n = __builtin_elementwise_roundeven(x * 0.6366197723675814);
  double r = __builtin_elementwise_fma(n, -0x1.921fb54442d18p+0, x);
  r = __builtin_elementwise_fma(n, -0x1.1a62633145c07p-54, r);
  const double t = r * r;
  // |r| <= pi/4.
  double s = 2.7173456841089953e-6;
  s = s * t - 1.98392022122311e-4;
  s = s * t + 8.33332878245888e-3;
  s = s * t - 1.6666666631591165e-1;
  s = s * t + 9.999999999956731e-1;
  s *= r;
  double c = -2.717342984102282e-7;
  c = c * t + 2.4798928755323667e-5;
  c = c * t - 1.3888880393776424e-3;
  c = c * t + 4.166666654391119e-2;
  c = c * t - 4.9999999999351113e-1;
  c = c * t + 9.999999999999444e-1;
  const int64_t quadrant = static_cast<int64_t>(n);
  const double sine = quadrant & 1 ? c : s;
  const double cosine = quadrant & 1 ? s : c;
  return {static_cast<float>(quadrant & 2 ? -sine : sine),
          static_cast<float>((quadrant + 1) & 2 ? -cosine : cosine)};
}

// erf to about 1e-7: x P(x^2) up to 1, beyond it 1 - exp(-x^2) Q(2 / (2 + x)),
// which is 1 in f32 from 4 on.
STELE_INLINE V16 Erf(V16 x) {
  const V16 a = x < V16{} ? -x : x;
  const V16 t = x * x;
  V16 p = Splat(-9.667044571486996e-6f);
  p = Fma(p, t, Splat(1.1265950959025606e-4f));
  p = Fma(p, t, Splat(-8.484080405535107e-4f));
  p = Fma(p, t, Splat(5.221031807858023e-3f));
  p = Fma(p, t, Splat(-2.6865430727670243e-2f));
  p = Fma(p, t, Splat(1.1283782495236845e-1f));
  p = Fma(p, t, Splat(-3.761263846802871e-1f));
  p = Fma(p, t, Splat(1.1283791670615435f));
  const V16 near = x * p;
  const V16 u = Splat(2.0f) / (Splat(2.0f) + a);
  V16 q = Splat(1.2768445934961778e-2f);
  q = Fma(q, u, Splat(6.918565973952513e-2f));
  q = Fma(q, u, Splat(-3.8577888766802826e-1f));
  q = Fma(q, u, Splat(4.809262990241598e-1f));
  q = Fma(q, u, Splat(-5.4467602693586865e-2f));
  q = Fma(q, u, Splat(3.292060511070041e-1f));
  q = Fma(q, u, Splat(2.6404565293926985e-1f));
  q = Fma(q, u, Splat(2.8433417028833025e-1f));
  q = Fma(q, u, Splat(-1.2089472184371386e-4f));
  const V16 far = Splat(1.0f) - Exp(-t) * q;
  return a <= Splat(1.0f) ? near : (x < V16{} ? -far : far);
}

// The activations of gated linear units, numbered as in #lm.glu_kind + 1.
enum Activation { kNone = 0, kSilu = 1, kGelu = 2, kGeluTanh = 3 };

STELE_INLINE V16 Sigmoid(V16 x) {
  return Splat(1.0f) / (Splat(1.0f) + Exp(-x));
}

STELE_INLINE V16 Activate(int32_t kind, V16 x) {
  if (kind == kSilu) return x * Sigmoid(x);
  if (kind == kGelu)
    return Splat(0.5f) * x * (Splat(1.0f) + Erf(x * Splat(0.70710678f)));
  // 1 + tanh(u) = 2 sigmoid(2u).
  const V16 u = Fma(x * x * x, Splat(0.044715f), x) * Splat(1.5957691f);
  return x * Sigmoid(u);
}

}  // namespace stele

#endif  // STELE_KERNELS_HOST_MATH_H_
