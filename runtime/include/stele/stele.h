/* stele.h: run compiled artifacts from C.
 *
 * Place on the road: the public end of the runtime. A model is a loaded
 * artifact; an engine runs many sessions through it, one batched step at a
 * time, in memory that is planned when the engine is made; a session is one
 * sequence of tokens.
 *
 * Errors. Functions that can fail return a stele_status; anything but STELE_OK
 * is explained by stele_last_error() on the same thread. After a failure
 * nothing has changed. Out of memory is a status like any other; no C++
 * exception leaves the library.
 *
 * Threads. Every function may be called from any thread at any time, except
 * that an object must not be destroyed while another call uses it. Calls on
 * one engine and its sessions wait for each other, stele_session_cancel
 * excepted; threads that generate on sessions of one engine share its steps.
 *
 * Structs that are passed in start with struct_size = sizeof of them, so that
 * they can grow; zero in any other member means its default. Strings are
 * UTF-8.
 */
#ifndef STELE_STELE_H_
#define STELE_STELE_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define STELE_API __attribute__((visibility("default")))
#else
#define STELE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a change breaks programs compiled against an older header. */
#define STELE_ABI_VERSION 1

/* The ABI version of the library in use; compare it with STELE_ABI_VERSION. */
STELE_API uint32_t stele_abi_version(void);
/* "0.1.0" */
STELE_API const char* stele_version(void);

typedef enum stele_status {
  STELE_OK = 0,
  STELE_INVALID_ARGUMENT = 1,    /* the caller's value is wrong */
  STELE_DATA_LOSS = 2,           /* a file is malformed or corrupt */
  STELE_NOT_FOUND = 3,           /* a file or name does not exist */
  STELE_UNSUPPORTED = 4,         /* well-formed, but beyond this library */
  STELE_RESOURCE_EXHAUSTED = 5,  /* memory, sessions or tokens */
  STELE_FAILED_PRECONDITION = 6, /* called in the wrong state */
  STELE_CANCELLED = 7,
  STELE_UNAVAILABLE = 8, /* an I/O or device failure */
  STELE_INTERNAL = 9     /* a bug of the library */
} stele_status;

/* Why the last failed call on this thread failed: one line; "" before the
 * first. Valid until the next failed call on this thread. */
STELE_API const char* stele_last_error(void);

typedef enum stele_log_level {
  STELE_LOG_ERROR = 0,
  STELE_LOG_WARNING = 1,
  STELE_LOG_INFO = 2,
  STELE_LOG_DEBUG = 3
} stele_log_level;

/* Called for one line at a time, from any thread. Must not call the library. */
typedef void (*stele_log_callback)(void* user, stele_log_level level,
                                   const char* line);
/* Lines up to `level` go to `callback`; NULL restores stderr. */
STELE_API void stele_set_log(stele_log_level level, stele_log_callback callback,
                             void* user);

/* ---- model ---- */

typedef struct stele_model stele_model;

typedef struct stele_model_options {
  size_t struct_size;
  const char* device; /* "host" (default) */
  uint32_t threads;   /* worker threads; 0: one per CPU */
  int verify_weights; /* check the checksum of the weights, too */
  const char* sha256; /* refuse a file with another SHA-256 (hexadecimal),
                         external weights with another than it says */
  int guard_mapping;  /* set a handler of SIGBUS, for the whole process and for
                         good: weights that are cut off or cannot be read while
                         they are mapped then fail the step that reads them,
                         where otherwise the signal ends the process. Faults
                         elsewhere go to the handler that was there before. */
} stele_model_options;

/* Maps, verifies and loads an artifact. `options` may be NULL. */
STELE_API stele_status stele_model_open(const char* path,
                                        const stele_model_options* options,
                                        stele_model** model);
/* Engines made from it stay valid. NULL is allowed. */
STELE_API void stele_model_close(stele_model* model);

typedef struct stele_model_info {
  size_t struct_size;
  uint32_t vocabulary; /* token ids are below */
  uint32_t layers;
  uint64_t context;    /* most tokens in a session */
  uint64_t parameters; /* weights */
  int has_tokenizer;
  int has_chat_template;
  uint32_t heads; /* query heads of a layer */
} stele_model_info;

