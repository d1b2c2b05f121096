// The kernel of the toy model with states; see test_kernels.h. Not in the ELF
// image, which stays what the corpus of the fuzzers has.
#include "test_kernels.h"

using namespace stele::test;

namespace {

// What the step's own append wrote of a token.
const float *ValueOf(const SteleBatch &batch, const char *cache, int row,
                     int sequence, int position) {
  const int page = batch.page_tables[sequence][row * batch.page_table_blocks +
                                               position / kBlock];
  return reinterpret_cast<const float *>(cache + page * kPageBytes) +
         (kBlock + position % kBlock) * kHeadDim;
}

} // namespace

extern "C" void test_sum(const SteleHostArgs *args) {
  const float *x = static_cast<const float *>(args->bindings[0]);
  const char *cache = static_cast<const char *>(args->bindings[1]);
  char *states = static_cast<char *>(args->bindings[2]);
  float *out = static_cast<float *>(args->bindings[3]);
  const SteleBatch &batch = *args->batch;
  const int layer = static_cast<int>(args->immediates[0]);
  for (int item = static_cast<int>(args->worker);
       item < batch.sequences * kKvHeads;
       item += static_cast<int>(args->workers)) {
    const int sequence = item / kKvHeads, head = item % kKvHeads;
    const int row = layer * kKvHeads + head;
    char *state = states + (batch.states[sequence] + row) * kStateBytes;
    int *tokens = reinterpret_cast<int *>(state);
    float *sums = reinterpret_cast<float *>(state + 64);
    for (int t = batch.q_offsets[sequence]; t < batch.q_offsets[sequence + 1];
         ++t, ++*tokens) {
      const float *value =
          ValueOf(batch, cache, row, sequence, batch.positions[t]);
      for (int i = 0; i < kHeadDim; ++i) {
        const float before = *tokens == 0 ? 0.0f : sums[i];
        sums[i] = before * 0.75f + value[i];
        const int column = t * kHidden + head * kHeadDim + i;
        out[column] = x[column] * 0.5f + sums[i];
      }
    }
  }
}
