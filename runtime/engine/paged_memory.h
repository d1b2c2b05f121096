// What an engine holds for context paging, beside the pages that its pool
// numbers: staging slots, the page of NaN, records and the pager over them.
//
// Place on the road: Engine plans one for a plan whose cache has Paging, gives
// it memory, and takes a PagedContext of it for each session.
#ifndef STELE_RUNTIME_ENGINE_PAGED_MEMORY_H_
#define STELE_RUNTIME_ENGINE_PAGED_MEMORY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/context/page_pool.h"
#include "stele/runtime/context/pager.h"
#include "stele/runtime/device/device.h"
#include "stele/runtime/engine/model.h"

namespace stele {

struct EngineOptions;

// The page memory of the engine: the pool's pages, then the slots of every
// session, then the page of NaN.
class PagedMemory {
 public:
  // `options` with all its defaults filled in.
  static Result<std::unique_ptr<PagedMemory>> Plan(
      const Model& model, const EngineOptions& options);

  const PagingShape& shape() const { return shape_; }
  Pager& pager() { return *pager_; }
  const Pager& pager() const { return *pager_; }

  // Bytes of the slots and the page of NaN; of the records.
  uint64_t slot_bytes() const { return (slots_ + 1) * shape_.cache.page_bytes; }
  uint64_t record_bytes() const;
  // What all sessions and their records take beside.
  uint64_t table_bytes() const { return table_bytes_; }
  // Whether the oldest records go to a file.
  bool HasCold() const { return record_pool_->blocks() < record_blocks_; }
  // What records are, for the memory plan: "int8".
  std::string record_format() const;

  // Behind the pool's pages, which are the first of `pages`.
  Status Allocate(Model* model, PagePool* pool, std::byte* pages,
                  uint32_t max_sequences);

  // A session of at most `tokens` tokens, or which memory is taken.
  Result<std::unique_ptr<PagedContext>> Admit(PageTable* pages,
                                              uint64_t tokens);
  // The session has ended.
  void Release(const PagedContext& context);

 private:
  PagedMemory(const Model& model, const EngineOptions& options);
  Status CheckSelections(const Model& model) const;
  Status CheckDensity(const Model& model, const EngineOptions& options) const;
  Status PlanRecords(const EngineOptions& options);
  // Blocks whose records host memory may hold, of `blocks`.
  Result<uint64_t> WarmBlocks(const EngineOptions& options,
                              uint64_t blocks) const;
  // Of them a session's, of up to `blocks`.
  uint64_t ShareOf(uint64_t blocks) const;

  const plan::Paging& paging_;
  PagingShape shape_;
  uint64_t slots_;  // of all sessions
  uint64_t table_bytes_ = 0;
  uint64_t record_blocks_ = 0;  // of all sessions, wherever they are
  std::string folder_;          // for those that host memory does not hold
  std::optional<PagePool> record_pool_;
  DeviceMemory records_;
  std::vector<int32_t> free_slots_;  // the first one of each session's
  std::unique_ptr<Pager> pager_;
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_PAGED_MEMORY_H_
