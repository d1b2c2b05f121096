// Kernels of a toy model, for tests of the runtime without the compiler.
//
// The model has one residual stream of kHidden floats, kLayers layers that
// append the stream to the cache and add the mean over all cached rows to it,
// and logits that are products with rows of a weight. So every logit depends
// on the whole history, on positions in pages, and on nothing else: what
// batching, chunking or paging gets wrong changes it. Sums run in a fixed
// order, so results are equal bit for bit however the work is divided.
//
// A second model keeps decaying sums in states instead of reading what earlier
// steps appended. A third one adds the mean over some blocks of the cache only:
// its own, the one before, and up to kChosen that follow from the query block's
// number and the head. A fourth one reads what it has entered into its key
// index.
//
// Compiled twice: into the test programs, where sanitizers see every access,
// and into an ELF image for the loader.
#ifndef STELE_TEST_UNIT_SUPPORT_TEST_KERNELS_H_
#define STELE_TEST_UNIT_SUPPORT_TEST_KERNELS_H_

#include "stele/schema/host_abi.h"

namespace stele::test {

inline constexpr int kVocabulary = 17;
inline constexpr int kHidden = 8;
inline constexpr int kLayers = 2;
inline constexpr int kKvHeads = 2;
inline constexpr int kHeadDim = kHidden / kKvHeads;
inline constexpr int kBlock = 4;
inline constexpr int kPageBytes = 2 * kBlock * kHeadDim * 4;
inline constexpr int kStateBytes = 256; // of one feature
inline constexpr int kBlocks = 16;      // of the longest context
inline constexpr int kChosen = 3;

} // namespace stele::test

extern "C" {
void test_embed(const SteleHostArgs *args);  // table, out
void test_append(const SteleHostArgs *args); // x, cache; layer
void test_attend(const SteleHostArgs *args); // x, cache, out; layer
void test_sum(const SteleHostArgs *args);    // x, cache, states, out; layer
void test_select(const SteleHostArgs *args); // x, selection
void test_sparse(const SteleHostArgs *args); // x, selection, cache, out; layer
void test_search(const SteleHostArgs *args); // x, cache, out; layer
void test_logits(const SteleHostArgs *args); // x, weight, out
void test_pack(const SteleHostArgs *args);   // page, record; and the reverse
}

#endif // STELE_TEST_UNIT_SUPPORT_TEST_KERNELS_H_