/* Fills the members that struct_size covers. */
STELE_API stele_status stele_model_get_info(const stele_model* model,
                                            stele_model_info* info);

/* Token ids of `length` bytes of text. Special tokens that the text spells are
 * read as such, and the vocabulary's own ones (BOS) are added. Writes at most
 * `capacity` ids and sets *count to how many there are: call again with more
 * room when that is larger. */
STELE_API stele_status stele_tokenize(const stele_model* model,
                                      const char* text, size_t length,
                                      int32_t* tokens, size_t capacity,
                                      size_t* count);
/* The same for a conversation: JSON [{"role": ..., "content": ...}, ...],
 * rendered by the model's chat template, up to where the answer starts. */
STELE_API stele_status stele_tokenize_chat(const stele_model* model,
                                           const char* messages_json,
                                           int32_t* tokens, size_t capacity,
                                           size_t* count);
/* Text of token ids, special tokens left out. Writes at most `capacity` bytes,
 * without a NUL, and sets *length to how many there are. */
STELE_API stele_status stele_detokenize(const stele_model* model,
                                        const int32_t* tokens, size_t count,
                                        char* text, size_t capacity,
                                        size_t* length);

/* ---- checks of a compiler ---- */

/* Whether these bytes of a tokenizer segment would load: STELE_OK, or why not.
 * A compiler asks before it writes an artifact of them. */
STELE_API stele_status stele_check_tokenizer(const void* bytes, size_t length);
/* Whether the chat templates in one that loads can be read: their syntax, and
 * that their filters and tests exist. */
STELE_API stele_status stele_check_chat_templates(const void* bytes,
                                                  size_t length);

/* ---- engine ---- */

typedef struct stele_engine stele_engine;

/* Of what an artifact was compiled to allow. */
typedef enum stele_attention {
  STELE_ATTENTION_COMPILED = 0,
  STELE_ATTENTION_DENSE = 1, /* every key is read */
  STELE_ATTENTION_SPARSE = 2 /* blocks of keys are chosen */
} stele_attention;

typedef struct stele_engine_options {
  size_t struct_size;
  uint32_t max_sessions;   /* at the same time; 0: 1 */
  uint32_t chunk;          /* most tokens in a step; 0: what the model takes */
  uint64_t session_tokens; /* longest session; 0: the model's context */
  uint64_t total_tokens;   /* of all sessions; 0: each at its longest */
  uint64_t memory;         /* plan no more bytes; 0: what is available. With
                            * context paging: of what left device memory the
                            * newest are in so much, the others in a file; 0:
                            * what the artifact was compiled for */
  uint32_t draft_tokens;   /* most that `lookup` may ask for, 256 at most; 0
                            * for a model with kernelized attention */
  uint64_t device_memory;  /* plan no more bytes of weights, pages and kernels;
                            * 0: any number */
  /* With context paging: */
  uint64_t hot_window;     /* last tokens whose pages stay in device memory; 0:
                            * what the artifact was compiled for, which is the
                            * least */
  const char* cold_folder; /* where the file is made that has no name and holds
                            * the oldest pages; NULL: $TMPDIR, or /tmp */
  /* Of block-sparse attention; STELE_UNSUPPORTED where the artifact, or for
   * measure_mass context paging, does not allow it: */
  stele_attention attention;
  float density;    /* the share of the blocks that are chosen, up to 1;
                     * 0: as compiled */
  int measure_mass; /* score all keys, too, for
                     * stele_engine_head_attention; results are the same */
} stele_engine_options;

/* Plans and allocates all memory: no later call runs out of it, except for
 * what the caller's own arguments need. `options` may be NULL. */
STELE_API stele_status stele_engine_create(stele_model* model,
                                           const stele_engine_options* options,
                                           stele_engine** engine);
/* Its sessions may be destroyed later, but not used. NULL is allowed. */
STELE_API void stele_engine_destroy(stele_engine* engine);

/* The memory plan as text, and its bytes without mapped weights. The text
 * lives as long as the engine. `planned_bytes` may be NULL. */
STELE_API const char* stele_engine_memory_plan(const stele_engine* engine,
                                               uint64_t* planned_bytes);

typedef struct stele_step_report {
  size_t struct_size;
  uint32_t tokens;    /* processed; 0: no session had any pending */
  uint32_t sequences; /* sessions that took part */
} stele_step_report;

