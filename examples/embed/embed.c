/* Answers a prompt of token ids with a model, through the C API.
 *
 *   embed_c MODEL.stele ID...
 */
#include <stdio.h>
#include <stdlib.h>

#include "stele/stele.h"

static int Fail(const char *what) {
  fprintf(stderr, "error: %s: %s\n", what, stele_last_error());
  return 1;
}

static int OnToken(void *user, int32_t token, const char *text, size_t length) {
  (void)user;
  printf("%d ", token);
  fwrite(text, 1, length, stderr);
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: embed_c MODEL.stele ID...\n");
    return 2;
  }
  stele_model *model = NULL;
  if (stele_model_open(argv[1], NULL, &model) != STELE_OK)
    return Fail("open");

  stele_engine_options options = {.struct_size = sizeof options,
                                  .session_tokens = 32};
  stele_engine *engine = NULL;
  if (stele_engine_create(model, &options, &engine) != STELE_OK)
    return Fail("engine");
  fputs(stele_engine_memory_plan(engine, NULL), stderr);

  stele_session *session = NULL;
  if (stele_session_create(engine, 0, &session) != STELE_OK)
    return Fail("session");
  for (int i = 2; i < argc; ++i) {
    const int32_t token = (int32_t)strtol(argv[i], NULL, 10);
    if (stele_session_feed(session, &token, 1) != STELE_OK)
      return Fail("feed");
  }

  stele_generate_options generate = {.struct_size = sizeof generate,
                                     .max_tokens = 8};
  stele_finish_reason reason;
  if (stele_session_generate(session, &generate, OnToken, NULL, &reason) !=
      STELE_OK)
    return Fail("generate");
  printf("(%d)\n", reason);

  stele_session_destroy(session);
  stele_engine_destroy(engine);
  stele_model_close(model);
  return 0;
}
