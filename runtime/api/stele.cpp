// The C API over the engine: handles, locks, and errors as statuses.
//
// Place on the road: the library's edge. What is behind knows no locks and may
// throw bad_alloc; what is in front is C on any thread. See stele/stele.h for
// the contract.
#include "stele/stele.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "stele/runtime/base/hash.h"
#include "stele/runtime/base/log.h"
#include "stele/runtime/base/mapping_guard.h"
#include "stele/runtime/device/host/host_device.h"
#include "stele/runtime/engine/engine.h"
#include "stele/runtime/engine/generation.h"
#include "stele/runtime/engine/model.h"
#include "stele/runtime/engine/session_archive.h"
#include "stele/runtime/plan/artifact.h"
#include "stele/runtime/text/chat_template.h"
#include "stele/runtime/text/json.h"
#include "stele/runtime/text/tokenizer.h"

using stele::Artifact;
using stele::ArtifactOptions;
using stele::AttentionKind;
using stele::Engine;
using stele::EngineOptions;
using stele::FailedPrecondition;
using stele::Generation;
using stele::GenerationOptions;
using stele::HostDevice;
using stele::InvalidArgument;
using stele::Model;
using stele::OkStatus;
using stele::Result;
using stele::SamplingOptions;
using stele::Session;
using stele::SessionArchive;
using stele::Status;
using stele::StatusCode;
using stele::StepReport;
using stele::Store;
namespace text = stele::text;

