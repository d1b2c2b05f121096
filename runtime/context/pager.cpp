// Selections, slots and records; see pager.h.
#include "stele/runtime/context/pager.h"

#include <algorithm>
#include <bit>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/format.h"
#include "stele/schema/block_selection.h"
#include "stele/schema/kv_page.h"

namespace stele {

uint64_t PagingShape::Fallen(uint64_t position) const {
  return schema::KvFallen(position, hot_tokens, grid_tokens, sink_blocks,
                          cache.block_tokens);
}

uint64_t PagingShape::RecordBlocks(uint64_t tokens) const {
  return tokens == 0 ? 0 : Fallen(tokens - 1) - sink_blocks;
}

uint64_t PagingShape::HotBlocks(uint64_t tokens) const {
  return schema::KvHotBlocks(cache.BlocksFor(tokens), hot_tokens, grid_tokens,
                             sink_blocks, cache.block_tokens);
}

PagedContext::PagedContext(Pager* pager, PageTable* pages, int32_t first_slot,
                           uint64_t record_blocks, uint64_t warm_blocks,
                           std::unique_ptr<ColdFile> cold)
    : pager_(pager),
      pages_(pages),
      records_(pager->record_pool_, record_blocks, warm_blocks),
      first_slot_(first_slot),
      cold_(std::move(cold)),
      warm_blocks_(warm_blocks),
      sinks_(pager->shape_.sink_blocks),
      cold_end_(sinks_),
      cooling_(sinks_),
      cold_before_(0),
      fallen_(sinks_),
      falling_(sinks_),
      slots_(pager->shape_.slots),
      wanted_(pager->shape_.cache.layers) {
  const PagingShape& shape = pager->shape_;
  leaving_.reserve(shape.cache.pages_per_block() * shape.CellBlocks());
  for (std::vector<Unit>& units : wanted_) units.reserve(shape.slots);
}

std::optional<uint64_t> PagedContext::Bytes(const PagingShape& shape,
                                            uint64_t record_blocks) {
  const uint64_t rows = shape.cache.pages_per_block();
  const auto wanted =
      CheckedMul(shape.slots * sizeof(Unit), shape.cache.layers);
  const auto tables =
      CheckedMul(rows * sizeof(int32_t), record_blocks + shape.CellBlocks());
  if (!wanted || !tables) return std::nullopt;
  const auto both = CheckedAdd(*wanted, *tables);
  return both ? CheckedAdd(*both, shape.slots * sizeof(Slot)) : both;
}

uint64_t PagedContext::grid_tokens() const {
  return pager_->shape().grid_tokens;
}

bool PagedContext::CanGoBack(uint64_t tokens) const {
  return fallen_ <= pager_->shape_.Fallen(tokens);
}

void PagedContext::Clear() {
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) Vacate(slot);
  for (std::vector<Unit>& units : wanted_) units.clear();
  records_.Truncate(0);
  pages_->Truncate(0);
  fallen_ = falling_ = cold_end_ = cooling_ = sinks_;
  if (cold_) cold_->Rewind(0);
}

void PagedContext::BeginRecords(uint64_t fallen) {
  const uint32_t tokens = pager_->shape_.cache.block_tokens;
  fallen_ = falling_ = fallen;
  cold_end_ = cooling_ = ColdEnd(fallen);
  records_.Forget((cold_end_ - sinks_) * tokens);
  records_.Grow((fallen - sinks_) * tokens);
  pages_->GiveAway(sinks_, fallen);
  for (uint64_t block = sinks_; block < fallen; ++block)
    for (uint64_t row = 0; row < pager_->shape_.cache.pages_per_block(); ++row)
      pages_->Set(row, block, pager_->memory_.nan_page);
}

uint64_t PagedContext::ColdEnd(uint64_t fallen) const {
  if (!cold_) return cold_end_;
  const uint64_t kept = warm_blocks_ - pager_->shape_.CellBlocks();
  return std::max(cold_end_, fallen > kept ? fallen - kept : 0);
}

std::optional<uint32_t> PagedContext::SlotOf(uint64_t row,
                                             uint64_t block) const {
  const int64_t slot = int64_t{pages_->page(row, block)} - first_slot_;
  if (slot < 0 || slot >= static_cast<int64_t>(slots_.size()))
    return std::nullopt;
  return static_cast<uint32_t>(slot);
}

