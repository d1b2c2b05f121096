// Measures the machine's arithmetic and memory-read limits (machine_limits.h).
//
// The arithmetic loops keep 16 independent accumulators, enough to hide the
// latency of every x86-64 FMA unit so far; they touch no memory. The functions
// carry target attributes, so that this file builds for any x86-64 and the
// CPU is asked at run time.
#include "machine_limits.h"

#include <immintrin.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdlib>
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

// Runs `work` on every thread at once; returns the best rate of all rounds in
// units of 1e9 per second. The clock runs from the first thread's start to the
// last one's end: the waiting main thread may wake late on a busy machine.
template <typename Work>
double BestRate(int threads, Work work) {
  using Clock = std::chrono::steady_clock;
  struct Share {
    Clock::time_point begin, end;
    double amount;
  };
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::barrier start(threads);
    std::vector<Share> shares(threads);
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t) {
      pool.emplace_back([&, t] {
        start.arrive_and_wait();
        shares[t].begin = Clock::now();
        shares[t].amount = work(t);
        shares[t].end = Clock::now();
      });
    }
    for (auto& thread : pool) thread.join();
    Clock::time_point begin = shares[0].begin, end = shares[0].end;
    double amount = 0;
    for (const Share& share : shares) {
      begin = std::min(begin, share.begin);
      end = std::max(end, share.end);
      amount += share.amount;
    }
    std::chrono::duration<double> seconds = end - begin;
    best = std::max(best, amount / seconds.count() / 1e9);
  }
  return best;
}

double ReadRate(int threads) {
  // Written once, so that every page is its own and not the shared zero page.
  std::vector<uint64_t> data(kReadBytes / sizeof(uint64_t), 1);
  size_t share = data.size() / threads;
  return BestRate(threads, [&](int t) {
    uint64_t sums[8] = {};
    const uint64_t* at = data.data() + t * share;
    for (size_t i = 0; i + 8 <= share; i += 8) {
      for (int j = 0; j < 8; ++j) sums[j] += at[i + j];
    }
    Keep(sums);
    return static_cast<double>(share * sizeof(uint64_t));
  });
}

}  // namespace

Limits MeasureLimits(int threads) {
  Limits limits;
  bool avx512 = __builtin_cpu_supports("avx512f");
  limits.f32_gflops =
      BestRate(threads, [&](int) { return avx512 ? F32Avx512() : F32Avx2(); });
  if (__builtin_cpu_supports("avx512bf16")) {
    limits.bf16_gflops = BestRate(threads, [](int) { return Bf16Avx512(); });
  }
  if (__builtin_cpu_supports("avx512vnni")) {
    limits.int8_gops = BestRate(threads, [](int) { return Int8Avx512(); });
  }
  limits.read_gbs = ReadRate(threads);
  return limits;
}

}  // namespace stele::bench