namespace {

// A mutex that is granted in the order in which it was asked for: two threads
// that generate on one engine take turns, so that each step serves both.
class FairMutex {
 public:
  void lock() {
    std::unique_lock lock(mutex_);
    const uint64_t mine = next_++;
    turn_.wait(lock, [&] { return serving_ == mine; });
  }
  void unlock() {
    {
      std::lock_guard lock(mutex_);
      ++serving_;
    }
    turn_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable turn_;
  uint64_t next_ = 0;
  uint64_t serving_ = 0;
};

// What an engine handle and its sessions' handles share.
struct EngineState {
  std::shared_ptr<Model> model;
  std::shared_ptr<const text::Tokenizer> tokenizer;  // null: none
  FairMutex mutex;  // guards the engine and its sessions
  std::unique_ptr<Engine> engine;
  std::string memory_plan;
};

}  // namespace

struct stele_model {
  std::shared_ptr<Model> model;
  std::shared_ptr<const text::Tokenizer> tokenizer;  // null: none
};

struct stele_engine {
  std::shared_ptr<EngineState> state;
};

struct stele_store {
  std::shared_ptr<Store> store;
};

struct stele_session {
  std::shared_ptr<EngineState> state;
  std::unique_ptr<Session> session;
};

namespace {

thread_local std::string last_error;

stele_status Report(const Status& status) {
  if (status.ok()) return STELE_OK;
  try {
    last_error = status.message();
  } catch (const std::bad_alloc&) {
    last_error.clear();
  }
  return static_cast<stele_status>(status.code());
}

static_assert(STELE_INTERNAL == static_cast<int>(StatusCode::kInternal));
static_assert(STELE_RESOURCE_EXHAUSTED ==
              static_cast<int>(StatusCode::kResourceExhausted));

// Runs the body of an API function; exceptions become statuses. The messages
// here are short enough to need no allocation.
template <typename Body>
stele_status Guard(Body body) {
  try {
    return Report(body());
  } catch (const std::bad_alloc&) {
    last_error.clear();
    last_error += "out of memory";
    return STELE_RESOURCE_EXHAUSTED;
  } catch (const std::exception& error) {
    return Report(stele::Internal(error.what()));
  }
}

Status NotNull(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers)
    if (!pointer) return InvalidArgument("a required argument is NULL");
  return OkStatus();
}

// A copy of the caller's struct, as far as the caller knows it.
template <typename T>
Result<T> ReadStruct(const T* given) {
  T own = {};
  if (!given) return own;
  if (given->struct_size < sizeof(size_t) || given->struct_size > 4096)
    return InvalidArgument("struct_size is " +
                           std::to_string(given->struct_size) +
                           "; set it to sizeof of the struct");
  std::memcpy(&own, given, std::min(sizeof own, given->struct_size));
  return own;
}

// Copies `values` to the caller's array as far as it reaches.
template <typename Values, typename T>
void CopyOut(const Values& values, T* out, size_t capacity, size_t* count) {
  std::copy_n(values.begin(), std::min(values.size(), capacity), out);
  *count = values.size();
}

Result<const text::Tokenizer*> TokenizerOf(const stele_model* model) {
  if (model->tokenizer) return model->tokenizer.get();
  return FailedPrecondition("this artifact has no tokenizer");
}

Status OpenModel(const char* path, const stele_model_options& options,
                 stele_model** out) {
  if (options.device && std::strcmp(options.device, "host") != 0)
    return stele::Unsupported("device '" + std::string(options.device) +
                              "' is not known to this library; use \"host\"");
  if (options.guard_mapping) stele::InstallMappingGuard();
  ArtifactOptions artifact_options;
  artifact_options.verify_weights = options.verify_weights != 0;
  if (options.sha256) {
    artifact_options.sha256 = stele::ParseSha256(options.sha256);
    if (!artifact_options.sha256)
      return InvalidArgument("sha256 is not 64 hexadecimal digits");
  }
  auto opened = std::make_unique<stele_model>();
  STELE_ASSIGN_OR_RETURN(auto artifact, Artifact::Open(path, artifact_options));
  STELE_ASSIGN_OR_RETURN(auto device, HostDevice::Create(options.threads));
  STELE_ASSIGN_OR_RETURN(opened->model,
                         Model::Load(std::move(artifact), std::move(device)));
  if (!opened->model->tokenizer().empty()) {
    STELE_ASSIGN_OR_RETURN(auto tokenizer,
                           text::Tokenizer::Load(opened->model->tokenizer()));
    opened->tokenizer = std::move(tokenizer);
  }
  *out = opened.release();
  return OkStatus();
}

Result<std::unique_ptr<text::Tokenizer>> LoadTokenizer(const void* bytes,
                                                       size_t length) {
  return text::Tokenizer::Load({static_cast<const uint8_t*>(bytes), length});
}

Status CheckTemplate(const text::NamedTemplate& named) {
  STELE_ASSIGN_OR_RETURN(const auto parsed,
                         text::ChatTemplate::Parse(named.text, {}));
  return parsed.unknown().empty() ? OkStatus()
                                  : stele::Unsupported(parsed.unknown());
}

Result<std::vector<int32_t>> RenderAndTokenize(const text::Tokenizer& tokenizer,
                                               const char* messages_json) {
  if (tokenizer.chat_templates().empty())
    return FailedPrecondition("this artifact has no chat template");
  text::ChatRequest chat;
  STELE_ASSIGN_OR_RETURN(chat.messages,
                         text::ParseJson(messages_json, "the conversation"));
  if (!chat.messages.is_array())
    return InvalidArgument("the conversation is not a JSON array");
  std::map<std::string, std::string> special;
  for (const text::NamedToken& token : tokenizer.named_tokens())
    special.emplace(token.name, token.content);
  STELE_ASSIGN_OR_RETURN(
      auto chat_template,
      text::ChatTemplate::Parse(tokenizer.chat_templates()[0].text,
                                std::move(special)));
  STELE_ASSIGN_OR_RETURN(const text::Prompt prompt, chat_template.Render(chat));
  text::EncodeOptions options;
  options.add_special_tokens = false;  // the template spells them
  options.literal = prompt.user;
  return tokenizer.Encode(prompt.text, options);
}

Result<SamplingOptions> ReadSampling(const stele_sampling* given,
                                     const stele::plan::ModelInfo& model) {
  if (!given) return SamplingOptions::Defaults(model);
  STELE_ASSIGN_OR_RETURN(const stele_sampling sampling, ReadStruct(given));
  SamplingOptions options;
  options.temperature = sampling.temperature;
  options.top_k = sampling.top_k;
  options.min_p = sampling.min_p;
  options.seed = sampling.seed;
  if (sampling.top_p != 0) options.top_p = sampling.top_p;
  if (sampling.repetition_penalty != 0)
    options.repetition_penalty = sampling.repetition_penalty;
  return options;
}

Result<GenerationOptions> ReadGenerateOptions(
    const stele_generate_options* given, const stele::plan::ModelInfo& model) {
  STELE_ASSIGN_OR_RETURN(const stele_generate_options own, ReadStruct(given));
  GenerationOptions options;
  options.max_tokens = own.max_tokens ? own.max_tokens : UINT64_MAX;
  options.ignore_eos = own.ignore_eos != 0;
  options.lookup = own.lookup;
  STELE_ASSIGN_OR_RETURN(options.sampling, ReadSampling(own.sampling, model));
  if (own.stop_count > 0) STELE_RETURN_IF_ERROR(NotNull({own.stop}));
  for (size_t i = 0; i < own.stop_count; ++i) {
    STELE_RETURN_IF_ERROR(NotNull({own.stop[i]}));
    options.stop.emplace_back(own.stop[i]);
  }
  return options;
}

// Runs `work` on an archive of the session's engine and store, and reports what
// it moved.
template <typename Work>
Status WithArchive(const stele_session* session, const stele_store* store,
                   stele_store_report* report, Work work) {
  STELE_ASSIGN_OR_RETURN(stele_store_report own, ReadStruct(report));
  std::lock_guard lock(session->state->mutex);
  STELE_ASSIGN_OR_RETURN(
      auto archive,
      SessionArchive::Create(session->state->engine.get(), store->store));
  STELE_RETURN_IF_ERROR(work(*archive, session->session.get()));
  const SessionArchive::Counters& moved = archive->counters();
  own.tokens_reused = moved.tokens_reused;
  own.pages_read = moved.pages_read;
  own.pages_written = moved.pages_written;
  own.pages_found = moved.pages_found;
  own.pages_damaged = moved.pages_damaged;
  own.bytes_read = moved.bytes_read;
  own.bytes_written = moved.bytes_written;
  if (report) std::memcpy(report, &own, std::min(sizeof own, own.struct_size));
  return OkStatus();
}

Result<AttentionKind> ToKind(stele_attention attention) {
  switch (attention) {
    case STELE_ATTENTION_COMPILED:
      return AttentionKind::kCompiled;
    case STELE_ATTENTION_DENSE:
      return AttentionKind::kDense;
    case STELE_ATTENTION_SPARSE:
      return AttentionKind::kSparse;
  }
  return InvalidArgument("attention is " + std::to_string(attention) +
                         ", not a stele_attention");
}

stele_finish_reason ToC(stele::FinishReason reason) {
  switch (reason) {
    case stele::FinishReason::kStop:
      return STELE_FINISH_STOP;
    case stele::FinishReason::kEos:
      return STELE_FINISH_EOS;
    case stele::FinishReason::kCancelled:
      return STELE_FINISH_CANCELLED;
    case stele::FinishReason::kNone:
    case stele::FinishReason::kLength:
      break;
  }
  return STELE_FINISH_LENGTH;
}

// One call of stele_session_generate.
class Generator {
 public:
  Generator(stele_session* session, stele_token_callback callback, void* user)
      : handle_(*session), callback_(callback), user_(user) {}

