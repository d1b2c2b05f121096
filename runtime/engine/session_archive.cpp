// Pages to and from a store, manifest last; see session_archive.h.
#include "stele/runtime/engine/session_archive.h"

#include <algorithm>
#include <utility>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/format.h"
#include "stele/runtime/base/log.h"

namespace stele {
namespace {

// How far back queries see pages as they were computed, and all else in which
// form: it decides what is computed from there on.
std::string PagingPolicy(const PagingShape& shape, const Model& model) {
  const plan::Paging& paging = *model.cache()->paging();
  return Format(", paged: %s of %llu, grid %llu, window %llu, sinks %llu",
                plan::EnumNameDType(paging.warm_dtype()),
                static_cast<unsigned long long>(shape.record_bytes),
                static_cast<unsigned long long>(shape.grid_tokens),
                static_cast<unsigned long long>(shape.hot_tokens),
                static_cast<unsigned long long>(shape.sink_blocks));
}

// What decides a page's bits, of this model on this device. A density of 0 is
// what the artifact was compiled for.
PageSource SourceOf(const Model& model, float density,
                    const std::string& salt) {
  PageSource source;
  source.salt = salt;
  source.artifact = model.artifact().digest();
  if (const plan::KvCache* cache = model.cache())
    source.format =
        Format("layers %u, heads %u, dim %u, block %u, %s, %llu",
               cache->layers(), cache->kv_heads(), cache->head_dim(),
               cache->block_tokens(), plan::EnumNameDType(cache->dtype()),
               static_cast<unsigned long long>(cache->page_bytes()));
  source.policy = density == 0 ? "attention as compiled"
                               : Format("attention of density %a",
                                        static_cast<double>(density));
  source.policy += Format(", %s on %s", model.info().arithmetic()->c_str(),
                          model.target().name()->c_str());
  // Host kernels sum an element in one order, whatever batch it is in.
  source.producer = "any";
  return source;
}

Result<std::unique_ptr<PageCodec>> MakeCodec(const CacheShape& shape,
                                             uint64_t page_bytes) {
  return PageCodec::Create({static_cast<uint32_t>(std::min<uint64_t>(
                                shape.pages_per_block(), UINT32_MAX)),
                            page_bytes});
}

// Empties a session, unless it is told to leave it: whatever fails, memory
// included, nothing has changed.
struct EmptyAgain {
  Session* session;
  ~EmptyAgain() {
    if (session) (void)session->Truncate(0);
  }
};

}  // namespace

SessionArchive::SessionArchive(Engine* engine, std::shared_ptr<Store> store)
    : engine_(engine), store_(std::move(store)) {
  PageSource source = SourceOf(engine->model(), engine->options_.density, "");
  if (engine_->paged_)
    source.policy += PagingPolicy(engine_->paged_->shape(), engine->model());
  root_ = RootKey(source);
  if (!engine_->paged_) return;
  source.format += ", records";
  record_root_ = RootKey(source);
}

// With states, a page's last bits depend on the steps that its session took.
PageKey SessionArchive::RootOf(const std::string& name) const {
  return state_codec_ ? RootKey(SourceOf(engine_->model(),
                                         engine_->options_.density, name))
                      : root_;
}

Result<std::unique_ptr<SessionArchive>> SessionArchive::Create(
    Engine* engine, std::shared_ptr<Store> store) {
  std::unique_ptr<SessionArchive> archive(
      new SessionArchive(engine, std::move(store)));
  if (engine->model().states()) {
    STELE_ASSIGN_OR_RETURN(
        archive->state_codec_,
        MakeCodec(engine->state_shape_, engine->state_shape_.stored_bytes()));
    archive->states_.resize(engine->StateBytes());
  }
  const CacheShape& shape = engine->shape_;
  if (!engine->pool_ || shape.transient) return archive;
  archive->block_tokens_ = shape.block_tokens;
  STELE_ASSIGN_OR_RETURN(archive->codec_,
                         MakeCodec(shape, shape.stored_bytes()));
  archive->block_.resize(shape.pages_per_block() * shape.stored_bytes());
  if (!engine->paged_) return archive;
  STELE_ASSIGN_OR_RETURN(archive->record_codec_,
                         MakeCodec(shape, engine->FallenBytes()));
  archive->records_.resize(shape.pages_per_block() * engine->FallenBytes());
  return archive;
}

uint64_t SessionArchive::TokensOf(const Session& session) {
  return session.tokens_.size() - (session.rows_ - 1);
}

uint64_t SessionArchive::PositionOf(const Session& session) {
  return std::min(session.position_, TokensOf(session));
}

Status SessionArchive::Save(const Session& session, const std::string& name,
                            const std::string& note) {
  STELE_RETURN_IF_ERROR(CheckKeyPart(name, "session"));
  const PageKey root = RootOf(name);
  STELE_ASSIGN_OR_RETURN(const PageKey key, SaveWholeBlocks(session, root));
  STELE_RETURN_IF_ERROR(SaveTail(session, key, name));
  STELE_RETURN_IF_ERROR(SaveStates(session, name));
  SessionManifest manifest;
  manifest.artifact = engine_->model().artifact().digest();
  manifest.root = root;
  manifest.block_tokens = block_tokens_;
  manifest.position = PositionOf(session);
  manifest.next_seed = session.next_seed_;
  manifest.tokens.assign(session.tokens_.begin(),
                         session.tokens_.begin() + TokensOf(session));
  if (session.has_logits_) {
    const auto logits = session.logits(0);
    manifest.logits.assign(logits.begin(), logits.end());
  }
  manifest.note = note;
  const std::string bytes = manifest.Serialise();
  STELE_RETURN_IF_ERROR(
      store_->Put(ManifestKey(name), std::as_bytes(std::span(bytes))));
  counters_.bytes_written += bytes.size();
  return OkStatus();
}

Status SessionArchive::SavePages(const Session& session) {
  STELE_RETURN_IF_ERROR(CheckShareable());
  return SaveWholeBlocks(session, root_).status();
}

Result<PageKey> SessionArchive::SaveWholeBlocks(const Session& session,
                                                PageKey key) {
  if (!codec_) return key;
  const std::span<const int32_t> tokens(session.tokens_);
  const uint64_t blocks = PositionOf(session) / block_tokens_;
  PageKey record = record_root_;
  for (uint64_t block = 0; block < blocks; ++block) {
    const auto part = tokens.subspan(block * block_tokens_, block_tokens_);
    key = ChildKey(key, part);
    record = ChildKey(record, part);
    const bool fell = session.paged_ && session.paged_->HasFallen(block);
    const PageKey& stored = fell ? record : key;
    STELE_ASSIGN_OR_RETURN(const bool there, store_->Has(StoreKey(stored)));
    if (there)
      ++counters_.pages_found;
    else if (fell)
      STELE_RETURN_IF_ERROR(WriteRecords(session, block, stored));
    else
      STELE_RETURN_IF_ERROR(WritePage(session, block,
                                      static_cast<uint32_t>(block_tokens_), key,
                                      StoreKey(key)));
  }
  return key;
}

Status SessionArchive::SaveTail(const Session& session, const PageKey& parent,
                                const std::string& name) {
  if (!codec_) return OkStatus();
  const uint64_t position = PositionOf(session);
  const uint64_t count = position % block_tokens_;
  if (count == 0) return OkStatus();
  const PageKey key = ChildKey(
      parent, std::span(session.tokens_).subspan(position - count, count));
  return WritePage(session, position / block_tokens_,
                   static_cast<uint32_t>(count), key, TailKey(name));
}

Status SessionArchive::SaveStates(const Session& session,
                                  const std::string& name) {
  if (!state_codec_ || session.position_ == 0) return OkStatus();
  STELE_RETURN_IF_ERROR(engine_->ReadStates(session, states_));
  const std::span<const int32_t> tokens(session.tokens_);
  const PageKey key = ChildKey(RootOf(name), tokens.first(session.position_));
  STELE_ASSIGN_OR_RETURN(
      const auto file,
      state_codec_->Encode(key, static_cast<uint32_t>(session.position_),
                           states_));
  STELE_RETURN_IF_ERROR(store_->Put(StatesKey(name), file));
  counters_.bytes_written += file.size();
  return OkStatus();
}

// Pages without the states behind them spare nobody anything.
Status SessionArchive::CheckShareable() const {
  if (!state_codec_) return OkStatus();
  return Unsupported(
      "kernelized attention keeps sums over a whole prompt, of which another "
      "prompt can use no part; save the session under a name (--session), or "
      "run without the store");
}

Status SessionArchive::WritePage(const Session& session, uint64_t block,
                                 uint32_t tokens, const PageKey& key,
                                 const std::string& store_key) {
  STELE_RETURN_IF_ERROR(engine_->ReadBlock(session, block, block_));
  return WriteFile(codec_.get(), block_, tokens, key, store_key);
}

Status SessionArchive::WriteRecords(const Session& session, uint64_t block,
                                    const PageKey& key) {
  STELE_RETURN_IF_ERROR(engine_->ReadFallen(session, block, records_));
  return WriteFile(record_codec_.get(), records_,
                   static_cast<uint32_t>(block_tokens_), key, StoreKey(key));
}

Status SessionArchive::WriteFile(PageCodec* codec,
                                 std::span<const std::byte> bytes,
                                 uint32_t tokens, const PageKey& key,
                                 const std::string& store_key) {
  STELE_ASSIGN_OR_RETURN(const auto file, codec->Encode(key, tokens, bytes));
  STELE_RETURN_IF_ERROR(store_->Put(store_key, file));
  ++counters_.pages_written;
  counters_.bytes_written += file.size();
  return OkStatus();
}

Status SessionArchive::Load(Session* session, const std::string& name) {
  if (!session->tokens_.empty())
    return FailedPrecondition("session '" + name +
                              "' can be loaded only into a session that was "
                              "fed no token");
  STELE_ASSIGN_OR_RETURN(
      const SessionManifest manifest,
      ReadSession(*store_, name, engine_->model().artifact()));
  EmptyAgain undo{session};
  STELE_RETURN_IF_ERROR(session->Feed(manifest.tokens));
  // Another target of the artifact computes other last bits.
  const bool same = manifest.root == RootOf(name);
  if (same)
    STELE_RETURN_IF_ERROR(
        LoadPages(session, manifest.position, name, manifest.position));
  undo.session = nullptr;
  session->next_seed_ = manifest.next_seed;
  const bool whole = same && session->pending() == 0 &&
                     manifest.logits.size() == session->vocabulary_;
  if (whole) {
    std::copy(manifest.logits.begin(), manifest.logits.end(),
              session->logits_.begin());
    session->has_logits_ = true;
  }
  return OkStatus();
}

Status SessionArchive::LoadPrefix(Session* session, const std::string& name,
                                  const SessionManifest* saved) {
  if (name.empty()) STELE_RETURN_IF_ERROR(CheckShareable());
  if (session->tokens_.empty()) return OkStatus();
  const std::vector<int32_t>& tokens = session->tokens_;
  const bool continues =
      saved && saved->position <= tokens.size() &&
      std::equal(tokens.begin(),
                 tokens.begin() + static_cast<ptrdiff_t>(saved->position),
                 saved->tokens.begin());
  return LoadPages(session, TokensOf(*session) - 1, name,
                   continues ? saved->position : 0);
}

Status SessionArchive::LoadPages(Session* session, uint64_t limit,
                                 const std::string& name,
                                 uint64_t saved_position) {
  const uint64_t before = session->position_;
  if (state_codec_ &&
      (before > 0 || saved_position == 0 || saved_position > limit))
    return OkStatus();
  uint64_t end = limit;
  if (codec_) {
    STELE_ASSIGN_OR_RETURN(end,
                           ReadPages(session, limit, name, saved_position));
  }
  if (state_codec_) {
    bool found = end >= saved_position;
    if (found) {
      STELE_ASSIGN_OR_RETURN(found, ReadStates(session, name, saved_position));
    }
    end = found ? saved_position : 0;
  }
  session->position_ = std::max(before, std::min(end, limit));
  if (session->pages_) session->pages_->Truncate(session->position_);
  counters_.tokens_reused += session->position_ - before;
  return OkStatus();
}

Result<uint64_t> SessionArchive::ReadPages(Session* session, uint64_t limit,
                                           const std::string& name,
                                           uint64_t saved_position) {
  if (record_codec_)
    return ReadPagedBlocks(session, limit, name, saved_position);
  const uint64_t before = session->position_;
  const std::span<const int32_t> tokens(session->tokens_);
  PageKey parent = RootOf(name);
  uint64_t end = 0;  // of the blocks that are there
  while (end < limit && RangeFits(end, block_tokens_, tokens.size())) {
    const PageKey key = ChildKey(parent, tokens.subspan(end, block_tokens_));
    bool found = end + block_tokens_ <= before;
    if (!found) {
      STELE_ASSIGN_OR_RETURN(
          found, ReadPage(session, end / block_tokens_, key, StoreKey(key)));
    }
    if (!found) break;
    parent = key;
    end += block_tokens_;
  }
  // The partial block belongs behind these whole ones, or not at all.
  if (saved_position > std::max(end, before) &&
      saved_position - end < block_tokens_ && saved_position <= tokens.size()) {
    STELE_ASSIGN_OR_RETURN(
        const bool found,
        ReadPage(session, end / block_tokens_,
                 ChildKey(parent, tokens.subspan(end, saved_position - end)),
                 TailKey(name)));
    if (found) end = saved_position;
  }
  return end;
}

Result<bool> SessionArchive::ReadPage(Session* session, uint64_t block,
                                      const PageKey& key,
                                      const std::string& store_key) {
  STELE_ASSIGN_OR_RETURN(const bool found,
                         ReadStored(codec_.get(), key, store_key, block_));
  if (!found) return false;
  ++counters_.pages_read;
  STELE_RETURN_IF_ERROR(engine_->WriteBlock(session, block, block_));
  return true;
}

Result<bool> SessionArchive::ReadStates(Session* session,
                                        const std::string& name,
                                        uint64_t tokens) {
  const PageKey key =
      ChildKey(RootOf(name), std::span(session->tokens_).first(tokens));
  STELE_ASSIGN_OR_RETURN(
      const bool found,
      ReadStored(state_codec_.get(), key, StatesKey(name), states_));
  if (found) STELE_RETURN_IF_ERROR(engine_->WriteStates(session, states_));
  return found;
}

Result<bool> SessionArchive::ReadStored(PageCodec* codec, const PageKey& key,
                                        const std::string& store_key,
                                        std::span<std::byte> bytes) {
  Result<std::string> file =
      store_->Get(store_key, codec->shape().MaxFileBytes());
  Status status = file.status();
  if (status.code() == StatusCode::kNotFound) return false;
  if (status.ok()) status = codec->Decode(key, *file, bytes).status();
  if (!status.ok()) {
    Discard(store_key, status);
    return false;
  }
  counters_.bytes_read += file->size();
  return true;
}

// A damaged page goes, so that a later save writes it anew; one that cannot be
// read now may be readable later.
void SessionArchive::Discard(const std::string& store_key, const Status& why) {
  ++counters_.pages_damaged;
  Log(LogLevel::kWarning, "'" + store_->name() + "/" + store_key +
                              "': " + why.message() + "; it is computed again");
  if (why.code() == StatusCode::kDataLoss ||
      why.code() == StatusCode::kInvalidArgument)
    (void)store_->Remove(store_key);
}

}  // namespace stele
