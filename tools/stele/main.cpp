// stele: the one program that users call.
//
// Place on the road: everything behind the artifact, from a shell. Needs no
// LLVM; `stele compile` hands over to stele-compile. A new verb is a file
// cmd_NAME.cpp, a line in verbs.h and a line in the table below.
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "cli.h"
#include "stele/runtime/base/mapping_guard.h"
#include "verbs.h"

namespace stele::cli {
namespace {

constexpr Verb kVerbs[] = {
    {"compile", "Compile a checkpoint into an artifact", RunCompile},
    {"run", "Generate text from a prompt", RunRun},
    {"chat", "Talk with a model", RunChat},
    {"inspect", "Show what was compiled and what it will cost", RunInspect},
    {"bench", "Measure tokens per second", RunBench},
    {"perplexity", "Measure how well a model predicts a text", RunPerplexity},
    {"tokenize", "Turn text into token ids, or back", RunTokenize},
    {"verify", "Check an artifact and every checksum in it", RunVerify},
    {"doctor", "Show what this machine offers", RunDoctor},
};

void PrintUsage(FILE* to) {
  std::fprintf(to, "usage: stele VERB ...\n\n");
  for (const Verb& verb : kVerbs)
    std::fprintf(to, "  %-11s %s\n", verb.name, verb.summary);
  std::fprintf(
      to,
      "\n`stele VERB --help` explains one. Example:\n"
      "  stele compile SmolLM2-135M-Instruct -o smollm2.stele\n"
      "  stele run smollm2.stele -p \"Who carved the Rosetta Stone?\"\n");
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    PrintUsage(stderr);
    return kUsage;
  }
  if (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0) {
    PrintUsage(stdout);
    return kDone;
  }
  if (std::strcmp(argv[1], "--version") == 0) {
    std::printf("stele %s\n", STELE_VERSION);
    return kDone;
  }
  for (const Verb& verb : kVerbs)
    if (std::strcmp(argv[1], verb.name) == 0)
      return verb.run(argc - 1, argv + 1);
  std::fprintf(stderr, "stele: there is no verb '%s'\n", argv[1]);
  PrintUsage(stderr);
  return kUsage;
}

// What never reached the reader of stdout, on a full disk for one, is not done.
int Finish(int code) {
  const bool written = std::fflush(stdout) == 0 && !std::ferror(stdout);
  if (written || code != kDone) return code;
  return Fail(Unavailable(
      "standard output: not all of the result could be written; make room "
      "there or send it elsewhere"));
}

}  // namespace
}  // namespace stele::cli

int main(int argc, char** argv) {
  using stele::cli::Fail;
  stele::InstallMappingGuard();
  try {
    return stele::cli::Finish(stele::cli::Main(argc, argv));
  } catch (const std::bad_alloc&) {
    return Fail(stele::ResourceExhausted("out of memory"));
  } catch (const std::exception& error) {
    return Fail(stele::Internal(error.what()));
  }
}
