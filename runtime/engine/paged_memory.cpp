// Planning and allocating what paging needs; see paged_memory.h.
#include "stele/runtime/engine/paged_memory.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/engine/engine.h"
#include "stele/schema/block_selection.h"

namespace stele {
namespace {

CacheShape RecordShape(const PagingShape& shape) {
  CacheShape records = shape.cache;
  records.page_bytes = shape.record_bytes;
  return records;
}

unsigned long long Ull(uint64_t value) { return value; }

// "--density 0.031 or less": of `blocks` it chooses up to `chosen`.
std::string FittingDensity(uint64_t chosen, uint64_t blocks) {
  const double share = std::floor(1000.0 * static_cast<double>(chosen) /
                                  static_cast<double>(blocks)) /
                       1000;
  return share > 0 ? Format("--density %g or less", share)
                   : "what it was compiled for";
}

// Slots that a function has for what a layer chooses.
uint64_t SlotsOf(const plan::Function& function) {
  for (const plan::Op* op : *function.ops())
    if (const auto* select = op->body_as_SelectPages()) return select->slots();
  return 0;
}

}  // namespace

PagedMemory::PagedMemory(const Model& model, const EngineOptions& options)
    : paging_(*model.cache()->paging()) {
  shape_.cache = CacheShape::Of(*model.cache());
  shape_.grid_tokens = paging_.grid_tokens();
  shape_.hot_tokens = std::max(paging_.hot_tokens(),
                               RoundUp(options.hot_window, shape_.grid_tokens));
  shape_.sink_blocks = paging_.sink_blocks();
  shape_.record_bytes = paging_.warm_page_bytes();
  shape_.slots = model.cache()->slots();
  shape_.selection_words =
      schema::SelectionWords(shape_.cache.BlocksFor(model.info().context()));
  slots_ = uint64_t{shape_.slots} * options.max_sessions;
  const char* temporary = std::getenv("TMPDIR");
  folder_ = !options.cold_folder.empty() ? options.cold_folder
            : temporary && *temporary    ? temporary
                                         : "/tmp";
}

Result<std::unique_ptr<PagedMemory>> PagedMemory::Plan(
    const Model& model, const EngineOptions& options) {
  const plan::Paging& paging = *model.cache()->paging();
  if (options.hot_window != 0 && options.hot_window < paging.hot_tokens())
    return InvalidArgument(Format(
        "a hot window of %llu tokens, but the artifact was compiled for at "
        "least %llu; compile with --hot-window %llu",
        static_cast<unsigned long long>(options.hot_window),
        static_cast<unsigned long long>(paging.hot_tokens()),
        static_cast<unsigned long long>(options.hot_window)));
  std::unique_ptr<PagedMemory> memory(new PagedMemory(model, options));
  STELE_RETURN_IF_ERROR(memory->CheckSelections(model));
  STELE_RETURN_IF_ERROR(memory->CheckDensity(model, options));
  STELE_RETURN_IF_ERROR(memory->PlanRecords(options));
  return memory;
}

// Sessions together have no more blocks than tokens are planned for.
Status PagedMemory::PlanRecords(const EngineOptions& options) {
  const uint64_t each = shape_.RecordBlocks(options.session_tokens);
  record_blocks_ = std::min(each * options.max_sessions,
                            shape_.cache.BlocksFor(options.total_tokens));
  STELE_ASSIGN_OR_RETURN(const uint64_t warm,
                         WarmBlocks(options, record_blocks_));
  STELE_ASSIGN_OR_RETURN(record_pool_,
                         PagePool::Create(RecordShape(shape_), warm));
  const uint64_t pages = shape_.cache.pages_per_block();
  const auto context = PagedContext::Bytes(shape_, each);
  const auto contexts =
      context ? CheckedMul(*context, options.max_sessions) : context;
  const uint64_t beside =
      warm * pages * sizeof(int32_t) +
      (HasCold() ? ColdFile::Bytes(record_blocks_ * pages) +
                       RecordCompressor::Bytes(shape_.record_bytes)
                 : 0);
  const auto tables = contexts ? CheckedAdd(*contexts, beside) : contexts;
  if (!tables || !CheckedMul(slots_ + 1, shape_.cache.page_bytes))
    return ResourceExhausted(
        "the memory of what falls out overflows; plan fewer tokens");
  table_bytes_ = *tables;
  return OkStatus();
}

Result<uint64_t> PagedMemory::WarmBlocks(const EngineOptions& options,
                                         uint64_t blocks) const {
  const uint64_t pages = shape_.cache.pages_per_block();
  const auto block_bytes = CheckedMul(pages, shape_.record_bytes);
  const auto needed =
      block_bytes ? CheckedMul(blocks, *block_bytes) : block_bytes;
  if (!needed || blocks > std::numeric_limits<int32_t>::max() / pages)
    return ResourceExhausted(
        "what falls out of device memory has more pages than can be numbered; "
        "plan fewer tokens");
  uint64_t most = blocks;
  if (options.host_memory != 0)
    most = options.host_memory / *block_bytes;
  else if (paging_.warm_tokens() != 0)
    most = paging_.warm_tokens() / shape_.cache.block_tokens;
  if (blocks <= most) return blocks;
  const uint64_t least = 2 * shape_.CellBlocks() * options.max_sessions;
  if (most >= least) return most;
  return ResourceExhausted(Format(
      "of %s that fall out of device memory as %s, host memory must hold two "
      "cells of %llu tokens for each session, %s, %s allows %s; plan fewer "
      "sessions",
      FormatBytes(*needed).c_str(), record_format().c_str(),
      static_cast<unsigned long long>(shape_.grid_tokens),
      FormatBytes(least * *block_bytes).c_str(),
      options.host_memory ? "--host-memory" : "the artifact",
      FormatBytes(options.host_memory ? options.host_memory
                                      : most * *block_bytes)
          .c_str()));
}

// In proportion, but for the cell that falls out while one cools.
uint64_t PagedMemory::ShareOf(uint64_t blocks) const {
  if (!HasCold()) return blocks;
  const uint64_t share =
      static_cast<uint64_t>(static_cast<unsigned __int128>(blocks) *
                            record_pool_->blocks() / record_blocks_);
  return std::min(blocks, std::max(2 * shape_.CellBlocks(), share));
}

// The rows of a selection are as long as the pager takes them to be.
Status PagedMemory::CheckSelections(const Model& model) const {
  const uint64_t row =
      shape_.cache.kv_heads * shape_.selection_words * sizeof(uint32_t);
  for (const plan::Function* function : model.functions())
    for (const plan::Op* op : *function->ops()) {
      const auto* select = op->body_as_SelectPages();
      if (!select) continue;
      const plan::Buffer& buffer =
          *function->buffers()->Get(select->selection());
      if (buffer.max_rows() >= function->max_tokens() &&
          buffer.length() == row * buffer.max_rows())
        continue;
      return DataLoss(Format(
          "function %s: selection \"%s\" of %llu bytes does not hold %llu for "
          "each of %u tokens; compile it again",
          Printable(function->name()->string_view()).c_str(),
          Printable(buffer.name()->string_view()).c_str(),
          static_cast<unsigned long long>(buffer.length()),
          static_cast<unsigned long long>(row), function->max_tokens()));
    }
  return OkStatus();
}

// Slots were proven to hold what the artifact was compiled to choose; another
// density is proven alike.
Status PagedMemory::CheckDensity(const Model& model,
                                 const EngineOptions& options) const {
  const uint64_t fallen = shape_.RecordBlocks(options.session_tokens);
  if (options.density == 0 || fallen == 0) return OkStatus();
  const uint64_t block = shape_.cache.block_tokens;
  const uint64_t heads = shape_.cache.kv_heads;
  const uint64_t blocks = shape_.cache.BlocksFor(options.session_tokens);
  const uint64_t chosen = schema::ShareOfBlocks(options.density, blocks);
  // Query blocks below `dense` keep all that fell out before them.
  const uint64_t dense = model.sparsity()->dense();
  const uint64_t whole =
      dense > 0 ? shape_.RecordBlocks((dense - 1) * block + 1) : 0;
  for (const plan::Function* function : model.functions()) {
    const uint64_t tokens =
        std::min<uint64_t>(function->max_tokens(), options.chunk);
    const uint64_t queries =
        std::min(shape_.CellBlocks(), schema::TouchedBlocks(tokens, block));
    const uint64_t pages =
        heads * schema::MostRead(fallen, chosen, whole, queries);
    const uint64_t slots = SlotsOf(*function);
    if (pages <= slots) continue;
    return ResourceExhausted(Format(
        "a density of %g chooses %llu of %llu blocks for each of %llu query "
        "blocks of a step (function %s); of %llu KV heads that may be %llu "
        "pages that left device memory, of which a layer's slots hold %llu; "
        "run with %s or for fewer tokens, or compile with more",
        static_cast<double>(options.density), Ull(chosen), Ull(blocks),
        Ull(queries), Printable(function->name()->string_view()).c_str(),
        Ull(heads), Ull(pages), Ull(slots),
        FittingDensity(slots / heads / queries, blocks).c_str()));
  }
  return OkStatus();
}

uint64_t PagedMemory::record_bytes() const {
  return record_pool_->blocks() * record_pool_->shape().block_bytes();
}

std::string PagedMemory::record_format() const {
  switch (paging_.warm_dtype()) {
    case plan::DType::I8:
      return "int8";
    case plan::DType::I4:
      return "int4";
    default:
      return "they are";
  }
}

Status PagedMemory::Allocate(Model* model, PagePool* pool, std::byte* pages,
                             uint32_t max_sequences) {
  const uint64_t pooled = pool->blocks() * shape_.cache.pages_per_block();
  if (pooled + slots_ >= std::numeric_limits<int32_t>::max())
    return ResourceExhausted(
        "the KV cache has more pages than can be numbered; plan fewer tokens");
  Device& device = model->device();
  STELE_ASSIGN_OR_RETURN(records_,
                         device.AllocateHost(record_bytes(), "older KV pages"));
  Pager::Memory memory;
  memory.pages = pages;
  memory.nan_page = static_cast<int32_t>(pooled + slots_);
  memory.records = records_.data();
  const LoadedCode& code = *model->code(paging_.executable());
  STELE_ASSIGN_OR_RETURN(memory.pack, device.Transform(code, paging_.pack()));
  STELE_ASSIGN_OR_RETURN(memory.unpack,
                         device.Transform(code, paging_.unpack()));
  if (HasCold()) {
    STELE_ASSIGN_OR_RETURN(memory.compressor,
                           RecordCompressor::Create(shape_.record_bytes));
  }
  // All bits set are NaN in every element type.
  const std::vector<std::byte> nan(shape_.cache.page_bytes, std::byte{0xff});
  STELE_RETURN_IF_ERROR(device.CopyFromHost(
      pages + (pooled + slots_) * shape_.cache.page_bytes, nan));
  for (uint64_t slot = slots_; slot > 0; slot -= shape_.slots)
    free_slots_.push_back(static_cast<int32_t>(pooled + slot - shape_.slots));
  pager_ = std::make_unique<Pager>(shape_, pool, &*record_pool_,
                                   std::move(memory), max_sequences);
  return OkStatus();
}

Result<std::unique_ptr<PagedContext>> PagedMemory::Admit(PageTable* pages,
                                                         uint64_t tokens) {
  const uint64_t blocks = shape_.RecordBlocks(tokens);
  const uint64_t warm = ShareOf(blocks);
  if (record_pool_->free_blocks() < warm)
    return ResourceExhausted(Format(
        "a session of %llu tokens needs memory for %llu blocks behind its hot "
        "window, that of %llu of %llu is free; end a session or plan more "
        "tokens",
        static_cast<unsigned long long>(tokens),
        static_cast<unsigned long long>(warm),
        static_cast<unsigned long long>(record_pool_->free_blocks()),
        static_cast<unsigned long long>(record_pool_->blocks())));
  std::unique_ptr<ColdFile> cold;
  if (warm < blocks) {
    STELE_ASSIGN_OR_RETURN(
        cold,
        ColdFile::Create(folder_, blocks * shape_.cache.pages_per_block()));
  }
  auto context = std::make_unique<PagedContext>(
      pager_.get(), pages, free_slots_.back(), blocks, warm, std::move(cold));
  free_slots_.pop_back();
  return context;
}

void PagedMemory::Release(const PagedContext& context) {
  free_slots_.push_back(context.first_slot());
}

}  // namespace stele
