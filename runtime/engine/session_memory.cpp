// What a session holds of an engine's memory: its pages with their entries in
// the key index, and its states; and copies of them for archives. See engine.h.
#include <algorithm>

#include "stele/runtime/engine/engine.h"
#include "stele/schema/kernel_state.h"
#include "stele/schema/key_index.h"

namespace stele {

// New pages are zero, and so are their entries in the key index: what of a
// block holds no token yet may be saved, and must not be another session's.
Status Engine::GrowPages(Session* session, uint64_t tokens) {
  PageTable* pages = session->pages_.get();
  if (!pages) return OkStatus();
  const uint64_t before = pages->blocks();
  pages->Grow(tokens);
  for (uint64_t block = before; block < pages->blocks(); ++block)
    for (uint64_t row = 0; row < shape_.pages_per_block(); ++row) {
      STELE_RETURN_IF_ERROR(model_->device().Zero(
          pages_.data() + pages->page(row, block) * shape_.page_bytes,
          shape_.page_bytes));
      for (uint64_t piece = 0; piece < shape_.key_pieces(); ++piece)
        STELE_RETURN_IF_ERROR(model_->device().Zero(
            KeyPiece(*session, row, block, piece), schema::kKeyIndexDepth));
      if (shape_.value_index)
        STELE_RETURN_IF_ERROR(model_->device().Zero(
            MeanValue(*session, row, block), shape_.value_bytes()));
    }
  return OkStatus();
}

std::byte* Engine::KeyIndexOf(const Session& session) const {
  return key_index_.data() + session.place_ * KeyIndexBytes();
}

std::byte* Engine::KeyPiece(const Session& session, uint64_t row,
                            uint64_t block, uint64_t piece) const {
  return KeyIndexOf(session) + row * shape_.KeyIndexRowBytes(max_blocks_) +
         schema::KeyIndexPiece(block, shape_.head_dim, piece);
}

std::byte* Engine::MeanValue(const Session& session, uint64_t row,
                             uint64_t block) const {
  return KeyIndexOf(session) + row * shape_.KeyIndexRowBytes(max_blocks_) +
         schema::KeyIndexKeyBytes(max_blocks_, shape_.head_dim) +
         block * shape_.value_bytes();
}

std::byte* Engine::StatesOf(const Session& session) const {
  return states_.data() +
         static_cast<uint64_t>(session.states_) * state_shape_.page_bytes;
}

// An empty state's header says so.
Status Engine::ClearStates(const Session& session) {
  if (session.states_ < 0) return OkStatus();
  for (uint64_t state = 0; state < state_shape_.pages_per_block(); ++state)
    STELE_RETURN_IF_ERROR(model_->device().Zero(
        StatesOf(session) + state * state_shape_.page_bytes,
        schema::kKernelStateHeaderBytes));
  return OkStatus();
}

Status Engine::ReadStates(const Session& session,
                          std::span<std::byte> bytes) const {
  std::lock_guard lock(model_->device_mutex());
  return model_->device().CopyToHost(bytes, StatesOf(session));
}

Status Engine::WriteStates(Session* session, std::span<const std::byte> bytes) {
  std::lock_guard lock(model_->device_mutex());
  return model_->device().CopyFromHost(StatesOf(*session), bytes);
}

Status Engine::ReadKeys(const Session& session, uint64_t row, uint64_t block,
                        std::span<std::byte> entry) const {
  for (uint64_t piece = 0; piece < shape_.key_pieces(); ++piece)
    STELE_RETURN_IF_ERROR(model_->device().CopyToHost(
        entry.subspan(piece * schema::kKeyIndexDepth, schema::kKeyIndexDepth),
        KeyPiece(session, row, block, piece)));
  if (!shape_.value_index) return OkStatus();
  return model_->device().CopyToHost(entry.last(shape_.value_bytes()),
                                     MeanValue(session, row, block));
}

Status Engine::WriteKeys(const Session& session, uint64_t row, uint64_t block,
                         std::span<const std::byte> entry) {
  for (uint64_t piece = 0; piece < shape_.key_pieces(); ++piece)
    STELE_RETURN_IF_ERROR(model_->device().CopyFromHost(
        KeyPiece(session, row, block, piece),
        entry.subspan(piece * schema::kKeyIndexDepth, schema::kKeyIndexDepth)));
  if (!shape_.value_index) return OkStatus();
  return model_->device().CopyFromHost(MeanValue(session, row, block),
                                       entry.last(shape_.value_bytes()));
}

Status Engine::ReadBlock(const Session& session, uint64_t block,
                         std::span<std::byte> bytes) const {
  std::lock_guard lock(model_->device_mutex());
  for (uint64_t row = 0; row < shape_.pages_per_block(); ++row) {
    const auto stored =
        bytes.subspan(row * shape_.stored_bytes(), shape_.stored_bytes());
    STELE_RETURN_IF_ERROR(model_->device().CopyToHost(
        stored.first(shape_.page_bytes),
        pages_.data() + session.pages_->page(row, block) * shape_.page_bytes));
    STELE_RETURN_IF_ERROR(
        ReadKeys(session, row, block, stored.subspan(shape_.page_bytes)));
  }
  return OkStatus();
}

Status Engine::WriteBlock(Session* session, uint64_t block,
                          std::span<const std::byte> bytes) {
  std::lock_guard lock(model_->device_mutex());
  PageTable& pages = *session->pages_;
  pages.Grow((block + 1) * shape_.block_tokens);
  for (uint64_t row = 0; row < shape_.pages_per_block(); ++row) {
    const auto stored =
        bytes.subspan(row * shape_.stored_bytes(), shape_.stored_bytes());
    STELE_RETURN_IF_ERROR(model_->device().CopyFromHost(
        pages_.data() + pages.page(row, block) * shape_.page_bytes,
        stored.first(shape_.page_bytes)));
    STELE_RETURN_IF_ERROR(
        WriteKeys(*session, row, block, stored.subspan(shape_.page_bytes)));
  }
  return OkStatus();
}

uint64_t Engine::FallenBytes() const {
  return paged_->shape().record_bytes + shape_.key_entry_bytes();
}

Status Engine::ReadFallen(const Session& session, uint64_t block,
                          std::span<std::byte> bytes) const {
  std::lock_guard lock(model_->device_mutex());
  const uint64_t record_bytes = paged_->shape().record_bytes;
  for (uint64_t row = 0; row < shape_.pages_per_block(); ++row) {
    const auto to = bytes.subspan(row * FallenBytes(), FallenBytes());
    STELE_ASSIGN_OR_RETURN(
        const std::byte* record,
        paged_->pager().ReadRecord(*session.paged_, row, block));
    std::copy_n(record, record_bytes, to.begin());
    STELE_RETURN_IF_ERROR(
        ReadKeys(session, row, block, to.subspan(record_bytes)));
  }
  return OkStatus();
}

Status Engine::WriteFallen(Session* session, uint64_t block,
                           std::span<const std::byte> bytes) {
  std::lock_guard lock(model_->device_mutex());
  const uint64_t record_bytes = paged_->shape().record_bytes;
  for (uint64_t row = 0; row < shape_.pages_per_block(); ++row) {
    const auto from = bytes.subspan(row * FallenBytes(), FallenBytes());
    STELE_RETURN_IF_ERROR(paged_->pager().WriteRecord(
        session->paged_.get(), row, block, from.first(record_bytes)));
    STELE_RETURN_IF_ERROR(
        WriteKeys(*session, row, block, from.subspan(record_bytes)));
  }
  return OkStatus();
}

}  // namespace stele
