// Prints the machine's limits as JSON: `bench-limits [THREADS]`. The bench
// scripts run it between their rounds, since a shared machine's speed drifts.
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "machine_limits.h"

int main(int argc, char** argv) {
  int threads = argc > 1
                    ? std::atoi(argv[1])
                    : static_cast<int>(std::thread::hardware_concurrency());
  if (threads < 1 || threads > 4096) {
    std::fprintf(stderr,
                 "error: THREADS is %s; give a number from 1 to 4096\n"
                 "usage: bench-limits [THREADS]\n",
                 argv[1]);
    return 2;
  }
  stele::bench::Limits limits = stele::bench::MeasureLimits(threads);
  std::printf(
      "{\"threads\": %d, \"f32_gflops\": %.0f, \"bf16_gflops\": %.0f, "
      "\"int8_gops\": %.0f, \"read_gbs\": %.1f}\n",
      threads, limits.f32_gflops, limits.bf16_gflops, limits.int8_gops,
      limits.read_gbs);
}