/* One batched step: tokens of every session that has some pending, decodes
 * before prompts, at most `chunk` in all. `report` may be NULL. */
STELE_API stele_status stele_engine_step(stele_engine* engine,
                                         stele_step_report* report);

/* Copies what the last step left in a named output of the model: a row of
 * *width floats for each of the step's tokens, session by session, each in the
 * order in which it was fed. "logits" has only the rows that were asked for;
 * other outputs are those that the artifact was compiled with. Writes at most
 * `capacity` floats and sets *rows and *width to what there is: call again with
 * more room when *rows times *width is larger. */
STELE_API stele_status stele_engine_output(const stele_engine* engine,
                                           const char* name, float* values,
                                           size_t capacity, uint32_t* rows,
                                           uint32_t* width);

/* What block-sparse attention did for one query head of a layer, summed over
 * the tokens of all steps so far. All 0 for a layer whose attention is of
 * another kind. */
typedef struct stele_head_attention {
  size_t struct_size;
  uint64_t queries;     /* tokens */
  uint64_t causal_keys; /* that dense attention would read for them */
  uint64_t kept_keys;   /* that were read */
  double kept_mass;     /* of each token the share of dense attention's
                         * probabilities that is on the keys read */
} stele_head_attention;

/* Fills the members that struct_size covers. STELE_FAILED_PRECONDITION for an
 * engine without measure_mass. */
STELE_API stele_status
stele_engine_head_attention(const stele_engine* engine, uint32_t layer,
                            uint32_t head, stele_head_attention* attention);

/* ---- session ---- */

typedef struct stele_session stele_session;

/* Admits a session of at most `max_tokens` tokens (0: session_tokens), or
 * returns STELE_RESOURCE_EXHAUSTED when the planned memory is taken. */
STELE_API stele_status stele_session_create(stele_engine* engine,
                                            uint64_t max_tokens,
                                            stele_session** session);
/* Gives its memory to other sessions. NULL is allowed. */
STELE_API void stele_session_destroy(stele_session* session);

/* Appends tokens, to be processed by coming steps. */
STELE_API stele_status stele_session_feed(stele_session* session,
                                          const int32_t* tokens, size_t count);
/* Tokens that were fed, and how many of them wait. Either may be NULL. */
STELE_API stele_status stele_session_tokens(const stele_session* session,
                                            uint64_t* fed, uint64_t* pending);
/* Forgets all but the first `tokens` tokens. With kernelized attention those
 * are computed again if one that was processed goes. */
STELE_API stele_status stele_session_truncate(stele_session* session,
                                              uint64_t tokens);
/* Copies the logits behind the last token: `count` floats, which must be the
 * vocabulary. STELE_FAILED_PRECONDITION while tokens are pending. */
STELE_API stele_status stele_session_logits(const stele_session* session,
                                            float* logits, size_t count);

/* The logits behind the token at `position` of the session: `count` floats,
 * gone after the call. Must not call the library. */
typedef void (*stele_logits_callback)(void* user, uint64_t position,
                                      const float* logits, size_t count);
/* Has coming steps hand out the logits behind every token that they process,
 * in order; NULL stops that. */
STELE_API stele_status stele_session_on_logits(stele_session* session,
                                               stele_logits_callback callback,
                                               void* user);

/* How many tokens were guessed (`lookup`) on this session, and how many of them
 * were right. Either may be NULL. */
STELE_API stele_status stele_session_drafts(const stele_session* session,
                                            uint64_t* drafted,
                                            uint64_t* accepted);

/* Makes coming steps leave the session out, and ends a generation on it, until
 * stele_session_resume. Does not wait for a step that runs. */
STELE_API void stele_session_cancel(stele_session* session);
STELE_API void stele_session_resume(stele_session* session);

typedef struct stele_sampling {
  size_t struct_size;
  float temperature;        /* 0: greedy */
  float top_p;              /* 0: off */
  float min_p;              /* 0: off */
  float repetition_penalty; /* 0: off */
  uint32_t top_k;           /* 0: off */
  uint64_t seed;
} stele_sampling;

