// Measures the machine's arithmetic and memory-read limits (machine_limits.h).
//
// The arithmetic loops keep 16 independent accumulators, enough to hide the
// latency of every x86-64 FMA unit so far; they touch no memory. The functions
// carry target attributes, so that this file builds for any x86-64 and the
// CPU is asked at run time.
#include "machine_limits.h"

#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <barrier>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <thread>
#include <vector>

namespace stele::bench {
namespace {

constexpr int kAccumulators = 16;
constexpr int kRounds = 5;
constexpr int64_t kSteps = 4'000'000;
constexpr size_t kReadBytes = size_t{512} << 20;

template <typename Vector>
void Keep(Vector* values) {
  asm volatile("" : : "r"(values) : "memory");
}

__attribute__((target("avx2,fma"))) double F32Avx2() {
  __m256 acc[kAccumulators] = {};
  __m256 x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(0.25f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 16
    for (auto& a : acc) a = _mm256_fmadd_ps(x, y, a);
    asm volatile("" : "+x"(x), "+x"(y));
  }
  Keep(acc);
  return 2.0 * 8 * kAccumulators * kSteps;
}

__attribute__((target("avx512f"))) double F32Avx512() {
  __m512 acc[kAccumulators] = {};
  __m512 x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(0.25f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 16
    for (auto& a : acc) a = _mm512_fmadd_ps(x, y, a);
    asm volatile("" : "+v"(x), "+v"(y));
  }
  Keep(acc);
  return 2.0 * 16 * kAccumulators * kSteps;
}

__attribute__((target("avx512f,avx512bf16"))) double Bf16Avx512() {
  __m512 acc[kAccumulators] = {};
  __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f003f00);
  __m512bh y = x;
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 16
    for (auto& a : acc) a = _mm512_dpbf16_ps(a, x, y);
    asm volatile("" : "+v"(x), "+v"(y));
  }
  Keep(acc);
  return 2.0 * 32 * kAccumulators * kSteps;
}

__attribute__((target("avx512f,avx512vnni"))) double Int8Avx512() {
  __m512i acc[kAccumulators] = {};
  __m512i x = _mm512_set1_epi32(0x01010101), y = x;
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 16
    for (auto& a : acc) a = _mm512_dpbusd_epi32(a, x, y);
    asm volatile("" : "+v"(x), "+v"(y));
  }
  Keep(acc);
  return 2.0 * 64 * kAccumulators * kSteps;
}

double Seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

// From when the first thread began to when the last one ended by the wall, or
// the longest thread by its own clock.
double Elapsed(clockid_t clock, const std::vector<double>& begins,
               const std::vector<double>& ends) {
  if (clock == CLOCK_MONOTONIC)
    return std::ranges::max(ends) - std::ranges::min(begins);
  double longest = 0;
  for (size_t t = 0; t < ends.size(); ++t)
    longest = std::max(longest, ends[t] - begins[t]);
  return longest;
}

// Runs `work` on every thread at once; returns the best rate of all rounds in
// units of 1e9 per second.
template <typename Work>
double BestRate(int threads, clockid_t clock, Work work) {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::barrier start(threads);
    std::vector<double> begins(threads), ends(threads), amounts(threads);
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t) {
      pool.emplace_back([&, t] {
        start.arrive_and_wait();
        begins[t] = Seconds(clock);
        amounts[t] = work(t);
        ends[t] = Seconds(clock);
      });
    }
    for (auto& thread : pool) thread.join();
    const double amount = std::accumulate(amounts.begin(), amounts.end(), 0.0);
    best = std::max(best, amount / Elapsed(clock, begins, ends) / 1e9);
  }
  return best;
}

// Arithmetic takes a thread's CPU time, as in kernels.cpp, so that other
// programs disturb it little.
template <typename Work>
double ProductRate(int threads, Work work) {
  return BestRate(threads, CLOCK_THREAD_CPUTIME_ID, work);
}

// By the wall: threads that a busy machine runs one after the other each have
// all of the memory's speed in their CPU time.
double ReadRate(int threads) {
  // Written once, so that every page is its own and not the shared zero page.
  std::vector<uint64_t> data(kReadBytes / sizeof(uint64_t), 1);
  const size_t share = kReadBytes / threads;
  const char* bytes = reinterpret_cast<const char*>(data.data());
  return BestRate(threads, CLOCK_MONOTONIC, [&](int t) {
    ReadBytes(bytes + t * share, share);
    return static_cast<double>(share);
  });
}

}  // namespace

void ReadBytes(const char* data, size_t bytes) {
  constexpr int kStreams = 4;
  const size_t stream = bytes / kStreams / 64 * 64;
  __m128i sums[2 * kStreams] = {};
  for (size_t i = 0; i < stream; i += 32) {
#pragma GCC unroll 8
    for (int j = 0; j < 2 * kStreams; ++j) {
      const char* at = data + j / 2 * stream + i + j % 2 * 16;
      sums[j] = _mm_add_epi64(
          sums[j], _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    }
  }
  Keep(sums);
}

Limits MeasureLimits(int threads) {
  Limits limits;
  bool avx512 = __builtin_cpu_supports("avx512f");
  limits.f32_gflops = ProductRate(
      threads, [&](int) { return avx512 ? F32Avx512() : F32Avx2(); });
  if (__builtin_cpu_supports("avx512bf16")) {
    limits.bf16_gflops = ProductRate(threads, [](int) { return Bf16Avx512(); });
  }
  if (__builtin_cpu_supports("avx512vnni")) {
    limits.int8_gops = ProductRate(threads, [](int) { return Int8Avx512(); });
  }
  limits.read_gbs = ReadRate(threads);
  return limits;
}

}  // namespace stele::bench