void PagedContext::Vacate(uint32_t slot) {
  Slot& held = slots_[slot];
  if (held.row != kFree)
    pages_->Set(held.row, held.block, pager_->memory_.nan_page);
  held = Slot();
}

Pager::Pager(const PagingShape& shape, PagePool* pool, PagePool* records,
             Memory memory, uint32_t max_sequences)
    : shape_(shape),
      pool_(pool),
      record_pool_(records),
      memory_(std::move(memory)),
      last_moves_(shape.cache.layers),
      bits_(shape.selection_words) {
  parts_.reserve(max_sequences);
  if (memory_.compressor) record_.resize(shape.record_bytes);
  wanted_.reserve(shape.slots);
  missing_.reserve(shape.slots);
  victims_.reserve(shape.slots);
}

std::byte* Pager::PageAt(int32_t page) const {
  return memory_.pages + static_cast<uint64_t>(page) * shape_.cache.page_bytes;
}

std::byte* Pager::RecordAt(const PagedContext& context, uint64_t row,
                           uint64_t block) const {
  const int32_t record = context.records_.page(row, block - context.sinks_);
  return memory_.records + static_cast<uint64_t>(record) * shape_.record_bytes;
}

void Pager::BeginStep(std::span<const PagedPart> parts) {
  parts_.assign(parts.begin(), parts.end());
  std::fill(last_moves_.begin(), last_moves_.end(), LayerMoves());
  for (const PagedPart& part : parts_) {
    PagedContext& context = *part.context;
    context.falling_ = std::max(shape_.Fallen(part.position), context.fallen_);
    context.records_.Grow((context.falling_ - context.sinks_) *
                          shape_.cache.block_tokens);
    context.cooling_ = context.ColdEnd(context.falling_);
    if (context.cold_) context.cold_before_ = context.cold_->end();
    context.leaving_.clear();
    for (uint64_t block = context.fallen_; block < context.falling_; ++block)
      for (uint64_t row = 0; row < shape_.cache.pages_per_block(); ++row)
        context.leaving_.push_back(context.pages_->page(row, block));
  }
}

void Pager::EndStep(bool done) {
  for (const PagedPart& part : parts_) {
    PagedContext& context = *part.context;
    if (!done) Restore(&context);
    if (context.falling_ == context.fallen_) continue;
    context.pages_->GiveAway(context.sinks_, context.falling_);
    for (const int32_t page : context.leaving_) pool_->Return(page);
    context.fallen_ = context.falling_;
    context.cold_end_ = context.cooling_;
    context.records_.Forget((context.cold_end_ - context.sinks_) *
                            shape_.cache.block_tokens);
  }
  parts_.clear();
}

// Blocks that were falling may be in slots already.
void Pager::Restore(PagedContext* context) {
  for (uint32_t slot = 0; slot < context->slots_.size(); ++slot)
    if (context->slots_[slot].row != PagedContext::kFree &&
        context->slots_[slot].block >= context->fallen_)
      context->Vacate(slot);
  const int32_t* page = context->leaving_.data();
  for (uint64_t block = context->fallen_; block < context->falling_; ++block)
    for (uint64_t row = 0; row < shape_.cache.pages_per_block(); ++row)
      context->pages_->Set(row, block, *page++);
  context->falling_ = context->fallen_;
  context->cooling_ = context->cold_end_;
  if (context->cold_) context->cold_->Rewind(context->cold_before_);
  context->records_.Truncate((context->fallen_ - context->sinks_) *
                             shape_.cache.block_tokens);
}

Status Pager::Select(uint32_t layer, const uint32_t* selection,
                     const SteleBatch& batch, uint32_t slots) {
  for (size_t s = 0; s < parts_.size(); ++s)
    STELE_RETURN_IF_ERROR(SelectOf(parts_[s].context, layer, selection, batch,
                                   static_cast<int32_t>(s), slots));
  return OkStatus();
}

