// The machine's limits, measured: what kernels and peers are compared with.
//
// Every figure is the best of several short rounds on `threads` threads that
// start together, so that it bounds what a kernel on as many threads can do.
#ifndef STELE_TOOLS_BENCH_LIMITS_H_
#define STELE_TOOLS_BENCH_LIMITS_H_

#include <cstddef>

namespace stele::bench {

struct Limits {
  double f32_gflops = 0;   // FMA loop on registers
  double bf16_gflops = 0;  // vdpbf16ps loop; 0 without AVX512_BF16
  double int8_gops = 0;    // vpdpbusd loop; 0 without AVX512_VNNI
  double read_gbs = 0;     // summing a buffer far larger than the last cache
};

Limits MeasureLimits(int threads);

// The loop behind read_gbs: one thread reads its share of the memory as four
// streams, which is faster than one on every machine tried.
void ReadBytes(const char* data, size_t bytes);

}  // namespace stele::bench

#endif  // STELE_TOOLS_BENCH_LIMITS_H_
