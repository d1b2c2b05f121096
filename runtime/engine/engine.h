// Runs many sessions through one model, one batched step at a time.
//
// Place on the road: the last layer before programs (tools/, stele.h). Create
// plans and allocates everything: nothing behind it can run out of memory. A
// Step gathers pending tokens of all sessions, decodes before prompts, into
// one ragged batch without padding, runs the smallest function that takes it,
// and hands every session its logits.
#ifndef STELE_RUNTIME_ENGINE_ENGINE_H_
#define STELE_RUNTIME_ENGINE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stele/runtime/base/status.h"
#include "stele/runtime/context/page_pool.h"
#include "stele/runtime/device/device.h"
#include "stele/runtime/engine/memory_plan.h"
#include "stele/runtime/engine/model.h"
#include "stele/runtime/engine/paged_memory.h"
#include "stele/runtime/engine/sampler.h"
#include "stele/runtime/engine/session.h"

namespace stele {

// Of what an artifact was compiled to allow.
enum class AttentionKind { kCompiled, kDense, kSparse };

struct EngineOptions {
  uint32_t max_sessions = 1;    // at the same time
  uint64_t session_tokens = 0;  // longest session; 0: the model's context
  uint64_t total_tokens = 0;    // of all sessions; 0: every one at its longest
  uint32_t chunk = 0;           // most tokens in a step; 0: what the plan takes
  uint32_t draft_tokens = 0;    // most that a session drafts for one step
  // Refuse to plan more; 0: what is available. With context paging: of what
  // fell out of device memory, the newest are in so much, the others in a file;
  // 0: what the artifact was compiled for.
  uint64_t host_memory = 0;
  std::string cold_folder;  // for that file; empty: $TMPDIR, or /tmp
  uint64_t device_memory =
      0;                    // likewise, of weights, pages and kernels; 0: any
  uint64_t hot_window = 0;  // with paging; 0: what the artifact was compiled
                            // for, which is the least
  // Have block-sparse attention score all keys, to say what it keeps. Not with
  // context paging, which moves the others away.
  bool measure_mass = false;
  // Of block-sparse attention: kDense keeps every block; `density` is the share
  // of the blocks that are chosen, by number; 0: as compiled.
  AttentionKind attention = AttentionKind::kCompiled;
  float density = 0;
};

// What one step did.
struct StepReport {
  uint32_t tokens = 0;  // 0: no session had anything pending
  uint32_t sequences = 0;
  const char* function = "";
};

// When the operations of a step ran.
struct StepTrace {
  const plan::Function* function;
  uint32_t tokens;
  StepTime time;
  std::span<const StepTime> ops;      // of the function, in its order
  std::span<const LayerMoves> moves;  // with context paging, of each layer
  uint64_t record_bytes;              // of a page that moved
};

// What a step left in a named output.
struct OutputShape {
  uint32_t rows = 0;  // a token each; of "logits": a row that was asked for
  uint32_t width = 0;
};

// Not thread safe, but for Session::Cancel.
class Engine {
 public:
  static Result<std::unique_ptr<Engine>> Create(std::shared_ptr<Model> model,
                                                const EngineOptions& options);
  ~Engine();

  const Model& model() const { return *model_; }
  const MemoryPlan& memory_plan() const { return memory_; }

  // Admits a session of at most `max_tokens` tokens (0: session_tokens), or
  // says that the planned memory is taken.
  Result<std::unique_ptr<Session>> NewSession(uint64_t max_tokens = 0);

  // What block-sparse attention did in all steps so far.
  SteleAttentionWork attention_work() const;
  // The same of one query head of a layer, and of all together, with the mass
  // that was kept. Only with measure_mass.
  Result<SteleHeadWork> HeadWork(uint32_t layer, uint32_t head) const;
  SteleHeadWork head_work() const;
  // What context paging did; nothing for a plan without.
  PagingWork paging_work() const;

  // Calls `trace` behind every step from now on.
  using Trace = std::function<void(const StepTrace&)>;
  void OnEveryStep(Trace trace);

  // One batched step. After an error the sessions are as they were before, but
  // with kernelized attention: there all of their tokens are pending again.
  Result<StepReport> Step();

  // Copies rows of a named output that the last step left, in the order of its
  // batch, as far as `values` reaches.
  Result<OutputShape> ReadOutput(std::string_view name,
                                 std::span<float> values) const;

 private:
  friend class Session;
  friend class SessionArchive;

  // A session's share of the step being built.
  struct Part {
    Session* session;
    uint32_t tokens;
  };

  // A function of the plan, ready to run on this engine's memory.
  struct Bucket {
    const plan::Function* function;
    std::unique_ptr<Program> program;
    const float* logits;  // device address, [max_logit_rows, vocabulary]
  };

  // The arrays that SteleBatch points to, sized for the largest batch.
  struct BatchArrays {
    std::vector<int32_t> token_ids, positions, sequence;
    std::vector<int32_t> q_offsets, kv_lengths, logit_rows, states;
    std::vector<const int32_t*> page_tables;
    std::vector<void*> key_indices;
    void Allocate(uint32_t tokens, uint32_t sequences);
    void Clear();
  };