// A query block's words reach as far as its own block, which lies behind all
// that has fallen out.
void Pager::Gather(const uint32_t* selection, const SteleBatch& batch,
                   int32_t s, uint32_t head, uint64_t words) {
  std::fill_n(bits_.begin(), words, 0u);
  const auto block_tokens = static_cast<int32_t>(shape_.cache.block_tokens);
  for (int32_t t = batch.q_offsets[s]; t < batch.q_offsets[s + 1]; ++t) {
    const bool is_first = t == batch.q_offsets[s];
    if (!is_first && batch.positions[t] % block_tokens != 0) continue;
    const uint32_t* row =
        selection + schema::SelectionRow(static_cast<uint64_t>(t),
                                         shape_.cache.kv_heads, head,
                                         shape_.selection_words);
    for (uint64_t word = 0; word < words; ++word) bits_[word] |= row[word];
  }
}

Status Pager::SelectOf(PagedContext* context, uint32_t layer,
                       const uint32_t* selection, const SteleBatch& batch,
                       int32_t s, uint32_t slots) {
  std::lock_guard lock(wanted_mutex_);
  std::vector<Unit>& wanted = context->wanted_[layer];
  wanted.clear();
  const uint64_t begin = context->sinks_, end = context->falling_;
  if (begin == end) return OkStatus();
  uint64_t count = 0;
  for (uint32_t head = 0; head < shape_.cache.kv_heads; ++head) {
    Gather(selection, batch, s, head, (end + 31) / 32);
    for (uint64_t word = begin / 32; word * 32 < end; ++word) {
      uint32_t bits = bits_[word];
      if (word == begin / 32) bits &= ~0u << begin % 32;
      if (end - word * 32 < 32) bits &= (1u << end % 32) - 1;
      for (; bits != 0; bits &= bits - 1) {
        if (++count > slots) continue;
        const auto bit = static_cast<uint64_t>(std::countr_zero(bits));
        wanted.push_back({head, static_cast<uint32_t>(word * 32 + bit)});
      }
    }
  }
  if (count <= slots) return OkStatus();
  return ResourceExhausted(
      Format("layer %u selects %llu pages of a sequence that are not in device "
             "memory, the schedule has slots for %u; compile with more "
             "--device-memory or a smaller --density",
             layer, static_cast<unsigned long long>(count), slots));
}

Status Pager::PageIn(uint32_t layer, uint32_t first, uint32_t slots,
                     bool ahead) {
  std::lock_guard lock(move_mutex_);
  for (const PagedPart& part : parts_)
    STELE_RETURN_IF_ERROR(PageInOf(part.context, {layer, first, slots}, ahead));
  return OkStatus();
}

Status Pager::PageInOf(PagedContext* context, const Section& section,
                       bool ahead) {
  {
    std::lock_guard lock(wanted_mutex_);
    const std::vector<Unit>& wanted = context->wanted_[section.layer];
    wanted_.assign(wanted.begin(), wanted.end());
  }
  FindMissing(context, section);
  FindVictims(*context, section);
  if (missing_.size() > victims_.size()) {
    if (!ahead)
      return Internal(
          Format("layer %u needs %zu slots more than the schedule "
                 "fetches its pages into",
                 section.layer, missing_.size() - victims_.size()));
    missing_.resize(victims_.size());
  }
  LayerMoves& moves = last_moves_[section.layer];
  if (ahead) {
    moves.ahead += missing_.size();
    work_.ahead += missing_.size();
  } else {
    const uint64_t hits = wanted_.size() - missing_.size();
    moves.hits += hits;
    work_.hits += hits;
    moves.misses += missing_.size();
    work_.misses += missing_.size();
  }
  for (size_t i = 0; i < missing_.size(); ++i)
    STELE_RETURN_IF_ERROR(Fetch(context, RowOf(section.layer, missing_[i].head),
                                missing_[i].block, victims_[i].slot));
  return OkStatus();
}

// A page in a slot outside its layer's section may be gone before it is read.
void Pager::FindMissing(PagedContext* context, const Section& section) {
  ++clock_;
  missing_.clear();
  for (const Unit& unit : wanted_) {
    const auto slot =
        context->SlotOf(RowOf(section.layer, unit.head), unit.block);
    if (slot && *slot >= section.first && *slot - section.first < section.count)
      context->slots_[*slot].used = clock_;
    else
      missing_.push_back(unit);
  }
}