  Status Run(const stele_generate_options* options,
             stele_finish_reason* reason) {
    STELE_ASSIGN_OR_RETURN(
        GenerationOptions own,
        ReadGenerateOptions(options, handle_.state->model->info()));
    {
      std::lock_guard lock(handle_.state->mutex);
      if (handle_.session->tokens().empty())
        return FailedPrecondition("the session was fed no token to go on from");
      if (handle_.session->pending() == 0 && handle_.session->logits().empty())
        return FailedPrecondition(
            "the session was truncated to tokens without logits; feed the "
            "last token again");
      STELE_ASSIGN_OR_RETURN(
          generation_,
          Generation::Create(*handle_.state->model,
                             handle_.state->tokenizer.get(),
                             handle_.session.get(), std::move(own)));
    }
    bool stopped = false;
    while (!generation_->done() && !stopped) {
      STELE_RETURN_IF_ERROR(Next());
      stopped = !Show();
    }
    const bool whole =
        generation_->done() && shown_tokens_ == generation_->tokens().size();
    if (reason)
      *reason =
          whole ? ToC(generation_->finish_reason()) : STELE_FINISH_CALLBACK;
    if (whole) return OkStatus();
    std::lock_guard lock(handle_.state->mutex);
    return generation_->End(shown_tokens_);
  }