typedef struct stele_generate_options {
  size_t struct_size;
  uint64_t max_tokens;            /* 0: as many as fit */
  const stele_sampling* sampling; /* NULL: what the checkpoint asks for */
  const char* const* stop;        /* texts that end the answer */
  size_t stop_count;
  int ignore_eos;
  /* Tokens that are guessed from the context for every step. The answer is the
   * same; where the guesses are right it takes fewer steps. */
  uint32_t lookup;
} stele_generate_options;

typedef enum stele_finish_reason {
  STELE_FINISH_LENGTH = 1,
  STELE_FINISH_STOP = 2,
  STELE_FINISH_EOS = 3,
  STELE_FINISH_CANCELLED = 4,
  STELE_FINISH_CALLBACK = 5 /* the callback asked for the end */
} stele_finish_reason;

/* One token of the answer, and the text that it completes: `length` bytes,
 * often none, never half a character. Return 0 to end. No lock is held: the
 * library may be called. */
typedef int (*stele_token_callback)(void* user, int32_t token, const char* text,
                                    size_t length);

/* Answers what was fed so far, until something ends it, and says what. The
 * steps in between serve every session of the engine. `options`, `callback`
 * and `reason` may be NULL. */
STELE_API stele_status stele_session_generate(
    stele_session* session, const stele_generate_options* options,
    stele_token_callback callback, void* user, stele_finish_reason* reason);

/* ---- store ---- */

/* A folder in which sessions outlast the process, with the keys and values that
 * they have computed. Sessions that begin with the same tokens share these,
 * whichever process computed them. Many processes may use one store. */
typedef struct stele_store stele_store;

/* Nothing is written before the first save, which makes the folder. */
STELE_API stele_status stele_store_open(const char* folder,
                                        stele_store** store);
/* NULL is allowed. */
STELE_API void stele_store_close(stele_store* store);

/* Called with one name; return 0 to end. */
typedef int (*stele_name_callback)(void* user, const char* name);
/* Names of the sessions that are saved, in order. */
STELE_API stele_status stele_store_sessions(const stele_store* store,
                                            stele_name_callback callback,
                                            void* user);
/* Removes a session, and what it does not share with another one. */
STELE_API stele_status stele_store_remove(stele_store* store, const char* name);

/* What a call moved to or from the store. A page is a block of tokens. */
typedef struct stele_store_report {
  size_t struct_size;
  uint64_t tokens_reused; /* that need not be computed */
  uint64_t pages_read;
  uint64_t pages_written;
  uint64_t pages_found;   /* were there when they were to be written */
  uint64_t pages_damaged; /* were refused, and are computed again */
  uint64_t bytes_read;
  uint64_t bytes_written;
} stele_store_report;

/* Saves the session under a name: 1 to 128 of A-Z a-z 0-9 . _ - that begin
 * without a dot. What was saved under it before is replaced when all is
 * written; a save that fails or dies leaves it. `report` may be NULL. Here and
 * below memory for two blocks of pages is taken for the time of the call. */
STELE_API stele_status stele_session_save(const stele_session* session,
                                          stele_store* store, const char* name,
                                          stele_store_report* report);
/* Makes a session that was fed nothing what it was when it was saved: tokens,
 * logits, and what comes after, bit for bit. Tokens whose pages were lost are
 * pending. STELE_FAILED_PRECONDITION when another artifact saved it,
 * STELE_DATA_LOSS when what was saved is damaged. `report` may be NULL. */
STELE_API stele_status stele_session_load(stele_session* session,
                                          stele_store* store, const char* name,
                                          stele_store_report* report);
/* Spares the session the computation of pending tokens that a saved session
 * began with, too; the last token is always computed. STELE_UNSUPPORTED with
 * kernelized attention: its prompts share nothing. `report` may be NULL. */
STELE_API stele_status stele_session_load_prefix(stele_session* session,
                                                 stele_store* store,
                                                 stele_store_report* report);

/* The ids of the session's tokens. Writes at most `capacity` and sets *count to
 * how many there are. */
STELE_API stele_status stele_session_token_ids(const stele_session* session,
                                               int32_t* tokens, size_t capacity,
                                               size_t* count);
/* The seed with which a generation goes on with the random numbers of the last
 * one on this session, before or after it was saved. */
STELE_API stele_status stele_session_next_seed(const stele_session* session,
                                               uint64_t* seed);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* STELE_STELE_H_ */