void Pager::FindVictims(const PagedContext& context, const Section& section) {
  victims_.clear();
  if (missing_.empty()) return;
  for (uint32_t i = 0; i < section.count; ++i) {
    const uint64_t used = context.slots_[section.first + i].used;
    if (used != clock_) victims_.push_back({used, section.first + i});
  }
  std::sort(victims_.begin(), victims_.end(),
            [](const Victim& a, const Victim& b) {
              return a.used != b.used ? a.used < b.used : a.slot < b.slot;
            });
}

Status Pager::Fetch(PagedContext* context, uint64_t row, uint64_t block,
                    uint32_t slot) {
  context->Vacate(slot);
  if (const auto elsewhere = context->SlotOf(row, block))
    context->Vacate(*elsewhere);
  STELE_ASSIGN_OR_RETURN(const std::byte* record,
                         ReadRecord(*context, row, block));
  const int32_t page = context->first_slot_ + static_cast<int32_t>(slot);
  memory_.unpack(record, PageAt(page));
  context->slots_[slot] = {row, block, clock_};
  context->pages_->Set(row, block, page);
  work_.bytes_in += shape_.record_bytes;
  return OkStatus();
}

uint64_t Pager::ColdIndex(const PagedContext& context, uint64_t row,
                          uint64_t block) const {
  return (block - context.sinks_) * shape_.cache.pages_per_block() + row;
}

Result<const std::byte*> Pager::ReadRecord(const PagedContext& context,
                                           uint64_t row, uint64_t block) {
  if (block >= context.cold_end_)
    return static_cast<const std::byte*>(RecordAt(context, row, block));
  STELE_ASSIGN_OR_RETURN(
      const uint64_t bytes,
      context.cold_->Read(ColdIndex(context, row, block), record_,
                          memory_.compressor.get()));
  work_.bytes_from_file += bytes;
  return static_cast<const std::byte*>(record_.data());
}

Status Pager::WriteRecord(PagedContext* context, uint64_t row, uint64_t block,
                          std::span<const std::byte> record) {
  if (block < context->cold_end_)
    return context->cold_
        ->Write(ColdIndex(*context, row, block), record,
                memory_.compressor.get())
        .status();
  std::copy(record.begin(), record.end(), RecordAt(*context, row, block));
  return OkStatus();
}

// The oldest records of a layer make room for those that come.
Status Pager::CoolOf(PagedContext* context, uint32_t layer) {
  for (uint64_t block = context->cold_end_; block < context->cooling_; ++block)
    for (uint64_t head = 0; head < shape_.cache.kv_heads; ++head) {
      const uint64_t row = RowOf(layer, head);
      STELE_ASSIGN_OR_RETURN(
          const uint64_t bytes,
          context->cold_->Write(
              ColdIndex(*context, row, block),
              {RecordAt(*context, row, block), shape_.record_bytes},
              memory_.compressor.get()));
      ++work_.cooled;
      work_.bytes_to_file += bytes;
    }
  return OkStatus();
}

Status Pager::PageOut(uint32_t layer, uint32_t max_pages) {
  std::lock_guard lock(move_mutex_);
  for (const PagedPart& part : parts_)
    STELE_RETURN_IF_ERROR(PageOutOf(part.context, layer, max_pages));
  return OkStatus();
}

Status Pager::PageOutOf(PagedContext* context, uint32_t layer,
                        uint32_t max_pages) {
  const uint64_t heads = shape_.cache.kv_heads;
  const uint64_t pages = (context->falling_ - context->fallen_) * heads;
  if (pages > max_pages)
    return Internal(
        Format("%llu pages of layer %u fall out of a sequence, the "
               "schedule moves %u",
               static_cast<unsigned long long>(pages), layer, max_pages));
  STELE_RETURN_IF_ERROR(CoolOf(context, layer));
  const int32_t* leaving = context->leaving_.data();
  for (uint64_t block = context->fallen_; block < context->falling_;
       ++block, leaving += shape_.cache.pages_per_block())
    for (uint64_t head = 0; head < heads; ++head) {
      const uint64_t row = RowOf(layer, head);
      memory_.pack(PageAt(leaving[row]), RecordAt(*context, row, block));
      context->pages_->Set(row, block, memory_.nan_page);
    }
  last_moves_[layer].packed += pages;
  work_.packed += pages;
  work_.bytes_out += pages * shape_.record_bytes;
  return OkStatus();
}

}  // namespace stele