 private:
  // The next tokens. Advance feeds the last it in the same turn as the step, so
  // that a step of another thread takes it along.
  Status Next() {
    std::lock_guard lock(handle_.state->mutex);
    if (handle_.session->logits().empty() && !handle_.session->cancelled())
      STELE_RETURN_IF_ERROR(handle_.state->engine->Step().status());
    return generation_->Advance();
  }

  // Hands out what is new; false when the callback wants no more.
  bool Show() {
    const auto& tokens = generation_->tokens();
    bool more = true;
    while (more && shown_tokens_ < tokens.size()) {
      const size_t end = generation_->text_end(shown_tokens_);
      if (callback_)
        more = callback_(user_, tokens[shown_tokens_],
                         generation_->text().data() + shown_text_,
                         end - shown_text_) != 0;
      shown_text_ = end;
      ++shown_tokens_;
    }
    return more;
  }

  stele_session& handle_;
  stele_token_callback callback_;
  void* user_;
  std::unique_ptr<Generation> generation_;
  size_t shown_tokens_ = 0;
  size_t shown_text_ = 0;
};

}  // namespace

uint32_t stele_abi_version(void) { return STELE_ABI_VERSION; }
const char* stele_version(void) { return STELE_VERSION; }
const char* stele_last_error(void) { return last_error.c_str(); }

void stele_set_log(stele_log_level level, stele_log_callback callback,
                   void* user) {
  stele::SetLogLevel(static_cast<stele::LogLevel>(level));
  if (!callback) return stele::SetLogSink(nullptr);
  stele::SetLogSink([=](stele::LogLevel line_level, std::string_view line) {
    callback(user, static_cast<stele_log_level>(line_level),
             std::string(line).c_str());
  });
}

stele_status stele_model_open(const char* path,
                              const stele_model_options* options,
                              stele_model** model) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({path, model}));
    STELE_ASSIGN_OR_RETURN(const auto own, ReadStruct(options));
    return OpenModel(path, own, model);
  });
}

void stele_model_close(stele_model* model) { delete model; }

stele_status stele_model_get_info(const stele_model* model,
                                  stele_model_info* info) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({model, info}));
    STELE_ASSIGN_OR_RETURN(stele_model_info own, ReadStruct(info));
    const stele::plan::ModelInfo& source = model->model->info();
    own.vocabulary = source.vocab_size();
    own.layers = source.layers();
    own.context = source.context();
    own.parameters = source.parameters();
    own.has_tokenizer = model->tokenizer != nullptr;
    own.has_chat_template =
        model->tokenizer && !model->tokenizer->chat_templates().empty();
    own.heads = source.heads();
    std::memcpy(info, &own, std::min(sizeof own, own.struct_size));
    return OkStatus();
  });
}

