// Where the pages of long sequences are, and their moves between tiers.
//
// Place on the road: the engine makes one Pager for a plan with Paging and one
// PagedContext for each session. Programs call the Pager's steps (PageMover):
// what falls out of device memory is packed into warm records, what a selection
// asks for is unpacked into staging slots. Where host memory does not hold all
// records of a sequence, the oldest go on to a file (ColdFile). Kernels find
// all of it through the page table; what is in no slot has the page number of a
// page of NaN there.
//
// Which blocks have fallen out follows from a step's position alone
// (schema::KvFallen). What is in which slot is the schedule's choice: a layer's
// slots are those that its steps name, and a slot is retaken only by a step
// that names it. All memory is taken when a Pager or context is made.
#ifndef STELE_RUNTIME_CONTEXT_PAGER_H_
#define STELE_RUNTIME_CONTEXT_PAGER_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/context/cold_file.h"
#include "stele/runtime/context/page_pool.h"
#include "stele/runtime/device/device.h"

namespace stele {

// The geometry of paging, from a verified plan.
struct PagingShape {
  CacheShape cache;
  uint64_t hot_tokens = 0;  // multiple of grid_tokens
  uint64_t grid_tokens = 0;
  uint64_t sink_blocks = 0;
  uint64_t record_bytes = 0;
  uint32_t slots = 0;            // of each sequence
  uint64_t selection_words = 0;  // of a row

  // Blocks from the first on that have fallen out of a sequence whose next
  // token is `position`; sinks are counted and have not.
  uint64_t Fallen(uint64_t position) const;
  uint64_t CellBlocks() const { return grid_tokens / cache.block_tokens; }
  // Records of a sequence of `tokens` tokens at most, in blocks.
  uint64_t RecordBlocks(uint64_t tokens) const;
  // Blocks that such a sequence holds in device memory at most.
  uint64_t HotBlocks(uint64_t tokens) const;
};

// What paging has done so far. A page is one of a layer and KV head.
struct PagingWork {
  uint64_t hits = 0;    // selected, and in a slot already
  uint64_t misses = 0;  // selected, and fetched while attention waited
  uint64_t ahead = 0;   // fetched before the layer selected
  uint64_t packed = 0;  // fell out
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t cooled = 0;  // records that went to a file
  uint64_t bytes_from_file = 0;
  uint64_t bytes_to_file = 0;
  uint64_t waited_ns = 0;  // what computing stood still for moves
};

// Of one layer in the last step.
struct LayerMoves {
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t ahead = 0;
  uint64_t packed = 0;
};

class Pager;

// The blocks of one sequence. Its pager and pools outlive it.
class PagedContext {
 public:
  // `pages` has the blocks in device memory; slot i is page first_slot + i of
  // the same memory. There may be records of `record_blocks`; memory is
  // reserved for `warm_blocks` of them. Where those are fewer, at least two
  // cells', the oldest go to `cold`.
  PagedContext(Pager* pager, PageTable* pages, int32_t first_slot,
               uint64_t record_blocks, uint64_t warm_blocks,
               std::unique_ptr<ColdFile> cold);

  // Bytes that one takes beside pages and records; nothing when they overflow.
  static std::optional<uint64_t> Bytes(const PagingShape& shape,
                                       uint64_t record_blocks);

  // Whether all is there that a step from position `tokens` on sees.
  bool CanGoBack(uint64_t tokens) const;
  // Whether a block is a record.
  bool HasFallen(uint64_t block) const {
    return block >= sinks_ && block < fallen_;
  }
  // Forgets all blocks.
  void Clear();
  // Blocks from behind the sinks up to `fallen` are records, which are yet to
  // be put there, in ascending order; no block is there so far.
  void BeginRecords(uint64_t fallen);
  int32_t first_slot() const { return first_slot_; }
  uint64_t grid_tokens() const;

 private:
  friend class Pager;

  // A page that was selected: of a layer's KV head.
  struct Unit {
    uint32_t head;
    uint32_t block;
  };
  struct Slot {
    uint64_t row = kFree;  // layer and KV head whose page it holds
    uint64_t block = 0;
    uint64_t used = 0;  // when a step last asked for it
  };
  static constexpr uint64_t kFree = UINT64_MAX;

  // The slot that holds a page.
  std::optional<uint32_t> SlotOf(uint64_t row, uint64_t block) const;
  // How far records are in the file once `fallen` blocks have fallen out: there
  // is room for one cell more in memory.
  uint64_t ColdEnd(uint64_t fallen) const;
  void Vacate(uint32_t slot);

