// The toy model's kernels; see test_kernels.h. No library function is called:
// the ELF image has no dependencies.
#include "test_kernels.h"

using namespace stele::test;

namespace {

// Start of a token's K row (V: + kBlock * kHeadDim) of a layer and head.
float *CacheRow(const SteleHostArgs *args, char *cache, int layer, int head,
                int sequence, int position) {
  const SteleBatch &batch = *args->batch;
  const int row = layer * kKvHeads + head;
  const int page = batch.page_tables[sequence][row * batch.page_table_blocks +
                                               position / kBlock];
  return reinterpret_cast<float *>(cache +
                                   static_cast<long>(page) * kPageBytes) +
         position % kBlock * kHeadDim;
}

// Splits `items` over the workers.
template <typename Body>
void ForMine(const SteleHostArgs *args, int items, Body body) {
  for (int i = static_cast<int>(args->worker); i < items;
       i += static_cast<int>(args->workers))
    body(i);
}

} // namespace

extern "C" void test_embed(const SteleHostArgs *args) {
  const float *table = static_cast<const float *>(args->bindings[0]);
  float *out = static_cast<float *>(args->bindings[1]); // [T, hidden]
  ForMine(args, args->batch->tokens, [&](int t) {
    for (int i = 0; i < kHidden; ++i)
      out[t * kHidden + i] = table[args->batch->token_ids[t] * kHidden + i];
  });
}

extern "C" void test_append(const SteleHostArgs *args) {
  const float *x = static_cast<const float *>(args->bindings[0]); // [T, hidden]
  char *cache = static_cast<char *>(args->bindings[1]);
  const int layer = static_cast<int>(args->immediates[0]);
  ForMine(args, args->batch->tokens, [&](int t) {
    for (int i = 0; i < kHidden; ++i) {
      float *row =
          CacheRow(args, cache, layer, i / kHeadDim, args->batch->sequence[t],
                   args->batch->positions[t]);
      const float value = x[t * kHidden + i];
      row[i % kHeadDim] = value;
      row[kBlock * kHeadDim + i % kHeadDim] =
          value * static_cast<float>(layer + 1);
    }
  });
}

extern "C" void test_attend(const SteleHostArgs *args) {
  const float *x = static_cast<const float *>(args->bindings[0]);
  char *cache = static_cast<char *>(args->bindings[1]);
  float *out = static_cast<float *>(args->bindings[2]);
  const int layer = static_cast<int>(args->immediates[0]);
  float *sum = static_cast<float *>(args->scratch); // [hidden]
  ForMine(args, args->batch->tokens, [&](int t) {
    const int position = args->batch->positions[t];
    for (int i = 0; i < kHidden; ++i)
      sum[i] = 0;
    for (int p = 0; p <= position; ++p)
      for (int i = 0; i < kHidden; ++i)
        sum[i] +=
            CacheRow(args, cache, layer, i / kHeadDim, args->batch->sequence[t],
                     p)[kBlock * kHeadDim + i % kHeadDim] /
            static_cast<float>(p + 1);
    for (int i = 0; i < kHidden; ++i)
      out[t * kHidden + i] =
          x[t * kHidden + i] * 0.5f + sum[i] / static_cast<float>(position + 1);
  });
}

extern "C" void test_select(const SteleHostArgs *args) {
  const SteleBatch &batch = *args->batch;
  unsigned *selection = static_cast<unsigned *>(args->bindings[1]);
  ForMine(args, batch.tokens * kKvHeads, [&](int row) {
    const int own = batch.positions[row / kKvHeads] / kBlock;
    const int head = row % kKvHeads;
    unsigned bits = 1u << own | (own > 0 ? 1u << (own - 1) : 0);
    int chosen = 0;
    for (int block = 0; block < own - 1 && chosen < kChosen; ++block) {
      const unsigned hash =
          static_cast<unsigned>((own * 2 + head) * kBlocks + block + 1) *
          2654435761u;
      if (hash >> 28 >= 6)
        continue;
      bits |= 1u << block;
      ++chosen;
    }
    selection[row] = bits;
  });
}

extern "C" void test_sparse(const SteleHostArgs *args) {
  const SteleBatch &batch = *args->batch;
  const float *x = static_cast<const float *>(args->bindings[0]);
  const unsigned *selection =
      static_cast<const unsigned *>(args->bindings[1]); // [T, heads]
  char *cache = static_cast<char *>(args->bindings[2]);
  float *out = static_cast<float *>(args->bindings[3]);
  const int layer = static_cast<int>(args->immediates[0]);
  float *sum = static_cast<float *>(args->scratch); // [hidden]
  ForMine(args, batch.tokens, [&](int t) {
    const int position = batch.positions[t], sequence = batch.sequence[t];
    // The row of the query block's first token of the step.
    int first = t - position % kBlock;
    if (first < batch.q_offsets[sequence])
      first = batch.q_offsets[sequence];
    for (int i = 0; i < kHidden; ++i)
      sum[i] = 0;
    for (int p = 0; p <= position; ++p)
      for (int i = 0; i < kHidden; ++i) {
        const int head = i / kHeadDim;
        if (!(selection[first * kKvHeads + head] >> p / kBlock & 1))
          continue;
        const float *row = CacheRow(args, cache, layer, head, sequence, p);
        sum[i] +=
            row[i % kHeadDim] * static_cast<float>(p % 3 + 1) +
            row[kBlock * kHeadDim + i % kHeadDim] / static_cast<float>(p + 1);
      }
    for (int i = 0; i < kHidden; ++i)
      out[t * kHidden + i] =
          x[t * kHidden + i] * 0.5f + sum[i] / static_cast<float>(position + 1);
  });
}

extern "C" void test_logits(const SteleHostArgs *args) {
  const float *x = static_cast<const float *>(args->bindings[0]);
  const float *weight = static_cast<const float *>(args->bindings[1]);
  float *out = static_cast<float *>(args->bindings[2]); // [L, vocabulary]
  ForMine(args, args->batch->logit_count, [&](int row) {
    const int t = args->batch->logit_rows[row];
    for (int v = 0; v < kVocabulary; ++v) {
      float dot = 0;
      for (int i = 0; i < kHidden; ++i)
        dot += x[t * kHidden + i] * weight[v * kHidden + i];
      out[row * kVocabulary + v] = dot;
    }
  });
}

extern "C" void test_pack(const SteleHostArgs *args) {
  const float *from = static_cast<const float *>(args->bindings[0]);
  float *to = static_cast<float *>(args->bindings[1]); // as a page
  for (int i = 0; i < kPageBytes / 4; ++i)
    to[i] = from[i];
}