stele_status stele_tokenize(const stele_model* model, const char* text,
                            size_t length, int32_t* tokens, size_t capacity,
                            size_t* count) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({model, count}));
    if (length > 0) STELE_RETURN_IF_ERROR(NotNull({text}));
    if (capacity > 0) STELE_RETURN_IF_ERROR(NotNull({tokens}));
    STELE_ASSIGN_OR_RETURN(const auto* tokenizer, TokenizerOf(model));
    STELE_ASSIGN_OR_RETURN(const auto ids,
                           tokenizer->Encode(std::string_view(text, length)));
    CopyOut(ids, tokens, capacity, count);
    return OkStatus();
  });
}

stele_status stele_tokenize_chat(const stele_model* model,
                                 const char* messages_json, int32_t* tokens,
                                 size_t capacity, size_t* count) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({model, messages_json, count}));
    if (capacity > 0) STELE_RETURN_IF_ERROR(NotNull({tokens}));
    STELE_ASSIGN_OR_RETURN(const auto* tokenizer, TokenizerOf(model));
    STELE_ASSIGN_OR_RETURN(const auto ids,
                           RenderAndTokenize(*tokenizer, messages_json));
    CopyOut(ids, tokens, capacity, count);
    return OkStatus();
  });
}

stele_status stele_detokenize(const stele_model* model, const int32_t* tokens,
                              size_t count, char* text, size_t capacity,
                              size_t* length) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({model, length}));
    if (count > 0) STELE_RETURN_IF_ERROR(NotNull({tokens}));
    if (capacity > 0) STELE_RETURN_IF_ERROR(NotNull({text}));
    STELE_ASSIGN_OR_RETURN(const auto* tokenizer, TokenizerOf(model));
    CopyOut(tokenizer->Decode({tokens, count}), text, capacity, length);
    return OkStatus();
  });
}

stele_status stele_check_tokenizer(const void* bytes, size_t length) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({bytes}));
    return LoadTokenizer(bytes, length).status();
  });
}

stele_status stele_check_chat_templates(const void* bytes, size_t length) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({bytes}));
    STELE_ASSIGN_OR_RETURN(const auto tokenizer, LoadTokenizer(bytes, length));
    for (const text::NamedTemplate& named : tokenizer->chat_templates())
      STELE_RETURN_IF_ERROR(CheckTemplate(named));
    return OkStatus();
  });
}

stele_status stele_engine_create(stele_model* model,
                                 const stele_engine_options* options,
                                 stele_engine** engine) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({model, engine}));
    STELE_ASSIGN_OR_RETURN(const auto own, ReadStruct(options));
    EngineOptions engine_options;
    engine_options.max_sessions = own.max_sessions ? own.max_sessions : 1;
    engine_options.chunk = own.chunk;
    engine_options.session_tokens = own.session_tokens;
    engine_options.total_tokens = own.total_tokens;
    engine_options.host_memory = own.memory;
    engine_options.draft_tokens = own.draft_tokens;
    engine_options.measure_mass = own.measure_mass != 0;
    engine_options.device_memory = own.device_memory;
    engine_options.hot_window = own.hot_window;
    if (own.cold_folder) engine_options.cold_folder = own.cold_folder;
    STELE_ASSIGN_OR_RETURN(engine_options.attention, ToKind(own.attention));
    engine_options.density = own.density;
    auto handle = std::make_unique<stele_engine>();
    handle->state = std::make_shared<EngineState>();
    EngineState& state = *handle->state;
    state.model = model->model;
    state.tokenizer = model->tokenizer;
    STELE_ASSIGN_OR_RETURN(state.engine,
                           Engine::Create(state.model, engine_options));
    state.memory_plan = state.engine->memory_plan().ToString();
    *engine = handle.release();
    return OkStatus();
  });
}

void stele_engine_destroy(stele_engine* engine) { delete engine; }

const char* stele_engine_memory_plan(const stele_engine* engine,
                                     uint64_t* planned_bytes) {
  if (!engine) return "";
  if (planned_bytes)
    *planned_bytes = engine->state->engine->memory_plan().allocated();
  return engine->state->memory_plan.c_str();
}