  Pager* pager_;
  PageTable* pages_;
  PageTable records_;  // of fallen blocks, the first behind the sinks first
  int32_t first_slot_;
  // Records of the blocks [sinks_, cold_end_), in the file.
  std::unique_ptr<ColdFile> cold_;
  uint64_t warm_blocks_;
  uint64_t sinks_;
  uint64_t cold_end_;
  uint64_t cooling_;              // and those up to here while a step runs
  uint64_t cold_before_;          // the file's end before the step
  uint64_t fallen_;               // blocks [sinks_, fallen_) are records
  uint64_t falling_;              // and those up to here while a step runs
  std::vector<int32_t> leaving_;  // pages of [fallen_, falling_), [block, row]
  std::vector<Slot> slots_;
  std::vector<std::vector<Unit>> wanted_;  // of each layer's last selection
};

// A sequence of the batch that a step is about to run.
struct PagedPart {
  PagedContext* context;
  uint64_t position;  // of its first token
};

// Used by one thread at a time, but for the steps of a program (PageMover).
class Pager : public PageMover {
 public:
  // Device memory of all pages, and how one of them becomes a record.
  struct Memory {
    std::byte* pages;
    int32_t nan_page;  // what the table has for pages that are nowhere there
    std::byte* records;
    PageTransform pack, unpack;
    // Where sequences have files.
    std::unique_ptr<RecordCompressor> compressor;
  };
  // `pool` numbers the pages of `memory.pages`, `records` those of
  // `memory.records`; both outlive this. A step has up to `max_sequences`.
  Pager(const PagingShape& shape, PagePool* pool, PagePool* records,
        Memory memory, uint32_t max_sequences);

  const PagingShape& shape() const { return shape_; }
  const PagingWork& work() const { return work_; }
  std::span<const LayerMoves> last_moves() const { return last_moves_; }

  // Takes down what a step over these sequences, in the order of its batch, is
  // going to let fall out.
  void BeginStep(std::span<const PagedPart> parts);
  // It is over. `done`: what fell out is gone; else it is there again.
  void EndStep(bool done);

  // The record of a page, from memory or its file. Valid until the next call.
  Result<const std::byte*> ReadRecord(const PagedContext& context, uint64_t row,
                                      uint64_t block);
  Status WriteRecord(PagedContext* context, uint64_t row, uint64_t block,
                     std::span<const std::byte> record);

  Status Select(uint32_t layer, const uint32_t* selection,
                const SteleBatch& batch, uint32_t slots) override;
  Status PageIn(uint32_t layer, uint32_t first, uint32_t slots,
                bool ahead) override;
  Status PageOut(uint32_t layer, uint32_t max_pages) override;

 private:
  friend class PagedContext;
  using Unit = PagedContext::Unit;

  // Slots [first, first + count) of a sequence, for pages of a layer.
  struct Section {
    uint32_t layer, first, count;
  };

  uint64_t RowOf(uint32_t layer, uint64_t head) const {
    return uint64_t{layer} * shape_.cache.kv_heads + head;
  }
  std::byte* PageAt(int32_t page) const;
  std::byte* RecordAt(const PagedContext& context, uint64_t row,
                      uint64_t block) const;
  // Bits of the blocks that a sequence's query blocks of the step keep.
  void Gather(const uint32_t* selection, const SteleBatch& batch, int32_t s,
              uint32_t head, uint64_t words);
  Status SelectOf(PagedContext* context, uint32_t layer,
                  const uint32_t* selection, const SteleBatch& batch, int32_t s,
                  uint32_t slots);
  Status PageInOf(PagedContext* context, const Section& section, bool ahead);
  // Finds the wanted pages that are not in the section; renews the others.
  void FindMissing(PagedContext* context, const Section& section);
  // Slots of the section that no wanted page is in, the longest unused first.
  void FindVictims(const PagedContext& context, const Section& section);
  Status Fetch(PagedContext* context, uint64_t row, uint64_t block,
               uint32_t slot);
  Status CoolOf(PagedContext* context, uint32_t layer);
  uint64_t ColdIndex(const PagedContext& context, uint64_t row,
                     uint64_t block) const;
  Status PageOutOf(PagedContext* context, uint32_t layer, uint32_t max_pages);
  void Restore(PagedContext* context);

  PagingShape shape_;
  PagePool* pool_;
  PagePool* record_pool_;
  Memory memory_;
  PagingWork work_;
  std::vector<LayerMoves> last_moves_;  // of each layer
  std::vector<PagedPart> parts_;
  uint64_t clock_ = 0;
  // Selecting and moving meet in the wanted pages of a context; a plan whose
  // order is wrong must not do worse than compute nonsense.
  std::mutex wanted_mutex_;
  std::mutex move_mutex_;
  // Of Select.
  std::vector<uint32_t> bits_;
  // Of PageIn.
  std::vector<std::byte> record_;  // from a file
  std::vector<Unit> wanted_;
  std::vector<Unit> missing_;
  struct Victim {
    uint64_t used;
    uint32_t slot;
  };
  std::vector<Victim> victims_;
};

}  // namespace stele

#endif  // STELE_RUNTIME_CONTEXT_PAGER_H_
