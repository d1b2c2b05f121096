// The kernel of the toy model with an index of keys and values; see
// test_kernels.h. Not in the ELF image, which stays what the corpus of the
// fuzzers has.
#include "stele/schema/key_index.h"
#include "test_kernels.h"

using namespace stele;
using namespace stele::test;

namespace {

constexpr int kKeyPieces = schema::KeyIndexPieces(kHeadDim);
constexpr int kPieces =
    kKeyPieces + schema::KeyIndexValueBytes(kHeadDim) / sizeof(float);

// Of an entry, four bytes, those of its mean value last.
float *Piece(const SteleBatch &batch, int sequence, int row, int block,
             int piece) {
  const auto blocks = static_cast<uint64_t>(batch.page_table_blocks);
  const auto bytes = schema::KeyIndexRowBytes(blocks, kHeadDim, true);
  char *at = static_cast<char *>(batch.key_indices[sequence]) + row * bytes;
  if (piece < kKeyPieces)
    at += schema::KeyIndexPiece(block, kHeadDim, piece);
  else
    at += schema::KeyIndexKeyBytes(blocks, kHeadDim) +
          block * schema::KeyIndexValueBytes(kHeadDim) +
          (piece - kKeyPieces) * sizeof(float);
  return reinterpret_cast<float *>(at);
}

} // namespace

// Enters the last token of a full block, and adds what the index has of all
// full blocks.
extern "C" void test_search(const SteleHostArgs *args) {
  const float *x = static_cast<const float *>(args->bindings[0]);
  float *out = static_cast<float *>(args->bindings[2]);
  const SteleBatch &batch = *args->batch;
  const int layer = static_cast<int>(args->immediates[0]);
  for (int item = static_cast<int>(args->worker);
       item < batch.sequences * kKvHeads;
       item += static_cast<int>(args->workers)) {
    const int sequence = item / kKvHeads, head = item % kKvHeads;
    const int row = layer * kKvHeads + head;
    for (int t = batch.q_offsets[sequence]; t < batch.q_offsets[sequence + 1];
         ++t) {
      const int column = t * kHidden + head * kHeadDim;
      const int blocks = (batch.positions[t] + 1) / kBlock;
      if ((batch.positions[t] + 1) % kBlock == 0)
        for (int piece = 0; piece < kPieces; ++piece)
          *Piece(batch, sequence, row, blocks - 1, piece) =
              x[column + piece % kHeadDim] + 1;
      float sum = 0;
      for (int block = 0; block < blocks; ++block)
        for (int piece = 0; piece < kPieces; ++piece)
          sum += *Piece(batch, sequence, row, block, piece) /
                 static_cast<float>(block + piece + 1);
      for (int i = 0; i < kHeadDim; ++i)
        out[column + i] = x[column + i] * 0.5f + sum;
    }
  }
}
