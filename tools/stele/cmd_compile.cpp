// stele compile: hands over to stele-compile, which alone needs LLVM.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cli.h"
#include "process.h"
#include "verbs.h"

namespace stele::cli {
int RunCompile(int argc, char** argv) {
  const bool help = argc == 2 && std::strcmp(argv[1], "--help") == 0;
  if (help) {
    std::printf(
        "usage: stele compile CHECKPOINT -o OUT.stele [flags]\n"
        "Example: stele compile SmolLM2-135M-Instruct -o smollm2.stele\n"
        "stele-compile does the work, with these flags:\n\n");
    std::fflush(stdout);
  }
  const std::string compiler = FindCompiler();
  if (compiler.empty()) {
    const Status missing = NotFound(
        "stele-compile is neither beside stele nor on PATH; build it with "
        "`cmake --preset release && ninja -C build stele-compile` (it needs "
        "LLVM 22), or compile on another machine and copy the artifact");
    if (!help) return Fail(missing);
    std::printf("%s\n", missing.message().c_str());
    return kDone;
  }
  std::vector<char*> arguments = {const_cast<char*>(compiler.c_str())};
  arguments.insert(arguments.end(), argv + 1, argv + argc);
  arguments.push_back(nullptr);
  execv(compiler.c_str(), arguments.data());
  return Fail(
      Unavailable("cannot start '" + compiler + "': " + std::strerror(errno)));
}

}  // namespace stele::cli
