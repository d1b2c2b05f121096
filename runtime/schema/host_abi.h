// The contract between a host kernel and the runtime that launches it.
//
// Place on the road: kernels-templates/host implements SteleHostKernel,
// runtime/device/host calls it once per worker for every plan launch. Plain C
// structs with fixed-width members; append only, as plan.fbs.
//
// A launch is over when every worker returned. A kernel divides its work by
// `worker` and `workers` (or by `next_item`), and no output element's
// reduction order may depend on either, nor on the batch's other rows.
#ifndef STELE_SCHEMA_HOST_ABI_H_
#define STELE_SCHEMA_HOST_ABI_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { STELE_KEPT_MASS_BITS = 24 };

// What block-sparse attention did for one query head of a layer.
typedef struct SteleHeadWork {
  uint64_t queries;      // tokens
  uint64_t causal_keys;  // that dense attention would read for them
  uint64_t kept_keys;    // that were read
  // Of each query the share of dense attention's probabilities that is on the
  // keys read, in units of 2^-STELE_KEPT_MASS_BITS, so that sums do not depend
  // on their order.
  uint64_t kept_mass;
} SteleHeadWork;

// The ragged batch of one step. T tokens of S sequences, mixed prefill and
// decode, never padded; sequence s owns tokens [q_offsets[s], q_offsets[s+1]).
typedef struct SteleBatch {
  int32_t tokens;             // T
  int32_t sequences;          // S
  int32_t logit_count;        // L: rows whose logits are wanted
  int32_t page_table_blocks;  // length of each row of a page table
  const int32_t* token_ids;   // [T], each in [0, vocab)
  const int32_t* positions;   // [T] absolute position in its sequence, from 0
  const int32_t* sequence;    // [T] index of the token's sequence, in [0, S)
  const int32_t* q_offsets;   // [S + 1]
  const int32_t* kv_lengths;  // [S] tokens in the cache after this step
  const int32_t* logit_rows;  // [L] token indices, ascending
  // [S], each [layers, kv_heads, page_table_blocks]: page that holds the
  // tokens [b * block, (b + 1) * block) of one layer and KV head. Page p
  // starts at cache + p * page_bytes: K [block, head_dim], V [block, head_dim],
  // and for int8 the scales of K [block] and of V [block].
  const int32_t* const* page_tables;
  // Since format 1.2. [S]: the first of a sequence's states [layers, kv_heads]
  // of kernelized attention (kernel_state.h); null for a plan without them.
  const int32_t* states;
  // Since format 1.2. [S]: a sequence's key index (key_index.h), a row for each
  // layer and KV head, for page_table_blocks blocks; null for a plan without.
  void* const* key_indices;
  // Since format 1.2. [layers, heads]: sums to which launches of block-sparse
  // attention add, atomically, what it takes a look at all keys to know; null:
  // they need not. A kernel of another number of query heads leaves it alone.
  SteleHeadWork* head_work;
  int32_t heads;
  // Since format 1.2. What block-sparse attention keeps of the blocks that it
  // need not: 0: what it was compiled to choose; otherwise this share of those
  // up to a query's own, rounded up, by number; 1: all of them. Launches of
  // entries with BlockSparsity obey.
  float density;
} SteleBatch;

// What block-sparse attention did, for statistics. A pair is a query head of
// one token and a key.
typedef struct SteleAttentionWork {
  uint64_t queries;          // query heads of tokens
  uint64_t causal_pairs;     // what dense attention would score
  uint64_t kept_pairs;       // what was scored
  uint64_t estimated_pairs;  // queries with what stands for a block
} SteleAttentionWork;

typedef struct SteleHostArgs {
  void* const* bindings;      // in the order of the plan's launch
  const int64_t* immediates;  // likewise
  const SteleBatch* batch;
  void* scratch;    // this worker's, 64-byte aligned, scratch_bytes
  uint32_t worker;  // [0, workers)
  uint32_t workers;
  uint32_t* next_item;  // 0 before the launch; shared by its workers,
                        // for atomic fetch-add where work is uneven
  // Since format 1.2. Memory that the workers of a launch share, 64-byte
  // aligned, shared_bytes_per_token for each token of the function's largest
  // batch. All zero when a launch begins; the kernel leaves it so.
  void* shared;
  // Lets other threads run. For a worker that waits for what another one is
  // about to write to `shared`, once spinning has taken unusually long.
  void (*yield)(void);
  // Since format 1.2. Sums to which launches add, atomically.
  SteleAttentionWork* work;
} SteleHostArgs;

typedef void (*SteleHostKernel)(const SteleHostArgs* args);

#ifdef __cplusplus
}
#endif

#endif  // STELE_SCHEMA_HOST_ABI_H_
