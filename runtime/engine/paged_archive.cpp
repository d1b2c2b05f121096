// Reading sessions with context paging; see session_archive.h.
//
// How far a session can go on from the store depends on forms: what a step at a
// position sees as records must be there as records, the rest as pages. What is
// read is found first; a file that turns out to be damaged is left out, and the
// search begins again.
#include <algorithm>

#include "stele/runtime/engine/session_archive.h"

namespace stele {

Result<uint64_t> SessionArchive::ReadPagedBlocks(Session* session,
                                                 uint64_t limit,
                                                 const std::string& name,
                                                 uint64_t saved_position) {
  if (session->position_ > 0) return session->position_;
  STELE_ASSIGN_OR_RETURN(std::vector<StoredBlock> blocks,
                         FindBlocks(*session, name));
  for (;;) {
    const Reach reach = FindReach(blocks, limit, saved_position);
    if (reach.end == 0) return uint64_t{0};
    const Result<bool> read = ReadReach(session, reach, name, &blocks);
    if (read.ok() && *read) return reach.end;
    session->paged_->Clear();
    if (!read.ok()) return read.status();
    if (reach.has_tail) saved_position = 0;
  }
}

// Up to the first block that is not there in any form.
Result<std::vector<SessionArchive::StoredBlock>> SessionArchive::FindBlocks(
    const Session& session, const std::string& name) const {
  const std::span<const int32_t> tokens(session.tokens_);
  std::vector<StoredBlock> blocks;
  StoredBlock block{RootOf(name), record_root_};
  for (uint64_t at = 0; at + block_tokens_ <= tokens.size();
       at += block_tokens_) {
    const auto part = tokens.subspan(at, block_tokens_);
    block.page = ChildKey(block.page, part);
    block.record = ChildKey(block.record, part);
    STELE_ASSIGN_OR_RETURN(block.has_page, store_->Has(StoreKey(block.page)));
    STELE_ASSIGN_OR_RETURN(block.has_record,
                           store_->Has(StoreKey(block.record)));
    if (!block.has_page && !block.has_record) break;
    blocks.push_back(block);
  }
  return blocks;
}

SessionArchive::Reach SessionArchive::FindReach(
    const std::vector<StoredBlock>& blocks, uint64_t limit,
    uint64_t saved_position) const {
  Reach tail{saved_position, saved_position / block_tokens_, 0, true};
  if (saved_position <= limit && saved_position % block_tokens_ != 0 &&
      tail.whole <= blocks.size() && CanReach(blocks, &tail))
    return tail;
  uint64_t end = std::min(limit, blocks.size() * block_tokens_);
  while (end > 0) {
    Reach reach{end, (end + block_tokens_ - 1) / block_tokens_, 0, false};
    if (CanReach(blocks, &reach)) return reach;
    end = (end - 1) / block_tokens_ * block_tokens_;
  }
  return {};
}

// The step at `end` may let a cell fall out, or it has already.
bool SessionArchive::CanReach(const std::vector<StoredBlock>& blocks,
                              Reach* reach) const {
  const PagingShape& shape = engine_->paged_->shape();
  for (const uint64_t position : {reach->end - 1, reach->end}) {
    reach->fallen = shape.Fallen(position);
    const auto is_there = [&](uint64_t block) {
      const bool fell = block >= shape.sink_blocks && block < reach->fallen;
      return fell ? blocks[block].has_record : blocks[block].has_page;
    };
    uint64_t block = 0;
    while (block < reach->whole && is_there(block)) ++block;
    if (block == reach->whole) return true;
  }
  return false;
}

Result<bool> SessionArchive::ReadReach(Session* session, const Reach& reach,
                                       const std::string& name,
                                       std::vector<StoredBlock>* blocks) {
  session->paged_->BeginRecords(reach.fallen);
  for (uint64_t block = 0; block < reach.whole; ++block) {
    StoredBlock& stored = (*blocks)[block];
    const bool fell = session->paged_->HasFallen(block);
    STELE_ASSIGN_OR_RETURN(
        const bool found,
        fell ? ReadRecords(session, block, stored.record)
             : ReadPage(session, block, stored.page, StoreKey(stored.page)));
    if (found) continue;
    (fell ? stored.has_record : stored.has_page) = false;
    return false;
  }
  if (!reach.has_tail) return true;
  const uint64_t begin = reach.whole * block_tokens_;
  const PageKey parent =
      reach.whole ? (*blocks)[reach.whole - 1].page : RootOf(name);
  return ReadPage(
      session, reach.whole,
      ChildKey(parent,
               std::span(session->tokens_).subspan(begin, reach.end - begin)),
      TailKey(name));
}

Result<bool> SessionArchive::ReadRecords(Session* session, uint64_t block,
                                         const PageKey& key) {
  STELE_ASSIGN_OR_RETURN(const bool found, ReadStored(record_codec_.get(), key,
                                                      StoreKey(key), records_));
  if (!found) return false;
  ++counters_.pages_read;
  STELE_RETURN_IF_ERROR(engine_->WriteFallen(session, block, records_));
  return true;
}

}  // namespace stele