  Engine(std::shared_ptr<Model> model, const EngineOptions& options);
  Status CheckOptions();
  Status CheckDrafts() const;
  Status CheckMeasure() const;
  Status CheckAttention();
  Status PlanMemory();
  Status PlanPages();
  std::string PagesName() const;
  Status PlanKeyIndex();
  Status PlanStates();
  // Sums that are kept of query heads, with measure_mass.
  uint64_t MeasuredHeads() const;
  // Blocks that a session of `tokens` tokens holds in device memory at most.
  uint64_t BlocksHeld(uint64_t tokens) const;
  Status CheckAvailable() const;
  Status CheckDeviceMemory() const;
  Status AllocatePages();
  Status Allocate();
  Status PrepareBuckets();
  Result<ProgramSpec> Resolve(const plan::Function& function) const;
  void ResolvePaging(const plan::Function& function, const plan::Op& op,
                     ProgramSpec* spec) const;
  Result<LaunchStep> ResolveLaunch(const plan::Function& function,
                                   const plan::Launch& launch) const;
  void* Address(const plan::Function& function,
                const plan::Binding& binding) const;
  void Remove(Session* session);

  // Bytes of a session's states; where they are.
  uint64_t StateBytes() const;
  std::byte* StatesOf(const Session& session) const;
  // Makes the states of a session without processed tokens empty.
  Status ClearStates(const Session& session);
  Status ReadStates(const Session& session, std::span<std::byte> bytes) const;
  Status WriteStates(Session* session, std::span<const std::byte> bytes);

  // Bytes of a session's key index; where it is, and a piece of a block's entry
  // in row `row` of it.
  uint64_t KeyIndexBytes() const { return shape_.KeyIndexBytes(max_blocks_); }
  std::byte* KeyIndexOf(const Session& session) const;
  std::byte* KeyPiece(const Session& session, uint64_t row, uint64_t block,
                      uint64_t piece) const;
  std::byte* MeanValue(const Session& session, uint64_t row,
                       uint64_t block) const;

  // A block of a session's pages, each with its entry in the key index:
  // [pages_per_block, stored_bytes].
  Status ReadBlock(const Session& session, uint64_t block,
                   std::span<std::byte> bytes) const;
  // The same the other way; makes room for the block.
  Status WriteBlock(Session* session, uint64_t block,
                    std::span<const std::byte> bytes);

  // Likewise of a block that has fallen out: [pages_per_block, FallenBytes()],
  // records with what finds their pages.
  uint64_t FallenBytes() const;
  Status ReadFallen(const Session& session, uint64_t block,
                    std::span<std::byte> bytes) const;
  Status WriteFallen(Session* session, uint64_t block,
                     std::span<const std::byte> bytes);
  // A block's entry of a row's key index.
  Status ReadKeys(const Session& session, uint64_t row, uint64_t block,
                  std::span<std::byte> entry) const;
  Status WriteKeys(const Session& session, uint64_t row, uint64_t block,
                   std::span<const std::byte> entry);

  void Gather();
  void GatherFrom(Session* session, uint32_t* tokens, uint32_t* rows);
  // How many of a session's pending tokens go into a step that has `room`.
  uint64_t CountFitting(const Session& session, uint64_t room,
                        bool first) const;
  Status GrowPages(Session* session, uint64_t tokens);
  // The most that a session's share of one step may be: paging cuts steps at
  // its grid.
  uint64_t RoomInCell(const Session& session) const;
  Status PreparePart(const Part& part);
  void BeginPaging();
  Status RunBatch(const Bucket& bucket);
  Status RunProgram(const Bucket& bucket);
  void FillBatch();
  void FillPart(int32_t index, const Part& part);
  const Bucket& ChooseBucket() const;
  Status Deliver(const Bucket& bucket);
  Status DeliverRow(const Bucket& bucket, uint32_t row, Session* session,
                    uint64_t position);

  std::shared_ptr<Model> model_;
  EngineOptions options_;
  MemoryPlan memory_;
  CacheShape shape_;
  uint64_t max_blocks_ = 0;  // of one session
  std::optional<PagePool> pool_;
  std::unique_ptr<PagedMemory> paged_;  // null without context paging
  std::vector<PagedPart> paged_parts_;
  CacheShape state_shape_;             // of a model with states
  std::vector<uint32_t> free_places_;  // of sessions
  DeviceMemory arena_;
  DeviceMemory pages_;  // the pool's, and behind them those of paging
  DeviceMemory states_;
  DeviceMemory key_index_;
  std::vector<Bucket> buckets_;  // ascending by max_tokens
  std::vector<Session*> sessions_;
  const Bucket* last_ = nullptr;  // what the last step ran; null if it failed
  size_t first_ = 0;              // whose turn it is to be gathered first
  std::vector<Part> parts_;
  BatchArrays arrays_;
  SteleBatch batch_ = {};
  std::vector<SteleHeadWork> head_work_;
  std::optional<SamplerScratch> sampler_scratch_;
  Trace trace_;
  std::vector<float> row_;  // where a row of logits is handed out from
};

}  // namespace stele

#endif  // STELE_RUNTIME_ENGINE_ENGINE_H_