stele_status stele_engine_step(stele_engine* engine,
                               stele_step_report* report) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({engine}));
    STELE_ASSIGN_OR_RETURN(stele_step_report own, ReadStruct(report));
    std::lock_guard lock(engine->state->mutex);
    STELE_ASSIGN_OR_RETURN(const StepReport done,
                           engine->state->engine->Step());
    own.tokens = done.tokens;
    own.sequences = done.sequences;
    if (report)
      std::memcpy(report, &own, std::min(sizeof own, own.struct_size));
    return OkStatus();
  });
}

stele_status stele_engine_output(const stele_engine* engine, const char* name,
                                 float* values, size_t capacity, uint32_t* rows,
                                 uint32_t* width) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({engine, name, rows, width}));
    if (capacity > 0) STELE_RETURN_IF_ERROR(NotNull({values}));
    std::lock_guard lock(engine->state->mutex);
    STELE_ASSIGN_OR_RETURN(
        const stele::OutputShape shape,
        engine->state->engine->ReadOutput(name, {values, capacity}));
    *rows = shape.rows;
    *width = shape.width;
    return OkStatus();
  });
}

stele_status stele_engine_head_attention(const stele_engine* engine,
                                         uint32_t layer, uint32_t head,
                                         stele_head_attention* attention) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({engine, attention}));
    STELE_ASSIGN_OR_RETURN(stele_head_attention own, ReadStruct(attention));
    std::lock_guard lock(engine->state->mutex);
    STELE_ASSIGN_OR_RETURN(const SteleHeadWork work,
                           engine->state->engine->HeadWork(layer, head));
    own.queries = work.queries;
    own.causal_keys = work.causal_keys;
    own.kept_keys = work.kept_keys;
    own.kept_mass =
        std::ldexp(static_cast<double>(work.kept_mass), -STELE_KEPT_MASS_BITS);
    std::memcpy(attention, &own, std::min(sizeof own, own.struct_size));
    return OkStatus();
  });
}

stele_status stele_session_create(stele_engine* engine, uint64_t max_tokens,
                                  stele_session** session) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({engine, session}));
    auto handle = std::make_unique<stele_session>();
    handle->state = engine->state;
    std::lock_guard lock(engine->state->mutex);
    STELE_ASSIGN_OR_RETURN(handle->session,
                           engine->state->engine->NewSession(max_tokens));
    *session = handle.release();
    return OkStatus();
  });
}

void stele_session_destroy(stele_session* session) {
  if (!session) return;
  const std::shared_ptr<EngineState> state = session->state;
  {
    std::lock_guard lock(state->mutex);
    session->session.reset();
  }
  delete session;
}

stele_status stele_session_feed(stele_session* session, const int32_t* tokens,
                                size_t count) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session}));
    if (count > 0) STELE_RETURN_IF_ERROR(NotNull({tokens}));
    std::lock_guard lock(session->state->mutex);
    return session->session->Feed({tokens, count});
  });
}

stele_status stele_session_tokens(const stele_session* session, uint64_t* fed,
                                  uint64_t* pending) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session}));
    std::lock_guard lock(session->state->mutex);
    if (fed) *fed = session->session->tokens().size();
    if (pending) *pending = session->session->pending();
    return OkStatus();
  });
}

stele_status stele_session_drafts(const stele_session* session,
                                  uint64_t* drafted, uint64_t* accepted) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session}));
    std::lock_guard lock(session->state->mutex);
    const Session::Drafts& drafts = session->session->drafts();
    if (drafted) *drafted = drafts.drafted;
    if (accepted) *accepted = drafts.accepted;
    return OkStatus();
  });
}

stele_status stele_session_truncate(stele_session* session, uint64_t tokens) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session}));
    std::lock_guard lock(session->state->mutex);
    return session->session->Truncate(tokens);
  });
}

