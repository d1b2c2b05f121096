// Tokens and bytes of each tier; see tiers.h.
#include "tiers.h"

#include <algorithm>

#include "stele/runtime/base/format.h"
#include "stele/runtime/context/page_pool.h"
#include "stele/schema/kv_page.h"

namespace stele::cli {
namespace {

unsigned long long Ull(uint64_t value) { return value; }

// Records of all layers and heads for a block of tokens.
uint64_t RecordBytes(const plan::KvCache& cache) {
  return uint64_t{cache.layers()} * cache.kv_heads() *
         cache.paging()->warm_page_bytes();
}

uint64_t PageBytes(const plan::KvCache& cache, uint64_t blocks) {
  return blocks * cache.layers() * cache.kv_heads() * cache.page_bytes();
}

// Tokens that are not hot in the context's last cell.
uint64_t FallenTokens(const plan::KvCache& cache, uint64_t context) {
  const plan::Paging& paging = *cache.paging();
  return (schema::KvFallen(context - 1, paging.hot_tokens(),
                           paging.grid_tokens(), paging.sink_blocks(),
                           cache.block_tokens()) -
          paging.sink_blocks()) *
         cache.block_tokens();
}

Tier HotTier(const plan::KvCache& cache, uint64_t context) {
  const plan::Paging& paging = *cache.paging();
  const uint64_t whole =
      (context + cache.block_tokens() - 1) / cache.block_tokens();
  const uint64_t blocks =
      schema::KvHotBlocks(whole, paging.hot_tokens(), paging.grid_tokens(),
                          paging.sink_blocks(), cache.block_tokens());
  return {"hot", PageBytes(cache, blocks),
          Format("device memory: the last %llu tokens, %u sink block%s, cells "
                 "of %u",
                 Ull(paging.hot_tokens()), paging.sink_blocks(),
                 paging.sink_blocks() == 1 ? "" : "s", paging.grid_tokens())};
}

Tier RecordTier(const plan::KvCache& cache, const char* name, const char* where,
                uint64_t tokens) {
  return {name, tokens / cache.block_tokens() * RecordBytes(cache),
          Format("%s: %llu tokens as %s, ", where, Ull(tokens),
                 plan::EnumNameDType(cache.paging()->warm_dtype())) +
              FormatBytes(RecordBytes(cache) / cache.block_tokens()) + " each"};
}

}  // namespace

std::vector<Tier> TiersOf(const plan::KvCache& cache, uint64_t context) {
  const plan::Paging& paging = *cache.paging();
  std::vector<Tier> tiers = {HotTier(cache, context)};
  if (cache.slots() > 0)
    tiers.push_back({"slots", cache.slots() * cache.page_bytes(),
                     Format("device memory: %u pages of ", cache.slots()) +
                         FormatBytes(cache.page_bytes()) + " for a session"});
  const CacheShape shape = CacheShape::Of(cache);
  if (const uint64_t bytes = shape.KeyIndexBytes(shape.BlocksFor(context)))
    tiers.push_back(
        {"index", bytes, "device memory: a mean key of every block"});
  const uint64_t fallen = FallenTokens(cache, context);
  const uint64_t warm = paging.warm_tokens() > 0
                            ? std::min(fallen, paging.warm_tokens())
                            : fallen;
  tiers.push_back(RecordTier(cache, "warm", "host memory", warm));
  if (fallen > warm)
    tiers.push_back(
        RecordTier(cache, "cold", "disk, before zstd", fallen - warm));
  return tiers;
}

}  // namespace stele::cli