stele_status stele_session_logits(const stele_session* session, float* logits,
                                  size_t count) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session, logits}));
    const uint32_t vocabulary = session->state->model->info().vocab_size();
    if (count != vocabulary)
      return InvalidArgument("room for " + std::to_string(count) +
                             " logits, the vocabulary has " +
                             std::to_string(vocabulary));
    std::lock_guard lock(session->state->mutex);
    const auto row = session->session->logits();
    if (row.empty())
      return FailedPrecondition(
          "no logits: tokens are pending, or none were processed");
    std::copy(row.begin(), row.end(), logits);
    return OkStatus();
  });
}

stele_status stele_session_on_logits(stele_session* session,
                                     stele_logits_callback callback,
                                     void* user) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session}));
    std::lock_guard lock(session->state->mutex);
    Session::LogitsRow row;
    if (callback)
      row = [=](uint64_t position, std::span<const float> logits) {
        callback(user, position, logits.data(), logits.size());
      };
    session->session->OnEveryLogits(std::move(row));
    return OkStatus();
  });
}

void stele_session_cancel(stele_session* session) {
  if (session) session->session->Cancel();
}

void stele_session_resume(stele_session* session) {
  if (session) session->session->Resume();
}

stele_status stele_session_generate(stele_session* session,
                                    const stele_generate_options* options,
                                    stele_token_callback callback, void* user,
                                    stele_finish_reason* reason) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session}));
    return Generator(session, callback, user).Run(options, reason);
  });
}

stele_status stele_store_open(const char* folder, stele_store** store) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({folder, store}));
    auto handle = std::make_unique<stele_store>();
    STELE_ASSIGN_OR_RETURN(handle->store, stele::OpenStore(folder));
    *store = handle.release();
    return OkStatus();
  });
}

void stele_store_close(stele_store* store) { delete store; }

stele_status stele_store_sessions(const stele_store* store,
                                  stele_name_callback callback, void* user) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(
        NotNull({store, reinterpret_cast<const void*>(callback)}));
    STELE_ASSIGN_OR_RETURN(const auto names,
                           stele::ListSessions(*store->store));
    for (const std::string& name : names)
      if (!callback(user, name.c_str())) break;
    return OkStatus();
  });
}

stele_status stele_store_remove(stele_store* store, const char* name) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({store, name}));
    return stele::RemoveSession(*store->store, name);
  });
}

stele_status stele_session_save(const stele_session* session,
                                stele_store* store, const char* name,
                                stele_store_report* report) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session, store, name}));
    return WithArchive(session, store, report,
                       [&](SessionArchive& archive, Session* own) {
                         return archive.Save(*own, name);
                       });
  });
}

stele_status stele_session_load(stele_session* session, stele_store* store,
                                const char* name, stele_store_report* report) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session, store, name}));
    return WithArchive(session, store, report,
                       [&](SessionArchive& archive, Session* own) {
                         return archive.Load(own, name);
                       });
  });
}

stele_status stele_session_load_prefix(stele_session* session,
                                       stele_store* store,
                                       stele_store_report* report) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session, store}));
    return WithArchive(session, store, report,
                       [&](SessionArchive& archive, Session* own) {
                         return archive.LoadPrefix(own);
                       });
  });
}

stele_status stele_session_token_ids(const stele_session* session,
                                     int32_t* tokens, size_t capacity,
                                     size_t* count) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session, count}));
    if (capacity > 0) STELE_RETURN_IF_ERROR(NotNull({tokens}));
    std::lock_guard lock(session->state->mutex);
    CopyOut(session->session->tokens(), tokens, capacity, count);
    return OkStatus();
  });
}

stele_status stele_session_next_seed(const stele_session* session,
                                     uint64_t* seed) {
  return Guard([&]() -> Status {
    STELE_RETURN_IF_ERROR(NotNull({session, seed}));
    std::lock_guard lock(session->state->mutex);
    *seed = session->session->next_seed();
    return OkStatus();
  });
}
